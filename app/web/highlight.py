"""A passage as HTML with the words that a search looked for marked in it."""

from __future__ import annotations

import re
from collections.abc import Collection
from html import escape

from core.text import HAN, fold, segment

_WORD = re.compile(r"[A-Za-z0-9]+(?:[._\-/'@][A-Za-z0-9]+)*")


def marked_html(text: str, tokens: Collection[str]) -> str:
    """Escaped text with `<mark>` around every word of which one of these search tokens is made."""
    spans = sorted(_latin(text, set(tokens)) + _han(text, tokens))
    out: list[str] = []
    last = 0
    for start, end in spans:
        if end <= last:
            continue
        start = max(start, last)
        out += [escape(text[last:start]), "<mark>", escape(text[start:end]), "</mark>"]
        last = end
    return "".join([*out, escape(text[last:])]).replace("</mark><mark>", "")


def _latin(text: str, tokens: set[str]) -> list[tuple[int, int]]:
    return [m.span() for m in _WORD.finditer(text) if tokens.intersection(segment(m.group()))]


def _han(text: str, tokens: Collection[str]) -> list[tuple[int, int]]:
    folded = fold(text)
    if len(folded) != len(text):  # offsets would not be those of the text
        folded = text
    return [m.span() for token in tokens if HAN.search(token) for m in re.finditer(re.escape(token), folded)]
