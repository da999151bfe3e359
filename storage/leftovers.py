"""Originals that nothing refers to: of a process that was killed before it could submit, or of a dropped collection."""

from __future__ import annotations

import logging
import threading

from storage.documents import DocumentStore
from storage.files import FileStore

logger = logging.getLogger(__name__)

AGE_S = 3600.0
"""Seconds for which a file without a row is left alone: its submission may be on its way."""
EVERY_S = 3600.0
"""Seconds between two looks; one walks through every folder of the file store."""


class Leftovers:
    """Clears the file store. Safe to run in several processes at once, beside any other work."""

    def __init__(self, documents: DocumentStore, files: FileStore) -> None:
        self._documents = documents
        self._files = files

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

    def watch(self, stop: threading.Event) -> None:
        """Clear now and every EVERY_S seconds until `stop` is set."""
        while not stop.is_set():
            try:
                self.clear(AGE_S)
            except Exception:  # the database or the disk may be away for a while; nothing depends on this turn
                logger.exception("the file store could not be cleared")
            stop.wait(EVERY_S)
