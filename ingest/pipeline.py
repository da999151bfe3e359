"""The ingestion pipeline: claim, parse and chunk in parallel with embedding, store, index, switch, clear up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from core.errors import AliothError, StoreUnavailableError
from core.settings import IngestSettings
from core.types import Collection
from ingest.leases import Leases
from ingest.parser_pool import ParserPool
from ingest.pipeline_run import UNAVAILABLE, Event, Parts, Run
from models.protocols import Embedder
from storage.collections import CollectionStore
from storage.documents import ClaimedVersion, DocumentStore
from storage.files import FileStore
from storage.keyword import KeywordIndex
from storage.vectors import VectorIndex

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
PATIENCE_S = 180.0
"""Seconds that `drain` waits for a part that is away (models, vector server, database, disk), before it gives up."""
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
        self._holds = False  # versions that could not be given back when the database was away

    def run_once(
        self,
        limit: int = 32,
        version_ids: Sequence[str] | None = None,
        on_progress: Callable[[Event], None] | None = None,
    ) -> int:
        """Claim up to `limit` versions and bring each to its end. Gives how many were finished, failed ones included.

        Raises:
            ModelUnavailableError, IndexUnavailableError, StoreUnavailableError: a part is away; what was not finished
                is released with that reason.
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

        Ends within about two seconds of `stop`: parser processes are ended, and no attempt is counted. While the
        models process, the vector server, the database or the disk is away, waits and tries again.

        Raises:
            ModelUnavailableError, IndexUnavailableError, StoreUnavailableError: away for PATIENCE_S seconds on end.
        """
        delay = FIRST_DELAY_S
        since: float | None = None
        while not stop.is_set():
            try:
                self._run(stop, limit, version_ids, on_progress, refill=True)
                break
            except UNAVAILABLE as error:
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
        self._keyword.prune_changes()
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
        def claim(room: int, holding: Iterable[str], min_priority: int | None = None) -> list[ClaimedVersion]:
            attempts = self._settings.max_attempts
            return self._documents.claim(
                self._worker, room, self._settings.lease_s, version_ids, attempts, min_priority, holding
            )

        if self._holds:
            self._documents.release(self._worker)
            self._holds = False
        with Leases(self._documents, self._worker, self._settings.lease_s) as leases:
            run = Run(self._parts, leases, stop, on_progress, self._tidy)
            reason: AliothError | None = None
            try:
                return run.work(claim, limit, refill)
            except UNAVAILABLE as error:
                reason = error
                raise
            finally:
                if run.unfinished:
                    self._release(reason)
                for collection_id in sorted(run.switched):
                    self._catch_up(collection_id)

    def _release(self, reason: AliothError | None) -> None:
        """Give back what is held; when the database is away too, at the next turn."""
        try:
            self._documents.release(self._worker, reason)
        except StoreUnavailableError as error:
            self._holds = True
            logger.warning("what is under way is given back later: %s", error)

    def _tidy(self) -> None:
        """`purge` while a run goes on; what fails now is done by a later one."""
        try:
            self.purge()
        except AliothError as error:
            logger.warning("clearing up later: %s", error)

    def _catch_up(self, collection_id: str) -> None:
        try:
            self._keyword.catch_up(collection_id)
        except Exception:  # every search catches up by itself, so nothing is lost but the head start
            logger.exception("keyword index of %s could not catch up", collection_id)


def _collection_id(vector_key: str) -> str:
    """The collection in a name such as `c-<collection>-<fingerprint>`."""
    return vector_key.split("-")[1]
