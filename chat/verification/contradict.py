"""Do two documents give different numbers or dates for the asked thing? Found by rule, meant to be rarely wrong."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from chat.cite import citation_of
from chat.facts.numerals import arabic
from chat.facts.values import Date, Number, Values, names_of, squash, tagged, values_of
from core.text import HAN, fold, present, segment, split_sentences
from core.types import Citation, Contradiction, ScoredChunk, StoredChunk

MOST_RESULTS = 12
MOST_FOUND = 3
SAME_WORDS = 0.5  # this and the shares below: docs/decisions/0020-contradictions.md
INSIDE = 0.6
ASKED = 0.6
NEARLY_SAME = 0.8
FEWEST_COMMON = 2
LONGEST = 300

_THING = r"\s*-?\s*([\u4e00-\u9fff]{1,2}|[a-z]{3,})"
_AT_LEAST = re.compile(
    r"至少|不少于|不低于|以上|最低|最少|起|at least|minimum|not less than|or more|from", re.IGNORECASE
)
_AT_MOST = re.compile(
    r"至多|不超过|不多于|不高于|以下|以内|最高|最多|at most|maximum|up to|not exceed|no more than|within", re.IGNORECASE
)
_SHOWN_UNIT = (
    r"(?:个?工作日|个月|小时|分钟|美元|[天日年月元人岁个次条名件台倍家周]|"
    r"\s?-?(?:days?|weeks?|months?|years?|hours?|minutes?)\b)?"
)
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d{2}(?!\d)")
_PERIOD = re.compile(
    r"第?[一二三四1-4]季度|[上下]半年|\bQ[1-4]\b|\bH[12]\b|first half|second half|\bv\d[\w.]*|版本?\s*\d[\d.]*|"
    r"\bversion\s*\d[\d.]*|(?:first|second|third|fourth) quarter",
    re.IGNORECASE,
)
_QUANTIFIER_WORDS = (
    "day week month year hour minut employe compani percent per each total 天 日 周 月 年 小时 分钟 元 公司 员工"
)
_QUANTIFIERS = frozenset(_QUANTIFIER_WORDS.split())
_GENERAL_WORDS = (
    "receiv get have given grant entitl allow must shall may need requir can is are be take pay paid cost provid offer "
    "amount total set employe staff member worker compani our firm"
)
_GENERAL = frozenset(_GENERAL_WORDS.split())
"""Stems that two ways of saying one thing may differ in."""


@dataclass(frozen=True)
class _Statement:
    """A sentence with values, and where it stands. around: title and headings. passage: the chunk's text."""

    chunk: StoredChunk
    text: str

    @cached_property
    def values(self) -> Values:
        return values_of(self.text)

    @cached_property
    def words(self) -> frozenset[str]:
        dated = {token for date in self.values.dates for token in segment(date.shown)}
        return frozenset(t for t in segment(self.text) if t not in dated and not any(c.isdigit() for c in t))

    @property
    def around(self) -> str:
        chunk = self.chunk  # apart, so that `第二版` and a path that begins with a digit are no version
        return " | ".join((chunk.title, chunk.path, *chunk.locator.heading, chunk.context))

    @cached_property
    def years(self) -> frozenset[str]:
        """Years the statement is about: its own, else those of headings and title, else of its passage."""
        for text in (self.text, self.around, self.chunk.text):
            found = frozenset(_YEAR.findall(fold(text)))
            if found:
                return found
        return frozenset()

    @cached_property
    def periods(self) -> frozenset[str]:
        return frozenset(squash(m.group()) for m in _PERIOD.finditer(f"{self.text} | {self.around}"))

    @cached_property
    def units(self) -> dict[str, set[Number]]:
        """Unit to the numbers that have it; numbers without a unit are left out."""
        found: dict[str, set[Number]] = {}
        for number, unit in _with_units(self.text):
            found.setdefault(unit, set()).add(number)
        return found


