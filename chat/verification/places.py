"""Do the figures of a sentence stand in its sources, and where these speak of what the sentence speaks of?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from chat.facts.values import Date, Number, Values, squash, values_of
from core.text import present, segment, split_sentences

CLEAR_STATEMENT = 0.6  # this and the share below: docs/decisions/0010-quotes-and-checks.md
ELSEWHERE = 0.6
FEWEST_TOKENS = 3
LONGEST_HEAD = 120
MOST_COUNTED = 20
CLOSING = 3
"""Sentences at the end of a document whose date and names hold for all of it."""
ROUNDING = Decimal("0.05")
_CLAUSE = re.compile(r"[，；;。]|, (?!\d{4}\b)| and | while ")
_UNITS = frozenset(("年", "月", "日", "元", "亿元", "万元", "人", "million", "billion", "year"))
_LIST_BREAK = re.compile(r"[、；;]|,(?!\d)|，")
_LAST_TWO = re.compile(r"\w.* (?:and|or) \w|\w[和与及]\w|以及")


@dataclass(frozen=True, slots=True)
class Part:
    """A sentence of a source. head: the source's first line, which says what all of it is about."""

    text: str
    source: int
    head: str = ""


def parts_of(sources: Sequence[str]) -> list[Part]:
    """Sentences of all sources, in order."""
    found = []
    for number, source in enumerate(sources):
        head = "" if len(sources) < 2 else source.lstrip().split("\n", 1)[0]
        for start, end in split_sentences(source):
            found.append(Part(source[start:end], number, head if len(head) <= LONGEST_HEAD else ""))
    return found


def value_problem(said: Values, given: Values, sentence: str = "") -> str:
    """The first date or number that the source does not have; "" when it has them all.

    A count also stands when the sentence lists as many things after it, a sum when its terms follow it.
    """
    for date in said.dates:
        if not any(_same_date(date, other) for other in given.dates) and not _year_alone(date, given):
            return f"The date “{date.shown}” is not in the source."
    years = {date.year for date in given.dates}
    for number in said.numbers:
        if number.value in years and not number.unit:
            continue
        same = [other for other in given.numbers if same_number(number, other)]
        if any(not number.unit or other.unit in ("", number.unit) for other in same):
            clash = [other.unit for other in same if other.unit and number.unit]
            if not clash or number.unit in clash:
                continue
        if sentence and (_counts(number, sentence) or _sums(number, said, given)):
            continue
        return _absent(number, same)
    return ""


def _absent(number: Number, same: Sequence[Number]) -> str:
    other = next((g.unit for g in same if g.unit and number.unit), "")
    if other:
        return f"“{number.shown}” stands in the source with another unit: {other}, not {number.unit}."
    return f"The number “{number.shown}” is not in the source."


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


def same_number(said: Number, given: Number) -> bool:
    """Whether the values agree, units aside; what is said may be a rounding of what is given."""
    if said.value == given.value:
        return True
    if not said.about or abs(said.value - given.value) > abs(given.value) * ROUNDING:
        return False
    # rounded is what has fewer digits: “about 3.7” for 3.65, but never “about 3,746” for 3,745
    return said.step > given.step and abs(said.value - given.value) < said.step


def _year(number: Number) -> bool:
    """Whether a number may be a year: it often stands once, in a heading, for all that follows."""
    return not number.unit and number.value == int(number.value) and 1900 <= number.value <= 2100


def _counts(number: Number, sentence: str) -> bool:
    """Whether the sentence itself lists as many things as it counts: “four incidents: …, …, … and …”."""
    if number.value != int(number.value) or not 2 <= number.value <= MOST_COUNTED:
        return False
    after = sentence.partition(number.shown)[2]
    listed = re.split(r"[:：]|包括|分别(?:是|为)?|including|namely", after, maxsplit=1)
    if len(listed) < 2:
        return False
    plain = re.sub(r"\([^)]*\)|（[^）]*）|, \d{4}", "", listed[1])
    items = [item for item in _LIST_BREAK.split(plain) if re.search(r"\w", item)]
    return int(number.value) in (len(items), len(items) + bool(_LAST_TWO.search(items[-1])) if items else 0)


