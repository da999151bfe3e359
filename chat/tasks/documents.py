"""What a document task works on: whole documents, as sentences with their place, no sentence twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chat.cite import citation_of
from core.text import split_sentences
from core.types import Citation, Collection, StoredChunk

LONGEST_QUOTE = 600


@dataclass(frozen=True, slots=True)
class TaskDocument:
    """A document that a task may read. version_id: the version that is read. pages_without_text: 1-based."""

    document_id: str
    version_id: str
    collection: Collection
    path: str
    title: str = ""
    pages: int = 1
    pages_without_text: tuple[int, ...] = ()


class DocumentReader(Protocol):
    """The part of `storage.chunks.ChunkStore` that document tasks need."""

    def of_version(self, version_id: str) -> list[StoredChunk]:
        """All chunks of a version in order."""
        ...

    def embeddings(self, chunk_ids: Sequence[int]) -> tuple[list[int], NDArray[np.float32]]:
        """Ids found and their vectors (n, dim), norm 1, in the same order."""
        ...


@dataclass(frozen=True, slots=True)
class PlacedSentence:
    """A sentence, a line or a table row. start/end: offsets in `chunk.text`. index: place among all of the document."""

    chunk: StoredChunk
    start: int
    end: int
    index: int
    lead: bool = False
    """First of its chunk."""

    @property
    def text(self) -> str:
        return " ".join(self.chunk.text[self.start : self.end].split())

    @property
    def is_row(self) -> bool:
        return " | " in self.text


def sentences_in(chunks: Sequence[StoredChunk]) -> list[PlacedSentence]:
    """Sentences of chunks of one version in order; what a chunk repeats of the one before it is left out.

    Chunks repeat whole sentences at their joint (overlap) and, at their start, a table's header or a list's lead-in.
    """
    found: list[PlacedSentence] = []
    before: list[str] = []
    for chunk in chunks:
        spans = [span for span in split_sentences(chunk.text) if re.search(r"\w", chunk.text[span[0] : span[1]])]
        keys = [" ".join(chunk.text[start:end].split()) for start, end in spans]
        head = _same_start(before, keys)
        skipped = head + _overlap(before, keys[head:])
        for number, (start, end) in enumerate(spans[skipped:]):
            found.append(PlacedSentence(chunk, start, end, len(found), number == 0))
        before = keys
    return found


def _same_start(before: Sequence[str], keys: Sequence[str]) -> int:
    shared = 0
    while shared < min(len(before), len(keys)) - 1 and before[shared] == keys[shared]:
        shared += 1
    return shared


def _overlap(before: Sequence[str], keys: Sequence[str]) -> int:
    longest = min(len(before), len(keys))
    return next((n for n in range(longest, 0, -1) if list(before[-n:]) == list(keys[:n])), 0)


def heading_of(chunk: StoredChunk, skipped: int = 0) -> str:
    """Headings above a chunk, outermost first, without the first `skipped`; empty when it has none."""
    return " › ".join(chunk.locator.heading[skipped:])


def shortened_citation(n: int, chunk: StoredChunk, quote: str, origin: str = "quote") -> Citation:
    """The citation of these words of a chunk, cut where they are very long."""
    text = quote.strip()
    return citation_of(n, chunk, text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…", origin)