def find_contradictions(
    question: str, citations: Sequence[Citation], results: Sequence[ScoredChunk]
) -> tuple[list[Contradiction], list[Citation]]:
    """Contradictions between what an answer cites and other documents among its results, and the citations to add.

    Two sentences contradict when they stand in different documents, both speak of what the question asks, share most
    of their words, name the same things, years, periods and bounds, and differ in exactly one number of one unit or
    in exactly one date. At most three, in the order of the citations.
    """
    tokens = frozenset(segment(question))
    chunks = {item.chunk.id: item.chunk for item in results}
    others = [s for item in results[:MOST_RESULTS] for s in _statements(item.chunk)]
    found: list[Contradiction] = []
    added: list[Citation] = []
    seen: set[tuple[str, str]] = set()
    for citation in citations:
        chunk = chunks.get(citation.chunk_id)
        if chunk is None:
            continue
        for own in _statements(chunk, citation.quote):
            for other in others:
                if other.chunk.document_id == citation.document_id:
                    continue
                clash = _clash(own, other, tokens)
                key = (other.chunk.document_id, clash[1] if clash else "")
                if clash is None or key in seen or len(found) == MOST_FOUND:
                    continue
                seen.add(key)
                n = _number_of(other, [*citations, *added])
                if n is None:
                    n = max(c.n for c in [*citations, *added]) + 1
                    added.append(citation_of(n, other.chunk, other.text, "conflict"))
                found.append(Contradiction(citation.n, n, clash[0], clash[1], clash[2]))
    return found, added


def _statements(chunk: StoredChunk, text: str | None = None) -> Iterator[_Statement]:
    body = chunk.text if text is None else text
    for start, end in split_sentences(body):
        sentence = " ".join(body[start:end].split())
        if len(sentence) <= LONGEST and re.search(r"\d|[一二三四五六七八九十百千万]", arabic(sentence)):
            yield _Statement(chunk, sentence)


def _clash(own: _Statement, other: _Statement, tokens: frozenset[str]) -> tuple[str, str, str] | None:
    """(own value, other value, kind) when the two contradict each other."""
    if len(own.words & other.words) < FEWEST_COMMON:
        return None
    kind, difference = "number", _number_difference(own, other)
    if difference is None:
        kind, difference = "date", _date_difference(own.values, other.values)
    if difference is None or not _same_subject(own, other, tokens):
        return None
    if kind == "number" and not (_same_years(own, other) and _same_dates(own.values, other.values)):
        return None
    return difference[0], difference[1], kind


def _same_years(own: _Statement, other: _Statement) -> bool:
    """Whether both may speak of one time: equal years, or one is of a dated edition and the other says no year.

    Then both must be nearly the same sentence, as rules that were copied and changed are.
    """
    if own.years == other.years:
        return True
    if (own.years and other.years) or _YEAR.search(own.text) or _YEAR.search(other.text):
        return False
    dated = own if own.years else other
    if not _YEAR.search(fold(dated.around)):
        return False
    return len(own.words & other.words) >= NEARLY_SAME * len(own.words | other.words)


def _number_difference(own: _Statement, other: _Statement) -> tuple[str, str] | None:
    """The values as written, when one unit has one number on either side and they differ, and all else agrees."""
    clashes = []
    for unit in own.units.keys() & other.units.keys():
        left = {number.value: number for number in own.units[unit]}
        right = {number.value: number for number in other.units[unit]}
        if left.keys() == right.keys():
            continue
        if len(left) > 1 or len(right) > 1:
            return None
        clashes.append((next(iter(left.values())), next(iter(right.values())), unit))
    if len(clashes) != 1:
        return None
    one, two, unit = clashes[0]
    rounded = (one.about or two.about) and abs(one.value - two.value) <= max(one.value, two.value) * Decimal("0.1")
    if rounded or _nearly(one.value, two.value):
        return None
    return written(own.text, one), written(other.text, two)


def _nearly(one: Decimal, two: Decimal) -> bool:
    """Two writings of one figure: 3.46 and 3.5."""
    places = min(_places(one), _places(two))
    return _places(one) != _places(two) and round(one, places) == round(two, places)


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _date_difference(own: Values, other: Values) -> tuple[str, str] | None:
    """Two dates of the same fineness, the only ones of their sentences, that differ; numbers beside them agree."""
    left, right = {_fields(d): d for d in own.dates}, {_fields(d): d for d in other.dates}
    if len(left) != 1 or len(right) != 1 or left.keys() == right.keys():
        return None
    if {n.value for n in own.numbers} != {n.value for n in other.numbers}:
        return None
    (one_fields, one), (two_fields, two) = next(iter(left.items())), next(iter(right.items()))
    if [f is None for f in one_fields] != [f is None for f in two_fields]:
        return None
    return one.shown, two.shown


def _fields(date: Date) -> tuple[int | None, int | None, int | None]:
    return date.year, date.month, date.day


def _same_dates(own: Values, other: Values) -> bool:
    return {_fields(d) for d in own.dates} == {_fields(d) for d in other.dates}


