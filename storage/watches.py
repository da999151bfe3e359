"""Which sources workers keep in step by themselves, and which worker does: one for each, among all machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from core.errors import AliothError
from storage.database import Database
from storage.tables import SourceTable, WatchTable, now

MISSED_S = 60.0
"""Seconds for which a machine that does not see a place leaves it to others; then it takes it and tells the trouble."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A source that is kept in step. worker: who does; None while nobody does. trouble: why it cannot be, or empty."""

    source_id: str
    poll_s: float | None
    since: datetime
    worker: str | None
    trouble: dict[str, Any]


class WatchStore:
    """Reads and writes watches. Thread-safe; every change is one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin(self, source_id: str, poll_s: float | None = None) -> None:
        """Keep it in step from now on; once more changes only `poll_s` (seconds between looks; None: listen)."""
        with self._db.write() as session:
            row = session.get(WatchTable, source_id, with_for_update=True)
            if row is None:
                session.add(WatchTable(source_id=source_id, poll_s=poll_s, since=now(), trouble={}))
            elif row.poll_s != poll_s:
                row.poll_s, row.worker, row.lease_until = poll_s, None, now()  # whoever has it begins anew

    def end(self, source_id: str) -> bool:
        """Keep it in step no longer. False when it was not; the worker that does notices within seconds."""
        with self._db.write() as session:
            gone = session.execute(delete(WatchTable).where(WatchTable.source_id == source_id))
            return bool(getattr(gone, "rowcount", 0))

    def all(self, collection_id: str | None = None) -> dict[str, Watch]:
        """By source, those of one collection or all."""
        query = select(WatchTable).join(SourceTable, SourceTable.id == WatchTable.source_id)
        if collection_id is not None:
            query = query.where(SourceTable.collection_id == collection_id)
        with self._db.read() as session:
            clock = self._db.clock(session)
            return {row.source_id: _to_watch(row, clock) for row in session.scalars(query)}

    def claim(self, worker: str, lease_s: float, sees: Callable[[str, str], bool]) -> list[Watch]:
        """Every watch that this worker has from now on for `lease_s` seconds: those it had, and those nobody has.

        Args:
            worker: unique among all that ever run.
            sees: whether this machine sees a place, by the source's kind and place. One that it does not see it takes
                only when no other machine has for MISSED_S seconds.
        """
        with self._db.read() as session:
            free = session.execute(_takeable(worker, self._db.clock(session))).all()
        if not free:
            return []
        seen = {row.source_id: sees(row.kind, row.place) for row in free}  # a share may hang: not in a transaction
        with self._db.write() as session:
            clock = self._db.clock(session)
            held = [row for row in _locked(session, worker, clock) if _may_take(row, worker, clock, seen)]
            for row in held:
                row.worker, row.lease_until = worker, clock + timedelta(seconds=lease_s)
            return [_to_watch(row, clock) for row in held]

    def release(self, worker: str, source_ids: Sequence[str] | None = None) -> None:
        """This worker keeps these in step no longer, or none at all: another may at once."""
        query = update(WatchTable).where(WatchTable.worker == worker)
        if source_ids is not None:
            query = query.where(WatchTable.source_id.in_(source_ids))
        with self._db.write() as session:
            session.execute(query.values(worker=None, lease_until=self._db.clock(session)))

    def note(self, source_id: str, worker: str, error: AliothError | None) -> None:
        """What keeps it from being followed, or None when it is followed again. Only its worker may say so."""
        trouble: dict[str, Any] = {}
        if error is not None:
            trouble = {"code": error.code, "message": error.message, "hint": error.hint, "since": now().isoformat()}
        ours = (WatchTable.source_id == source_id, WatchTable.worker == worker)
        with self._db.write() as session:
            session.execute(update(WatchTable).where(*ours).values(trouble=trouble))


def _free(worker: str, clock: datetime) -> Any:
    return or_(WatchTable.worker.is_(None), WatchTable.worker == worker, WatchTable.lease_until < clock)


def _takeable(worker: str, clock: datetime) -> Any:
    return (
        select(WatchTable.source_id, SourceTable.kind, SourceTable.place)
        .join(SourceTable, SourceTable.id == WatchTable.source_id)
        .where(_free(worker, clock))
    )


def _locked(session: Session, worker: str, clock: datetime) -> list[WatchTable]:
    query = select(WatchTable).where(_free(worker, clock)).order_by(WatchTable.source_id)
    return list(session.scalars(query.with_for_update(skip_locked=True)))


def _may_take(row: WatchTable, worker: str, clock: datetime, seen: dict[str, bool]) -> bool:
    if row.worker == worker or seen.get(row.source_id):
        return True
    return row.source_id in seen and clock - (row.lease_until or row.since) > timedelta(seconds=MISSED_S)


def _to_watch(row: WatchTable, clock: datetime) -> Watch:
    alive = row.lease_until is not None and row.lease_until >= clock
    return Watch(row.source_id, row.poll_s, row.since, row.worker if alive else None, dict(row.trouble))
