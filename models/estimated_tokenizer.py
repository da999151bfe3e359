"""A tokenizer for embedders on other servers, whose own one is not here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from models.token_estimate import estimated_tokens

_PIECES: Final = re.compile(r"[A-Za-z]{1,4}|[^\sA-Za-z]")
_WIDE: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_SPECIAL: Final = 2


class EstimatedTokenizer:
    """Counts rather too many tokens, so that no server has to cut a text. Thread-safe.

    Args:
        languages: of the embedder; characters of others count as unknown to it.
    """

    def __init__(self, max_tokens: int, languages: Sequence[str]) -> None:
        self.max_tokens = max_tokens
        self._reads_chinese = "zh" in languages

    def count(self, text: str) -> int:
        """Tokens of `text`, special tokens included, nothing cut."""
        return estimated_tokens(text) + _SPECIAL

    def counts(self, texts: Sequence[str]) -> list[int]:
        """`count` of each, in order."""
        return [self.count(text) for text in texts]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of pieces that are about a token each, in order."""
        return [match.span() for match in _PIECES.finditer(text)]

    def unknown_share(self, text: str) -> float:
        """Share of pieces that the embedder cannot read, 0.0–1.0; 0.0 for empty text."""
        pieces = _PIECES.findall(text)
        if self._reads_chinese or not pieces:
            return 0.0
        return sum(bool(_WIDE.match(piece)) for piece in pieces) / len(pieces)

    def cut(self, text: str) -> str:
        """The longest beginning of `text`, at a piece's end, that fits `max_tokens`."""
        if self.count(text) <= self.max_tokens:
            return text
        ends = [end for _, end in self.offsets(text)]
        low, high = 0, len(ends)
        while low < high:  # the most pieces that fit
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.count(text[: ends[middle - 1]]) <= self.max_tokens else (low, middle - 1)
        return text[: ends[low - 1]] if low else ""
