"""What keyword replicas read from SQL: the newest change of a collection, what came after a position, and rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.tables import ChunkTable, CollectionTable, DocumentTable, IndexChangeTable, VersionTable

_ROWS = 2000


@dataclass(frozen=True, slots=True)
class Applied:
    """A position in a collection's list of changes: the number and what that change was.

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

    def newest(self, collection_ids: Sequence[str]) -> dict[str, Applied]:
        """The newest position of each collection, in one query; collections that are gone are absent."""
        query = (
            select(CollectionTable.id, CollectionTable.changes, IndexChangeTable.kind, IndexChangeTable.version_id)
            .outerjoin(
                IndexChangeTable,
                and_(
                    IndexChangeTable.collection_id == CollectionTable.id,
                    IndexChangeTable.number == CollectionTable.changes,
                ),
            )
            .where(CollectionTable.id.in_(list(collection_ids)))
        )
        with self._db.read() as session:
            return {
                key: Applied(number, kind or "", version_id or "")
                for key, number, kind, version_id in session.execute(query)
            }

    def contains(self, collection_id: str, applied: Applied) -> bool:
        """Whether this position is part of the collection's history in this database."""
        if applied.number == 0:
            return True
        with self._db.read() as session:
            row = session.get(IndexChangeTable, (collection_id, applied.number))
            return row is not None and (row.kind, row.version_id) == (applied.kind, applied.version_id)

    def after(self, collection_id: str, applied: Applied | None) -> Outstanding:
        """What a replica at `applied` must do; from None it takes the versions that are live now."""
        end = self.newest([collection_id]).get(collection_id, Applied(0))
        with self._db.read() as session:
            if applied is None:
                return Outstanding(end, added=_live_versions(session, collection_id))
            return _net(session, collection_id, applied, end)

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


def _live_versions(session: Session, collection_id: str) -> list[str]:
    query = select(DocumentTable.live_version_id).where(
        DocumentTable.collection_id == collection_id,
        DocumentTable.deleted_at.is_(None),
        DocumentTable.live_version_id.is_not(None),
    )
    return [version_id for version_id in session.scalars(query) if version_id is not None]


def _net(session: Session, collection_id: str, applied: Applied, end: Applied) -> Outstanding:
    """The last word on each version, in the order of the changes."""
    query = (
        select(IndexChangeTable.number, IndexChangeTable.kind, IndexChangeTable.version_id)
        .where(
            IndexChangeTable.collection_id == collection_id,
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
