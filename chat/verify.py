"""Is each sentence of an answer borne out by what it cites? Without a language model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chat.cite import MARK
from chat.values import Date, Number, Values, names_of, squash, values_of
from core.errors import ModelError
from core.text import detect_language, present, segment, split_sentences
from core.types import SentenceCheck, Verdict

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
LEAST_OVERLAP = {"zh": 0.5, "en": 0.5}
SAME_STATEMENT = 0.6  # this and the shares below: docs/decisions/0010-quotes-and-checks.md
NEAR_STATEMENT = 0.3
NEAR_SHARE = 0.7
CLEAR_STATEMENT = 0.6
ELSEWHERE = 0.4
FEWEST_TOKENS = 3
LEAST_SIMILARITY = 0.6
ROUNDING = 0.05
_FILLER = "\u2060"

_NOT_ENGLISH = re.compile(
    r"\b(?:not|never|no|none|neither|nor|without|cannot|nobody|nothing)\b|n['’]t\b", re.IGNORECASE
)
_NOT_CHINESE = re.compile(
    r"不(?!超过|低于|高于|大于|小于|仅|但|断|同|少|过|论|管|久|动产|错|良|当|锈|足|法|可抗力|正当)|没(?!收)|未(?!来|婚|成年|遂)|"
    r"无(?!锡|论|线|人机|期|形|故)|非(?!常|洲|法|遗|经常|公开|营利)|勿|否(?!则)|并非|禁止|不得"
)

_ANY_NEGATION = re.compile(
    _NOT_CHINESE.pattern + r"|[无缺免拒禁]|\b(?:not|never|no|none|neither|nor|without|cannot|nobody|nothing|lack\w*|"
    r"fail\w*|refus\w*|except|unable|un\w+ed|exclud\w+)\b|n['’]t\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[，；;。]|, | and | while ")
_UNITS = frozenset(("年", "月", "日", "元", "亿元", "万元", "人", "million", "billion", "year"))


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
    the sentence's content words found there (or by `embed` across languages). A sentence without a mark is
    `uncited`; when the whole text has no mark, every sentence is checked against all sources instead.

    Args:
        sources: text by mark number. embed: texts to unit vectors (n, dim), used across languages only.
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
    joined = "\n".join(sources)
    if not joined.strip():
        return "The source is empty."
    problem = _value_problem(values_of(sentence), values_of(joined)) or _name_problem(sentence, joined)
    if problem:
        return problem
    language = "zh" if detect_language(sentence) == "zh" else "en"
    tokens = list(dict.fromkeys(segment(sentence)))
    if not tokens:
        return ""
    letters = re.sub(r"[\W\d_]", "", sentence)
    if len(letters) > FEWEST_TOKENS and (detect_language(joined) == "zh") != (language == "zh"):
        return _similarity_problem(sentence, joined, embed)
    problem = (
        _negation_problem(sentence, tokens, joined, language)
        or _place_problem(sentence, joined)
        or _rival_problem(sentence, joined)
    )
    if problem:
        return problem
    absent = [token for token in tokens if token not in present(joined, tokens)]
    if 1 - len(absent) / len(tokens) < LEAST_OVERLAP[language]:
        return f"The source does not mention “{'”, “'.join(absent[:3])}”."
    return ""


def _value_problem(said: Values, given: Values) -> str:
    for date in said.dates:
        if not any(_same_date(date, other) for other in given.dates) and not _year_alone(date, given):
            return f"The date “{date.shown}” is not in the source."
    years = {date.year for date in given.dates}
    for number in said.numbers:
        if number.value in years or any(_same_number(number, other) for other in given.numbers):
            continue
        return f"The number “{number.shown}” is not in the source."
    return ""


def _same_date(said: Date, given: Date) -> bool:
    fields = ((said.year, given.year), (said.month, given.month), (said.day, given.day))
    return all(a is None or a == b for a, b in fields)


def _year_alone(said: Date, given: Values) -> bool:
    """A bare year also stands where the source writes it as a number; a full date also in parts of one date."""
    if said.month is None and said.day is None:
        return any(number.value == said.year for number in given.numbers)
    if said.year is None:
        return False
    rest = Date(None, said.month, said.day, said.shown)
    years = {d.year for d in given.dates} | {int(n.value) for n in given.numbers if n.value == int(n.value)}
    return said.year in years and any(d.year is None and _same_date(rest, d) for d in given.dates)


def _same_number(said: Number, given: Number) -> bool:
    if said.value == given.value:
        return True
    return said.about and abs(said.value - given.value) <= abs(given.value) * type(said.value)(str(ROUNDING))


def _name_problem(sentence: str, source: str) -> str:
    letters = squash(source)
    shortened = re.sub(r"\b([A-Z])\w*[\s-]*(?:of |and |for |the )*", r"\1", source)
    initials = {m.group() for m in re.finditer(r"[A-Z]{2,}", shortened)}
    for name in names_of(sentence):
        key = squash(name)
        if key and key not in letters and name.upper() not in initials:
            return f"“{name}” is not in the source."
    return ""


def _negation_problem(sentence: str, tokens: Sequence[str], source: str, language: str) -> str:
    """A “not” that none of the closest source sentences has, or one of the closest that the sentence drops."""
    pattern = _NOT_CHINESE if language == "zh" else _NOT_ENGLISH
    said = pattern.search(sentence)
    ranked = sorted(
        ((len(present(part, tokens)) / len(tokens), part) for part in _parts(source)), key=lambda pair: -pair[0]
    )
    if not ranked or ranked[0][0] < NEAR_STATEMENT:
        return ""
    share, best = ranked[0]
    if said is not None:
        near = [part for overlap, part in ranked if overlap >= NEAR_SHARE * share]
        if not any(_ANY_NEGATION.search(part) for part in near):
            return f"“{said.group()}” stands only in the answer."
        return ""
    given = pattern.search(best)
    if given is not None and len(tokens) > FEWEST_TOKENS and share >= SAME_STATEMENT and len(pattern.findall(best)) % 2:
        return f"“{given.group()}” stands only in the source."
    return ""


def _place_problem(sentence: str, source: str) -> str:
    """A date or number that the source has, but in a statement about something else than this clause says."""
    parts = _parts(source)
    # A sentence without a date of its own goes on about the date before it.
    wide = [part if i == 0 or values_of(part).dates else parts[i - 1] + part for i, part in enumerate(parts)]
    for clause, tokens in _clauses(sentence):
        shares = [len(present(part, tokens)) / len(tokens) for part in wide]
        best = max(shares, default=0.0)
        said = values_of(clause)
        # A year alone often stands once, in a heading, for all that follows.
        alone = [(d.shown, Values((), (d,))) for d in said.dates if d.month]
        for shown, one in alone + [(n.shown, Values((n,), ())) for n in said.numbers]:
            here = [s for s, part in zip(shares, wide, strict=True) if not _value_problem(one, values_of(part))]
            if here and best >= CLEAR_STATEMENT and max(here) < ELSEWHERE * best:
                return f"“{shown}” stands in the source, but not where it speaks of this."
    return ""


def _rival_problem(sentence: str, source: str) -> str:
    """A number that the source gives to another of two parallel statements: “Domestic: 14 days, international: 21”.

    Two source sentences are parallel when, numbers aside, they share at least half of their words. The one without
    the said number is the rival when it has every word of the answer that the other has, and more.
    """
    parts = [(part, _words(part)) for part in _parts(source)]
    for clause, tokens in _clauses(sentence):
        for number in values_of(clause).numbers:
            one = Values((number,), ())
            here = [words for part, words in parts if not _value_problem(one, values_of(part))]
            rivals = [(part, words) for part, words in parts if values_of(part).numbers and words not in here]
            for part, words in rivals:
                said = words & set(tokens)
                if here and all(_parallel(words, other) and other & set(tokens) < said for other in here):
                    return f"“{number.shown}” stands in the source, but not for this: “{part.strip()[:80]}”."
    return ""


def _words(text: str) -> frozenset[str]:
    return frozenset(token for token in segment(text) if not any(c.isdigit() for c in token))


def _parallel(left: frozenset[str], right: frozenset[str]) -> bool:
    both = left & right
    return len(both) >= 2 and 2 * len(both) >= max(len(left), len(right))


def _clauses(sentence: str) -> Iterator[tuple[str, list[str]]]:
    """Clauses with enough words to be looked up, and these words; shorter ones go with the next."""
    clause = ""
    for piece in _CLAUSE.split(sentence):
        clause = f"{clause} {piece}".strip()
        dated = {t for date in values_of(clause).dates for t in segment(date.shown)} | _UNITS
        tokens = [t for t in dict.fromkeys(segment(clause)) if t not in dated and not any(c.isdigit() for c in t)]
        if len(tokens) >= FEWEST_TOKENS:
            yield clause, tokens
            clause = ""


def _parts(source: str) -> list[str]:
    return [source[start:end] for start, end in split_sentences(source)]


def _similarity_problem(sentence: str, source: str, embed: Embed | None) -> str:
    if embed is None:
        return "The source is in another language; its words could not be compared."
    try:
        vectors = embed([sentence, *_parts(source)])
    except ModelError as error:
        # The answer stands already; that it could not be checked is a finding, not a failure.
        return f"The source is in another language and could not be compared: {error.message}"
    best = float((vectors[1:] @ vectors[0]).max())
    return "" if best >= LEAST_SIMILARITY else f"Nothing in the source is close to it (similarity {best:.2f})."
