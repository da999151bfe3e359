"""Evaluation runs: asked for, worked on under a lease, kept with every question's result."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from core.errors import LeaseLostError, NotFoundError
from storage.database import Database
from storage.tables import EvalRowTable, EvalRunTable, now

OPEN = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement. kind: retrieval or answers. state: queued, running, done, failed or cancelled.

    collection_id: None for one over files. settings: how it was asked for. facts: code, models and collection as they
    were. report: the figures, once done. done, total: questions.
    """

    id: str
    collection_id: str | None
    set_name: str
    name: str
    kind: str
    state: str
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    report: Mapping[str, Any]
    error: str
    created_by: str
    created_at: datetime
    finished_at: datetime | None
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class NewRun:
    """What is measured. asked: the questions in the sets' format, each with a qid, in order."""

    collection_id: str | None
    set_name: str
    name: str
    kind: str
    asked: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    created_by: str = ""


class RunStore:
    """Reads and writes runs. Thread-safe. Who may see them is asked elsewhere."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, new: NewRun) -> Run:
        """A queued run with its questions as they are now."""
        row = _row_of(new, "queued")
        with self._db.write() as session:
            session.add(row)
            session.flush()
            session.add_all(_rows_of(row.id, new, ()))
        return _run(row, 0, len(new.asked))

    def save(self, new: NewRun, results: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> Run:
        """A run that was measured already: one result per question, in their order."""
        row = _row_of(new, "done")
        row.report, row.finished_at = dict(report), row.created_at
        with self._db.write() as session:
            session.add(row)
            session.flush()
            session.add_all(_rows_of(row.id, new, results))
        return _run(row, len(results), len(new.asked))

    def get(self, run_id: str) -> Run:
        """By id. Raises NotFoundError."""
        found = self._select(select(EvalRunTable).where(EvalRunTable.id == run_id))
        if not found:
            raise _missing(run_id)
        return found[0]

    def named(self, name: str) -> builtins.list[Run]:
        """Runs of that name or with that id, the newest first."""
        return self._select(
            select(EvalRunTable)
            .where(or_(EvalRunTable.name == name, EvalRunTable.id == name))
            .order_by(EvalRunTable.created_at.desc(), EvalRunTable.id)
        )

    def list(
        self, collection_ids: Sequence[str], *, files_of: str | None = None, limit: int = 200
    ) -> builtins.list[Run]:
        """Runs of these collections, the newest first.

        Args:
            files_of: with them, runs over files that this user id made; all of them for an empty string.
        """
        chosen: builtins.list[Any] = [EvalRunTable.collection_id.in_(collection_ids)]
        if files_of is not None:
            own = EvalRunTable.collection_id.is_(None)
            chosen.append(own & (EvalRunTable.created_by == files_of) if files_of else own)
        query = select(EvalRunTable).where(or_(*chosen))
        return self._select(query.order_by(EvalRunTable.created_at.desc(), EvalRunTable.id).limit(limit))

    def rows(self, run_id: str) -> builtins.list[tuple[dict[str, Any], dict[str, Any] | None]]:
        """(question, result or None) in order."""
        query = select(EvalRowTable.asked, EvalRowTable.result).where(EvalRowTable.run_id == run_id)
        with self._db.read() as session:
            return [(asked, result) for asked, result in session.execute(query.order_by(EvalRowTable.ordinal))]

    def delete(self, run_id: str) -> None:
        """With its results; a worker that is at it stops. Raises NotFoundError."""
        with self._db.write() as session:
            row = session.get(EvalRunTable, run_id)
            if row is None:
                raise _missing(run_id)
            session.execute(delete(EvalRunTable).where(EvalRunTable.id == run_id))

    def cancel(self, run_id: str) -> bool:
        """Stop an open run; what was measured stays to be looked at. False when it had ended."""
        with self._db.write() as session:
            row = session.get(EvalRunTable, run_id, with_for_update=True)
            if row is None or row.state not in OPEN:
                return False
            row.state, row.finished_at = "cancelled", now()
            return True

    # ---------------------------------------------------------------- work

    def claim(self, worker: str, lease_s: float, run_id: str | None = None) -> Run | None:
        """Take the oldest open run that nobody works on, or this one; None when there is none."""
        with self._db.write() as session:
            clock = self._db.clock(session)
            free = (EvalRunTable.state == "queued") | (
                (EvalRunTable.state == "running") & (EvalRunTable.lease_until < clock)
            )
            query = select(EvalRunTable).where(free)
            if run_id:
                query = query.where(EvalRunTable.id == run_id)
            query = query.order_by(EvalRunTable.created_at, EvalRunTable.id).limit(1)
            row = session.scalar(query.with_for_update(skip_locked=True))
            if row is None:
                return None
            row.state, row.worker = "running", worker
            row.lease_until = clock + timedelta(seconds=lease_s)
            done, total = _counts(session, [row.id]).get(row.id, (0, 0))
            return _run(row, done, total)

    def touch(self, run_id: str, worker: str, lease_s: float) -> bool:
        """Prolong the lease. False when the run is no longer this worker's: cancelled, deleted or taken over."""
        with self._db.write() as session:
            until = self._db.clock(session) + timedelta(seconds=lease_s)
            mine = _mine(run_id, worker)
            if session.scalar(select(func.count()).where(*mine)) == 0:
                return False
            session.execute(update(EvalRunTable).where(*mine).values(lease_until=until))
            return True

    def store(self, run_id: str, worker: str, ordinal: int, result: Mapping[str, Any]) -> None:
        """Keep what came of one question. Raises LeaseLostError when the run is no longer this worker's."""
        with self._db.write() as session:
            self._own(session, run_id, worker)
            session.execute(
                update(EvalRowTable)
                .where(EvalRowTable.run_id == run_id, EvalRowTable.ordinal == ordinal)
                .values(result=dict(result))
            )

    def finish(self, run_id: str, worker: str, report: Mapping[str, Any]) -> None:
        """The run is done. Raises LeaseLostError."""
        with self._db.write() as session:
            row = self._own(session, run_id, worker)
            row.state, row.report, row.finished_at = "done", dict(report), now()

    def fail(self, run_id: str, worker: str, error: str) -> None:
        """The run cannot go on. Without effect when it is no longer this worker's."""
        with self._db.write() as session:
            session.execute(
                update(EvalRunTable)
                .where(*_mine(run_id, worker))
                .values(state="failed", error=error, finished_at=now())
            )

    def release(self, run_id: str, worker: str) -> None:
        """Give an unfinished run back, for whoever works next."""
        with self._db.write() as session:
            session.execute(update(EvalRunTable).where(*_mine(run_id, worker)).values(state="queued", worker=""))

    def describe(self, run_id: str, worker: str, facts: Mapping[str, Any]) -> None:
        """Note what is being measured. Raises LeaseLostError."""
        with self._db.write() as session:
            self._own(session, run_id, worker).facts = dict(facts)

    def _own(self, session: Session, run_id: str, worker: str) -> EvalRunTable:
        row = session.scalar(select(EvalRunTable).where(*_mine(run_id, worker)).with_for_update())
        if row is None:
            raise LeaseLostError(
                f"The evaluation run {run_id!r} is no longer worked on here.", "It was cancelled or taken over."
            )
        return row

    def _select(self, query: Select[EvalRunTable]) -> builtins.list[Run]:
        with self._db.read() as session:
            rows = builtins.list(session.scalars(query))
            counts = _counts(session, [row.id for row in rows])
        return [_run(row, *counts.get(row.id, (0, 0))) for row in rows]


