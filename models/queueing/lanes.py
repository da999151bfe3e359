"""Who computes next: turns between users for the LLM, questions before ingestion for the processor."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
_Round = dict[str, deque[T]]
"""Each user's items; who comes next stands first."""


class FairQueue(Generic[T]):
    """Round-robin between users, first in first out for each. Thread-safe.

    While a user waits, no other user is served twice. Background items come after all others.
    """

    def __init__(self) -> None:
        self._lanes: tuple[_Round[T], _Round[T]] = ({}, {})
        self._condition = threading.Condition()

    def put(self, user: str, item: T, background: bool = False) -> None:
        """`user` joins the end of the round if it does not wait yet."""
        with self._condition:
            self._lanes[background].setdefault(user, deque()).append(item)
            self._condition.notify()

    def take(
        self,
        timeout: float,
        suits: Callable[[T], bool] = lambda _: True,
        full: Callable[[str], bool] = lambda _: False,
        background: bool = True,
    ) -> T | None:
        """The next item, or None after `timeout` seconds or when the next one does not suit; then it stays next.

        Args:
            full: users who are passed over for now.
            background: whether a background item may be taken, which is only done when nothing else waits.
        """
        with self._condition:
            if not self._condition.wait_for(lambda: any(self._lanes), timeout):
                return None
            lane = self._lanes[0] or (self._lanes[1] if background else {})
            user = next((user for user in lane if not full(user)), None)
            if user is None or not suits(lane[user][0]):
                return None
            item = lane[user].popleft()
            items = lane.pop(user)
            if items:
                lane[user] = items  # at the end of the round
            return item

    def remove(self, item: T) -> bool:
        """Whether `item` still waited; it does no longer."""
        with self._condition:
            for lane in self._lanes:
                for user, items in lane.items():
                    if item in items:
                        items.remove(item)
                        if not items:
                            del lane[user]
                        return True
            return False

    def order(self) -> list[T]:
        """Everything that waits, in the order in which it will be served if nothing more comes."""
        with self._condition:
            lanes = [[list(items) for items in lane.values()] for lane in self._lanes]
        return [
            queue[turn]
            for queues in lanes
            for turn in range(max(map(len, queues), default=0))
            for queue in queues
            if turn < len(queue)
        ]

    def count(self, user: str) -> int:
        """Items of `user` that wait."""
        with self._condition:
            return sum(len(lane.get(user, ())) for lane in self._lanes)

    def urgent(self) -> int:
        """Items that wait and are not in the background."""
        with self._condition:
            return sum(map(len, self._lanes[0].values()))

    def __len__(self) -> int:
        with self._condition:
            return sum(len(items) for lane in self._lanes for items in lane.values())


class ComputeGate:
    """Lets one embedding sub-batch through at a time: questions first, ingestion when nobody asks.

    Ingestion waits while an answer is generated, but one of its sub-batches passes at least every `patience_s`
    seconds. Thread-safe.
    """

    def __init__(self, patience_s: float = 1.5, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._condition = threading.Condition()
        self._busy = False
        self._questions = 0
        self._answers = 0
        self._asked_at = float("-inf")
        self._ingest: deque[object] = deque()
        self._ingest_since = 0.0
        self._make_way: list[Callable[[], None]] = []

    @property
    def answering(self) -> bool:
        """Whether the LLM reads or writes."""
        return self._answers > 0

    def before_answers(self, make_way: Callable[[], None]) -> None:
        """Call this whenever the LLM begins after it had nothing to do."""
        self._make_way.append(make_way)

    @contextmanager
    def question(self) -> Iterator[None]:
        """Hold it while the embedding of a question is computed."""
        with self._condition:
            self._questions += 1
            self._asked_at = self._clock()
            try:
                self._condition.wait_for(lambda: not self._busy and not self._ingest_overdue())
                self._busy = True
            finally:
                self._questions -= 1
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def ingest(self) -> Iterator[None]:
        """Hold it for one sub-batch of documents, not for a whole request."""
        ticket = object()
        with self._condition:
            if not self._ingest:
                self._ingest_since = self._clock()
            self._ingest.append(ticket)
            try:
                while not self._ingest_may_go(ticket):
                    self._condition.wait(timeout=self._patience_s / 4)
                self._busy = True
            finally:
                self._ingest.remove(ticket)
                self._ingest_since = self._clock()
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def answer(self) -> Iterator[None]:
        """Hold it while the LLM reads and writes."""
        with self._condition:
            self._answers += 1
            begins = self._answers == 1
        for make_way in self._make_way if begins else ():
            make_way()
        try:
            yield
        finally:
            with self._condition:
                self._answers -= 1
                self._asked_at = self._clock()
                self._condition.notify_all()

    def quiet(self, seconds: float) -> bool:
        """Whether nobody has asked anything for so long: time for sub-batches that are larger and more efficient."""
        with self._condition:
            return not (self._questions or self._answers) and self._clock() - self._asked_at >= seconds

    def _ingest_may_go(self, ticket: object) -> bool:
        if self._busy or self._ingest[0] is not ticket:
            return False
        return self._ingest_overdue() or not (self._questions or self._answers)

    def _ingest_overdue(self) -> bool:
        return bool(self._ingest) and self._clock() - self._ingest_since >= self._patience_s

    def _release(self) -> None:
        with self._condition:
            self._busy = False
            self._condition.notify_all()
