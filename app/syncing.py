"""A folder and a collection kept in step: a preview, one pass, or for as long as the program runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.locks import OwnerLock
from app.services import run_folder
from core.errors import AliothError, ConflictError, InputError, NotFoundError
from core.types import Collection

if TYPE_CHECKING:
    from app.wiring import Alioth
    from ingest.folder_source import FolderSource
    from ingest.sync_plan import Difference, SyncOptions
    from storage.documents import Submission
    from storage.sources import Source

log = logging.getLogger(__name__)

BUSY_RETRY_S = 2.0
FAULT_RETRY_S = 5.0
IDLE_S = 5.0
"""Seconds between looks for documents to ingest that nobody announced."""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What a person asks of a sync. prefix, ignore: None means as at the last sync of this folder."""

    prefix: str | None = None
    ignore: tuple[str, ...] | None = None
    adopt: bool = False
    allow_mass_delete: bool = False
    careful: bool = False
    """Nobody looks at what is done: a folder that is suddenly empty, or another one, deletes nothing at all."""


class FolderSync:
    """One folder of one collection.

    Raises:
        InputError: there is no such folder, and it was never synced; or it overlaps the data directory.
    """

    def __init__(self, alioth: Alioth, collection: Collection, folder: Path, request: SyncRequest) -> None:
        from ingest.folder_source import FolderSource

        self._alioth = alioth
        self._collection = collection
        place = FolderSource(folder).place
        self._known = alioth.sources.find(collection.id, FolderSource.kind, place)
        _check_place(Path(place), alioth.settings.home, new=self._known is None)
        stored = self._known.options if self._known else {}
        self._prefix: str = stored.get("prefix", "") if request.prefix is None else request.prefix.strip("/")
        ignore = stored.get("ignore", []) if request.ignore is None else request.ignore
        self._ignore = [pattern for pattern in ignore if pattern]
        self._request = request
        self.remote: FolderSource = FolderSource(folder, self._ignore)

    def preview(self) -> Difference:
        """What a pass would do. Changes nothing at all."""
        return self._alioth.sync.plan(self._collection, self.remote, self._options, self._known)

    def run(self, on_submitted: Callable[[str, Submission], None]) -> Difference:
        """One pass; the documents are queued when it returns, not yet ready.

        Raises:
            ConflictError: another sync of this folder is running. InputError: the folder cannot be looked at.
        """
        source = self._source()
        with self._alioth.sources.exclusive(source.id):
            difference = self._alioth.sync.plan(self._collection, self.remote, self._options, source)
            self._carry_out(source, difference, on_submitted)
        return difference

    def watch(
        self,
        stop: threading.Event,
        poll_s: float | None,
        report: Callable[[Difference], None],
        trouble: Callable[[AliothError], None],
        source: Source | None = None,
        passed: Callable[[Difference], None] = lambda difference: None,
    ) -> None:
        """Passes whenever something changes, until `stop` is set. Ingests as well when no worker runs on this machine.

        Args:
            report: called with each difference in which something was done, failed or stands in conflict anew.
            trouble: called with what keeps a pass from being made, once until it changes.
            source: the one to follow, by a worker: then nothing is ingested here. Made if need be when not given.
            passed: called with the difference of every pass.

        Raises:
            NotFoundError: the collection or the source was deleted.
        """
        from ingest.watch import watch

        work = threading.Event()
        looks = _Looks(self, source or self._source(), work, stop, report, trouble, passed)
        ingesting = threading.Thread(target=self._ingest, args=(stop, work), name="sync-ingest")
        if source is None:
            ingesting.start()
        try:
            watch(Path(self.remote.place), looks.look, stop, poll_s)
        finally:
            stop.set()
            work.set()
            if source is None:
                ingesting.join()

    @property
    def _options(self) -> SyncOptions:
        from ingest.sync import takes
        from ingest.sync_plan import SyncOptions

        return SyncOptions(
            takes,
            self._prefix,
            self._request.adopt,
            self._request.allow_mass_delete,
            self._alioth.settings.ingest.max_file_mb * 1_000_000,
            self._request.careful,
        )

    def _source(self) -> Source:
        options: dict[str, Any] = {"prefix": self._prefix, "ignore": self._ignore}
        return self._alioth.sources.remember(self._collection.id, self.remote.kind, self.remote.place, options)

    def _carry_out(
        self,
        source: Source,
        difference: Difference,
        on_submitted: Callable[[str, Submission], None],
        stop: threading.Event | None = None,
    ) -> None:
        self._alioth.sync.carry_out(self._collection, source, difference, self._options, on_submitted, stop)
        if difference.deleted:
            self._alioth.doorbell.ring()  # a worker that runs clears the indexes

    def _ingest(self, stop: threading.Event, work: threading.Event) -> None:
        """Brings to their end the documents that no worker of this machine takes."""
        worker = OwnerLock(run_folder(self._alioth.settings), "worker")
        while not stop.is_set():
            work.wait(IDLE_S)
            work.clear()
            if stop.is_set() or worker.held():
                continue
            try:
                if self._alioth.documents.pending() or self._alioth.documents.purgeable(1):
                    self._alioth.pipeline.drain(stop)
            except AliothError as error:
                log.warning("ingestion waits: %s", error)
            except Exception:  # the folder must be followed on; the next round tries again
                log.exception("ingestion failed")


