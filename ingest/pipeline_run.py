"""One pass of the pipeline: a single thread decides, worker threads parse, embed and store."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

from core.errors import (
    AliothError,
    DocumentError,
    IndexUnavailableError,
    LeaseLostError,
    ModelUnavailableError,
    StoreUnavailableError,
)
from core.types import DocumentState
from ingest.leases import Leases
from ingest.parser_pool import ParseStopped
from ingest.run_jobs import TEXTS_PER_CALL, Call, EmbedQueue, Job, Slice
from ingest.run_parsing import ParseQueue
from ingest.run_stages import Event, Parts, Stages
from models.protocols import Embeddings
from storage.documents import ClaimedVersion

__all__ = ["TEXTS_PER_CALL", "UNAVAILABLE", "Event", "Parts", "Run"]

logger = logging.getLogger(__name__)

CALLS_AHEAD = 2
"""Embedding calls under way at once, so that the embedder has the next one when it ends one."""
TEXTS_PER_STEP = 128
"""Texts after which a stopped or unwanted call ends."""
STORE_GROUP = 1024
"""Chunks of small documents that are stored by one visit to the vector server."""
OPEN_JOBS = 8
"""Times `limit` versions that a run has in hand at most, so that small documents fill the embedding calls."""
URGENT_JOBS = 8
"""Versions of a higher priority that a run takes in beside all that it has in hand."""
LOOK_S = 1.0
"""Seconds between two looks for cancelled versions and for new ones of a higher priority."""
PROGRESS_S = 1.0
"""Seconds between two reports of one version's progress."""
TIDY_S = 30.0
"""Seconds between two rounds of clearing up while a run goes on."""
LEAVE_S = 1.0
"""Seconds that the end of a run waits for threads that write nothing any more."""
UNAVAILABLE = (ModelUnavailableError, IndexUnavailableError, StoreUnavailableError)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Claim(Protocol):
    """Takes up to `room` versions, none of `holding`, with `min_priority` only queued ones from that priority on."""

    def __call__(
        self, room: int, holding: Iterable[str], min_priority: int | None = None
    ) -> Sequence[ClaimedVersion]: ...


@dataclass(frozen=True, slots=True)
class _Threads:
    parse: ThreadPoolExecutor
    embed: ThreadPoolExecutor
    store: ThreadPoolExecutor


