"""Is each sentence of an answer borne out by what it cites? Without a language model."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chat.cite import MARK
from chat.facts.values import Values, is_name, names_of, squash, strange_organisation, values_of
from chat.verification.aligned import aligned_problem
from chat.verification.beside import beside_problem
from chat.verification.negation import negation_problem
from chat.verification.places import owner_problem, parts_of, place_problem, rival_problem, value_problem
from core.errors import ModelError
from core.text import detect_language, present, segment, split_sentences
from core.types import SentenceCheck, Verdict

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
LEAST_OVERLAP = {"zh": 0.5, "en": 0.5}
"""Share of a sentence's words that its sources must have: docs/decisions/0010-quotes-and-checks.md."""
FEWEST_TOKENS = 3
LEAST_SIMILARITY = 0.6
FEWEST_STRANGE = 3
"""A clause with as many words, none of which the source has, says something of its own."""
_CLAUSE_END = re.compile(r"[，；;：。！？]|,(?!\d)|[.!?](?=[A-Z\s])|\s(?:and|but|while)\s")
PAIR_REACH = 60
"""Characters between two words of one name, at most: “Smith, who was made chief executive, John”."""
_FILLER = "\u2060"
_FIGURE = re.compile(r"[\d.,零〇一二三四五六七八九十百千万亿两]+|百分之?")
"""Words that are figures, which are compared by what they are worth."""
_WIDE = re.compile(r"[０-９％]+(?:，[０-９]{3})*(?:．[０-９]+)?")
"""Figures in full width, whose comma is no end of a clause."""
_FRAMES = (
    "accord report document text judgment articl passag sourc sever follow mention state indic first firstli second "
    "secondli third thirdli final last therefor overal addition addit furthermor moreov howev also thus henc includ "
    "specif signific total question answer base result summari conclus respect both mean while "
    "根据 报告 文件 文档 资料 判决书 提到 提及 表示 说明 首先 其次 再次 然后 随后 最后 最终 此外 另外 同时 因此 所以 "
    "总之 综上 综上所述 "
    "包括 如下 以下 分别 通过 进一步 方面 措施 主要 具体 具体来说 其中 以及 并且 而且"
)
FRAMING = frozenset(_FRAMES.split())
"""Search tokens that only frame a statement: a source need not have them."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an answer without its marks. start/end: offsets in the marked text."""

    text: str
    start: int
    end: int
    cited: tuple[int, ...]


def sentences_of(text: str) -> list[Sentence]:
    """Sentences with the marks that belong to them: those inside and right after, or before it at a line start."""

    def blank(match: re.Match[str]) -> str:
        starts_line = not text[: match.start()].rpartition("\n")[2].replace("[", "").strip(" -*•0123456789]")
        return (_FILLER if starts_line else " ") * len(match.group())

    plain = MARK.sub(blank, text)
    found: list[Sentence] = []
    for start, end in split_sentences(plain):
        cited = tuple(dict.fromkeys(int(m.group(1)) for m in MARK.finditer(text, start, end)))
        words = re.sub(r"\s+", " ", plain[start:end].replace(_FILLER, "")).strip(" -*•#")
        if re.search(r"\w", words):
            found.append(Sentence(words, start, start + len(text[start:end].rstrip()), cited))
        elif cited and found:  # marks on a line of their own belong to what stands before them
            last = found[-1]
            found[-1] = Sentence(last.text, last.start, end, tuple(dict.fromkeys(last.cited + cited)))
    return found


def check_answer(text: str, sources: Mapping[int, str], embed: Embed | None = None) -> list[SentenceCheck]:
    """One check per sentence, in order.

    Numbers, dates, names and negation must agree exactly with the cited sources together; the rest by the share of
    the sentence's content words found there, or by similarity where `embed` is given. A sentence without a mark is
    `uncited`; when the whole text has no mark, every sentence is checked against all sources instead.

    Args:
        sources: text by mark number. embed: texts to unit vectors (n, dim), for other languages and other words.
    """
    sentences = sentences_of(text)
    marked = any(sentence.cited for sentence in sentences)
    checks = []
    for sentence in sentences:
        cited = sentence.cited if marked else tuple(sorted(sources))
        if not cited:
            verdict, reason = Verdict.UNCITED, "No source is cited."
        else:
            unknown = [n for n in cited if n not in sources]
            problem = (
                f"[{unknown[0]}] is not among the sources."
                if unknown
                else problem_of(sentence.text, [sources[n] for n in cited], embed)
            )
            verdict = Verdict.UNSUPPORTED if problem else Verdict.SUPPORTED
            reason = problem or "The source says so."
        checks.append(SentenceCheck(sentence.text, verdict, reason, sentence.start, sentence.end, sentence.cited))
    return checks


