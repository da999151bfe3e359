"""What chat needs from storage, as interfaces: the real stores fit them, and so do small fakes in tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import AliothError
from core.filters import Filters
from core.types import Answer, GlossaryTerm, StoredChunk


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

    def search(
        self,
        collection_ids: Sequence[str],
        tokens: Sequence[str],
        k: int,
        instead: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
        required: Sequence[str] = (),
        versions: Sequence[str] | None = None,
    ) -> list[tuple[int, float]]:
        """(chunk id, BM25), best first; the last three as the real one has them."""
        ...


class Selected(Protocol):
    """The part of `storage.filtering.Selection` that answers need."""

    @property
    def versions(self) -> tuple[str, ...]: ...

    @property
    def documents(self) -> int: ...

    @property
    def chunks(self) -> int: ...


class DocumentFilter(Protocol):
    """The part of `storage.filtering.FilterStore` that answers need."""

    def select(self, collection_ids: Sequence[str], filters: Filters) -> Selected:
        """The live versions that pass."""
        ...

    def vectors(self, versions: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Ids and embeddings of all their chunks, in parts."""
        ...


class GlossaryReader(Protocol):
    """The part of `storage.glossary.GlossaryStore` that answers need."""

    def terms(self, collection_ids: Sequence[str]) -> list[GlossaryTerm]:
        """The terms of these collections."""
        ...


class HasId(Protocol):
    """Anything with an id, such as a stored message."""

    @property
    def id(self) -> str: ...


class MessageWriter(Protocol):
    """The part of `storage.conversations.ConversationStore` that running answers write to."""

    def add_message(self, conversation_id: str, role: str, text: str, state: str = "complete") -> HasId: ...

    def finish_message(
        self, message_id: str, state: str, text: str, answer: Answer | None, error: AliothError | None = None
    ) -> None: ...

    def renew(self, message_ids: Sequence[str]) -> None: ...

    def fail_streaming(self) -> int: ...
