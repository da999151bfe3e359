"""The line above a chunk that says where it stands: document title and headings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.protocols import Tokenizer

SEPARATOR = " > "
MAX_TOKENS = 40


def limit(window: int) -> int:
    """Most tokens of a context line in a window of this many tokens."""
    return min(MAX_TOKENS, window // 4)


@dataclass(frozen=True, slots=True)
class ContextLine:
    """tokens: without special ones. shown: the headings that stand in it uncut."""

    text: str
    tokens: int
    shown: frozenset[str]


class ContextLines:
    """Makes context lines of at most MAX_TOKENS tokens (fewer for small windows); remembers those made."""

    def __init__(self, title: str, tokenizer: Tokenizer, special: int, limit: int) -> None:
        self._title = title
        self._tokenizer = tokenizer
        self._special = special
        self._limit = limit
        self._made: dict[tuple[str, ...], ContextLine] = {}

    def of(self, path: Sequence[str]) -> ContextLine:
        """The line for a heading path, outermost heading first. The innermost heading is kept longest."""
        key = tuple(path)
        if key not in self._made:
            self._made[key] = self._make(key)
        return self._made[key]

    def _make(self, path: tuple[str, ...]) -> ContextLine:
        path = tuple(name for at, name in enumerate(path) if not at or _folded(name) != _folded(path[at - 1]))
        title = [self._title] if self._title and (not path or _folded(path[0]) != _folded(self._title)) else []
        candidates = [[*title, *path], [*title, *path[-2:]], [*title, *path[-1:]], list(path[-2:]), list(path[-1:])]
        lines = [SEPARATOR.join(parts) for parts in candidates]
        counts = self._tokenizer.counts(lines)
        for parts, line, count in zip(candidates, lines, counts, strict=True):
            if line and count - self._special <= self._limit:
                return ContextLine(line, count - self._special, frozenset(parts))
        return self._shortened(path[-1] if path else self._title)

    def _shortened(self, text: str) -> ContextLine:
        offsets = self._tokenizer.offsets(text)
        kept = text[: offsets[self._limit - 1][1]] if len(offsets) > self._limit else text
        tokens = self._tokenizer.count(kept) - self._special
        if tokens > self._limit:
            return ContextLine("", 0, frozenset())
        return ContextLine(kept, tokens, frozenset())


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
