"""A retriever that keeps to some of the documents, for questions that name their scope."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from chat.retrieve import Retrieval, Searches
from core.types import Collection
from models.protocols import Embedder

DEPTH = 100
"""Chunks asked for before the filter; more than any cut-off that is measured."""


class ScopedRetriever:
    """Passes on what `allowed` accepts, by logical path, out of the best `DEPTH`."""

    def __init__(self, retriever: Searches, allowed: Callable[[str], bool]) -> None:
        self._retriever = retriever
        self._allowed = allowed

    def retrieve(self, query: str, collections: Sequence[Collection], k: int = 10) -> Retrieval:
        """The `k` best chunks of allowed documents, best first; fewer when the best `DEPTH` hold fewer."""
        found = self._retriever.retrieve(query, collections, max(k, DEPTH))
        kept = [item for item in found.results if self._allowed(item.chunk.path)]
        return dataclasses.replace(found, results=kept[:k])

    def reading_embedder(self, collection: Collection, text: str) -> Embedder | None:
        """As the retriever itself."""
        return self._retriever.reading_embedder(collection, text)
