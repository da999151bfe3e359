"""Archives that came through the page, read in by a thread of this process, so that the page answers at once."""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.web.uploads import Waiting, drop, note, noted
from core.errors import AliothError
from core.types import Collection, Priority

if TYPE_CHECKING:
    from app.wiring import Alioth

log = logging.getLogger(__name__)

REFUSED_KEPT = 10
"""Members of one archive that are named when they cannot be taken; the others are counted."""


@dataclass(slots=True)
class Unpacked:
    """How far one archive is. refused: the first few members that were not taken, with the reason; more: the others."""

    id: str
    collection_id: str
    name: str
    taken: int = 0
    refused: list[tuple[str, AliothError]] = field(default_factory=list)
    more: int = 0
    ended: bool = False


class Unpacking:
    """One archive after another. Thread-safe. An archive that a dying process left is begun anew by the next one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Unpacked] = {}
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def begin(self, alioth: Alioth, collection: Collection, waiting: Waiting) -> str:
        """Read the kept archive in from now on. Gives an id for `ended`."""
        note(waiting, collection.id)
        job = Unpacked(uuid.uuid4().hex, collection.id, waiting.name)
        with self._lock:
            self._jobs[job.id] = job
            self._waiting.put(lambda: self._run(alioth, collection, waiting, job))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="unpacking", daemon=True)
                self._thread.start()
        return job.id

    def stop(self) -> None:
        """This process ends: what is not done is left to the next one."""
        self._stop.set()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._waiting.get()()

    def resume(self, alioth: Alioth) -> int:
        """Begin anew what an earlier process left. Gives how many archives."""
        found = noted(alioth.settings.home)
        for collection_id, waiting in found:
            try:
                self.begin(alioth, alioth.collections.get_by_id(collection_id), waiting)
            except AliothError as error:  # the collection is gone
                log.info("%r is not unpacked: %s", waiting.name, error)
                drop(waiting)
        return len(found)

    def under_way(self, collection_id: str) -> list[Unpacked]:
        """Those of a collection that have not come to their end."""
        with self._lock:
            return [job for job in self._jobs.values() if job.collection_id == collection_id and not job.ended]

    def ended(self, ids: list[str]) -> list[Unpacked]:
        """Of these the ones that came to their end; each is told once."""
        with self._lock:
            done = [job for job_id in ids if (job := self._jobs.get(job_id)) is not None and job.ended]
            for job in done:
                del self._jobs[job.id]
        return done

    def _run(self, alioth: Alioth, collection: Collection, waiting: Waiting, job: Unpacked) -> None:
        try:
            with waiting.file.open("rb") as stream:
                for added in alioth.intake.add_all(collection, waiting.name, stream, Priority.UPLOAD):
                    if self._stop.is_set():
                        break
                    if added.submission is not None:
                        job.taken += 1
                    elif added.error is not None and len(job.refused) < REFUSED_KEPT:
                        job.refused.append((added.path, added.error))
                    elif added.error is not None:
                        job.more += 1
        except AliothError as error:
            job.refused.append((waiting.name, error))
        except Exception as error:  # the page tells that it failed; the log has the details
            log.exception("unpacking %r failed", waiting.name)
            job.refused.append((waiting.name, _Fault(waiting.name, error)))
        finally:
            if not self._stop.is_set():
                drop(waiting)
            job.ended = True


class _Fault(AliothError):
    """A fault of the program itself."""

    code = "internal"

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(
            f"Cannot unpack {name!r}: an unexpected fault, {type(error).__name__}.", "The web process's log has it."
        )


unpacking = Unpacking()
"""This process's one."""
