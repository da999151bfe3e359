"""The embedders of a models process: one from the start, others loaded when a collection first needs them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_BESIDES: Final = 2
"""Embedders kept loaded beside the one from the start: a collection's, and the one it is being moved to."""


class Embedders(Generic[T]):
    """Loads on demand, one at a time, without holding up who asks for another. Thread-safe.

    Over MOST_BESIDES loaded ones, that which was not used longest is let go; calls under way keep theirs.

    Args:
        load: gives the embedder of a catalogue id; its errors reach whoever asked, and the next one tries again.
    """

    def __init__(self, load: Callable[[str], T]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._known: OrderedDict[str, Future[T]] = OrderedDict()
        self._memory_mb: dict[str, int] = {}

    def get(self, model_id: str) -> Future[T]:
        """The embedder, at once or when it is loaded."""
        with self._lock:
            found = self._known.get(model_id)
            if found is None or (found.done() and found.exception() is not None):
                found = self._known[model_id] = self._thread.submit(self._loaded, model_id)
            self._known.move_to_end(model_id)
            return found

    def loaded(self) -> list[tuple[T, int]]:
        """Those in memory, with the megabytes that the process grew by when each was loaded."""
        with self._lock:
            ready = [(key, one) for key, one in self._known.items() if one.done() and one.exception() is None]
            return [(one.result(), self._memory_mb.get(key, 0)) for key, one in ready]

    def _loaded(self, model_id: str) -> T:
        started, before = time.monotonic(), resident_mb()
        embedder = self._load(model_id)
        grown = max(0, resident_mb() - before)
        log.info("loaded %s in %.1f s, %d MB", model_id, time.monotonic() - started, grown)
        with self._lock:
            self._memory_mb[model_id] = grown
            done = [key for key, one in self._known.items() if key != model_id and one.done()]
            for key in done[: max(0, len(done) + 1 - MOST_BESIDES)]:
                del self._known[key]
                log.info("let go of %s", key)
        return embedder


def resident_mb() -> int:
    """Memory of this process in MB; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000
