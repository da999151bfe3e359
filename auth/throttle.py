"""After how many failures sign-in locks, for how long; also for names that nobody has."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import UTC, datetime, timedelta

FREE_FAILURES = 5
"""Failures in a row after which sign-in locks."""

LOCK_S = 300.0
"""Seconds of lock: at most 15 guesses in a quarter of an hour, while a person who mistyped can wait."""


class UnknownNames:
    """Failures of names that no user has, so that a lock-out does not tell which names exist. Thread-safe."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._seen: OrderedDict[str, tuple[int, datetime | None]] = OrderedDict()
        self._lock = threading.Lock()

    def locked_until(self, key: str) -> datetime | None:
        """When this name opens again, or None."""
        with self._lock:
            until = self._seen.get(key, (0, None))[1]
        return until if until is not None and until > datetime.now(UTC) else None

    def note_failure(self, key: str) -> datetime | None:
        """Count a failure; the time until which the name is locked now, or None."""
        with self._lock:
            failures, until = self._seen.pop(key, (0, None))[0] + 1, None
            if failures >= FREE_FAILURES:
                failures, until = 0, datetime.now(UTC) + timedelta(seconds=LOCK_S)
            self._seen[key] = (failures, until)
            while len(self._seen) > self._capacity:
                self._seen.popitem(last=False)
            return until
