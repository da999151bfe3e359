"""The ingestion pipeline: claim, parse and chunk in parallel with embedding, store, index, switch, clear up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from core.errors import IndexUnavailableError, ModelUnavailableError
from core.settings import IngestSettings
from core.types import Collection
from ingest.leases import Leases
from ingest.parser_pool import ParserPool
from ingest.pipeline_run import Event, Parts, Run
from models.protocols import Embedder
from storage.collections import CollectionStore
from storage.documents import DocumentStore
from storage.files import FileStore
from storage.keyword import KeywordIndex
from storage.vectors import VectorIndex

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
PATIENCE_S = 180.0
"""Seconds that `drain` waits for a models process or vector server that does not answer, before it gives up."""
PURGE_BATCH = 50


class Pipeline:
    """One worker's pipeline. Several may work on one collection side by side, also in other processes.

    Args:
        embedder_for: the embedder of a collection.
        worker: names this claiming loop; unique among all that ever run.
        collections: where dropped collections are noted; without it `purge` leaves them to others.
    """

    def __init__(
        self,
        settings: IngestSettings,
        documents: DocumentStore,
        vectors: VectorIndex,
        keyword: KeywordIndex,
        files: FileStore,
        embedder_for: Callable[[Collection], Embedder],
        parsers: ParserPool,
        worker: str,
        collections: CollectionStore | None = None,
    ) -> None:
        self._settings = settings
        self._documents = documents
        self._vectors = vectors
        self._keyword = keyword
        self._files = files
        self._parsers = parsers
        self._worker = worker
        self._collections = collections
        self._parts = Parts(settings, documents, vectors, files, embedder_for, parsers, worker)

    def run_once(
        self,
        limit: int = 32,
        version_ids: Sequence[str] | None = None,
        on_progress: Callable[[Event], None] | None = None,
    ) -> int:
        """Claim up to `limit` versions and bring each to its end. Gives how many were finished, failed ones included.

        Raises:
            ModelUnavailableError, IndexUnavailableError: a part does not answer; what was not finished is released.
        """
        return self._run(threading.Event(), limit, version_ids, on_progress, refill=False)

    def drain(
        self,
        stop: threading.Event,
        version_ids: Sequence[str] | None = None,
        on_progress: Callable[[Event], None] | None = None,
        limit: int = 32,
    ) -> None:
        """Work until nothing is claimable or `stop` is set; then what is under way is released, not lost.

        While the models process or the vector server does not answer, waits and tries again.

        Raises:
            ModelUnavailableError, IndexUnavailableError: it did not answer for PATIENCE_S seconds on end.
        """
        delay = FIRST_DELAY_S
        since: float | None = None
        while not stop.is_set():
            try:
                self._run(stop, limit, version_ids, on_progress, refill=True)
                break
            except (ModelUnavailableError, IndexUnavailableError) as error:
                since = since or time.monotonic()
                if time.monotonic() - since > PATIENCE_S:
                    raise
                logger.warning("waiting %.0f s: %s", delay, error)
                stop.wait(delay)
                delay = min(LONGEST_DELAY_S, delay * 2)
        if not stop.is_set():
            self.purge()

    def purge(self) -> int:
        """Remove vectors, rows and originals that nothing refers to any more. Gives how many versions were cleared."""
        cleared = 0
        seen: set[str] = set()
        touched: set[str] = set()
        while True:
            batch = [entry for entry in self._documents.purgeable(PURGE_BATCH) if entry.version_id not in seen]
            if not batch:
                break
            for entry in batch:
                seen.add(entry.version_id)
                if entry.chunk_ids:
                    self._vectors.delete(entry.vector_key, entry.chunk_ids)
                self._documents.purged(entry.version_id)
                self._documents.remove_unused(entry.content_hash, self._files.delete)
                touched.add(_collection_id(entry.vector_key))
                cleared += 1
        for collection_id in sorted(touched):
            self._catch_up(collection_id)
        self._purge_dropped()
        return cleared

    def _purge_dropped(self) -> None:
        if self._collections is None:
            return
        for key in self._collections.dropped():
            self._vectors.drop(key)
            self._keyword.drop(_collection_id(key))
            self._collections.forget_dropped(key)

    def _run(
        self,
        stop: threading.Event,
        limit: int,
        version_ids: Sequence[str] | None,
        on_progress: Callable[[Event], None] | None,
        refill: bool,
    ) -> int:
        def claim(room: int) -> list[object]:
            return list(
                self._documents.claim(
                    self._worker, room, self._settings.lease_s, version_ids, self._settings.max_attempts
                )
            )

        with Leases(self._documents, self._worker, self._settings.lease_s) as leases:
            run = Run(self._parts, leases, stop, on_progress)
            try:
                return run.work(claim, limit, refill)
            finally:
                if run.unfinished:
                    self._documents.release(self._worker)
                for collection_id in sorted(run.switched):
                    self._catch_up(collection_id)

    def _catch_up(self, collection_id: str) -> None:
        try:
            self._keyword.catch_up(collection_id)
        except Exception:  # every search catches up by itself, so nothing is lost but the head start
            logger.exception("keyword index of %s could not catch up", collection_id)


def _collection_id(vector_key: str) -> str:
    """The collection in a name such as `c-<collection>-<fingerprint>`."""
    return vector_key.split("-")[1]
