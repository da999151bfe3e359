"""Leave out of a ranking what says nothing that a better passage does not say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.text import fold
from core.types import ScoredChunk

_RUN = re.compile(r"[\W_]+")


def without_repeats(ranked: Sequence[ScoredChunk], k: int) -> tuple[list[ScoredChunk], dict[int, int]]:
    """The first `k` that do not repeat a better one, and of each left out on the way the id of that better one.

    A repeat equals it, or a part of it, but for spaces, punctuation, case and width. Nothing looser: two forms that
    differ in one number or name are the very documents a person must see both of.
    """
    kept: list[ScoredChunk] = []
    texts: list[tuple[int, str]] = []
    suppressed: dict[int, int] = {}
    for item in ranked:
        letters = _letters(item.chunk.text)
        better = next((chunk_id for chunk_id, text in texts if _within(letters, text)), None)
        if better is not None:
            suppressed[item.chunk.id] = better
            continue
        texts.append((item.chunk.id, letters))
        kept.append(item)
        if len(kept) == k:
            break
    return kept, suppressed


def _letters(text: str) -> str:
    """Letters and digits, a blank between words; what stands between two digits stays, since 1.5 is not 15."""
    return _RUN.sub(_joint, fold(text)).strip()


def _joint(match: re.Match[str]) -> str:
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    if before.isdigit() and after.isdigit():
        return match.group().strip() or " "
    return " " if before.isascii() and after.isascii() else ""


def _within(letters: str, text: str) -> bool:
    """Whether it stands there, and does not begin or end inside of a word or number."""
    start = text.find(letters)
    while start >= 0:
        end = start + len(letters)
        if not (_same_word(text[:start][-1:], letters[:1]) or _same_word(letters[-1:], text[end:][:1])):
            return True
        start = text.find(letters, start + 1)
    return False


def _same_word(left: str, right: str) -> bool:
    return left.isascii() and right.isascii() and left.isalnum() and right.isalnum()
