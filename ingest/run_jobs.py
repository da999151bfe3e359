"""What a run has in hand: claimed versions, slices of their chunks, and the order in which texts are embedded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.types import NewChunk, Priority
from models.protocols import Embedder
from storage.documents import ClaimedVersion

SLICE = 1024
"""Chunks that are stored together: beside its text, a document of any size needs the memory of a few slices."""
TEXTS_PER_CALL = 256
WINDOW = 1024
"""Texts that are sorted by length together: little padding, and what came early stays early."""
WINDOW_SHARE = 2
"""While fewer wait than this many windows, one takes the like share of them: so documents end one after the other, and
storing the last ones does not begin when the embedder has nothing left to do."""
OLDEST_SHARE = 4
"""One in so many places of a window goes to the job that waits longest, the others to those with least to do."""


@dataclass(slots=True, eq=False)
class Slice:
    """Consecutive chunks of one job.

    start: place of the first. rows: (n, dim) float16. todo: places not yet handed out for embedding. missing: how many
    have no embedding yet.
    """

    job: Job
    start: int
    chunks: list[NewChunk]
    rows: NDArray[np.float16]
    todo: deque[int]
    missing: int

    def give(self, place: int, vector: NDArray[np.float16]) -> None:
        """The embedding of one chunk is there."""
        self.rows[place] = vector
        self.missing -= 1
        self.job.embedded += 1

    @property
    def characters(self) -> int:
        return sum(len(chunk.context) + len(chunk.text) for chunk in self.chunks)


@dataclass(slots=True, eq=False)
class Job:
    """A claimed version on its way.

    total: chunks of the version. embedded, stored: of them so far; reused: embedded ones that were not computed anew.
    characters: of the chunks not stored yet. begun, reported: `time.monotonic` of its parse and last progress.
    stopped: nobody wants it any more.
    """

    claimed: ClaimedVersion
    embedder: Embedder | None = None
    total: int = 0
    embedded: int = 0
    reused: int = 0
    stored: int = 0
    characters: int = 0
    begun: float = 0.0
    reported: float = 0.0
    stopped: bool = False
    slices: deque[Slice] = field(default_factory=deque)

    @property
    def id(self) -> str:
        return self.claimed.version_id

    @property
    def priority(self) -> int:
        return self.claimed.priority

    @property
    def order(self) -> tuple[int, float, str]:
        """Sorts jobs: higher priority first, then the earlier due."""
        due = self.claimed.due
        return (-self.claimed.priority, due.timestamp() if due else 0.0, self.id)

    @property
    def suspect(self) -> bool:
        """A worker ended while it was under way."""
        return bool(self.claimed.lost_in)

    @property
    def waiting(self) -> int:
        """Texts not yet handed out for embedding."""
        return sum(len(piece.todo) for piece in self.slices)

    def cut(self, chunks: list[NewChunk], dimension: int) -> None:
        """Take the chunks over in slices."""
        self.total = len(chunks)
        for start in range(0, len(chunks), SLICE):
            part = chunks[start : start + SLICE]
            rows = np.zeros((len(part), dimension), np.float16)
            self.slices.append(Slice(self, start, part, rows, deque(range(len(part))), len(part)))
        self.characters = sum(piece.characters for piece in self.slices)

    def take(self, count: int) -> list[tuple[Slice, int]]:
        """Hand out up to `count` texts in order: slice and place in it."""
        out: list[tuple[Slice, int]] = []
        while self.slices and len(out) < count:
            piece = self.slices[0]
            while piece.todo and len(out) < count:
                out.append((piece, piece.todo.popleft()))
            if not piece.todo:
                self.slices.popleft()
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Texts of one embedding call, of one embedder. priority: the highest of its jobs."""

    entries: tuple[tuple[Slice, int], ...]
    priority: int

    @property
    def jobs(self) -> list[Job]:
        return list({piece.job.id: piece.job for piece, _ in self.entries}.values())

    def apart(self) -> list[Call]:
        """One call per job, to find the one that is at fault."""
        return [Call(tuple(entry for entry in self.entries if entry[0].job is job), job.priority) for job in self.jobs]

    def only(self, wanted: Callable[[Job], bool]) -> Call:
        """Without the texts of jobs that nobody wants any more."""
        return Call(tuple(entry for entry in self.entries if wanted(entry[0].job)), self.priority)


class EmbedQueue:
    """Texts that wait for the embedder. Higher priorities go first; within one, short documents pass long ones."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Job]] = {}
        self._calls: deque[Call] = deque()

    def put(self, job: Job) -> None:
        """Its texts wait from now on."""
        if job.waiting:
            self._waiting.setdefault(job.claimed.collection.fingerprint.key, []).append(job)

    def put_calls(self, calls: Iterable[Call]) -> None:
        """These calls go next."""
        self._calls.extendleft(calls)

    def drop(self, job: Job) -> None:
        """Its texts wait no longer."""
        job.slices.clear()

    def next_call(self, hold: bool) -> Call | None:
        """The next call, or None. hold: wait for more texts rather than make a small call of the lowest priority."""
        urgent = self._highest()
        if urgent is not None and (not self._calls or urgent > self._calls[0].priority):
            self._calls.extendleft(reversed(self._cut(urgent, hold)))
        return self._calls.popleft() if self._calls else None

    def _highest(self) -> int | None:
        for key, jobs in list(self._waiting.items()):
            self._waiting[key] = [job for job in jobs if job.waiting]
        return max((job.priority for jobs in self._waiting.values() for job in jobs), default=None)

    def _cut(self, priority: int, hold: bool) -> list[Call]:
        """A window of each embedder's texts of this priority, as calls sorted by length."""
        calls: list[Call] = []
        for jobs in self._waiting.values():
            chosen = [job for job in jobs if job.priority == priority]
            few = sum(job.waiting for job in chosen) < TEXTS_PER_CALL
            if not chosen or (hold and few and priority <= Priority.BULK):
                continue
            window = _window(chosen)
            window.sort(key=lambda entry: entry[0].chunks[entry[1]].n_tokens)
            for at in range(0, len(window), TEXTS_PER_CALL):
                calls.append(Call(tuple(window[at : at + TEXTS_PER_CALL]), priority))
        return calls


def _window(jobs: list[Job]) -> list[tuple[Slice, int]]:
    """Up to WINDOW texts. jobs: in the order they came."""
    size = min(WINDOW, max(TEXTS_PER_CALL, sum(job.waiting for job in jobs) // WINDOW_SHARE))
    window = jobs[0].take(size // OLDEST_SHARE)
    for job in sorted(jobs, key=lambda job: job.waiting):
        window.extend(job.take(size - len(window)))
    return window