def _same_subject(own: _Statement, other: _Statement, tokens: frozenset[str]) -> bool:
    common = own.words & other.words
    smaller, both = min(len(own.words), len(other.words)), len(own.words) + len(other.words)
    if 2 * len(common) < SAME_WORDS * both or len(common) < INSIDE * smaller:
        return False
    if not common - _QUANTIFIERS:
        return False
    asked_own = present(f"{own.around} {own.text}", tokens)
    asked_other = present(f"{other.around} {other.text}", tokens)
    if len(asked_own) < ASKED * len(tokens) or (asked_own - _QUANTIFIERS) != (asked_other - _QUANTIFIERS):
        return False
    if own.periods != other.periods or _bounds(own.text) != _bounds(other.text):
        return False
    return not _rivals(own, other) and _same_names(own, other)


def _bounds(text: str) -> tuple[bool, bool]:
    return bool(_AT_LEAST.search(text)), bool(_AT_MOST.search(text))


def _rivals(own: _Statement, other: _Statement) -> bool:
    """Parallel statements on two kinds of one thing: sick leave and annual leave, 病假 and 年假, cabin and hold."""
    left, right = own.words - other.words, other.words - own.words
    if _rival_compound(own.text, other.text) or _rival_compound(other.text, own.text):
        return True
    before_own, before_other = _before(own.text), _before(other.text)
    for head in own.words & other.words - _QUANTIFIERS:
        one, two = before_own.get(head, set()), before_other.get(head, set())
        if one and two and not one & two and one <= left and two <= right:
            return True
    swapped_out, swapped_in = left - _GENERAL, right - _GENERAL
    latin = not any(HAN.search(word) for word in swapped_out | swapped_in)
    return latin and len(swapped_out) == len(swapped_in) == 1


def _rival_compound(text: str, other: str) -> bool:
    """Whether a noun that only this sentence has ends like one of the other: 病假 here, 年假 there."""
    nouns = {word for word, tag in tagged(text) if tag[0] == "n" and len(word) > 1}
    return any(
        noun[-2:] not in other and re.search(rf"[\u4e00-\u9fff]{re.escape(noun[-1])}", other)
        for noun in nouns
        if HAN.search(noun)
    )


def _before(text: str) -> dict[str, set[str]]:
    """Token to the tokens right before it."""
    tokens = segment(text)
    found: dict[str, set[str]] = {}
    for first, second in itertools.pairwise(tokens):
        if not any(c.isdigit() for c in first + second):
            found.setdefault(second, set()).add(first)
    return found


def _same_names(own: _Statement, other: _Statement) -> bool:
    """Neither sentence names what the other's passage does not; and their passages are not about different names."""
    for one, two in ((own, other), (other, own)):
        letters = squash(f"{two.around} {two.chunk.text}")
        if any(squash(name) not in letters for name in names_of(one.text) if not values_of(name).numbers):
            return False
    mine, theirs = _subjects(own), _subjects(other)
    return not mine or not theirs or bool(mine & theirs)


def _subjects(statement: _Statement) -> set[str]:
    """Names of the passage; with Chinese of the title, too, where English puts a capital on every word."""
    title = statement.chunk.title if HAN.search(statement.chunk.title) else ""
    text = f"{title}\n{statement.chunk.text}"[:1500]
    # sentence by sentence: the first word of one has a capital without being a name
    return {squash(name) for start, end in split_sentences(text) for name in names_of(text[start:end])}


def _with_units(text: str) -> Iterator[tuple[Number, str]]:
    """Numbers of a text with their unit, which is the word behind them where no unit is known; others are left out."""
    folded = arabic(fold(text))
    for number in values_of(text).numbers:
        if number.unit:
            yield number, number.unit
            continue
        shown = fold(number.shown)
        match = re.search(rf"(?<![\d.]){re.escape(shown)}{_THING}", folded)
        if match:
            word = match.group(1)
            yield number, word if HAN.match(word) else next(iter(segment(word)), word)


def written(text: str, number: Number) -> str:
    """The number with its unit as the text writes it, Chinese numerals in digits."""
    if number.unit == "percent":
        return f"{number.value:f}%"
    folded = arabic(unicodedata.normalize("NFKC", text))
    match = re.search(r"[$€£¥]?\s?" + re.escape(number.shown) + _SHOWN_UNIT, folded)
    return match.group().strip() if match else number.shown


def _number_of(statement: _Statement, citations: Sequence[Citation]) -> int | None:
    words = squash(statement.text)
    return next(
        (c.n for c in citations if c.document_id == statement.chunk.document_id and words in squash(c.quote)), None
    )