class Run:
    """Brings claimed versions to their end. Its state is touched by the calling thread only."""

    def __init__(
        self,
        parts: Parts,
        leases: Leases,
        stop: threading.Event,
        on_progress: Callable[[Event], None] | None,
        tidy: Callable[[], None] | None = None,
    ) -> None:
        self._parts = parts
        self._leases = leases
        self._stop = stop
        self._report = on_progress or (lambda event: None)
        self._stages = Stages(parts, stop, self._report)
        self._to_parse = ParseQueue(parts.settings.parse_workers)
        self._to_embed = EmbedQueue()
        self._to_store: deque[Slice] = deque()
        self._parsing: dict[Future[Any], Job] = {}
        self._embedding: dict[Future[Any], Call] = {}
        self._storing: dict[Future[Any], list[Slice]] = {}
        self._jobs: dict[str, Job] = {}
        self._unwanted: set[str] = set()
        self._tidy = tidy or (lambda: None)
        self._tidied = time.monotonic()
        self._looked = time.monotonic()
        self._finished = 0
        self.switched: set[str] = set()

    @property
    def unfinished(self) -> bool:
        """True while versions are claimed that have not come to an end."""
        return bool(self._jobs)

    def work(self, claim: Claim, limit: int, refill: bool) -> int:
        """Claim and finish versions. With `refill`, claim more as room comes up, until there are none.

        Raises:
            ModelUnavailableError, IndexUnavailableError, StoreUnavailableError: leave the rest to be released.
        """
        threads = _Threads(
            ThreadPoolExecutor(self._to_parse.threads, thread_name_prefix="parse"),
            ThreadPoolExecutor(CALLS_AHEAD + 1, thread_name_prefix="embed"),
            ThreadPoolExecutor(1, thread_name_prefix="store"),
        )
        try:
            self._work(claim, limit, refill, threads)
        finally:
            self._leave(threads)
        return self._finished

    def _work(self, claim: Claim, limit: int, refill: bool, threads: _Threads) -> None:
        more = True
        while not self._stop.is_set():
            look = time.monotonic() - self._looked >= LOOK_S
            if look:
                self._look()
            if more or (refill and look):
                room = self._room(limit)
                if room:
                    fresh = claim(room, self._jobs.keys())
                    more = bool(fresh) and refill
                    self._begin(fresh)
                elif look and refill:
                    self._take_urgent(claim)
            self._submit(threads)
            futures = [*self._parsing, *self._embedding, *self._storing]
            if not futures:
                if more:
                    continue
                break
            done, _ = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                self._settle(future)

    # ---------------------------------------------------------------- taking in

    def _room(self, limit: int) -> int:
        """How many versions to claim now: few at a time, so that other workers and later uploads get their turn."""
        queued = len(self._to_parse)
        if queued > limit // 2 or len(self._jobs) >= limit * OPEN_JOBS or self._to_parse.full(self._jobs.values()):
            return 0
        return limit - queued

    def _take_urgent(self, claim: Claim) -> None:
        """While there is no room, take a few versions in that come before the least of those in hand."""
        least = min((job.priority for job in self._jobs.values()), default=0)
        room = URGENT_JOBS - sum(job.priority > least for job in self._jobs.values())
        if room > 0:
            self._begin(claim(room, self._jobs.keys(), least + 1))

    def _begin(self, fresh: Sequence[ClaimedVersion]) -> None:
        self._leases.hold(claimed.version_id for claimed in fresh)
        for claimed in fresh:
            job = Job(claimed)
            self._jobs[job.id] = job
            self._to_parse.put(job)

    def _look(self) -> None:
        """Notice what was cancelled, deleted or taken over; clear up what such versions left."""
        self._looked = time.monotonic()
        documents, worker = self._parts.documents, self._parts.worker
        in_store = {piece.job.id for group in self._storing.values() for piece in group}
        looked = [version_id for version_id in self._jobs if version_id not in in_store]  # those may be ready by now
        held = documents.still_held(worker, looked)
        for version_id in looked:
            if version_id not in held:
                self._forget(self._jobs[version_id], unwanted=True)
        idle = self._unwanted - in_store
        if idle:
            documents.let_go(worker, sorted(idle))
            self._unwanted -= idle
            self._tidied = 0.0

    # ---------------------------------------------------------------- stages

    def _submit(self, threads: _Threads) -> None:
        """Give every stage what it can take."""
        while (job := self._to_parse.next(self._parsing.values(), self._jobs.values())) is not None:
            job.begun = time.monotonic()
            self._parsing[threads.parse.submit(self._stages.prepare, job)] = job
        while (call := self._next_call()) is not None:
            self._embedding[threads.embed.submit(self._embed, call)] = call
        if not self._storing:
            group = self._next_group()
            if group:
                self._storing[threads.store.submit(self._stages.store, group)] = group
            elif time.monotonic() - self._tidied >= TIDY_S:
                self._tidied = time.monotonic()
                self._storing[threads.store.submit(self._clear_up)] = []

    def _clear_up(self) -> dict[Job, bool | Exception]:
        self._tidy()
        return {}

    def _next_call(self) -> Call | None:
        """One call may go beside the usual number when it is of a higher priority than those under way."""
        under_way = [call.priority for call in self._embedding.values()]
        if len(under_way) > CALLS_AHEAD:
            return None
        call = self._to_embed.next_call(hold=bool(self._parsing and self._embedding))
        while call is not None:
            call = call.only(self._wanted)
            if call.entries:
                break
            call = self._to_embed.next_call(hold=bool(self._parsing and self._embedding))
        if call is not None and len(under_way) >= CALLS_AHEAD and call.priority <= max(under_way):
            self._to_embed.put_calls([call])
            return None
        return call

    def _next_group(self) -> list[Slice]:
        """Slices to store together."""
        group: list[Slice] = []
        while self._to_store and sum(len(piece.chunks) for piece in group) < STORE_GROUP:
            piece = self._to_store.popleft()
            if self._wanted(piece.job):
                group.append(piece)
        return group

    def _settle(self, future: Future[Any]) -> None:
        """Take the result of a stage to the next one."""
        if future in self._parsing:
            job = self._parsing.pop(future)
            if self._ok(future, job):
                self._prepared(job)
        elif future in self._embedding:
            self._embedded(self._embedding.pop(future), future)
        else:
            self._stored(self._storing.pop(future), future)

    def _prepared(self, job: Job) -> None:
        if not self._wanted(job):
            return
        complete = [piece for piece in job.slices if piece.missing == 0]  # every embedding was known
        self._to_embed.put(job)
        self._to_store.extend(complete)

    def _embed(self, call: Call) -> Embeddings | None:
        return self._stages.embed(call, self._wanted, TEXTS_PER_STEP)

    def _embedded(self, call: Call, future: Future[Any]) -> None:
        error = future.exception()
        if error is not None and not isinstance(error, UNAVAILABLE) and len(call.jobs) > 1:
            self._to_embed.put_calls(call.apart())  # one document is at fault, and the others must not suffer
            return
        if not self._ok(future, *call.jobs) or future.result() is None:
            return
        for (piece, place), vector in zip(call.entries, future.result(), strict=True):
            piece.give(place, vector)
        for piece in {id(piece): piece for piece, _ in call.entries}.values():
            if piece.missing == 0 and self._wanted(piece.job):
                self._to_store.append(piece)
        for job in call.jobs:
            if self._wanted(job):
                self._progress(job)

    def _progress(self, job: Job) -> None:
        now = time.monotonic()
        if job.embedded == job.total or now - job.reported < PROGRESS_S:
            return
        job.reported = now
        try:
            self._stages.progress(job)
        except LeaseLostError:
            self._forget(job, unwanted=True)

    def _stored(self, group: list[Slice], future: Future[Any]) -> None:
        if not self._ok(future, *{piece.job.id: piece.job for piece in group}.values()):
            return
        outcomes: dict[Job, bool | Exception] = future.result()
        for job, outcome in outcomes.items():
            if isinstance(outcome, Exception):
                self._fail(job, outcome)
            else:
                self._end(job, DocumentState.READY if outcome else DocumentState.DELETED)
        for job in {piece.job for piece in group} - outcomes.keys():
            if self._wanted(job):
                self._progress(job)

    # ---------------------------------------------------------------- ends

    def _wanted(self, job: Job) -> bool:
        return job.id in self._jobs

    def _ok(self, future: Future[Any], *jobs: Job) -> bool:
        """True when the stage went well. Else its jobs end here, or the whole run does when a part is away."""
        error = future.exception()
        if error is None:
            return True
        if isinstance(error, ParseStopped):
            return False
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise StoreUnavailableError(
                f"No room is left on the disk: {error.strerror}.", "Free space on the disk of the data directory."
            ) from error
        if isinstance(error, UNAVAILABLE) or not isinstance(error, Exception):
            raise error
        for job in jobs:
            self._fail(job, error)
        return False

    def _fail(self, job: Job, error: Exception) -> None:
        if not self._wanted(job):
            return
        if isinstance(error, LeaseLostError):
            self._forget(job, unwanted=True)
            return
        if not isinstance(error, AliothError):
            logger.error("ingesting %r failed", job.claimed.path, exc_info=error)
            error = _Internal(job.claimed.path, error)
        elif not isinstance(error, DocumentError):
            logger.error("ingesting %r failed: %s", job.claimed.path, error)
        try:
            self._parts.documents.fail(job.id, self._parts.worker, error)
        except LeaseLostError:
            self._forget(job, unwanted=True)
            return
        self._end(job, DocumentState.FAILED, error)

    def _end(self, job: Job, state: DocumentState, error: AliothError | None = None) -> None:
        if not self._wanted(job):
            return
        self._forget(job)
        self._finished += 1
        if state is DocumentState.READY:
            self.switched.add(job.claimed.collection.index_id)
        self._report(Event(job.id, job.claimed.path, state, job.total, error))

    def _forget(self, job: Job, unwanted: bool = False) -> None:
        """This worker has nothing more to do with the version. unwanted: it did not come to its end here."""
        job.stopped = True
        self._jobs.pop(job.id, None)
        self._leases.drop(job.id)
        self._to_parse.drop(job)
        self._to_embed.drop(job)
        if unwanted:
            self._unwanted.add(job.id)

    def _leave(self, threads: _Threads) -> None:
        """Wait for what still writes; the rest ends by itself and can change nothing without its lease."""
        for job in self._jobs.values():
            job.stopped = True
        for future in (*self._parsing, *self._embedding, *self._storing):
            future.cancel()
        threads.store.shutdown(wait=True)
        wait([*self._parsing, *self._embedding], timeout=LEAVE_S)
        threads.parse.shutdown(wait=False)
        threads.embed.shutdown(wait=False)
        if self._unwanted:
            try:
                self._parts.documents.let_go(self._parts.worker, sorted(self._unwanted))
            except StoreUnavailableError as error:  # their leases run out by themselves
                logger.warning("%s", error)


class _Internal(AliothError):
    """A fault of the program itself, as the job's error."""

    code = "internal"

    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(
            f"Cannot ingest {path!r}: an unexpected fault, {type(error).__name__}.",
            "The worker's log has the details. Try again; if it stays, report it.",
        )
