"""From a finished text and its passages to citations with exact quotes and a check per sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chat.cite import citation_of
from chat.context import Source
from chat.injection import blanked, kinds_of
from chat.quoting.quote import Quote
from chat.verification.verify import Embed, Sentence, check_answer, problem_of, sentences_of
from core.text import detect_language, present, segment, split_sentences
from core.types import Citation, SentenceCheck, Verdict

LONGEST_QUOTE = 400
FEWEST_WORDS = 2


@dataclass(frozen=True, slots=True)
class Supported:
    """A text with its marks, the citations behind them in order of n, and a check per sentence."""

    text: str
    citations: tuple[Citation, ...]
    checks: tuple[SentenceCheck, ...]


def support(text: str, sources: Sequence[Source], embed: Embed | None = None) -> Supported:
    """Marks added to sentences that have none but that a passage bears out; quotes found; every sentence checked."""
    marked, matched = _with_matches(text, sources, embed)
    by_number = {source.passage.n: source for source in sources}
    texts = {n: _evidence_text(source) for n, source in by_number.items()}
    sentences = sentences_of(marked)
    citations = []
    for n in sorted({n for sentence in sentences for n in sentence.cited} & by_number.keys()):
        citing = [sentence.text for sentence in sentences if n in sentence.cited]
        origin = "matched" if n in matched else "model"
        citations.append(cite(by_number[n], *_quoted(citing[0], blanked(by_number[n].passage.text)), origin))
    checks = check_answer(marked, texts, embed) if citations else _uncited(marked)
    return Supported(marked, tuple(citations), tuple(checks))


def cite(source: Source, start: int, end: int, origin: str) -> Citation:
    """The citation of `passage.text[start:end]`, at the place of the chunk these words come from."""
    return citation_of(source.passage.n, source.chunk_at(start), source.passage.text[start:end].strip(), origin)


def cite_quotes(quotes: Sequence[Quote]) -> list[Citation]:
    """One citation per quote, numbered from 1 in their order."""
    return [
        citation_of(n, quote.source.chunk_at(quote.start), quote.text, "quote")
        for n, quote in enumerate(quotes, start=1)
    ]


def closest_span(sentence: str, passage: str) -> tuple[int, int]:
    """Offsets of the passage's sentence, or two neighbouring ones, that share most words with this one."""
    spans = split_sentences(passage) or [(0, len(passage))]
    tokens = list(dict.fromkeys(segment(sentence)))
    found = [present(passage[start:end], tokens) for start, end in spans]
    best = max(range(len(spans)), key=lambda i: (len(found[i]), -(spans[i][1] - spans[i][0]), -i))
    start, end = spans[best]
    for other in (best + 1, best - 1):
        if 0 <= other < len(spans) and len(found[other] - found[best]) >= FEWEST_WORDS:
            wider = min(start, spans[other][0]), max(end, spans[other][1])
            if wider[1] - wider[0] <= LONGEST_QUOTE:
                return wider
    return start, end


def _quoted(sentence: str, passage: str) -> tuple[int, int]:
    """The closest span without the blanks at its ends, where something may have been blanked."""
    start, end = closest_span(sentence, passage)
    inside = passage[start:end]
    return start + len(inside) - len(inside.lstrip()), max(start, end - len(inside) + len(inside.rstrip()))


def _with_matches(text: str, sources: Sequence[Source], embed: Embed | None) -> tuple[str, set[int]]:
    matched: set[int] = set()
    given = {n for sentence in sentences_of(text) for n in sentence.cited}
    for sentence in reversed(sentences_of(text)):
        n = None if sentence.cited else _match(sentence, sources, embed)
        if n is not None:
            text = f"{text[: sentence.end]} [{n}]{text[sentence.end :]}"
            matched.add(n)
    return text, matched - given


def _match(sentence: Sentence, sources: Sequence[Source], embed: Embed | None) -> int | None:
    tokens = set(segment(sentence.text))
    if len(tokens) < FEWEST_WORDS:
        return None
    fitting = [s for s in sources if not problem_of(sentence.text, [_evidence_text(s)], embed)]
    if not fitting:
        return None
    if detect_language(sentence.text) != detect_language(fitting[0].passage.text):
        return fitting[0].passage.n
    return max(fitting, key=lambda s: (len(present(s.passage.text, tokens)), -s.passage.n)).passage.n


def _evidence_text(source: Source) -> str:
    """What a sentence may rest on: the passage with its title and headings, which carry the names."""
    chunk = source.passage.chunk
    text = blanked(source.passage.text)  # what an attacker wrote must not bear out what the model repeats of it
    return "\n".join(part for part in (chunk.title or chunk.path, chunk.context, text) if part)


def suspicious_sources(citations: Sequence[Citation], texts: Mapping[int, str]) -> dict[int, tuple[str, ...]]:
    """Kinds of instructions to an assistant by citation number, for citations whose text (by chunk id) has any."""
    found = {c.n: kinds_of(texts.get(c.chunk_id, c.quote)) for c in citations}
    return {n: kinds for n, kinds in found.items() if kinds}


def _uncited(text: str) -> list[SentenceCheck]:
    return [
        SentenceCheck(s.text, Verdict.UNCITED, "No passage bears this out.", s.start, s.end) for s in sentences_of(text)
    ]
