"""A sentence beside the one of its source that says nearly the same: whose figure, whose name, in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chat.facts.numerals import arabic
from chat.facts.values import Date, Number, Values, squash, values_of
from chat.verification.bound import bound_problem
from chat.verification.comparison import comparison_problem
from chat.verification.exchanged import (
    FEWEST,
    SAME_WORDS,
    all_names,
    exchanged_problem,
    formed_names,
    known_end,
    replaced_problem,
)
from chat.verification.opposites import opposite_problem
from chat.verification.places import Part, same_number
from chat.verification.roles import apart_problem, role_problem
from core.text import HAN, present, segment

NEAR = 0.85  # this and the shares below: docs/decisions/0022-answers.md
SAME_SAYING = 0.6
SAME_VALUE = 0.6
SAME_CLAUSE = 0.7
CLEARLY_LESS = 0.75
CLAUSE_LESS = 0.5
FEWEST_IN_CLAUSE = 3
FEWEST_BESIDE = 4
"""Words beside a name, at least, by which it is told what is said of it."""
MOST_PARTS = 16
_CLAUSE = re.compile(r"[，；;。！？]|(?<!\d),|,(?!\d)|(?<=[a-z]) (?:while|whereas|and|but) |[:：](?=\s)|\s\|\s")
_COMPARES = re.compile(r"\b(?:compared|than|versus|vs|whereas|while|both)\b|相比|比|而|均|更", re.IGNORECASE)
_HAN_DATE = r"\d{4}年(?:\d{1,2}月)?(?:\d{1,2}[日号])?"
_MONTH_YEAR = r"(?:[A-Z][a-z]+ (?:\d{1,2}, )?|\d{1,2}(?:st|nd|rd|th)? (?:of )?[A-Z][a-z]+,? )?\d{4}"
_SPAN = re.compile(rf"({_HAN_DATE})[至到—-]({_HAN_DATE})|from ({_MONTH_YEAR}) to ({_MONTH_YEAR})")


@dataclass(frozen=True, slots=True)
class _Near:
    """A sentence of the source with the share of the statement's words that it has."""

    part: Part
    share: float


def aligned_problem(sentence: str, parts: Sequence[Part]) -> str:
    """Why the source's sentence that says nearly the same does not say this; "" when it does, or none comes close.

    What is compared: words with an opposite, figures and years that stand there for something else, names of others,
    and the order of two figures or names that changed places.
    """
    backwards = _backwards(sentence) or comparison_problem(sentence)
    tokens = _content(sentence)
    if backwards or len(tokens) < FEWEST or not parts:
        return backwards
    near = _nearest(parts, tokens)
    problem = ""
    if near[0].share >= SAME_SAYING:
        close = [one.part.text for one in near if one.share >= NEAR * near[0].share]
        problem = (
            opposite_problem(sentence, close)
            or replaced_problem(sentence, close)
            or _other_problem(sentence, near, parts)
        )
        if not problem and near[0].share >= SAME_WORDS:
            problem = exchanged_problem(sentence, close)
    return (
        problem
        or bound_problem(sentence, [part.text for part in parts])
        or _name_elsewhere(sentence, parts)
        or role_problem(sentence, parts)
        or _owners_problem(sentence, parts)
        or _clause_problem(sentence, parts)
    )


def _content(text: str) -> list[str]:
    return [t for t in dict.fromkeys(segment(text)) if not any(c.isdigit() for c in t)]


def _nearest(parts: Sequence[Part], tokens: Sequence[str]) -> list[_Near]:
    found = [_Near(part, len(present(part.text, tokens)) / len(tokens)) for part in parts]
    return sorted(found, key=lambda one: -one.share)[:MOST_PARTS]


def _other_problem(sentence: str, near: Sequence[_Near], parts: Sequence[Part]) -> str:
    """A value or name that the closest sentence lacks, where it has another one that the statement lacks."""
    best = near[0]
    close = [one.part.text for one in near if one.share >= CLEARLY_LESS * best.share]
    heads = " ".join(dict.fromkeys(part.head for part in parts)) + "\n" + parts[0].text.split("\n", 1)[0]
    said, there = values_of(sentence), values_of(best.part.text)
    joined = values_of("\n".join(close))
    head = values_of(heads)
    for number in said.numbers:
        if any(same_number(number, other) for other in (*joined.numbers, *head.numbers)) or _listed(number, sentence):
            continue
        if any(number.value == date.year for date in (*joined.dates, *head.dates)):
            continue
        rivals = [n for n in there.numbers if n.unit == number.unit and n.value not in {m.value for m in said.numbers}]
        if rivals and _digits(number.shown) and any(_digits(r.shown) for r in rivals):
            return f"“{number.shown}” stands in the source, but where it says this it has “{rivals[0].shown}”."
    for date in said.dates:
        if any(_agree(date, other) for other in (*joined.dates, *head.dates)):
            continue
        if date.year and any(date.year == n.value for n in (*joined.numbers, *head.numbers)):
            continue
        rival = next((d for d in there.dates if _rival(date, d) and not any(_agree(d, s) for s in said.dates)), None)
        if rival is not None:
            return f"“{date.shown}” stands in the source, but where it says this it has “{rival.shown}”."
    return _other_name(sentence, best.part.text, squash("\n".join([*close, heads])))


