"""One ingestion as its starter sees it: submit sources, take part in the work, follow it to the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.ingest_progress import Gauge, Progress
from app.locks import OwnerLock
from app.services import run_folder
from core.errors import AliothError
from core.types import FINAL_STATES, Collection, DocumentRow, DocumentState, Priority

if TYPE_CHECKING:
    from app.wiring import Alioth
    from ingest.intake import Added, SourceFile
    from storage.document_rows import Stage, VersionStatus
    from storage.documents import Submission

POLL_SLICE = 500
"""Versions asked for in one query."""
FEW_FILES = 20
"""Up to so many files somebody waits for; more are a bulk load, which lets uploads and few files pass."""


class Ingestion:
    """Documents submitted together. Without a running worker this process does the work itself."""

    def __init__(self, alioth: Alioth, collection: Collection) -> None:
        self._alioth = alioth
        self._collection = collection
        self._outcomes: dict[str, tuple[str, str]] = {}  # version id -> path, outcome
        self._refused: list[tuple[str, AliothError]] = []
        self.left_out: list[str] = []
        """Members of archives that are no documents."""
        self.deleted: list[str] = []
        """Documents that their archive no longer holds."""
        self._done: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._stages: dict[str, Stage] = {}
        self._gauge = Gauge()
        self._started = time.monotonic()
        self._finished = 0.0

    def submit(self, sources: Sequence[SourceFile]) -> list[tuple[str, AliothError]]:
        """Store each source and its job; returns those that were refused, with the reason."""
        priority = Priority.FILES if len(sources) <= FEW_FILES else Priority.BULK
        for start in range(0, len(sources), POLL_SLICE):
            piece = sources[start : start + POLL_SLICE]
            unchanged = self._alioth.intake.unchanged(self._collection, piece)
            for source in piece:
                if source.logical_path in unchanged:
                    self._note(source.logical_path, unchanged[source.logical_path])
                    continue
                for added in self._alioth.intake.add_source(self._collection, source, priority):
                    self._take(added)
                    if added.submission is not None and added.path == source.logical_path:
                        self._sizes[added.submission.version_id] = source.size
        return self._refused

    def _take(self, added: Added) -> None:
        if added.submission is not None:
            self._note(added.path, added.submission)
        elif added.error is not None:
            self._refused.append((added.path, added.error))
        elif added.deleted:
            self.deleted.append(added.path)
        else:
            self.left_out.append(added.path)

    def retry(self, rows: Sequence[DocumentRow]) -> None:
        """Submit failed documents again with the bytes that are stored."""
        for row in rows:
            submission = self._alioth.documents.retry(row.id)
            self._note(row.path, submission)
            self._sizes[submission.version_id] = row.size

    def note(self, path: str, submission: Submission) -> None:
        """Follow a document that was submitted elsewhere, as a sync does."""
        self._note(path, submission)

    def _note(self, path: str, submission: Submission) -> None:
        self._outcomes[submission.version_id] = (path, submission.outcome)

    @property
    def open_ids(self) -> list[str]:
        """Versions that are not in a final state, as far as we know."""
        return [v for v, (_, outcome) in self._outcomes.items() if v not in self._done and outcome != "unchanged"]

    @property
    def total(self) -> int:
        return len([1 for _, outcome in self._outcomes.values() if outcome != "unchanged"])

    def poll(self) -> None:
        """Ask SQL for the open versions."""
        ids = self.open_ids
        stages = self._alioth.documents.stages(ids)
        self._stages.update(stages)
        ended = [v for v in ids if v not in stages or stages[v].state in FINAL_STATES]
        found: dict[str, VersionStatus] = {}
        for start in range(0, len(ended), POLL_SLICE):
            found.update(self._alioth.documents.get_many(ended[start : start + POLL_SLICE]))
        self._done.update((version_id, found.get(version_id)) for version_id in ended)
        if not self.open_ids and not self._finished:
            self._finished = time.monotonic()

    def follow(self, stop: threading.Event) -> None:
        """Until everything is final or `stop` is set. Works itself when no worker runs on this machine."""
        self.poll()
        if not self.open_ids:
            return
        self._alioth.doorbell.ring()
        worker = OwnerLock(run_folder(self._alioth.settings), "worker")
        while self.open_ids and not stop.is_set():
            if not worker.held():
                self._alioth.pipeline.drain(stop)
            self.poll()
            if self.open_ids:
                stop.wait(0.3)

    def progress(self) -> Progress:
        """How far it is, as of the last `poll`."""
        paths = {v: path for v, (path, outcome) in self._outcomes.items() if outcome != "unchanged"}
        known = {v: stage for v, stage in dict(self._stages).items() if v in paths}
        return self._gauge.read(known, paths, self._sizes)

    def totals(self) -> dict[str, Any]:
        """Counts of this ingestion, with `seconds` and `chunks`."""
        states = [status.state for status in self._done.values() if status is not None]
        return {
            "submitted": self.total,
            "ready": states.count(DocumentState.READY),
            "failed": states.count(DocumentState.FAILED) + len(self._refused),
            "unchanged": len(self._outcomes) - self.total,
            "cancelled": sum(s is None or s.state is DocumentState.DELETED for s in self._done.values()),
            "open": len(self.open_ids),
            "chunks": sum(s.chunks for s in self._done.values() if s is not None and s.state == DocumentState.READY),
            "seconds": round((self._finished or time.monotonic()) - self._started, 3),
        }

    def report(self) -> list[dict[str, Any]]:
        """One row per document in the order submitted, refused ones last."""
        found: dict[str, Any] = {}
        ids = list(self._outcomes)
        for start in range(0, len(ids), POLL_SLICE):
            found.update(self._alioth.documents.get_many(ids[start : start + POLL_SLICE]))
        rows: list[dict[str, Any]] = []
        for version_id, (path, outcome) in self._outcomes.items():
            status = found.get(version_id)
            row: dict[str, Any] = {
                "path": path,
                "outcome": outcome,
                "state": DocumentState.DELETED.value,
                "error": None,
            }
            if status is not None:
                row |= {
                    "state": status.state.value,
                    "pages": status.pages,
                    "chunks": status.chunks,
                    "pages_done": status.pages_done,
                    "chunks_done": status.chunks_done,
                    "problems": [problem.to_dict() for problem in status.problems],
                    "error": status.error,
                }
            rows.append(row)
        for path, error in self._refused:
            refusal = {"code": error.code, "message": error.message, "hint": error.hint}
            rows.append({"path": path, "outcome": "refused", "state": DocumentState.FAILED.value, "error": refusal})
        return rows
