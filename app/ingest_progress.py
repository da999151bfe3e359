"""How far an ingestion is: documents by stage, chunks, rate, the large file under way, the time that is left."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.types import FINAL_STATES, DocumentState

if TYPE_CHECKING:
    from storage.document_rows import Stage

WINDOW_S = 60.0
"""Seconds over which the rate is measured: long enough to be steady, short enough to follow a change."""
EARLIEST_S = 3.0
"""Seconds of work before a time left is told."""


@dataclass(frozen=True, slots=True)
class Slowest:
    """The version under way that has the most before it. done of total: pages while parsing, else chunks."""

    path: str
    state: DocumentState
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Progress:
    """stages: versions by state. rate: chunks per second lately. seconds_left: None while nobody can tell."""

    stages: Mapping[DocumentState, int]
    chunks: int
    rate: float
    share: float
    seconds_left: float | None
    slowest: Slowest | None


class Gauge:
    """Makes `Progress` of what SQL says about versions, called now and then. Work counts in bytes of the files."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int, float]] = deque()  # time, chunks, share

    def read(self, stages: Mapping[str, Stage], paths: Mapping[str, str], sizes: Mapping[str, int]) -> Progress:
        """stages: of every version of the ingestion, those that are gone left out. sizes: bytes, 1 where unknown."""
        now = time.monotonic()
        chunks = sum(_chunks(stage) for stage in stages.values())
        whole = sum(max(1, sizes.get(version_id, 1)) for version_id in paths) or 1
        # a version that is gone was purged: there is nothing left to do for it
        done = sum(max(1, sizes.get(v, 1)) * (_share(stages[v]) if v in stages else 1.0) for v in paths)
        share = done / whole
        self._marks.append((now, chunks, share))
        while len(self._marks) > 2 and now - self._marks[1][0] > WINDOW_S:
            self._marks.popleft()
        then, chunks_then, share_then = self._marks[0]
        passed = now - then
        left = None
        if share >= 1.0:
            left = 0.0
        elif passed >= EARLIEST_S and share > share_then:
            left = passed * (1.0 - share) / (share - share_then)
        rate = max(0, chunks - chunks_then) / passed if passed > 0 else 0.0
        counted = Counter(stage.state for stage in stages.values())
        return Progress(counted, chunks, rate, share, left, _slowest(stages, paths, sizes))


def _chunks(stage: Stage) -> int:
    return stage.chunks if stage.state is DocumentState.READY else stage.chunks_done


def _share(stage: Stage) -> float:
    return 1.0 if stage.state in FINAL_STATES else stage.progress


def _slowest(stages: Mapping[str, Stage], paths: Mapping[str, str], sizes: Mapping[str, int]) -> Slowest | None:
    working = [
        (sizes.get(version_id, 1) * (1.0 - stage.progress), version_id)
        for version_id, stage in stages.items()
        if stage.state not in FINAL_STATES and stage.state is not DocumentState.QUEUED and version_id in paths
    ]
    if not working:
        return None
    _, version_id = max(working)
    stage = stages[version_id]
    if stage.state in (DocumentState.PARSING, DocumentState.CHUNKING):
        return Slowest(paths[version_id], stage.state, stage.pages_done, stage.pages)
    return Slowest(paths[version_id], stage.state, stage.chunks_done, stage.chunks)
