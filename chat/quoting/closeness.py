"""How closely each sentence and each row of a table speaks to a question."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chat.context import Source
from chat.facts.units import unit_after
from chat.facts.values import names_of, values_of
from chat.injection import blanked
from chat.quoting.tables import Row, tables_of, told, words_of
from core.text import present, segment, split_sentences

Similarity = Callable[[Sequence[str]], Sequence[float]]
"""Inner products of the question with each of some texts, by an embedder that reads both."""

MOST_COMPARED = 48
"""Sentences, best by words, that similarity looks at: about 0.2 s of embedding."""
CUE_WEIGHT = 0.20
AROUND_WEIGHT = 0.35
RANK_WEIGHT = 0.40
SIMILARITY_WEIGHT = 0.80
HEADING_PENALTY = 0.30
YEAR_PENALTY = 0.30
TOPIC_SHARE = 0.5
"""Of what the typed words of a follow-up weigh together, what those of the topic before them may."""
FEWEST_NEW = 2
"""Words a sentence must have beside the question's own, or it only says the question again."""
_WHEN = re.compile(
    r"\bwhen\b|what (?:year|date|time|day|month)|how long ago|何时|什么时候|哪一?年|哪一?天|几月|几号|日期|时间", re.I
)
_HOW_MANY = re.compile(
    r"\bhow (?:many|much|long|old|far|large|big|often|high|tall)\b|what (?:percentage|number|amount|share)|"
    r"多少|几[个名次家年天人岁条项种]|多[长大高远久]|比例|百分之几|百分比|占比|金额|数量",
    re.I,
)
_COUNTED = re.compile(r"\bhow many\b|多少|几", re.I)
_HOW_LONG = re.compile(r"\bhow long\b|多长|多久", re.I)
_WHAT_SHARE = re.compile(r"\bwhat percentage\b|百分之几|百分比|占比", re.I)
TIME_UNITS = frozenset({"year", "month", "week", "day", "hour", "minute", "second"})
LENGTH_UNITS = frozenset({"metre", "kilometre", "centimetre", "millimetre", "mile", "foot", "inch"})
OTHER_UNIT = 0.3
"""Of the cue of a figure, what is left for one in units that the question does not ask for."""
_WHO = re.compile(r"\bwho(?:se|m)?\b|谁|哪位|何人|哪个人|姓名|叫什么", re.I)
_ENDS = re.compile(r"[。！？；.!?;…|][\"”’」』)）\]]*$")
_FIELD = re.compile(r"[:：|]\W*\w")
SHORT_LINE = 60

Piece = tuple[int, int, Row | None]
"""start and end of a sentence, or of a row of a table."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence or a row. index: its place among those of the passage. own: the question's words in it, for a row in
    the names of its columns, too; cells: those in its cells alone; head: those in the title and headings above it."""

    source: int
    index: int
    start: int
    end: int
    own: frozenset[str]
    score: float
    row: Row | None = None
    cells: frozenset[str] = frozenset()
    head: frozenset[str] = frozenset()


def pieces_of(text: str) -> list[Piece]:
    """Sentences and rows of tables, in order; lines that name columns are left out."""
    pieces: list[Piece] = []
    at = 0

    def sentences(until: int) -> None:
        part = text[at:until]
        spans = split_sentences(part) if part else []
        pieces.extend((at + start, at + end, None) for start, end in spans if re.search(r"\w", part[start:end]))

    for table in tables_of(text):
        sentences(table.start)
        pieces.extend((row.start, row.end, row) for row in table.rows)
        at = table.end
    sentences(len(text))
    return pieces


def _harmless(text: str, pieces: Sequence[Piece]) -> list[Piece | None]:
    """None for pieces that give an assistant instructions; a row whose header does loses the names of its columns."""
    clean = blanked(text)
    kept: list[Piece | None] = []
    for start, end, row in pieces:
        if row is None:
            kept.append((start, end, None) if re.search(r"\w", clean[start:end]) else None)
        elif clean[start:end] != text[start:end]:
            kept.append(None)
        else:
            spoilt = clean[slice(*row.header)] != text[slice(*row.header)]
            kept.append((start, end, replace(row, columns=()) if spoilt else row))
    return kept


def candidates_of(
    question: str,
    tokens: Sequence[str],
    sources: Sequence[Source],
    pieces: Sequence[Sequence[Piece]],
    guard: bool,
    asked: frozenset[str],
) -> list[Candidate]:
    """Every piece of every source with its score, similarity apart; with `guard` without those that instruct.

    Args:
        asked: those of the tokens that are no topic carried over from an earlier question.
    """
    found: list[tuple[Candidate, frozenset[str]]] = []
    years = _years(question)
    for number, (source, all_of) in enumerate(zip(sources, pieces, strict=True)):
        text = source.passage.text
        chunk = source.passage.chunk
        head = frozenset(present(f"{chunk.title} {chunk.context}", tokens))
        cells = [
            frozenset(words_of(row.cells, tokens) if row else present(text[start:end], tokens))
            for start, end, row in all_of
        ]
        for index, piece in enumerate(_harmless(text, all_of) if guard else all_of):
            if piece is None:
                continue
            start, end, row = piece
            names = " ".join(row.columns) if row else ""
            own = cells[index] | present(names, tokens)
            rest = CUE_WEIGHT * _cue(question, text[start:end], row is None) * bool(own)
            rest -= _idle(row, tokens) if row else _empty(text[start:end], tokens)
            rest -= YEAR_PENALTY * _other_year(f"{names} {text[start:end]}", years)
            one = Candidate(number, index, start, end, own, rest + RANK_WEIGHT / (1 + number), row, cells[index], head)
            found.append((one, head | _around(all_of, cells, index)))
    rarity = {t: math.log1p(len(found) / (0.5 + sum(t in one.own for one, _ in found))) for t in tokens}
    rarity = _with_topic(rarity, asked)
    total = sum(rarity.values()) or 1.0

    def share(words: frozenset[str]) -> float:
        return sum(rarity[t] for t in words) / total

    return [
        replace(one, score=one.score + share(one.own) + AROUND_WEIGHT * share(around - one.own))
        for one, around in found
    ]  # fmt: skip


