"""Questions for the text of one article, section or clause: where that text stands in the passages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from chat.context import Source, whole_source
from chat.ports import ChunkReader
from chat.retrieval.exact import Exact, exact_terms
from chat.retrieval.refuse import FRAME_WORDS
from chat.verification.verify import FRAMING
from core.text import fold, present, segment, split_sentences

_ASKS_FOR_TEXT = frozenset(segment("内容 规定 条文 原文 全文 写 说 content provision say state read text wording full"))
_REFERS = r"(?!规定|第|所|的|之|、|和|与|及|或|至|中|以)"
"""After the number of an article: 第九条规定的 does not begin article 9."""
_BEGINS = re.compile(
    rf"第[零〇一二三四五六七八九十百千\d]+[条章节编](?:之[一二三四五六七八九十])?{_REFERS}|"
    r"(?:article|section|clause|chapter|§)\s*\d+(?:\.\d+)*\b"
)
LONGEST_PART = 1500
"""Characters of an article that are quoted."""
MOST_FOLLOWING = 3

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Part:
    """Sentences of one source. source: its place. first, last: places of the sentences, inclusive."""

    source: int
    first: int
    last: int


def asked_parts(question: str, sources: Sequence[Source], spans: Sequence[Spans]) -> list[Part]:
    """The article that a question asks to be told and about which it asks nothing else: where it begins, and where it
    goes on in the next chunk of its document, when that is a source. Empty for other questions.

    spans: the sentences of each source, in order.
    """
    found = _beginning(question, sources, spans)
    return _from(*found, sources, spans) if found else []


def with_following(question: str, sources: Sequence[Source], chunks: ChunkReader) -> list[Source]:
    """The sources and, for a question for an article, the chunks in which it may go on."""
    found = _beginning(question, sources, [split_sentences(source.passage.text) for source in sources])
    if found is None:
        return list(sources)
    known = {source.passage.chunk.id for source in sources}
    around = chunks.neighbours(sources[found[0]].passage.chunk, 0, MOST_FOLLOWING)
    further = [chunk for chunk in around if chunk.id not in known]
    return [*sources, *(whole_source(n, chunk) for n, chunk in enumerate(further, start=len(sources) + 1))]


def _beginning(question: str, sources: Sequence[Source], spans: Sequence[Spans]) -> tuple[int, int] | None:
    """The source and the sentence with which the article begins that a question asks for."""
    wanted = _wanted(question)
    if wanted is None:
        return None
    article, rest = wanted
    for at, source in enumerate(sources):
        chunk = source.passage.chunk
        if rest - present(f"{chunk.title} {chunk.path} {chunk.context}", rest):
            continue
        texts = [_plain(source.passage.text[start:end]) for start, end in spans[at]]
        first = next((place for place, text in enumerate(texts) if _begins(article, text)), None)
        if first is not None:
            return at, first
    return None


def _wanted(question: str) -> tuple[Exact, set[str]] | None:
    """The last article that a question names, and the other words of it, which must name the document."""
    articles = [term for term in exact_terms(question) if term.kind == "article"]
    if not articles:
        return None
    rest = unicodedata.normalize("NFKC", question)
    for one in articles:
        rest = rest.replace(one.text, " ")
    return articles[-1], set(segment(rest)) - _ASKS_FOR_TEXT - FRAME_WORDS - FRAMING


def _begins(article: Exact, sentence: str) -> bool:
    found = article.pattern.match(sentence)
    return found is not None and bool(re.match(_REFERS, sentence[found.end() :]))


def _from(at: int, first: int, sources: Sequence[Source], spans: Sequence[Spans]) -> list[Part]:
    """From the first sentence of an article to where the next one begins or the sources or the room end."""
    parts: list[Part] = []
    said: list[str] = []
    here: int | None = at
    while here is not None:
        texts = [sources[here].passage.text[start:end].strip() for start, end in spans[here]]
        place = start = next((n for n, text in enumerate(texts) if text not in said), 0) if said else first
        while place < len(texts) and not (said and _BEGINS.match(_plain(texts[place]))):
            if said and sum(map(len, said)) + len(texts[place]) > LONGEST_PART:
                break
            said.append(texts[place])
            place += 1
        if place > start:
            parts.append(Part(here, start, place - 1))
        here = _next(here, sources) if place == len(texts) > start else None
    return parts


def _next(at: int, sources: Sequence[Source]) -> int | None:
    chunk = sources[at].passage.chunk
    wanted = chunk.version_id, chunk.ordinal + 1
    places = [(one.passage.chunk.version_id, one.passage.chunk.ordinal) for one in sources]
    return places.index(wanted) if wanted in places else None


def _plain(sentence: str) -> str:
    return fold(sentence).lstrip("#* \t\u3000\n")
