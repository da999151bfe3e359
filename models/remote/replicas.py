"""Several servers of one model: which of them answer, asked cheaply and ever more rarely while one does not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from models.remote.http import RemoteFailure, RemoteServer

log = logging.getLogger(__name__)

T = TypeVar("T")

EVERY_S: Final = 10.0
MOST_PAUSE_S: Final = 30.0


class Replica(Generic[T]):
    """One server. facts: what its check found. problem: why it is not used, empty while it is."""

    def __init__(self, server: RemoteServer) -> None:
        self.server = server
        self.facts: T | None = None
        self.problem = "it was not asked yet"
        self.running = 0
        self.failures = 0
        self.pause_s = 0.0
        self.woken = threading.Event()

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def usable(self) -> bool:
        return not self.problem


class Replicas(Generic[T]):
    """Servers that are looked after. Thread-safe; `close` ends its threads.

    A server that fails a request is not used until a check finds it again: after 1 s, then 2, 4, … up to 30 s.

    Args:
        check: asks one server what it serves; raises RemoteFailure.
        every_s: seconds between two checks of a server that answers.
        changed: called without any lock whenever a server came or went.
    """

    def __init__(
        self,
        servers: Sequence[RemoteServer],
        check: Callable[[RemoteServer], T],
        *,
        every_s: float = EVERY_S,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.all: tuple[Replica[T], ...] = tuple(Replica(server) for server in servers)
        self._check = check
        self._every_s = every_s
        self._changed = changed
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def start(self) -> None:
        """Ask every server once, side by side, and go on asking in the background."""
        first = [threading.Thread(target=self.look_at, args=(one,), daemon=True) for one in self.all]
        for thread in first:
            thread.start()
        for thread in first:
            thread.join()
        for one in self.all:
            threading.Thread(target=self._watch, args=(one,), name="replica", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        for one in self.all:
            one.woken.set()
            one.server.close()

    def usable(self) -> list[Replica[T]]:
        """Those that may be asked now, in the order of the setting."""
        return [one for one in self.all if one.usable]

    def facts(self) -> T | None:
        """Of the first server that has answered since the start."""
        return next((one.facts for one in self.all if one.facts is not None), None)

    def look_at(self, one: Replica[T]) -> None:
        """Ask one server now."""
        try:
            facts = self._check(one.server)
        except RemoteFailure as failure:
            self.failed(one, failure)
            return
        with self._lock:
            was, one.problem, one.facts = one.problem, "", facts
        if was:
            log.info("%s is used", one.url)
            self._changed()

    def failed(self, one: Replica[T], failure: RemoteFailure) -> None:
        """Do not use it until a check finds it again."""
        with self._lock:
            was, one.problem = one.problem, failure.message
            one.failures += 1
            one.pause_s = max(failure.retry_after_s, min(MOST_PAUSE_S, 2.0 ** min(10, one.failures - 1)))
        if was != failure.message:
            log.warning("%s is not used: %s", one.url, failure.message)
        one.woken.set()
        self._changed()

    def succeeded(self, one: Replica[T]) -> None:
        """A request to it was answered."""
        with self._lock:
            one.failures = 0

    def problem(self) -> str:
        """Why none can be asked, in words."""
        return "; ".join(one.problem for one in self.all if one.problem)

    def _watch(self, one: Replica[T]) -> None:
        while not self._closed.is_set():
            # a request that fails wakes it, so that the pause begins then
            if one.woken.wait(self._every_s if one.usable else one.pause_s):
                one.woken.clear()
            else:
                self._watched_look(one)

    def _watched_look(self, one: Replica[T]) -> None:
        try:
            self.look_at(one)
        except Exception:  # a check that breaks in a new way must not end the checking
            log.exception("%s could not be asked", one.url)
            self.failed(one, RemoteFailure("no api", f"{one.url!r} could not be asked"))
