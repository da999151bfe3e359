"""Keeps the leases of the versions under way alive, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from storage.documents import DocumentStore

logger = logging.getLogger(__name__)


class Leases:
    """Renews three times per lease while in a `with` block. Thread-safe."""

    def __init__(self, documents: DocumentStore, worker: str, lease_s: float) -> None:
        self._documents = documents
        self._worker = worker
        self._lease_s = lease_s
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def hold(self, version_ids: Iterable[str]) -> None:
        """Renew these from now on."""
        with self._lock:
            self._held.update(version_ids)

    def drop(self, version_id: str) -> None:
        """Renew this one no longer."""
        with self._lock:
            self._held.discard(version_id)

    def __enter__(self) -> Leases:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._lease_s / 3):
            with self._lock:
                held = sorted(self._held)
            if not held:
                continue
            try:
                kept = set(self._documents.renew(self._worker, held, self._lease_s))
            except Exception:  # the database is busy or away; losing a lease is safe, so try again at the next turn
                logger.exception("leases could not be renewed")
                continue
            with self._lock:
                self._held -= set(held) - kept
