"""Names side by side as the source never has them: the other way round, or half of one with half of another."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from chat.facts.values import is_name

_NAME = r"[A-Z][A-Za-z’'&-]*[A-Za-z]"
_PAIR = re.compile(rf"\b(?P<one>{_NAME})(?P<between> of (?:the )?|, | )(?=(?P<other>{_NAME})\b)")
_LIST = re.compile(rf"(?:{_NAME}(?: {_NAME})*, )+(?:and|or) |{_NAME},? (?:and|or) {_NAME}")
"""Members of a list, which may stand in any order."""
_CHAIN = re.compile(r"\b[A-Z][a-z]+(?:, [A-Z][a-z]+){2}\b(?!,? (?:and|or)\b|, [A-Z])")
_MIDDLE = r"(?:[\s.,'’&-]+(?:of|and|the|for|[A-Z][\w.'’&-]*))*?[\s.,'’&-]+"


def beside_problem(sentence: str, source: str) -> str:
    """Two names of a sentence that the source has beside each other in another order, or each beside others alone."""
    lists = [range(*m.span()) for m in _LIST.finditer(sentence)]
    for match in _PAIR.finditer(sentence):
        between = match["between"]
        one, other = (re.sub(r"[’']s?$", "", match[name]) for name in ("one", "other"))
        if any(match.start() in place for place in lists) or not is_name(one) or not is_name(other):
            continue
        if one == other or _has(source, one, between, other):
            continue
        if _has(source, other, between, one) or (between == " " and _halves(source, one, other)):
            return f"“{one}{between}{other}” is not in the source."
        others = between.startswith(" of") and next(_with(source, rf"{_NAME}{re.escape(between)}", other), "")
        if others and next(_with(source, "", one), ""):
            return f"“{one}{between}{other}” is not in the source."
    return _chain_problem(sentence, source)


def _chain_problem(sentence: str, source: str) -> str:
    """A place “Town, District, Court” of which the source has two parts, never beside one another."""
    for match in _CHAIN.finditer(sentence):
        for one, other in itertools.pairwise(match.group().split(", ")):
            if (
                not is_name(one)
                or not is_name(other)
                or _has(source, one, ", ", other)
                or _has(source, other, ", ", one)
            ):
                continue
            if all(next(_with(source, "", name), "") for name in (one, other)) and any(
                re.search(rf"\b(?i:{name}),\s+[A-Z]|[A-Z]\w*,\s+(?i:{name})\b", source) for name in (one, other)
            ):
                return f"“{one}, {other}” is not in the source."
    return ""


def _has(source: str, one: str, between: str, other: str) -> bool:
    gap = r"[\s,*]+" if between == ", " else r"\s+(?:of\s+)?(?:the\s+)?" if "of" in between else r"[\s*-]+"
    return bool(re.search(rf"\b{re.escape(one)}{gap}{re.escape(other)}\b", source, re.IGNORECASE))


def _halves(source: str, one: str, other: str) -> bool:
    """Whether these are parts of two names: never in one run of capitals, and one of them never without its own."""
    if re.search(rf"\b(?i:{one}){_MIDDLE}(?i:{other})\b", source):
        return False
    if re.search(rf"\b(?:{one.lower()}|{other.lower()})\b", source):
        return False
    first, second = list(_with(source, "", one)), list(_with(source, "", other))
    if not first or not second:
        return False
    return all(re.match(r"[’']?\s+[A-Z]", after) for after in first) or all(
        re.search(r"[A-Z][\w.]*\s+$", before) for before in _before(source, other)
    )


def _with(source: str, before: str, word: str) -> Iterator[str]:
    """What follows a word in the source, each time it stands there after `before`."""
    for match in re.finditer(rf"{before}\b(?i:{re.escape(word)})\b", source):
        yield source[match.end() : match.end() + 12] + " "


def _before(source: str, word: str) -> Iterator[str]:
    for match in re.finditer(rf"\b(?i:{re.escape(word)})\b", source):
        yield source[max(0, match.start() - 20) : match.start()]
