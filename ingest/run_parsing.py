"""Which claimed version is parsed next: in order, never every process in large files, and no more than memory holds."""

from __future__ import annotations

import bisect
import time
from collections.abc import Collection

from ingest.run_jobs import Job

LARGE_BYTES = 2_000_000
"""A file from this size on is large."""
LONG_S = 5.0
"""Seconds of parsing after which a file counts as large, whatever its size."""
CHARACTERS = 8_000_000
"""Characters of parsed documents that may wait for the embedder; then parsing pauses."""
LARGE_CHARACTERS = 20_000_000
"""The same for documents of over CHARACTERS // 4 characters, of which few are in hand at once."""


class ParseQueue:
    """Jobs that wait to be parsed, in the order of `Job.order`.

    Beside `workers` parses one more may run, of a small file, when all the others are in large ones.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._jobs: list[Job] = []

    @property
    def threads(self) -> int:
        """Most parses at once."""
        return self._workers + 1

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """It waits from now on."""
        bisect.insort(self._jobs, job, key=lambda one: one.order)

    def drop(self, job: Job) -> None:
        """It waits no longer."""
        if job in self._jobs:
            self._jobs.remove(job)

    def full(self, in_hand: Collection[Job]) -> bool:
        """Whether parsed text enough waits, so that nothing of the lowest priority need be claimed."""
        return _small_characters(in_hand) >= CHARACTERS

    def next(self, parsing: Collection[Job], in_hand: Collection[Job]) -> Job | None:
        """Take out the job to start now, or None. parsing: under way; in_hand: every claimed version of the run."""
        free = self._workers - len(parsing)
        only_small = free <= 0
        if len(parsing) > self._workers or (only_small and not all(_is_large(job) for job in parsing)):
            return None
        small, large = _small_characters(in_hand), _large_characters(in_hand)
        suspect = any(job.suspect and job.begun for job in in_hand)
        for job in self._jobs:
            big = job.claimed.size >= LARGE_BYTES
            if (only_small and big) or (suspect and job.suspect):
                continue
            if small >= CHARACTERS * (1 if job.priority <= 0 else 2) or (big and large >= LARGE_CHARACTERS):
                continue
            self._jobs.remove(job)
            return job
        return None


def _is_large(job: Job) -> bool:
    return job.claimed.size >= LARGE_BYTES or time.monotonic() - job.begun > LONG_S


def _small_characters(jobs: Collection[Job]) -> int:
    return sum(job.characters for job in jobs if job.characters <= CHARACTERS // 4)


def _large_characters(jobs: Collection[Job]) -> int:
    return sum(job.characters for job in jobs if job.characters > CHARACTERS // 4)
