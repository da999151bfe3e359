"""Who works on which version: claims with leases, in an order in which nobody starves, and giving back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from core.errors import AliothError, LeaseLostError
from core.types import FINAL_STATES, Collection, DocumentState
from storage.collections import to_collection
from storage.database import Database, slices
from storage.tables import CollectionTable, DocumentTable, VersionTable, now

_FINAL = [state.value for state in FINAL_STATES]
_UNFINISHED = [state.value for state in DocumentState if state not in FINAL_STATES]
_QUEUED = DocumentState.QUEUED.value

BYTES_PER_S: Final = 100_000
LONGEST_PENALTY_S: Final = 600.0
"""Within one priority a large file lets smaller ones pass that come up to this many seconds after it, never more."""
SHARE_OF_OTHERS: Final = 8
"""Of this many versions in a claim one is of a lower priority, if some wait: uploads go first and starve nobody."""


@dataclass(frozen=True, slots=True)
class ClaimedVersion:
    """One version that this worker holds. attempts: counts this one.

    lost_in: stages of earlier attempts whose worker ended. due: order within one priority, earlier first.
    """

    version_id: str
    document_id: str
    collection_id: str
    collection: Collection
    path: str
    number: int
    content_hash: str
    size: int
    attempts: int
    priority: int = 0
    due: datetime | None = None
    lost_in: tuple[str, ...] = ()


class Claiming:
    """The claiming half of Jobs.

    `worker` names one claiming loop and must be unique among all that ever run: host, process and a random part.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def claim(
        self,
        worker: str,
        limit: int,
        lease_s: float,
        version_ids: Sequence[str] | None = None,
        max_attempts: int = 3,
        min_priority: int | None = None,
        holding: Iterable[str] = (),
    ) -> list[ClaimedVersion]:
        """Take up to `limit` versions: queued ones, and ones whose worker has been silent over its lease.

        Higher priority first, within one the earlier `due`; some of a lower priority are among them. They stay
        `queued` until their first stage is reported. No two workers ever hold one version. A version that was begun
        `max_attempts` times without an end becomes failed with code `poison`: it kills its workers.

        Args:
            lease_s: seconds until others may take it, unless renewed.
            version_ids: only among these. min_priority: only queued ones from this priority on. holding: what the
                worker works on: it is not begun once more, even if its lease could not be renewed in time.
        """
        taken: list[str] = []
        with self._db.write() as session:
            clock = self._db.clock(session)
            for part in [None] if version_ids is None else slices(version_ids, 5000):
                while len(taken) < limit:
                    rows = _claimable(session, _free(clock, holding), limit - len(taken), part, min_priority)
                    for row in rows:
                        _count_lost(row)
                        if row.attempts >= max_attempts:
                            _poison(row)
                        else:
                            _take(row, worker, clock, lease_s)
                            taken.append(row.id)
                    session.flush()
                    if not rows:
                        break
            return _claimed(session, taken)

    def renew(self, worker: str, version_ids: Sequence[str], lease_s: float) -> list[str]:
        """Prolong leases to `lease_s` seconds from now. Gives the ids this worker still holds."""
        with self._db.write() as session:
            clock = self._db.clock(session)
            held = _held(session, worker, version_ids)
            for row in held:
                row.lease_until = clock + timedelta(seconds=lease_s)
            still = {row.id for row in held}
        return [version_id for version_id in version_ids if version_id in still]

    def still_held(self, worker: str, version_ids: Sequence[str]) -> set[str]:
        """Which of these this worker still holds; the others were cancelled, deleted or taken over. Only reads."""
        held: set[str] = set()
        with self._db.read() as session:
            for part in slices(version_ids, 5000):
                query = select(VersionTable.id).where(
                    VersionTable.id.in_(part),
                    VersionTable.lease_owner == worker,
                    func.coalesce(VersionTable.state, "").in_(_UNFINISHED),  # else every queued version is read
                )
                held.update(session.scalars(query))
        return held

    def let_go(self, worker: str, version_ids: Sequence[str]) -> None:
        """This worker has stopped writing for these deleted or cancelled versions: they may be purged at once."""
        with self._db.write() as session:
            for part in slices(version_ids, 5000):
                query = select(VersionTable).where(
                    VersionTable.id.in_(part),
                    VersionTable.lease_owner == worker,
                    VersionTable.state == DocumentState.DELETED.value,
                )
                for row in session.scalars(query.order_by(VersionTable.id).with_for_update()):
                    drop_lease(row)

    def release(self, worker: str, reason: AliothError | None = None) -> None:
        """Give back everything this worker holds, to be taken by others at once; the attempt does not count.

        Args:
            reason: why the work could not go on, shown while they wait, e.g. that the models process is away.
        """
        with self._db.write() as session:
            for row in _held(session, worker, None):
                row.state = _QUEUED
                row.attempts = max(0, row.attempts - 1)
                row.progress, row.pages_done, row.chunks_done = 0.0, 0, 0
                row.error = None if reason is None else error_dict(reason)
                row.updated_at = now()
                drop_lease(row)


