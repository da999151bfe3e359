"""Counts an embedder's tokens from its `tokenizer.json`, without its weights and without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# several processes count tokens side by side on few cores, and forked parsers must not inherit a Rust thread pool
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class FileTokenizer:
    """The `Tokenizer` of a model folder. Thread-safe: nothing in it changes after loading."""

    def __init__(self, file: Path, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        self.max_tokens = max_tokens
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        self._unknown_id = self._tokenizer.token_to_id(unknown) if unknown else None

    def count(self, text: str) -> int:
        """Tokens of `text`, special tokens included, nothing cut."""
        return len(self._tokenizer.encode(text).ids)

    def counts(self, texts: Sequence[str]) -> list[int]:
        """`count` of each, in order, faster."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text as numbers, special ones included, nothing cut."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of each token without special ones, in order."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)

    def unknown_share(self, text: str) -> float:
        """Share of tokens the embedder has no entry for, 0.0–1.0; 0.0 for empty text."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not ids or self._unknown_id is None:
            return 0.0
        return float(ids.count(self._unknown_id) / len(ids))

    def cut(self, text: str) -> str:
        """The longest beginning of `text`, at a token's end, that fits `max_tokens` with the special tokens."""
        over = self.count(text) - self.max_tokens
        if over <= 0:
            return text
        ends = [end for _, end in self.offsets(text)]
        keep = len(ends) - over
        while keep > 0:
            # a word cut in two may fall into more tokens than it had, so count again
            cut = text[: ends[keep - 1]]
            if self.count(cut) <= self.max_tokens:
                return cut
            keep -= 1
        return ""