def problem_of(sentence: str, sources: Sequence[str], embed: Embed | None = None) -> str:
    """Why these sources do not bear out the sentence, naming the value; "" when they do."""
    sentence = _WIDE.sub(lambda match: unicodedata.normalize("NFKC", match.group()), sentence)
    joined = "\n".join(sources)
    if not joined.strip():
        return "The source is empty."
    problem = value_problem(values_of(sentence), _all_values(sources), sentence) or _name_problem(sentence, joined)
    if problem:
        return problem
    language = "zh" if detect_language(sentence) == "zh" else "en"
    tokens = list(dict.fromkeys(segment(sentence)))
    if not tokens:
        return "It has no word that could be compared with the source."
    letters = re.sub(r"[\W\d_]", "", sentence)
    if len(letters) > FEWEST_TOKENS and (detect_language(joined) == "zh") != (language == "zh"):
        return _similarity_problem(sentence, joined, embed)
    parts = parts_of(sources)
    problem = (
        negation_problem(sentence, [part.text for part in parts])
        or owner_problem(sentence, parts)
        or place_problem(sentence, parts)
        or rival_problem(sentence, parts)
        or aligned_problem(sentence, parts)
    )
    if problem:
        return problem
    content = [token for token in tokens if token not in FRAMING and not _FIGURE.fullmatch(token)] or tokens
    known = present(joined, content)
    absent = [token for token in content if token not in known]
    if 1 - len(absent) / len(content) >= LEAST_OVERLAP[language]:
        return _strange_clause(sentence, joined, embed)
    if embed is not None and not _similarity_problem(sentence, joined, embed):
        return ""  # said in other words
    return f"The source does not mention “{'”, “'.join(absent[:3])}”."


def _strange_clause(sentence: str, source: str, embed: Embed | None) -> str:
    """A clause none of whose words the source has, in a sentence that else rests on it; "" when there is none."""
    for clause in _CLAUSE_END.split(sentence):
        content = [t for t in dict.fromkeys(segment(clause)) if t not in FRAMING and not _FIGURE.fullmatch(t)]
        if len(content) < FEWEST_STRANGE or present(source, content):
            continue
        if embed is None or _similarity_problem(clause, source, embed):
            return f"The source does not mention “{'”, “'.join(content[:3])}”."
    return ""


def _all_values(sources: Sequence[str]) -> Values:
    found = [values_of(source) for source in sources]
    return Values(tuple(n for v in found for n in v.numbers), tuple(d for v in found for d in v.dates))


def _name_problem(sentence: str, source: str) -> str:
    letters = squash(source)
    organisation = strange_organisation(sentence, letters)
    if organisation:
        return f"“{organisation}” is not in the source."
    shortened = re.sub(r"\b([A-Z])\w*[\s-]*(?:of |and |for |the )*", r"\1", source)
    initials = {m.group() for m in re.finditer(r"[A-Z]{2,}", shortened)}
    explained = "".join(word[0] for word in re.findall(r"[A-Za-z]+", sentence)).upper()
    for name in names_of(sentence):
        if f"({name})" in sentence and name.upper() in explained:
            continue  # “return on equity (ROE)”
        key = squash(name)
        if key and key not in letters and name.upper() not in initials:
            return f"“{name}” is not in the source."
    return _pair_problem(sentence, source) or beside_problem(sentence, source)


def _pair_problem(sentence: str, source: str) -> str:
    """Two capitalised words side by side that the source has, but never close together: half of a name changed."""
    words = [m for m in re.finditer(r"[A-Z][A-Za-z]+", sentence)]
    for one, other in itertools.pairwise(words):
        first, second = one.group(), other.group()
        if sentence[one.end() : other.start()] != " " or not is_name(first) or not is_name(second):
            continue
        here, there = _starts(first, source), _starts(second, source)
        if here and there and min(abs(a - b) for a in here for b in there) > PAIR_REACH:
            return f"“{first} {second}” is not in the source."
    return ""


def _starts(word: str, source: str) -> list[int]:
    return [m.start() for m in re.finditer(rf"\b{re.escape(word)}", source, re.IGNORECASE)]


def _similarity_problem(sentence: str, source: str, embed: Embed | None) -> str:
    if embed is None:
        return "The source is in another language; its words could not be compared."
    try:
        vectors = embed([sentence, *(part.text for part in parts_of([source]))])
    except ModelError as error:
        # The answer stands already; that it could not be checked is a finding, not a failure.
        return f"The source is in another language and could not be compared: {error.message}"
    best = float((vectors[1:] @ vectors[0]).max())
    return "" if best >= LEAST_SIMILARITY else f"Nothing in the source is close to it (similarity {best:.2f})."
