"""What chat needs from storage, as interfaces: the real stores fit them, and so do small fakes in tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.types import Answer, StoredChunk


class ChunkReader(Protocol):
    """The part of `storage.chunks.ChunkStore` that answers need."""

    def load_live(self, chunk_ids: Sequence[int], collection_ids: Sequence[str]) -> dict[int, StoredChunk]:
        """Only chunks of live versions in these collections; the join that keeps ghosts out."""
        ...

    def neighbours(self, chunk: StoredChunk, before: int, after: int) -> list[StoredChunk]:
        """Chunks of the same version around this one by ordinal, itself included, in order."""
        ...

    def embeddings(self, chunk_ids: Sequence[int]) -> tuple[list[int], NDArray[np.float32]]:
        """Ids found and their vectors (n, dim) in the same order."""
        ...


class VectorSearch(Protocol):
    """The part of `storage.vectors.VectorIndex` that answers need."""

    def query(self, key: str, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """(chunk id, inner product), best first; [] when there is no such index."""
        ...


class KeywordSearch(Protocol):
    """The part of `storage.keyword.KeywordIndex` that answers need."""

    def search(self, collection_ids: Sequence[str], tokens: Sequence[str], k: int) -> list[tuple[int, float]]:
        """(chunk id, BM25), best first."""
        ...


class HasId(Protocol):
    """Anything with an id, such as a stored message."""

    @property
    def id(self) -> str: ...


class MessageWriter(Protocol):
    """The part of `storage.conversations.ConversationStore` that running answers write to."""

    def add_message(self, conversation_id: str, role: str, text: str, state: str = "complete") -> HasId: ...

    def finish_message(self, message_id: str, state: str, text: str, answer: Answer | None) -> None: ...