def _listed(number: Number, sentence: str) -> bool:
    """Whether it only numbers the items of a list."""
    return bool(re.search(rf"(?:^|[:：]\s*){re.escape(number.shown)}[.、)]", sentence))


def _digits(shown: str) -> bool:
    return any(c.isdigit() for c in shown)


def _agree(said: Date, given: Date) -> bool:
    pairs = ((said.year, given.year), (said.month, given.month), (said.day, given.day))
    agreeing = sum(a is not None and a == b for a, b in pairs)
    wanted = min(2, sum(a is not None for a, _ in pairs))
    return all(a is None or b is None or a == b for a, b in pairs) and agreeing >= wanted


def _rival(said: Date, given: Date) -> bool:
    """Whether both give the field by which they differ."""
    pairs = ((said.year, given.year), (said.month, given.month), (said.day, given.day))
    return any(a is not None and b is not None and a != b for a, b in pairs)


def _other_name(sentence: str, best: str, near: str) -> str:
    letters = squash(sentence)
    own = [name for name in all_names(sentence) if squash(name) and squash(name) not in near]
    if not own:
        return ""
    rivals = [name for name in all_names(best) if squash(name) not in letters]
    for name in own:
        if _part_known(name, sentence, near):
            continue
        if any(_alike(name, rival) for rival in rivals):
            return f"“{name}” stands in the source, but not where it says this."
    return ""


def _name_elsewhere(sentence: str, parts: Sequence[Part]) -> str:
    """A name that the sentence or clause which says all else lacks, and which has another name in its place.

    The words of names are left out of what must be alike: a long name that was exchanged would hide what is.
    """
    whole = squash("\n".join(part.text for part in parts))
    heads = " ".join(dict.fromkeys(part.head for part in parts)) + "\n" + parts[0].text.split("\n", 1)[0]
    for clause in dict.fromkeys((sentence, *_clauses(sentence))):
        names = {t for name in formed_names(clause) for t in segment(name)}
        content = _content(clause)
        tokens = [t for t in content if t not in names]
        if not names or len(tokens) < max(FEWEST_BESIDE, len(content) / 2):
            continue
        near = _nearest(parts, tokens)
        if near[0].share < (SAME_SAYING if clause == sentence else SAME_CLAUSE):
            continue
        close = [one.part for one in near if one.share >= CLEARLY_LESS * near[0].share]
        around = squash("\n".join([heads, *(_with_before(part, parts) for part in close)]))
        own = [name for name in formed_names(clause) if (known := known_end(name, whole)) and known not in around]
        rivals = [name for name in formed_names(near[0].part.text) if known_end(name, squash(clause)) != squash(name)]
        for name in own:
            if not _part_known(name, clause, around) and any(_alike(name, rival) for rival in rivals):
                return f"“{name}” stands in the source, but not where it says this."
    return ""


def _with_before(part: Part, parts: Sequence[Part]) -> str:
    """A sentence with the two before it, which may say whom its “it” and “the company” mean."""
    place = parts.index(part)
    return "\n".join(one.text for one in parts[max(0, place - 2) : place + 1] if one.source == part.source)


def _part_known(name: str, sentence: str, near: str) -> bool:
    """Whether a capitalised word beside it belongs to the same name and is known: the name is said more fully."""
    run = re.search(rf"(?:[A-Z][\w.&-]* )*{re.escape(name)}(?: [A-Z][\w.&-]*)*", sentence)
    return run is not None and any(squash(w) in near for w in run.group().split() if w != name and len(w) > 1)


def _alike(name: str, other: str) -> bool:
    """Whether one may stand in the other's place: both Chinese or both not, both anonymised or both not."""
    return bool(HAN.search(name)) == bool(HAN.search(other)) and ("某" in name) == ("某" in other)


def _clause_problem(sentence: str, parts: Sequence[Part]) -> str:
    """A clause that the closest clause of the source turns round, or gives another figure or date for."""
    clauses = [_Clause(clause, values_of(clause), part) for part in parts for clause in _clauses(part.text)]
    known = {t for part in parts for t in _content(part.head)} | {t for n in all_names(sentence) for t in segment(n)}
    for own in _clauses(sentence):
        tokens = [t for t in _content(own) if len(t) > 1]
        if len(tokens) < FEWEST:
            continue
        shares = [len(present(one.text, tokens)) / len(tokens) for one in clauses]
        most = max(shares)
        if len(tokens) >= FEWEST_IN_CLAUSE and most >= SAME_CLAUSE:
            close = [one.text for one, share in zip(clauses, shares, strict=True) if share >= NEAR * most]
            problem = opposite_problem(own, close[:MOST_PARTS])
            if problem:
                return problem
        values = values_of(own)
        if not values.numbers and not values.dates:
            continue
        speaks_of = [t for t in tokens if t not in known]
        if len(speaks_of) >= FEWEST:
            problem = _bound_problem(values, speaks_of, clauses, sentence)
            if problem:
                return problem
    return ""