def _sums(number: Number, said: Values, given: Values) -> bool:
    terms = [n for n in said.numbers if n is not number and any(same_number(n, g) for g in given.numbers)]
    later = [n.value for n in terms if said.numbers.index(n) > said.numbers.index(number)]
    return len(later) > 1 and sum(later) == number.value


def place_problem(sentence: str, parts: Sequence[Part]) -> str:
    """A date or number that the source has, but in a statement about something else than this clause says."""
    # A sentence without a date of its own goes on about the date before it.
    wide = [
        part.text if i == 0 or values_of(part.text).dates or parts[i - 1].source != part.source
        else parts[i - 1].text + part.text
        for i, part in enumerate(parts)
    ]  # fmt: skip
    for clause, tokens in _clauses(sentence):
        shares = [
            len(present(f"{part.head}\n{text}", tokens)) / len(tokens) for part, text in zip(parts, wide, strict=True)
        ]
        best: dict[int, float] = {}
        for part, share in zip(parts, shares, strict=True):
            best[part.source] = max(best.get(part.source, 0.0), share)
        said = values_of(clause)
        # A year alone often stands once, in a heading, for all that follows.
        alone = [(d.shown, Values((), (d,))) for d in said.dates if d.month]
        alone += [(n.shown, Values((n,), ())) for n in said.numbers if not _counts(n, sentence) and not _year(n)]
        for shown, one in alone:
            here = [i for i, text in enumerate(wide) if not value_problem(one, values_of(text))]
            if any(len(words_of(parts[i].text)) < FEWEST_TOKENS or _closing(parts, i) for i in here):
                continue  # a line with nothing but a date, or at the end as under a letter, speaks of all of it
            if here and all(
                best[parts[i].source] >= CLEAR_STATEMENT and shares[i] < ELSEWHERE * best[parts[i].source] for i in here
            ):
                return f"“{shown}” stands in the source, but not where it speaks of this."
    return ""


def _closing(parts: Sequence[Part], index: int) -> bool:
    """Whether a part is one of the last of a source that has many."""
    number = parts[index].source
    last = max(i for i, part in enumerate(parts) if part.source == number)
    return last - index < CLOSING and sum(part.source == number for part in parts) > 4 * CLOSING


def owner_problem(sentence: str, parts: Sequence[Part]) -> str:
    """In a sentence that names two or more of its sources by title: a figure that the named one does not have."""
    letters = squash(sentence)
    heads = {part.source: squash(part.head) for part in parts if len(squash(part.head)) > 2}
    if len({head for head in heads.values() if head in letters}) < 2:
        return ""
    texts = {source: "".join(part.text for part in parts if part.source == source) for source in heads}
    owner: set[int] = set()
    for clause in _CLAUSE.split(sentence):
        owner = {source for source, head in heads.items() if head in squash(clause)} or owner
        if len({heads[source] for source in owner}) != 1:
            continue
        problem = value_problem(values_of(clause), values_of("\n".join(texts[source] for source in sorted(owner))))
        if problem:
            return problem
    return ""


def rival_problem(sentence: str, parts: Sequence[Part]) -> str:
    """A number that the source gives to another of two parallel statements: “Domestic: 14 days, international: 21”.

    Two sentences of a source are parallel when, numbers aside, they share at least half of their words. The one
    without the said number is the rival when it has every word of the answer that the other has, and more.
    """
    numbered = [(part, words_of(part.text)) for part in parts if values_of(part.text).numbers]
    for clause, tokens in _clauses(sentence):
        for number in values_of(clause).numbers:
            one = Values((number,), ())
            here = [(p.source, words) for p, words in numbered if not value_problem(one, values_of(p.text))]
            for part, words in numbered:
                said = words & set(tokens)
                if here and all(
                    part.source == source and words != other and _parallel(words, other) and other & set(tokens) < said
                    for source, other in here
                ):
                    return f"“{number.shown}” stands in the source, but not for this: “{part.text.strip()[:80]}”."
    return ""


def words_of(text: str) -> frozenset[str]:
    """Search tokens of a text without those that have a digit."""
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
