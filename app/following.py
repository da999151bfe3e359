"""Folders that a worker keeps in step by itself, for as long as it runs: one worker for each, among all machines."""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import AliothError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from app.wiring import Alioth
    from ingest.sync_plan import Difference
    from storage.watches import Watch

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""Seconds between two looks for sources to follow, each of which renews the lease of those that are."""
LEASE_S = 40.0
"""Seconds after which a silent worker's sources are another's."""
LEAVE_S = 10.0
"""Seconds that the end of the worker waits for a pass to stop; the next one finishes it."""


class Followers:
    """Follows what SQL says is to be followed and nobody else follows. Use as a context, in a worker."""

    def __init__(self, alioth: Alioth) -> None:
        self._alioth = alioth
        self._stop = threading.Event()
        self._threads: dict[str, _Follower] = {}
        self._thread = threading.Thread(target=self._run, name="followers", daemon=True)

    def __enter__(self) -> Followers:
        if self._alioth.settings.ingest.watch_sources:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for follower in self._threads.values():
            follower.end()
        if self._thread.is_alive():
            self._thread.join(LEAVE_S)
        for follower in self._threads.values():
            follower.join(LEAVE_S)
        with contextlib.suppress(AliothError):  # its leases run out by themselves
            self._alioth.watches.release(self._alioth.worker_name)

    def look(self) -> None:
        """Begin, go on with and end what SQL says now."""
        watches = self._alioth.watches.claim(self._alioth.worker_name, LEASE_S, _sees)
        wanted = {watch.source_id: watch for watch in watches}
        for source_id, follower in list(self._threads.items()):
            if source_id not in wanted or follower.poll_s != wanted[source_id].poll_s:
                follower.end()
            if not follower.is_alive():
                del self._threads[source_id]
        for source_id, watch in wanted.items():
            if source_id not in self._threads and not self._stop.is_set():
                self._threads[source_id] = _Follower(self._alioth, watch)
                self._threads[source_id].start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except AliothError as error:
                log.warning("sources are looked for later: %s", error)
            except Exception:  # folders must be followed again when what fails now works
                log.exception("sources could not be looked for")
            self._stop.wait(LOOK_S)


class _Follower(threading.Thread):
    """One source, until it is removed, no longer to be followed, or another's."""

    def __init__(self, alioth: Alioth, watch: Watch) -> None:
        super().__init__(name=f"follow-{watch.source_id[:8]}", daemon=True)
        self.poll_s = watch.poll_s
        self._alioth = alioth
        self._source_id = watch.source_id
        self._ending = threading.Event()
        self._told = str(watch.trouble.get("message", ""))

    def end(self) -> None:
        """Stop after the file that is under way."""
        self._ending.set()

    def run(self) -> None:
        try:
            self._follow()
        except NotFoundError:
            log.info("the source %s is gone", self._source_id)
        except AliothError as error:
            self._trouble(error)
        except Exception as error:  # the next look begins it anew
            log.exception("following %s failed", self._source_id)
            self._trouble(_Fault(error))
        self._ending.wait(LOOK_S)  # not at once again, whatever is wrong

    def _follow(self) -> None:
        from app.syncing import FolderSync, SyncRequest

        source = self._alioth.sources.get(self._source_id)
        collection = self._alioth.collections.get_by_id(source.collection_id)
        folder = FolderSync(self._alioth, collection, Path(source.place), SyncRequest(careful=True))

        def report(difference: Difference) -> None:
            if not difference.empty:
                counts = {name: len(getattr(difference, name)) for name in ("added", "changed", "moved", "deleted")}
                log.info("%s: %s", source.place, counts)
                self._alioth.audit.record("system", "source.sync", source.place, collection=collection.name, **counts)

        folder.watch(self._ending, self.poll_s, report, self._trouble, source, self._passed)

    def _passed(self, difference: Difference) -> None:
        if difference.refused:
            self._trouble(_Refused(len(difference.refused)))
        elif self._told:
            self._alioth.watches.note(self._source_id, self._alioth.worker_name, None)
            self._told = ""

    def _trouble(self, error: AliothError) -> None:
        if isinstance(error, ConflictError) or error.message == self._told:  # a person syncs it right now; or known
            return
        log.warning("the source %s cannot be followed: %s", self._source_id, error)
        with contextlib.suppress(AliothError):  # the database is away, too
            self._alioth.watches.note(self._source_id, self._alioth.worker_name, error)
            self._told = error.message


def _sees(kind: str, place: str) -> bool:
    return kind == "folder" and Path(place).is_dir()


class _Refused(AliothError):
    """Deletions that nobody confirmed."""

    code = "deletions_refused"

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} documents were not deleted although their files are gone: the folder is empty, another one, or "
            "lacks most of them at once.",
            "See whether it is mounted. If the files are really gone: alioth ingest sync DIR --allow-mass-delete.",
        )


class _Fault(AliothError):
    """A fault of the program itself."""

    code = "internal"

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"The folder cannot be followed: an unexpected fault, {type(error).__name__}.",
            "The worker's log has the details.",
        )