def _mine(run_id: str, worker: str) -> tuple[Any, ...]:
    return EvalRunTable.id == run_id, EvalRunTable.worker == worker, EvalRunTable.state == "running"


def _counts(session: Session, ids: builtins.list[str]) -> dict[str, tuple[int, int]]:
    done = func.sum(case((EvalRowTable.result.is_(None), 0), else_=1))
    query = select(EvalRowTable.run_id, done, func.count()).where(EvalRowTable.run_id.in_(ids))
    return {key: (int(one), int(all_)) for key, one, all_ in session.execute(query.group_by(EvalRowTable.run_id))}


def _row_of(new: NewRun, state: str) -> EvalRunTable:
    return EvalRunTable(
        id=uuid.uuid4().hex,
        collection_id=new.collection_id,
        set_name=new.set_name[:1000],
        name=new.name[:200],
        kind=new.kind,
        state=state,
        settings=dict(new.settings),
        facts=dict(new.facts),
        report={},
        error="",
        created_by=new.created_by,
        worker="",
        created_at=now(),
    )


def _rows_of(run_id: str, new: NewRun, results: Sequence[Mapping[str, Any]]) -> builtins.list[EvalRowTable]:
    return [
        EvalRowTable(
            run_id=run_id,
            ordinal=place,
            qid=str(asked["qid"])[:200],
            asked=dict(asked),
            result=dict(results[place]) if place < len(results) else None,
        )
        for place, asked in enumerate(new.asked)
    ]


def _run(row: EvalRunTable, done: int, total: int) -> Run:
    return Run(
        row.id,
        row.collection_id,
        row.set_name,
        row.name,
        row.kind,
        row.state,
        row.settings,
        row.facts,
        row.report,
        row.error,
        row.created_by,
        row.created_at,
        row.finished_at,
        done,
        total,
    )


def _missing(run_id: str) -> NotFoundError:
    return NotFoundError(f"There is no evaluation run with id {run_id!r}.", "See `alioth eval runs`.")
