"""Sentences made false with nothing but what their own passage says: another of its figures, dates or names."""

from __future__ import annotations

# ruff: noqa: E501  a table of words is read by its rows
import random
import re
from collections.abc import Callable, Sequence

from evals.changes_words import Edit

_NUMBER = re.compile(
    r"(?<![A-Za-z0-9.,/:第-])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d:/-])|(?<![A-Za-z0-9.,/:第-])\d+(?:\.\d+)?(?![\d:/-])"
)
_YEAR = re.compile(r"(?<![\d.,])(?:1[89]|20)\d\d(?=年|\b)(?![.,]\d)")
_UNIT = re.compile(
    r"\s?(?:个?百分点|percentage points|percent|per cent|[%％‰]|万?亿?美?元|万元|亿元|[年月日天人次名个条项岁倍吨米时分]|"
    r"(?:million|billion|thousand|trillion)(?: \w+)?|[a-z]+)",
    re.IGNORECASE,
)
_ONLY_LIST = re.compile(r"[\s,，、;；:：()（）/&-]*(?:and|or|和|与|及|或|以及|至|到|vs\.?)?[\s,，、;；:：()（）/&$-]*")
_BETWEEN = re.compile(r"\b[Bb]etween\b|之间|介于")


def other_number(sentence: str, source: str, rng: random.Random) -> Edit | None:
    """A figure with the same unit that the passage gives for something else."""
    own = {m.group() for m in _NUMBER.finditer(sentence)}
    around = [(m.group(), _unit(source, m)) for m in _NUMBER.finditer(source) if not _yearlike(source, m)]
    choices = []
    for match in _NUMBER.finditer(sentence):
        unit = _unit(sentence, match)
        if not unit or _yearlike(sentence, match):
            continue
        others = sorted({n for n, u in around if u == unit and n not in own})
        if others:
            choices.append((*match.span(), rng.choice(others)))
    return rng.choice(choices) if choices else None


def other_year(sentence: str, source: str, rng: random.Random) -> Edit | None:
    """A year of the passage that stands there for something else."""
    own = {m.group() for m in _YEAR.finditer(sentence)}
    others = sorted({m.group() for m in _YEAR.finditer(source)} - own)
    places = list(_YEAR.finditer(sentence))
    return (*rng.choice(places).span(), rng.choice(others)) if places and others else None


def other_name(
    sentence: str,
    source: str,
    names: Callable[[str], Sequence[re.Match[str]]],
    kind: Callable[[str], str],
    rng: random.Random,
) -> Edit | None:
    """Somebody else of the same passage. names: finds them; kind: those that may stand in for one another."""
    found = [m for m in names(sentence) if m.group() in source]
    if not found:
        return None
    match = rng.choice(found)
    word = match.group()
    others = {m.group() for line in re.split(r"(?<=[。.!?！？\n])", source) for m in names(line)}
    fitting = sorted(
        n
        for n in others
        if n not in sentence and word not in n and kind(n) == kind(word) and not set(n.split()) & set(sentence.split())
    )
    return (*match.span(), rng.choice(fitting)) if fitting else None


def exchanged_names(
    sentence: str, names: Callable[[str], Sequence[re.Match[str]]], kind: Callable[[str], str], rng: random.Random
) -> str | None:
    """Two names of the sentence in each other's place, where they are not members of one list."""
    return _exchanged(sentence, list(names(sentence)), lambda m: kind(m.group()), rng)


def exchanged_numbers(sentence: str, rng: random.Random) -> str | None:
    """Two figures of the sentence in each other's place: from 5 to 7, from 7 to 5."""
    found = [m for m in _NUMBER.finditer(sentence) if _unit(sentence, m) or _yearlike(sentence, m)]
    return _exchanged(sentence, found, lambda m: _unit(sentence, m), rng)


def _exchanged(
    sentence: str, found: Sequence[re.Match[str]], kind: Callable[[re.Match[str]], str], rng: random.Random
) -> str | None:
    if _BETWEEN.search(sentence):
        return None
    pairs = [
        (a, b)
        for i, a in enumerate(found)
        for b in found[i + 1 : i + 3]
        if a.end() <= b.start()
        and a.group() != b.group()
        and kind(a) == kind(b)
        and a.group()[:4] != b.group()[:4]
        and not set(a.group().split()) & set(b.group().split())
        and not _ONLY_LIST.fullmatch(re.sub(r"^\s?\S{0,3}?(?=[、,，和与及至到])", "", sentence[a.end() : b.start()]))
    ]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    return sentence[: a.start()] + b.group() + sentence[a.end() : b.start()] + a.group() + sentence[b.end() :]


def _unit(text: str, match: re.Match[str]) -> str:
    unit = _UNIT.match(text, match.end())
    sign = text[match.start() - 1 : match.start()]
    return (sign if sign in "$€£¥" else "") + (unit.group().strip() if unit else "")


def _yearlike(text: str, match: re.Match[str]) -> bool:
    return bool(re.fullmatch(r"(?:1[89]|20)\d\d", match.group())) or bool(re.match(r"\s?[年月日]", text[match.end() :]))