def _with_topic(weights: dict[str, float], asked: frozenset[str]) -> dict[str, float]:
    """The weights of words; those of a topic are lowered so far that what was typed decides."""
    typed = sum(weight for token, weight in weights.items() if token in asked)
    topic = sum(weights.values()) - typed
    lowered = min(1.0, TOPIC_SHARE * typed / topic) if topic else 1.0
    return {token: weight * (1.0 if token in asked else lowered) for token, weight in weights.items()}


def _around(pieces: Sequence[Piece], words: Sequence[frozenset[str]], index: int) -> frozenset[str]:
    """The question's words in the sentences beside one; beside a row, in what stands above its table."""
    if pieces[index][2] is None:
        return frozenset().union(*words[max(0, index - 1) : index], *words[index + 1 : index + 2])
    first = index
    while first and pieces[first - 1][2] is not None:
        first -= 1
    row = pieces[first][2]
    top = words[first] if row is not None and row.doubtful else frozenset()
    return top | (words[first - 1] if first else frozenset())


def compared(
    candidates: Sequence[Candidate], tokens: Sequence[str], sources: Sequence[Source], similarity: Similarity
) -> list[Candidate]:
    """The most promising candidates, with their similarity to the question added; the others drop out."""
    promising = sorted(candidates, key=lambda c: (-c.score, c.source, c.index))[:MOST_COMPARED]
    texts = [told([c.row], tokens)[0] if c.row else text_of(c, sources) for c in promising]
    near = similarity(texts)
    return [
        replace(c, score=c.score + SIMILARITY_WEIGHT * value) for c, value in zip(promising, near, strict=True)
    ]  # fmt: skip


def text_of(candidate: Candidate, sources: Sequence[Source]) -> str:
    """Its words as they stand."""
    return sources[candidate.source].passage.text[candidate.start : candidate.end].strip()


def _idle(row: Row, tokens: Sequence[str]) -> float:
    """The penalty of a row of which the question has every word, or that may only name columns."""
    says_nothing = not set(segment(" ".join(row.cells))) - set(tokens)
    return HEADING_PENALTY if says_nothing or row.doubtful else 0.0


def _empty(sentence: str, tokens: Sequence[str]) -> float:
    """The penalty of a heading or of a sentence that only says the question again."""
    plain = sentence.strip()
    bare = plain.strip("#*_ \t")
    if len(set(segment(bare)) - set(tokens)) < FEWEST_NEW and not values_of(bare).numbers:
        return HEADING_PENALTY
    return HEADING_PENALTY if is_heading(plain) else 0.0


def is_heading(sentence: str) -> bool:
    """Whether it is short and ends like no sentence, and is no field with its value either."""
    bare = sentence.strip("#*_ \t")
    heading = sentence.startswith("#") or (len(bare) < SHORT_LINE and not _ENDS.search(bare))
    return heading and not _FIELD.search(bare)


def _years(text: str) -> frozenset[int]:
    found = values_of(text)
    years = {date.year for date in found.dates if date.year}
    return frozenset(years | {int(n.value) for n in found.numbers if not n.unit and 1900 <= n.value <= 2100})


def _other_year(sentence: str, years: frozenset[int]) -> bool:
    """Whether the question is about one year and the sentence about others only."""
    own = _years(sentence) if years else frozenset()
    return bool(own) and not own & years


def _cue(question: str, sentence: str, units_follow: bool) -> float:
    """1.0 when the sentence has the kind of thing the question asks for, less for a figure in other units, else 0.0.

    units_follow: figures stand with their units; those of a row may stand in the names of its columns.
    """
    if _WHEN.search(question):
        found = values_of(sentence)
        return float(bool(found.dates) or any(1000 <= n.value <= 2100 for n in found.numbers))
    if _HOW_MANY.search(question):
        numbers = values_of(sentence).numbers
        units = _units_asked(question) if units_follow else frozenset()
        other = bool(units) and not any(number.unit in units for number in numbers)
        return bool(numbers) * (OTHER_UNIT if other else 1.0)
    if _WHO.search(question):
        asked = set(names_of(question))
        return float(any(name not in asked for name in names_of(sentence)))
    return 0.0


def _units_asked(question: str) -> frozenset[str]:
    """Units one of which the figure that a question asks for must have; empty where it may have any or none."""
    counted = _COUNTED.search(question)
    unit = unit_after(question, counted.end()) if counted else ""
    if unit:
        return TIME_UNITS if unit in TIME_UNITS else frozenset({unit})
    if _HOW_LONG.search(question):
        return TIME_UNITS | LENGTH_UNITS
    return frozenset({"percent"}) if _WHAT_SHARE.search(question) else frozenset()
