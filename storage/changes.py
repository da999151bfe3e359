"""What keyword replicas read from SQL: the newest change of an index, what came after a position, and rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import and_, delete, func, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.tables import ChunkTable, CollectionTable, DocumentTable, IndexChangeTable, VersionTable

_ROWS = 2000
KEPT_CHANGES: Final = 10_000
"""Changes kept per index. A replica further behind is made anew, which costs about as much as applying more."""
_PRUNE_STEP: Final = 1000


@dataclass(frozen=True, slots=True)
class Applied:
    """A position in an index's list of changes: the number and what that change was.

    The kind and version make positions of another history (a restored backup) tell themselves apart.
    """

    number: int
    kind: str = ""
    version_id: str = ""

    def to_text(self) -> str:
        return json.dumps([self.number, self.kind, self.version_id])

    @classmethod
    def from_text(cls, text: str) -> Applied:
        number, kind, version_id = json.loads(text)
        return cls(int(number), str(kind), str(version_id))


@dataclass(frozen=True, slots=True)
class KeywordRow:
    """One chunk as the keyword index takes it. tokens: blank-separated."""

    id: int
    version_id: str
    context: str
    title: str
    path: str
    tokens: str


@dataclass(slots=True)
class Outstanding:
    """The net effect of the changes after a position: versions to take out, versions to put in, the new position."""

    end: Applied
    gone: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    positions: dict[str, Applied] = field(default_factory=dict)

    @property
    def resumable(self) -> bool:
        """Whether a commit half way can be marked with the position it reached."""
        return bool(self.positions)

    def reached(self, version_id: str) -> Applied:
        """The position after the last change up to and including the addition of this version."""
        return self.positions[version_id]


class ChangeFeed:
    """Reads changes. Thread-safe."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def newest(self, index_ids: Sequence[str]) -> dict[str, Applied]:
        """The newest position of each index, in one query; indexes that are gone are absent."""
        query = (
            select(
                CollectionTable.index_id, CollectionTable.changes, IndexChangeTable.kind, IndexChangeTable.version_id
            )
            .outerjoin(
                IndexChangeTable,
                and_(
                    IndexChangeTable.index_id == CollectionTable.index_id,
                    IndexChangeTable.number == CollectionTable.changes,
                ),
            )
            .where(CollectionTable.index_id.in_(list(index_ids)))
        )
        with self._db.read() as session:
            return {
                key: Applied(number, kind or "", version_id or "")
                for key, number, kind, version_id in session.execute(query)
            }

    def contains(self, index_id: str, applied: Applied) -> bool:
        """Whether this position is part of the index's history in this database, as far as that is kept."""
        with self._db.read() as session:
            return _contains(session, index_id, applied)

    def after(self, index_id: str, applied: Applied | None) -> Outstanding:
        """What a replica at `applied` must do; from None it takes the versions that are live now.

        Raises:
            PositionGone: `applied` is no part of the history that is kept.
        """
        end = self.newest([index_id]).get(index_id, Applied(0))
        with self._db.read() as session:
            if applied is None:
                return Outstanding(end, added=_live_versions(session, index_id))
            if not _contains(session, index_id, applied):
                raise PositionGone(f"change {applied.number} of index {index_id} is not kept")
            return _net(session, index_id, applied, end)

    def prune(self, kept: int = KEPT_CHANGES) -> int:
        """Remove all but the newest `kept` changes of each index; replicas that are further behind are made anew.

        Gives how many were removed.
        """
        removed = 0
        for index_id, last in self._prunable(kept):
            with self._db.write() as session:
                gone = session.execute(
                    delete(IndexChangeTable).where(
                        IndexChangeTable.index_id == index_id, IndexChangeTable.number <= last
                    )
                )
                removed += int(gone.rowcount)  # type: ignore[attr-defined]  # a delete's result has it
        return removed

    def _prunable(self, kept: int) -> list[tuple[str, int]]:
        """Indexes with some to remove, and the number of the last one to go."""
        oldest = (
            select(func.min(IndexChangeTable.number))
            .where(IndexChangeTable.index_id == CollectionTable.index_id)
            .correlate(CollectionTable)
            .scalar_subquery()
        )
        step = min(_PRUNE_STEP, kept)
        query = select(CollectionTable.index_id, CollectionTable.changes - kept).where(
            CollectionTable.changes > kept, oldest <= CollectionTable.changes - kept - step + 1
        )
        with self._db.read() as session:
            return [(index_id, last) for index_id, last in session.execute(query)]

    def rows(self, version_id: str) -> Iterator[KeywordRow]:
        """The chunks of one version in order, read some thousand at a time; none when they were purged."""
        last = -1
        while True:
            query = (
                select(
                    ChunkTable.id,
                    ChunkTable.ordinal,
                    ChunkTable.context,
                    ChunkTable.tokens,
                    VersionTable.title,
                    DocumentTable.path,
                )
                .join(VersionTable, VersionTable.id == ChunkTable.version_id)
                .join(DocumentTable, DocumentTable.id == VersionTable.document_id)
                .where(ChunkTable.version_id == version_id, ChunkTable.ordinal > last)
                .order_by(ChunkTable.ordinal)
                .limit(_ROWS)
            )
            with self._db.read() as session:
                found = session.execute(query).all()
            for row in found:
                yield KeywordRow(row.id, version_id, row.context, row.title, row.path, row.tokens)
            if len(found) < _ROWS:
                return
            last = found[-1].ordinal


class PositionGone(LookupError):
    """A replica stands at a change that is not kept any more, or that never was in this database."""


def _contains(session: Session, index_id: str, applied: Applied) -> bool:
    if applied.number == 0:  # from the beginning on, as long as the first change is there or yet to come
        changes = session.scalar(select(CollectionTable.changes).where(CollectionTable.index_id == index_id))
        return not changes or session.get(IndexChangeTable, (index_id, 1)) is not None
    row = session.get(IndexChangeTable, (index_id, applied.number))
    return row is not None and (row.kind, row.version_id) == (applied.kind, applied.version_id)


def _live_versions(session: Session, index_id: str) -> list[str]:
    query = (
        select(DocumentTable.live_version_id)
        .join(CollectionTable, CollectionTable.id == DocumentTable.collection_id)
        .where(
            CollectionTable.index_id == index_id,
            DocumentTable.deleted_at.is_(None),
            DocumentTable.live_version_id.is_not(None),
        )
    )
    return [version_id for version_id in session.scalars(query) if version_id is not None]


def _net(session: Session, index_id: str, applied: Applied, end: Applied) -> Outstanding:
    """The last word on each version, in the order of the changes."""
    query = (
        select(IndexChangeTable.number, IndexChangeTable.kind, IndexChangeTable.version_id)
        .where(
            IndexChangeTable.index_id == index_id,
            IndexChangeTable.number > applied.number,
            IndexChangeTable.number <= end.number,
        )
        .order_by(IndexChangeTable.number)
    )
    out = Outstanding(end)
    last: dict[str, Applied] = {}
    for number, kind, version_id in session.execute(query):
        last.pop(version_id, None)
        last[version_id] = Applied(number, kind, version_id)
    for version_id, change in last.items():
        if change.kind == "add":
            out.added.append(version_id)
            out.positions[version_id] = change
        else:
            out.gone.append(version_id)
    return out