def own(session: Session, version_id: str, worker: str) -> VersionTable:
    """The version's row, locked, if `worker` holds its lease. Raises LeaseLostError."""
    query = select(VersionTable).where(VersionTable.id == version_id).with_for_update()
    row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is None or row.lease_owner != worker or row.state in _FINAL:
        raise LeaseLostError(
            f"Worker {worker!r} no longer holds version {version_id!r}: it was deleted or taken over.",
            "Nothing needs to be done; the other worker finishes it.",
        )
    return row


def drop_lease(row: VersionTable) -> None:
    """Nobody works on it any more."""
    row.lease_owner = None
    row.lease_until = None


def due_at(queued: datetime, size: int) -> datetime:
    """When a version of `size` bytes that was queued then is due: later the larger it is, within a bound."""
    return queued + timedelta(seconds=min(size / BYTES_PER_S, LONGEST_PENALTY_S))


def error_dict(error: AliothError) -> dict[str, Any]:
    """An error as it is kept with a version."""
    detail: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    page = getattr(error, "page", None)
    if page is not None:
        detail["page"] = page
    return detail


def _claimable(
    session: Session, free: Any, limit: int, among: Sequence[str] | None, min_priority: int | None
) -> list[VersionTable]:
    """Locked rows in the order they should be taken: at most `limit`."""
    priorities = _priorities(session, among)
    if min_priority is not None:
        priorities = [priority for priority in priorities if priority >= min_priority]
    rows = [] if min_priority is not None else _lost(session, free, limit, among)
    lowest = 0
    for priority in priorities:
        lowest = priority
        rows += _queued(session, free, limit, among, priority)
        if len(rows) >= limit:
            break
    rows.sort(key=lambda row: (-row.priority, row.due or row.created_at, row.number, row.id))
    lower = [priority for priority in priorities if priority < lowest]
    share = limit // SHARE_OF_OTHERS or int(limit > 1)
    others = [row for priority in lower for row in _queued(session, free, share, among, priority)]
    others.sort(key=lambda row: (row.due or row.created_at, row.id))
    others = others[:share]
    return [*rows[: limit - len(others)], *others]


def _priorities(session: Session, among: Sequence[str] | None) -> list[int]:
    """Priorities that queued versions have, highest first; each is one step in the index."""
    found: list[int] = []
    while True:
        query = select(func.max(VersionTable.priority)).where(VersionTable.state == _QUEUED)
        if found:
            query = query.where(VersionTable.priority < found[-1])
        if among is not None:
            query = query.where(VersionTable.id.in_(among))
        highest = session.scalar(query)
        if highest is None:
            return found
        found.append(highest)


def _queued(session: Session, free: Any, limit: int, among: Sequence[str] | None, priority: int) -> list[VersionTable]:
    query = (
        select(VersionTable)
        .where(VersionTable.state == _QUEUED, VersionTable.priority == priority, free)
        .order_by(VersionTable.due, VersionTable.number, VersionTable.id)
        .limit(limit)
    )
    return _locked(session, query, among)


