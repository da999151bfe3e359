"""Lists as a passage has them: the sentence that leads into a list, and the items below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MARK = (
    r"[-*•·▪◦]\s|\d{1,3}[.)、．](?!\d)|"
    r"[(（](?:\d{1,3}|[一二三四五六七八九十]{1,3}|[A-Za-z])[)）]|[一二三四五六七八九十]{1,3}、"
)
_ITEM = re.compile(rf"\s*(?:{_MARK})\s*\S")
_LEADS = re.compile(r"[:：—]\s*$|下列|以下|如下|\b(?:the )?following\b|\bas follows\b|\bbelow\b", re.IGNORECASE)
_ENDS = re.compile(r"[.。！？!?][\"”’」』)）\]]*\s*$")
_LEADS_AND_BEGINS = re.compile(r"[:：]\s*(?:[(（](?:1|一|a)[)）]|1[.)、．](?!\d))")


@dataclass(frozen=True, slots=True)
class List:
    """Places in the sequence of sentences. lead: the one that leads in, None where there is none. last: inclusive.

    fragments: its items are no sentences of their own, so that one of them says nothing without the lead.
    """

    lead: int | None
    first: int
    last: int
    fragments: bool


def list_around(text: str, spans: Sequence[tuple[int, int]], at: int) -> List | None:
    """The list that the sentence `spans[at]` leads into or is part of; None where it stands in none."""
    leads_in = at + 1 < len(spans) and _leads(text, spans, at)
    if not leads_in and not _inside(text, spans, at):
        return None
    first = at + 1 if leads_in else at
    while first > 0 and _inside(text, spans, first - 1):
        first -= 1
    last = first
    while last + 1 < len(spans) and _inside(text, spans, last + 1):
        last += 1
    lead = first - 1 if first and _leads(text, spans, first - 1) else None
    return List(lead, first, last, not _ENDS.search(text[slice(*spans[first])]))


def begins_item(sentence: str) -> bool:
    """Whether a sentence begins with the mark of a list item."""
    return bool(_ITEM.match(sentence))


def _leads(text: str, spans: Sequence[tuple[int, int]], at: int) -> bool:
    sentence = text[slice(*spans[at])]
    leads = _LEADS.search(sentence) or _LEADS_AND_BEGINS.search(sentence) or not _ENDS.search(sentence)
    return bool(leads) and not _ITEM.match(sentence) and _inside(text, spans, at + 1)


def _inside(text: str, spans: Sequence[tuple[int, int]], at: int) -> bool:
    """Whether a sentence begins an item or goes on with one in the same line."""
    while 0 <= at < len(spans):
        start, end = spans[at]
        if _ITEM.match(text[start:end]):
            return True
        if start == 0 or text[start - 1] == "\n":
            return False
        at -= 1
    return False
