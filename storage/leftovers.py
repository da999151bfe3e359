"""Originals and vectors that nothing refers to: of a process that was killed, or of a dropped collection."""

from __future__ import annotations

import logging
from collections.abc import Callable

from storage.collections import CollectionStore
from storage.documents import DocumentStore
from storage.files import FileStore
from storage.vectors import VectorIndex

logger = logging.getLogger(__name__)

AGE_S = 3600.0
"""Seconds for which a file without a row is left alone: its submission may be on its way."""
EVERY_S = 3600.0
"""Seconds between two looks; one walks through every folder of the file store."""


class Leftovers:
    """Clears the file store and the vector indexes. Safe to run in several processes at once, beside any other work.

    Args:
        collections, vectors: where vectors may be left; without them only the file store is cleared. `vectors` is
            asked each time, as the server may not be there yet.
    """

    def __init__(
        self,
        documents: DocumentStore,
        files: FileStore,
        collections: CollectionStore | None = None,
        vectors: Callable[[], VectorIndex] | None = None,
    ) -> None:
        self._documents = documents
        self._files = files
        self._collections = collections
        self._vectors = vectors

    def clear(self, age_s: float | None = None) -> int:
        """Remove what no version refers to and what is older than `age_s` (AGE_S) seconds. Gives how many files."""
        age_s = AGE_S if age_s is None else age_s
        cleared = self._files.forget_unfinished(age_s)
        used = self._documents.hashes_in_use()
        for content_hash in self._files.older_than(age_s):
            if content_hash not in used and self._documents.remove_unused(content_hash, self._files.delete):
                cleared += 1
        if cleared:
            logger.info("removed %d files that nothing referred to", cleared)
        return cleared

    def clear_vectors(self) -> int:
        """Remove vectors without a chunk row: a worker that slept beyond its lease wrote them and died. Gives how many.

        A row is always written before its vector and ids never come again, so an id that has a vector and then has no
        row will never have one. Only the ids of an index are read, and those only when it holds more than it should.

        Raises:
            IndexUnavailableError: Chroma does not answer.
        """
        if self._collections is None or self._vectors is None:
            return 0
        cleared = 0
        vectors = self._vectors()
        for key in self._collections.vector_keys():
            if vectors.count(key) <= self._documents.count_rows(key.split("-")[1]):
                continue
            lost = self._documents.without_rows([int(i) for i in vectors.ids(key)])
            vectors.delete(key, lost)
            cleared += len(lost)
        if cleared:
            logger.warning("removed %d vectors that belonged to no chunk", cleared)
        return cleared