def _lost(session: Session, free: Any, limit: int, among: Sequence[str] | None) -> list[VersionTable]:
    """Versions in a working stage without a worker."""
    query = (
        select(VersionTable)
        .where(VersionTable.state.in_([state for state in _UNFINISHED if state != _QUEUED]), free)
        .order_by(VersionTable.priority.desc(), VersionTable.due, VersionTable.id)
        .limit(limit)
    )
    return _locked(session, query, among)


def _free(clock: datetime, holding: Iterable[str]) -> Any:
    free = or_(VersionTable.lease_owner.is_(None), VersionTable.lease_until < clock)
    held = list(holding)
    return free & VersionTable.id.not_in(held) if held else free


def _locked(session: Session, query: Select[VersionTable], among: Sequence[str] | None) -> list[VersionTable]:
    if among is not None:
        query = query.where(VersionTable.id.in_(among))
    query = query.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    return list(session.scalars(query))


def _claimed(session: Session, ids: Sequence[str]) -> list[ClaimedVersion]:
    query = (
        select(VersionTable, DocumentTable.path, CollectionTable)
        .join(DocumentTable, DocumentTable.id == VersionTable.document_id)
        .join(CollectionTable, CollectionTable.id == VersionTable.collection_id)
        .where(VersionTable.id.in_(ids))
    )
    found = {
        row.id: ClaimedVersion(
            row.id,
            row.document_id,
            row.collection_id,
            to_collection(collection),
            path,
            row.number,
            row.content_hash,
            row.size,
            row.attempts,
            row.priority,
            row.due or row.created_at,
            tuple(row.lost_in),
        )
        for row, path, collection in session.execute(query)
    }
    return [found[version_id] for version_id in ids if version_id in found]


def _held(session: Session, worker: str, version_ids: Sequence[str] | None) -> list[VersionTable]:
    out: list[VersionTable] = []
    for part in [None] if version_ids is None else slices(version_ids, 5000):
        query = select(VersionTable).where(VersionTable.lease_owner == worker)
        if part is None:
            query = query.where(VersionTable.state.in_(_UNFINISHED))
        else:  # the state must not look like a way into an index, or every queued version is read
            query = query.where(VersionTable.id.in_(part), func.coalesce(VersionTable.state, "").in_(_UNFINISHED))
        out.extend(session.scalars(query.order_by(VersionTable.id).with_for_update()))
    return out


def _count_lost(row: VersionTable) -> None:
    """Note in which stage its worker was lost; one that was claimed and never begun is not to blame."""
    if row.lease_owner is None:
        return
    if row.state == _QUEUED:
        row.attempts = max(0, row.attempts - 1)
    else:
        row.lost_in = [*row.lost_in, row.state]
    row.lease_owner = None


def _take(row: VersionTable, worker: str, clock: datetime, lease_s: float) -> None:
    row.attempts += 1
    row.state = _QUEUED
    row.progress, row.pages_done, row.chunks_done = 0.0, 0, 0
    row.error = None
    row.lease_owner = worker
    row.lease_until = clock + timedelta(seconds=lease_s)
    row.updated_at = now()


def _poison(row: VersionTable) -> None:
    row.state = DocumentState.FAILED.value
    row.error = {
        "code": "poison",
        "message": f"Gave up: it was tried {row.attempts} times; {lost_words(row.lost_in)}.",
        "hint": "Look into the worker's log; then try it again alone: alioth ingest retry.",
    }
    row.updated_at = now()
    row.lease_owner = None  # lease_until stays: purging waits for a worker that may still be alive


def lost_words(stages: Sequence[str]) -> str:
    """For a person: in which stages the workers of earlier attempts ended."""
    if not stages:
        return "each time the worker ended"
    if len(set(stages)) == 1:
        return f"{'each time ' if len(stages) > 1 else ''}the worker ended while {stages[0]}"
    return f"the worker ended while {', '.join(stages)}"
