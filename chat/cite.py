"""Citations, and their marks in streamed text: found across any split, kept only when offered, written as [n]."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from core.types import Citation, StoredChunk

_OPEN = "[【［〔"
_CLOSE = "]】］〕"
_INSIDE = re.compile(r"[\d\s,，、;；\-–—~～至^]*")
_RANGE = re.compile(r"(\d{1,3})\s*(?:[-–—~～至])\s*(\d{1,3})|(\d{1,3})")
_LONGEST = 40
_WIDEST_RANGE = 20
MARK = re.compile(r"\[(\d{1,3})\]")


class MarkParser:
    """Turns [1], 【1】, ［1］, [1,2], [1-3] into [n] marks and drops numbers that were never offered.

    The joined output is the same for every way the text is cut into deltas. A mark is only given out whole; one
    that never closes is dropped.
    """

    def __init__(self, offered: Collection[int]) -> None:
        self._offered = frozenset(offered)
        self._spaces = ""
        self._mark = ""
        self.cited: list[int] = []
        """Offered numbers in the order of their first mark."""

    def feed(self, delta: str) -> str:
        """The part of the text so far that is safe to show and was not given out yet."""
        return "".join(self._take(character) for character in delta)

    def finish(self) -> str:
        """What is left at the end of the text."""
        rest = "" if self._mark else self._spaces
        self._mark = self._spaces = ""
        return rest

    def _take(self, character: str) -> str:
        if self._mark:
            return self._inside(character)
        if character in _OPEN:
            self._mark = character
            return ""
        if character in " \t":
            self._spaces += character
            return ""
        out = self._spaces + character
        self._spaces = ""
        return out

    def _inside(self, character: str) -> str:
        if character in _CLOSE:
            mark, spaces = self._mark + character, self._spaces
            self._mark = self._spaces = ""
            numbers = _numbers(mark[1:-1])
            if numbers is None:
                return spaces + mark
            kept = [n for n in numbers if n in self._offered]
            self.cited.extend(n for n in kept if n not in self.cited)
            return spaces + "".join(f"[{n}]" for n in kept) if kept else ""
        if len(self._mark) < _LONGEST and _INSIDE.fullmatch(character):
            self._mark += character
            return ""
        # A dropped mark must not let what stands around it close up to a new one: `[` `[9]` `5]`.
        out = self._spaces + self._mark + (" " if character in _OPEN else "")
        self._mark = self._spaces = ""
        return out + self._take(character)


def _numbers(inside: str) -> list[int] | None:
    """Numbers a mark names, each once; None when it is no mark (`[ ]`, a year, an index out of three digits)."""
    folded = unicodedata.normalize("NFKC", inside)
    if not folded.strip() or re.search(r"\d{4}", folded):
        return None
    numbers: list[int] = []
    for match in _RANGE.finditer(folded):
        first, last, single = match.groups()
        if single:
            found = [int(single)]
        elif 0 <= int(last) - int(first) <= _WIDEST_RANGE:
            found = list(range(int(first), int(last) + 1))
        else:
            found = [int(first), int(last)]
        numbers.extend(n for n in found if n not in numbers)
    return numbers or None


def without_marks(text: str) -> str:
    """Text of a document in which no bracketed number can be taken for a citation of ours."""
    return re.sub(r"[ \t]*[\[【［〔]\s*\d{1,3}(?:\s*[,，、\-–—~～]\s*\d{1,3})*\s*[\]】］〕]", "", text)


def citation_of(n: int, chunk: StoredChunk, quote: str, origin: str) -> Citation:
    """The citation of these words of a chunk."""
    return Citation(
        n=n,
        chunk_id=chunk.id,
        document_id=chunk.document_id,
        version_id=chunk.version_id,
        collection_id=chunk.collection_id,
        document=chunk.path,
        title=chunk.title,
        locator=chunk.locator,
        quote=quote,
        origin=origin,
    )
