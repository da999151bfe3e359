"""Retrievers around the product's: one that hands everything on, one that keeps to some of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat.retrieval.retrieve import NO_FILTERS, Retrieval, Searches
from core.filters import Filters
from core.types import Collection
from models.protocols import Embedder

DEPTH = 100
"""Chunks asked for; more than any cut-off that is measured."""


class PassingRetriever:
    """Hands everything on. For retrievers that change one thing."""

    def __init__(self, retriever: Searches) -> None:
        self._retriever = retriever

    def retrieve(
        self,
        query: str,
        collections: Sequence[Collection],
        k: int = 10,
        *,
        typed: str = "",
        filters: Filters = NO_FILTERS,
    ) -> Retrieval:
        """The `k` best chunks, best first."""
        return self._retriever.retrieve(query, collections, k, typed=typed, filters=filters)

    def reading_embedder(self, collection: Collection, text: str) -> Embedder | None:
        """As the retriever itself."""
        return self._retriever.reading_embedder(collection, text)


class ScopedRetriever(PassingRetriever):
    """Asks with these filters instead of any that it is given."""

    def __init__(self, retriever: Searches, filters: Filters) -> None:
        super().__init__(retriever)
        self._filters = filters

    def retrieve(self, query: str, collections: Sequence[Collection], k: int = 10, **given: Any) -> Retrieval:
        """The `k` best chunks of the documents in scope, best first."""
        return super().retrieve(query, collections, k, **{**given, "filters": self._filters})
