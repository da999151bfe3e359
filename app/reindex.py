"""One reindex as its starter drives it: fill the hidden index, carry changes over, switch, say how far it is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from app.locks import OwnerLock
from app.services import run_folder
from core.errors import ConflictError, NotFoundError, NotReadyError, StorageError
from core.types import Collection, Fingerprint
from storage.reindex import Purpose, ReindexState

if TYPE_CHECKING:
    from app.wiring import Alioth
    from storage.reindex import Switched

PRIORITY: Final = -10
"""Of documents read again: whatever people upload meanwhile goes first."""
PATIENCE_S: Final = 20.0
"""Seconds that the switch waits for workers to end what they hold, before that is queued anew."""
_WINDOW_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. seconds_left: None until there is something to judge by."""

    state: ReindexState
    seconds_left: float | None


class Reindex:
    """A reindex of one collection. Several commands may drive it; what a killed one began, the next one ends."""

    def __init__(self, alioth: Alioth, collection: Collection) -> None:
        self._alioth = alioth
        self._collection = collection
        self._store = alioth.reindexes
        self._target: Collection | None = None
        self._seen = -1
        self._pace: deque[tuple[float, int]] = deque()
        self._failure: list[BaseException] = []

    def begin(self, embedder_id: str | None, chunk_tokens: int | None, chunk_overlap: int | None) -> bool:
        """Begin, or go on with, a new index. What is not given stays as it is. False when the index is so already.

        Raises:
            ConflictError: another one is under way. NotFoundError, WeightsError, InputError: see Alioth.index_for.
        """
        own = self._collection.settings
        fingerprint, settings = self._alioth.index_for(
            embedder_id or self._collection.fingerprint.embedder_id,
            chunk_tokens if chunk_tokens is not None else own.get("chunk_tokens"),
            chunk_overlap if chunk_overlap is not None else self._kept_overlap(chunk_tokens),
        )
        if fingerprint == self._collection.fingerprint:
            return False
        self._target = self._store.begin(self._collection.id, fingerprint, settings)
        return True

    def _kept_overlap(self, chunk_tokens: int | None) -> int | None:
        """The collection's own overlap, where it is not too much for a new size."""
        kept = self._collection.settings.get("chunk_overlap")
        return None if kept is None else int(kept) if chunk_tokens is None else min(int(kept), chunk_tokens // 2)

    def begin_return(self) -> None:
        """Begin to return to the kept index. Raises NotFoundError or ConflictError, see ReindexStore."""
        self._target = self._store.begin_return(self._collection.id)

    def follow(
        self,
        stop: threading.Event,
        *,
        allow_missing: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Switched | None:
        """Until the new index answers, or `stop` is set (then None; the same command goes on later).

        Works itself when no worker runs on this machine.

        Raises:
            ConflictError: documents failed in it, or another command ended or cancelled it.
            StorageError: the finished index does not agree with the database.
        """
        work = threading.Thread(target=self._work, args=(halt := threading.Event(),), name="reindex", daemon=True)
        try:
            self._carry_over(retry_failed=True)
            work.start()
            return self._until_switched(stop, allow_missing, on_progress or (lambda progress: None))
        except NotFoundError as error:
            raise ConflictError(
                f"The reindex of {self._collection.name!r} was ended or cancelled by someone else.",
                "`alioth collection reindex NAME --status` tells.",
            ) from error
        finally:
            halt.set()
            if work.is_alive():
                work.join()

    def _until_switched(
        self, stop: threading.Event, allow_missing: bool, report: Callable[[Progress], None]
    ) -> Switched | None:
        checked, busy_since = False, 0.0
        while not stop.is_set():
            started = time.monotonic()
            state = self._under_way()
            report(self._judged(state))
            if self._failure:
                raise self._failure[0]
            if state.complete:
                if not checked:
                    self._check(state)
                    checked = True
                try:
                    busy = time.monotonic() - busy_since if busy_since else 0.0
                    return self._store.switch(
                        self._collection.id, allow_missing=allow_missing, insist=busy > PATIENCE_S
                    )
                except NotReadyError:
                    busy_since = busy_since or time.monotonic()
            stalled = not state.complete and not state.open  # e.g. someone deleted a version of the hidden index
            self._carry_over(again=stalled)
            stop.wait(max(0.2, 4 * (time.monotonic() - started)))
        return None

    def _under_way(self) -> ReindexState:
        found = [one for one in self._store.state(self._collection.id) if one.purpose is not Purpose.PREVIOUS]
        if not found or (self._target is not None and found[0].hidden.id != self._target.id):
            raise NotFoundError("No reindex is under way for this collection.")
        return found[0]

    def _carry_over(self, retry_failed: bool = False, again: bool = False) -> None:
        """Submit what the hidden index lacks; nothing to do while what answers has not changed, unless `again`."""
        position = self._store.position(self._collection.id)
        if position == self._seen and not retry_failed and not again:
            return
        hidden, documents = self._under_way().hidden, self._alioth.documents
        lack = self._store.lack(self._collection.id, retry_failed)
        for path, content_hash, size in lack.missing:
            documents.submit(hidden.id, path, content_hash, size, PRIORITY)
        for document_id in lack.surplus:
            try:
                documents.delete(document_id)
            except NotFoundError:  # another command was faster
                continue
        self._seen = position
        if lack:
            self._alioth.doorbell.ring()

    def _check(self, state: ReindexState) -> None:
        """Nothing incomplete may begin to answer."""
        from storage.consistency import verify

        alioth = self._alioth
        findings = verify(state.hidden, alioth.db, alioth.vectors, alioth.keyword, alioth.files)
        if findings:
            raise StorageError(
                f"The new index of {self._collection.name!r} does not agree with the database: {findings[0].detail}.",
                "Repair it with `alioth index rebuild`, then run the same command again.",
            )

    def _work(self, halt: threading.Event) -> None:
        worker = OwnerLock(run_folder(self._alioth.settings), "worker")
        try:
            while not halt.is_set():
                if not worker.held():
                    self._alioth.pipeline.drain(halt)
                halt.wait(0.3)
        except BaseException as error:
            self._failure.append(error)

    def _judged(self, state: ReindexState) -> Progress:
        """With an estimate from the pace of the last two minutes, in chunks of the present index."""
        now = time.monotonic()
        self._pace.append((now, state.done_chunks))
        while now - self._pace[0][0] > _WINDOW_S:
            self._pace.popleft()
        (began, before), gained = self._pace[0], state.done_chunks - self._pace[0][1]
        if gained <= 0 or before == state.done_chunks:
            return Progress(state, None)
        return Progress(state, (state.chunks - state.done_chunks) * (now - began) / gained)


def status(alioth: Alioth, collection: Collection) -> dict[str, Any]:
    """What `reindex --status` and `collection show` print: the index that answers, and those that do not."""
    states = alioth.reindexes.state(collection.id)
    return {
        "collection": collection.name,
        **index_json(collection.fingerprint, dict(collection.settings)),
        "reindex": next((_state_json(one) for one in states if one.purpose is not Purpose.PREVIOUS), None),
        "previous": next((_state_json(one) for one in states if one.purpose is Purpose.PREVIOUS), None),
    }


def index_json(fingerprint: Fingerprint, settings: dict[str, Any]) -> dict[str, Any]:
    """An index as JSON."""
    return {
        "embedder": fingerprint.embedder_id,
        "dimension": fingerprint.dimension,
        "chunker": fingerprint.chunker_version,
        "settings": settings,
    }


def _state_json(state: ReindexState) -> dict[str, Any]:
    return {
        "state": state.purpose.value,
        **index_json(state.hidden.fingerprint, dict(state.hidden.settings)),
        "documents": state.documents,
        "done": state.done,
        "open": state.open,
        "failed": [{"path": path, "message": message} for path, message in state.failed],
        "progress": round(state.done_chunks / state.chunks, 4) if state.chunks else 1.0,
        "started_at": state.started_at.isoformat(),
    }
