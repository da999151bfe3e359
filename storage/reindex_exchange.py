"""The exchange: two collection rows swap their indexes, and documents of one path the versions that are part of them.

Every version that has chunks goes with the index its chunks are in. Versions without any stay with their document.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.orm import Session

from core.errors import ConflictError, NotReadyError
from core.types import FINAL_STATES, DocumentState
from storage.database import slices
from storage.tables import (
    ChunkTable,
    CollectionTable,
    DocumentTable,
    IndexChangeTable,
    ReplacedVersionTable,
    SketchTable,
    VersionTable,
    now,
)

_OPEN: Final = [state.value for state in DocumentState if state not in FINAL_STATES]
_FAILED: Final = DocumentState.FAILED.value
_DELETED: Final = DocumentState.DELETED.value
_QUEUED: Final = DocumentState.QUEUED.value
_SHOWN: Final = 10
_PART: Final = 5000


@dataclass(frozen=True, slots=True)
class Switched:
    """What an exchange did. documents: that answer from the new index. missing: paths that do not answer any more."""

    documents: int
    missing: tuple[str, ...]


@dataclass(slots=True)
class _Document:
    id: str
    path: str
    newest: int
    live: str | None
    gone: bool
    versions: list[Any] = field(default_factory=list)

    def version(self, version_id: str | None) -> Any:
        return next((row for row in self.versions if row.id == version_id), None)


@dataclass(slots=True)
class _Side:
    """One collection row with its documents by path."""

    row: CollectionTable
    documents: dict[str, _Document]

    def live(self) -> dict[str, Any]:
        """Path to the version that answers."""
        return {path: one.version(one.live) for path, one in self.documents.items() if one.live and not one.gone}


class Exchange:
    """One exchange in the caller's transaction, under the locks of both collection rows."""

    def __init__(self, session: Session, parent: CollectionTable, hidden: CollectionTable) -> None:
        self._session = session
        _lock_unfinished(session, parent.id)
        self._mine = _load(session, parent)
        self._other = _load(session, hidden)
        self._moves: dict[str, dict[str, Any]] = {}
        self._ends: list[str] = []
        self._answers: dict[str, str | None] = {}
        self._numbers: dict[str, int] = {}
        self._replaced: dict[str, str] = {}
        self._again: list[tuple[str, str]] = []
        self._unseen: list[str] = []

    def run(self, *, allow_missing: bool, insist: bool) -> Switched:
        """Check, plan, write. See ReindexStore.switch for arguments and errors."""
        mine, other = self._mine.live(), self._other.live()
        lost = self._check(mine, other)
        if lost and not allow_missing:
            raise self._refusal(lost)
        self._plan_answers(mine, other, lost)
        self._plan_rest(insist)
        self._write()
        self._swap_rows()
        return Switched(len(mine) - len(lost), tuple(lost))

    # ---------------------------------------------------------------- checks

    def _check(self, mine: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        """Path to the failed version of documents that the hidden index could not take in."""
        if any(row.state in _OPEN for one in self._other.documents.values() for row in one.versions):
            raise NotReadyError("Documents are still being read for the new index.", "Try again in a moment.")
        lost: dict[str, Any] = {}
        for path, row in mine.items():
            if path in other and other[path].content_hash == row.content_hash:
                continue
            one = self._other.documents.get(path)
            kept = [v for v in one.versions if v.state != _DELETED] if one is not None and not one.gone else []
            newest = max(kept, key=lambda version: version.number, default=None)
            if newest is None or newest.state != _FAILED or newest.content_hash != row.content_hash:
                raise NotReadyError(f"The new index has not taken in {path!r} yet.", "Try again in a moment.")
            lost[path] = newest
        for path in other:
            if path not in mine:
                raise NotReadyError(f"The new index still holds {path!r}, which was deleted.", "Try again in a moment.")
        return lost

    def _refusal(self, lost: dict[str, Any]) -> ConflictError:
        lines = [f"{path!r}: {(row.error or {}).get('message', '')}" for path, row in list(lost.items())[:_SHOWN]]
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        return ConflictError(
            f"Cannot switch {self._mine.row.name!r} to its new index: {len(lost)} documents that answer now failed in "
            f"it. {' '.join(lines)}{more}",
            "Run the same command again to try them again, or give --allow-missing to do without them.",
        )

    # ---------------------------------------------------------------- plan

    def _plan_answers(self, mine: dict[str, Any], other: dict[str, Any], lost: dict[str, Any]) -> None:
        for path, old in mine.items():
            ours, theirs = self._mine.documents[path], self._other.documents[path]
            new = lost.get(path) or other[path]
            self._move(old, self._other, theirs, new.number)
            self._move(new, self._mine, ours, old.number)
            self._answers[theirs.id] = old.id
            if path not in lost:
                self._answers[ours.id] = new.id
                self._replaced[old.id] = new.id
                continue
            self._answers[ours.id] = None
            if path in other:  # it holds older bytes of this document
                self._unseen.append(other[path].id)

    def _plan_rest(self, insist: bool) -> None:
        """Versions that do not answer: those with chunks end where their index goes, the others stay."""
        for path, row in self._not_moved(self._other):
            self._end(row, self._mine, path)
        rest = list(self._not_moved(self._mine))
        unsettled = [row for _, row in rest if row.state in (*_OPEN, _FAILED)]
        with_chunks = _with_chunks(self._session, [row.id for row in unsettled])
        for path, row in rest:
            leased = row.state in _OPEN and row.lease_owner is not None
            if leased and not insist:
                raise NotReadyError(f"A worker is at work on {path!r}.", "Try again in a moment.")
            if row.state in (*_OPEN, _FAILED):
                if not leased and row.id not in with_chunks:
                    continue
                self._again.append((row.id, row.state))
            self._end(row, self._other, path)

    def _not_moved(self, side: _Side) -> Iterator[tuple[str, Any]]:
        for path, one in list(side.documents.items()):
            for row in one.versions:
                if row.id not in self._moves:
                    yield path, row

    def _move(self, row: Any, side: _Side, document: _Document, number: int) -> None:
        self._moves[row.id] = {
            "id": row.id,
            "document_id": document.id,
            "collection_id": side.row.id,
            "number": number,
        }

    def _end(self, row: Any, side: _Side, path: str) -> None:
        document = side.documents.get(path)
        if document is None:
            document = _Document(uuid.uuid4().hex, path, 0, None, True)
            side.documents[path] = document
            self._session.add(
                DocumentTable(
                    id=document.id, collection_id=side.row.id, path=path, newest=0, created_at=now(), deleted_at=now()
                )
            )
        document.newest += 1
        self._numbers[document.id] = document.newest
        self._move(row, side, document, document.newest)
        self._ends.append(row.id)

    # ---------------------------------------------------------------- write

    def _write(self) -> None:
        session, stamp = self._session, now()
        session.flush()
        copies = [_copy(session, version_id, state) for version_id, state in self._again]
        for part in slices(self._moves, _PART):  # out of the way first: (document, number) is unique
            session.execute(
                update(VersionTable)
                .where(VersionTable.id.in_(part))
                .values(number=-VersionTable.number)
                .execution_options(synchronize_session=False)
            )
        for moves in slices(self._moves.values(), _PART):
            session.execute(update(VersionTable), moves)
        for part in slices(self._ends, _PART):
            session.execute(
                update(VersionTable)
                .where(VersionTable.id.in_(part))
                .values(state=_DELETED, lease_owner=None, updated_at=stamp)  # lease_until stays: see Purging
                .execution_options(synchronize_session=False)
            )
        for copied in copies:
            session.add(copied)
        answers = [{"id": key, "live_version_id": value} for key, value in self._answers.items()]
        numbers = [{"id": key, "newest": value} for key, value in self._numbers.items()]
        for live in slices(answers, _PART):
            session.execute(update(DocumentTable), live)
        for newest in slices(numbers, _PART):
            session.execute(update(DocumentTable), newest)
        session.flush()
        self._remove_empty()
        self._write_sketches()
        self._write_replaced()

    def _remove_empty(self) -> None:
        """Rows of deleted documents whose versions all went to the other side: no purge will come upon them again."""
        self._session.execute(
            delete(DocumentTable)
            .where(
                DocumentTable.collection_id.in_([self._mine.row.id, self._other.row.id]),
                DocumentTable.deleted_at.is_not(None),
                ~exists().where(VersionTable.document_id == DocumentTable.id),
            )
            .execution_options(synchronize_session=False)
        )

    def _write_sketches(self) -> None:
        ids = [self._mine.row.id, self._other.row.id]
        owner = select(VersionTable.collection_id).where(VersionTable.id == SketchTable.version_id).scalar_subquery()
        self._session.execute(
            update(SketchTable)
            .where(SketchTable.collection_id.in_(ids))
            .values(collection_id=owner)
            .execution_options(synchronize_session=False)
        )

    def _write_replaced(self) -> None:
        """Whatever stood for an old version stands for its successor of the same bytes now."""
        session, table = self._session, ReplacedVersionTable
        for part in slices(self._replaced, _PART):
            found = session.execute(select(table.id, table.version_id).where(table.version_id.in_(part))).all()
            followed = [{"id": row.id, "version_id": self._replaced[row.version_id]} for row in found]
            if followed:
                session.execute(update(table), followed)
        for part in slices([*self._replaced, *self._replaced.values()], _PART):
            session.execute(delete(table).where(table.id.in_(part)).execution_options(synchronize_session=False))
        rows = [{"id": old, "version_id": new} for old, new in self._replaced.items()]
        if rows:
            session.execute(insert(table), rows)

    def _swap_rows(self) -> None:
        mine, other = self._mine.row, self._other.row
        for name in ("fingerprint", "settings", "index_id", "changes"):
            ours, theirs = getattr(mine, name), getattr(other, name)
            setattr(mine, name, theirs)
            setattr(other, name, ours)
        for version_id in self._unseen:
            mine.changes += 1
            self._session.add(
                IndexChangeTable(index_id=mine.index_id, number=mine.changes, kind="remove", version_id=version_id)
            )


def _lock_unfinished(session: Session, collection_id: str) -> None:
    """No worker's report may come between the look at these versions and the end of the transaction."""
    query = (
        select(VersionTable.id)
        .where(VersionTable.collection_id == collection_id, VersionTable.state.in_([*_OPEN, _FAILED]))
        .order_by(VersionTable.id)
        .with_for_update()
    )
    session.execute(query).all()


def _load(session: Session, row: CollectionTable) -> _Side:
    documents = select(
        DocumentTable.id,
        DocumentTable.path,
        DocumentTable.newest,
        DocumentTable.live_version_id,
        DocumentTable.deleted_at,
    ).where(DocumentTable.collection_id == row.id)
    by_id = {
        found.id: _Document(found.id, found.path, found.newest, found.live_version_id, found.deleted_at is not None)
        for found in session.execute(documents)
    }
    versions = select(
        VersionTable.id,
        VersionTable.document_id,
        VersionTable.number,
        VersionTable.state,
        VersionTable.content_hash,
        VersionTable.lease_owner,
        VersionTable.error,
    ).where(VersionTable.document_id.in_(select(DocumentTable.id).where(DocumentTable.collection_id == row.id)))
    for version in session.execute(versions.order_by(VersionTable.number)):
        by_id[version.document_id].versions.append(version)
    return _Side(row, {one.path: one for one in by_id.values()})


def _with_chunks(session: Session, version_ids: Sequence[str]) -> set[str]:
    out: set[str] = set()
    for part in slices(version_ids, _PART):
        out.update(session.scalars(select(ChunkTable.version_id).where(ChunkTable.version_id.in_(part)).distinct()))
    return out


def _copy(session: Session, version_id: str, state: str) -> VersionTable:
    """The same version without chunks, to be added when its number is free: failed stays failed, others wait anew."""
    old = session.get(VersionTable, version_id)
    assert old is not None  # loaded in this transaction
    values = {one.key: getattr(old, one.key) for one in VersionTable.__mapper__.column_attrs}
    session.expunge(old)
    anew: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "lease_owner": None,
        "lease_until": None,
        "chunk_count": 0,
        "updated_at": now(),
    }
    if state != _FAILED:
        anew |= {"state": _QUEUED, "progress": 0.0, "problems": [], "pages_done": 0, "chunks_done": 0}
    return VersionTable(**(values | anew))