@dataclass(frozen=True, slots=True)
class _Clause:
    """A clause of a source, with the sentence it stands in."""

    text: str
    values: Values
    part: Part


def _share(text: str, tokens: Sequence[str]) -> float:
    return len(present(text, tokens)) / len(tokens)


def _bound_problem(own: Values, tokens: Sequence[str], clauses: Sequence[_Clause], sentence: str) -> str:
    """A figure or date of a clause which the source gives to another, where the closest one has a rival to it."""
    mine = {n.value for n in own.numbers}
    best, most = _closest(tokens, [one for one in clauses if one.values.numbers])
    for number in own.numbers if best else ():
        if not number.unit or _listed(number, sentence):
            continue
        holding = [one for one in clauses if any(same_number(number, n) for n in one.values.numbers)]
        rivals = [n for n in best.values.numbers if n.unit == number.unit and n.value not in mine] if best else []
        if rivals and _elsewhere(holding, best, tokens, most):
            return f"The source gives “{rivals[0].shown}” for this, and “{number.shown}” for something else."
    if len({one.part.source for one in clauses}) > 1:
        return ""
    best, most = _closest(tokens, [one for one in clauses if one.values.dates])
    for date in own.dates if best else ():
        holding = [one for one in clauses if any(_agree(date, d) for d in one.values.dates)]
        others = [d for d in best.values.dates if _rival(date, d)] if best else []
        others = [d for d in others if not any(_agree(d, o) for o in own.dates)]
        if date.month and others and _elsewhere(holding, best, tokens, most):
            return f"The source gives “{others[0].shown}” for this, and “{date.shown}” for something else."
    return ""


def _closest(tokens: Sequence[str], clauses: Sequence[_Clause]) -> tuple[_Clause | None, float]:
    shares = [_share(one.text, tokens) for one in clauses]
    most = max(shares, default=0.0)
    return (clauses[shares.index(most)], most) if most >= SAME_VALUE else (None, most)


def _elsewhere(holding: Sequence[_Clause], best: _Clause | None, tokens: Sequence[str], most: float) -> bool:
    """Whether every clause with the value has far fewer of these words; of another sentence, all of it counts."""
    shares = [_share(one.text if best and one.part is best.part else one.part.text, tokens) for one in holding]
    return bool(shares) and max(shares) <= CLAUSE_LESS * most


def _owners_problem(sentence: str, parts: Sequence[Part]) -> str:
    """With several sources: a figure or date that none of those has which name whom the clause names."""
    texts: dict[int, str] = {}
    for part in parts:
        texts[part.source] = f"{texts.get(part.source, part.head)}\n{part.text}"
    if len(texts) < FEWEST:
        return ""
    apart = apart_problem(sentence, texts)
    if apart:
        return apart
    letters = {source: squash(text) for source, text in texts.items()}
    for own in _clauses(sentence):
        owners = [frozenset(s for s in texts if squash(name) in letters[s]) for name in all_names(own)]
        owners = [one for one in owners if 0 < len(one) < len(texts)]
        values = values_of(own)
        if len(set(owners)) != 1 or not (values.dates or values.numbers) or _COMPARES.search(sentence):
            continue
        for date in values.dates:
            holders = {s for s in texts if date.month and any(_agree(date, d) for d in values_of(texts[s]).dates)}
            if holders and not holders & owners[0]:
                return f"“{date.shown}” stands in another source than the one that this names."
        for number in values.numbers:
            holders = {s for s in texts if any(same_number(number, n) for n in values_of(texts[s]).numbers)}
            if number.unit and holders and not holders & owners[0]:
                return f"“{number.shown}” stands in another source than the one that this names."
    return ""


def _backwards(sentence: str) -> str:
    """A span of time whose end lies before its beginning."""
    for match in _SPAN.finditer(arabic(sentence)):
        first, last = (
            _only(values_of(part if "年" in part else f"in {part}").dates) for part in match.groups() if part
        )
        if first and last and first.year and last.year:
            begin, end = (first.year, first.month or 0, first.day or 0), (last.year, last.month or 0, last.day or 0)
            fields = min(sum(v > 0 for v in begin), sum(v > 0 for v in end))
            if begin[:fields] > end[:fields]:
                return f"“{match.group()}” ends before it begins."
    return ""


def _only(dates: Sequence[Date]) -> Date | None:
    return dates[0] if len(dates) == 1 else None


def _clauses(text: str) -> Iterator[str]:
    for piece in _CLAUSE.split(text):
        if piece and re.search(r"\w", piece):
            yield piece.strip()
