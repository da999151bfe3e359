"""The keyword index: one tantivy folder per collection, a replica on this machine that catches up from SQL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from core.errors import StorageError
from storage.changes import Applied, ChangeFeed
from storage.database import Database
from storage.keyword_query import Instead
from storage.keyword_replica import Damaged, Gone, Replica

logger = logging.getLogger(__name__)

T = TypeVar("T")


class KeywordIndex:
    """BM25 over the live chunks of collections. Thread-safe, and safe in any number of processes on one folder.

    Whoever searches first after a change applies it under a file lock; the others wait for it and read its
    commit. A folder that is missing, damaged or of another database is made anew from SQL.
    """

    def __init__(self, folder: Path, db: Database) -> None:
        self._folder = folder
        self._feed = ChangeFeed(db)
        self._lock = threading.Lock()
        self._replicas: dict[str, Replica] = {}

    def search(
        self,
        collection_ids: Sequence[str],
        tokens: Sequence[str],
        k: int,
        instead: Sequence[Instead] = (),
        required: Sequence[str] = (),
        versions: Sequence[str] | None = None,
    ) -> list[tuple[int, float]]:
        """The `k` best chunks for any of `tokens` as (chunk id, BM25 score), best first, ties by id.

        Every version that was ready before the call is seen. The scores of all collections are merged as they are.

        Args:
            tokens: as core.text.segment gives them; they are words, never query syntax.
            instead: other words for some of them, which count at most half of what those count.
            required: words that a chunk must have, each of them.
            versions: only chunks of these versions; some 2 ms for 5,000 of them.

        Raises:
            StorageError: the folder cannot be read or written.
        """
        if not tokens or not collection_ids or k < 1 or (versions is not None and not versions):
            return []
        hits: list[tuple[int, float]] = []
        for collection_id, wanted in self._feed.newest(collection_ids).items():
            hits.extend(
                self._with_replica(
                    collection_id, wanted, lambda replica: replica.search(tokens, k, instead, required, versions)
                )
            )
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:k]

    def catch_up(self, collection_id: str) -> int:
        """Apply what SQL has and this replica has not. Gives the number of changes applied."""
        wanted = self._feed.newest([collection_id]).get(collection_id)
        if wanted is None:
            return 0
        return self._guarded(collection_id, lambda: self._replica(collection_id).catch_up(wanted))

    def ids(self, collection_id: str) -> NDArray[np.int64]:
        """Every chunk id in the index as it stands, without catching up, ascending, (n,) int64."""
        if not (self._folder / collection_id).is_dir():
            return np.zeros(0, dtype=np.int64)
        return self._guarded(collection_id, lambda: self._replica(collection_id).ids())

    def prune_changes(self) -> int:
        """Remove changes so old that a replica which lacks them is made anew. Gives how many."""
        return self._feed.prune()

    def rebuild(self, collection_id: str) -> int:
        """Make the index of one collection anew from SQL. Gives the number of chunks in it."""
        wanted = self._feed.newest([collection_id]).get(collection_id)
        replica = self._replica(collection_id)
        replica.wipe()
        if wanted is None:
            return 0
        replica.catch_up(wanted)
        return len(replica.ids())

    def drop(self, collection_id: str) -> None:
        """Remove the index of a collection from this machine."""
        self._replica(collection_id).wipe()
        with self._lock:
            self._replicas.pop(collection_id, None)

    def drop_unknown(self) -> int:
        """Remove from this machine the indexes of collections that another machine dropped. Gives how many."""
        there = [
            path.name for path in self._folder.glob("*") if path.is_dir()
        ]  # before SQL: what is new is known there
        known = self._feed.newest(there) if there else {}
        gone = [name for name in there if name not in known]
        for name in gone:
            self.drop(name)
        return len(gone)

    def _with_replica(self, collection_id: str, wanted: Applied, action: Callable[[Replica], T]) -> T:
        def act() -> T:
            replica = self._replica(collection_id)
            if not replica.shows(wanted):
                replica.catch_up(wanted)
            return action(replica)

        return self._guarded(collection_id, act)

    def _guarded(self, collection_id: str, action: Callable[[], T]) -> T:
        """Run `action`; when the replica proves damaged, make it anew once and run it again."""
        try:
            return action()
        except Gone:
            logger.info("keyword index of collection %s was removed; trying again", collection_id)
        except Damaged as damage:
            logger.warning("keyword index of collection %s is made anew: %s", collection_id, damage)
            self._replica(collection_id).wipe()
        try:
            return action()
        except Damaged as damage:
            raise StorageError(
                f"The keyword index in {str(self._folder / collection_id)!r} cannot be used: {damage}.",
                "Check the disk and the rights of the data directory; the folder may be deleted at any time.",
            ) from damage

    def _replica(self, collection_id: str) -> Replica:
        if not collection_id.isalnum():
            raise StorageError(f"{collection_id!r} is no collection id.", "Ids are 32 hexadecimal digits.")
        with self._lock:
            replica = self._replicas.get(collection_id)
            if replica is None:
                replica = Replica(self._folder, collection_id, self._feed)
                self._replicas[collection_id] = replica
            return replica
