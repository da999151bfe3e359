"""Whose request goes to which server next: round-robin between users, so many at once per server."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import Final, Generic, TypeVar

from core.errors import AliothError, ModelUnavailableError
from models.queueing.lanes import FairQueue
from models.queueing.limits import AnswerLimits
from models.remote.replicas import Replica, Replicas

T = TypeVar("T")

RETRIES: Final = 3
RETRY_S: Final = 10.0
"""A request that a busy server sent away waits so long for it to come back, where no other can take it."""


class Turn(Generic[T]):
    """A request that waits for a server or has one. tried: servers that failed it. patient_until: see RETRY_S."""

    def __init__(self, user: str, background: bool) -> None:
        self.user = user
        self.background = background
        self.asked_at = time.monotonic()
        self.ready = threading.Event()
        self.replica: Replica[T] | None = None
        self.error: AliothError | None = None
        self.tried: list[Replica[T]] = []
        self.retries = 0
        self.patient_until = 0.0


class Turns(Generic[T]):
    """Gives servers to requests. Thread-safe. A request whose server failed goes before all that wait.

    Background requests come after all others and leave one place at each server free, since what has begun at one
    cannot give way.

    Args:
        at_once: requests at one server.
        limits: how much may wait, and how much of one person runs while others wait.
    """

    def __init__(self, replicas: Replicas[T], at_once: int, what: str, limits: AnswerLimits) -> None:
        self._replicas = replicas
        self._at_once = at_once
        self._what = what
        self._limits = limits
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._waiting: FairQueue[Turn[T]] = FairQueue()
        self._again: deque[Turn[T]] = deque()

    def ask(self, user: str, background: bool = False) -> Turn[T]:
        """Join the queue.

        Raises:
            LimitError: too many wait. ModelUnavailableError: no server answers.
        """
        turn: Turn[T] = Turn(user, background)
        with self._lock:
            limits, mine = self._limits, self._waiting.count(user)
            waiting = len(self._waiting) + len(self._again)
            if not limits.have_room(waiting, mine):
                hint = "Try again in a minute, or stop one of your own."
                raise limits.too_many(self._what, waiting, mine, hint)
            self._waiting.put(user, turn, background)
        self.grant()
        if turn.error is not None:
            raise turn.error
        return turn

    def again(self, turn: Turn[T], busy: bool = False) -> None:
        """Back to the queue, before all others, for a server that has not failed it yet.

        Args:
            busy: the server may take it a little later.
        """
        with self._lock:
            replica = self._take_back(turn)
            assert replica is not None
            turn.retries += 1
            if busy and turn.retries <= RETRIES:
                turn.patient_until = turn.patient_until or time.monotonic() + RETRY_S
            else:
                turn.tried.append(replica)
            turn.ready.clear()
            self._again.append(turn)
        self.grant()

    def done(self, turn: Turn[T]) -> None:
        """The request ended, in whatever way; harmless when it is told twice."""
        with self._lock:
            if turn in self._again:
                self._again.remove(turn)
            self._waiting.remove(turn)
            self._take_back(turn)
        self.grant()

    def place(self, turn: Turn[T]) -> int:
        """From 1 in the order in which they will be served; 0 when it waits no longer."""
        with self._lock:
            order = [*self._again, *self._waiting.order()]
        return order.index(turn) + 1 if turn in order else 0

    def grant(self) -> None:
        """Hand out what is free; tell those that no server is left for. Whoever is patient calls it now and then."""
        with self._lock:
            for turn in list(self._again):
                self._settle(turn)
            if not self._replicas.usable():
                while (left := self._waiting.take(timeout=0)) is not None:
                    self._fail(left)
            while (next_one := self._next()) is not None:
                self._give(next_one, self._free(next_one))

    def _next(self) -> Turn[T] | None:
        """Whoever has few requests under way goes first."""
        many = self._limits.running_per_user
        return self._waiting.take(0, self._has_place, lambda user: self._running[user] >= many) or self._waiting.take(
            0, self._has_place
        )

    def _settle(self, turn: Turn[T]) -> None:
        if not [one for one in self._replicas.usable() if one not in turn.tried]:
            if time.monotonic() >= turn.patient_until:
                self._again.remove(turn)
                self._fail(turn)
        elif (free := self._free(turn)) is not None:
            self._again.remove(turn)
            self._give(turn, free)

    def _has_place(self, turn: Turn[T]) -> bool:
        return self._free(turn) is not None

    def _free(self, turn: Turn[T]) -> Replica[T] | None:
        """The least busy server with room that has not failed it."""
        most = max(1, self._at_once - 1) if turn.background else self._at_once
        room = [one for one in self._replicas.usable() if one.running < most and one not in turn.tried]
        return min(room, key=lambda one: one.running, default=None)

    def _give(self, turn: Turn[T], replica: Replica[T] | None) -> None:
        assert replica is not None
        replica.running += 1
        self._running[turn.user] += 1
        turn.replica = replica
        turn.ready.set()

    def _take_back(self, turn: Turn[T]) -> Replica[T] | None:
        """The server that it had, which has room for another now."""
        replica, turn.replica = turn.replica, None
        if replica is not None:
            replica.running -= 1
            self._running[turn.user] -= 1
            self._running += Counter()  # forgets those who have none
        return replica

    def _fail(self, turn: Turn[T]) -> None:
        problem = self._replicas.problem() or "; ".join(one.url for one in turn.tried) + " failed"
        turn.error = ModelUnavailableError(
            f"No server of {self._what} answers: {problem}.", "`alioth doctor` tells which servers answer."
        )
        turn.ready.set()