class _Looks:
    """The passes of a watched folder, each over what has come to rest."""

    def __init__(
        self,
        folder: FolderSync,
        source: Source,
        work: threading.Event,
        stop: threading.Event,
        report: Callable[[Difference], None],
        trouble: Callable[[AliothError], None],
        passed: Callable[[Difference], None],
    ) -> None:
        from ingest.watch import Settling

        self._folder = folder
        self._source_id = source.id
        self._settling = Settling()
        self._work = work
        self._stop = stop
        self._report = report
        self._trouble = trouble
        self._passed = passed
        self._said: object = None
        self._faults: object = None

    def look(self) -> float | None:
        """One pass. Gives the seconds until the next is wanted, None when nothing is left to do."""
        from ingest.watch import SETTLE_S

        try:
            with self._folder._alioth.sources.exclusive(self._source_id):
                waiting = self._pass()
        except NotFoundError:
            raise
        except AliothError as error:
            log.warning("sync waits: %s", error)
            if self._said != error.message:
                self._said = error.message
                self._trouble(error)
            return BUSY_RETRY_S if isinstance(error, ConflictError) else FAULT_RETRY_S
        self._said = None
        return SETTLE_S if waiting else None

    def _pass(self) -> int:
        folder = self._folder
        source = folder._alioth.sources.get(self._source_id)
        found = folder._alioth.sync.plan(folder._collection, folder.remote, folder._options, source)
        ready, waiting = self._settling.split(found)
        if not ready.empty or ready.refreshed or ready.forgotten:
            steps = [*ready.added, *ready.changed]
            folder._carry_out(source, ready, lambda path, submission: self._work.set(), self._stop)
            self._settling.tried(steps, ready)
        faults = tuple(sorted((p, e.message) for p, e in [*ready.failed, *ready.conflicts])), len(ready.refused)
        if not ready.empty or (faults != self._faults and any(faults)):
            self._report(ready)
            self._work.set()
        self._faults = faults
        self._passed(ready)
        return waiting


def _check_place(folder: Path, home: Path, *, new: bool) -> None:
    home = home.resolve()
    if folder.is_relative_to(home) or home.is_relative_to(folder):
        raise InputError(
            f"Cannot sync {str(folder)!r}: it overlaps the data directory {str(home)!r}.",
            "Sync another folder, or move the data directory (ALIOTH_HOME).",
        )
    if new and not folder.is_dir():
        raise InputError(f"There is no folder {str(folder)!r}.", "Check the spelling and the working directory.")
