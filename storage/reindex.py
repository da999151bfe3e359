"""Building an index beside the one that answers: hidden rows, what they lack, and the exchange in one step.

A hidden collection row (parent_id set) is an index of its own, with documents of the same paths, filled by the
ordinary pipeline. The exchange swaps, between the two rows, which index is theirs, and between documents of one path,
which versions are theirs. Collection and document ids stay, and no chunk, vector or keyword entry is written.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import ConflictError, NotFoundError
from core.types import FINAL_STATES, Collection, DocumentState, Fingerprint
from storage.collections import drop_row, to_collection
from storage.database import Database
from storage.document_rows import lock_collection
from storage.reindex_exchange import Exchange, Switched
from storage.tables import CollectionTable, DocumentTable, VersionTable, now

__all__ = ["Lack", "Purpose", "ReindexState", "ReindexStore", "Switched"]

_OPEN: Final = [state.value for state in DocumentState if state not in FINAL_STATES]


class Purpose(StrEnum):
    """What a hidden row is for. returning: the kept index is being brought up to date to answer again."""

    BUILDING = "building"
    PREVIOUS = "previous"
    RETURNING = "returning"


@dataclass(frozen=True, slots=True)
class Lack:
    """What the hidden index must take in, as (path, content hash, size), and ids of its documents that must go."""

    missing: list[tuple[str, str, int]]
    surplus: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.surplus)


@dataclass(frozen=True, slots=True)
class ReindexState:
    """How far a hidden index is.

    documents, chunks: of the collection, what answers now. done, done_chunks: those of them that are ready in the
    hidden index, in chunks of the present index, so that they can be compared. failed: path and message of documents
    whose present bytes could not be read for it. open: versions queued or under way in it.
    """

    purpose: Purpose
    collection: Collection
    hidden: Collection
    started_at: datetime
    documents: int
    chunks: int
    done: int
    done_chunks: int
    failed: tuple[tuple[str, str], ...]
    open: int

    @property
    def complete(self) -> bool:
        """Whether every document is either ready or has failed."""
        return self.done + len(self.failed) >= self.documents and not self.open


class ReindexStore:
    """Hidden indexes of collections. Thread-safe; every change is one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin(self, collection_id: str, fingerprint: Fingerprint, settings: Mapping[str, Any]) -> Collection:
        """The hidden index under way for this fingerprint, or a new one.

        Raises:
            ConflictError: one with another fingerprint is under way, or the kept one is being returned to.
            NotFoundError: no such collection.
        """
        with self._db.write() as session:
            parent = lock_collection(session, collection_id)
            for row in _hidden(session, collection_id):
                if row.purpose == Purpose.BUILDING and row.fingerprint == asdict(fingerprint):
                    return to_collection(row)
                if row.purpose != Purpose.PREVIOUS:
                    raise ConflictError(
                        f"Cannot begin to reindex {parent.name!r}: another index for it is under way "
                        f"({_described(row)}).",
                        "Let it end, or give it up with `alioth collection reindex NAME --cancel`.",
                    )
            new_id = uuid.uuid4().hex
            row = CollectionTable(
                id=new_id,
                index_id=new_id,
                name=parent.name,
                name_folded=f"{new_id} of {collection_id}",
                fingerprint=asdict(fingerprint),
                settings=dict(settings),
                parent_id=collection_id,
                purpose=Purpose.BUILDING.value,
                changes=0,
                created_at=now(),
            )
            session.add(row)
            return to_collection(row)

    def begin_return(self, collection_id: str) -> Collection:
        """The kept index, now meant to answer again as soon as it is up to date.

        Raises:
            NotFoundError: none is kept. ConflictError: another index is under way.
        """
        with self._db.write() as session:
            parent = lock_collection(session, collection_id)
            rows = {row.purpose: row for row in _hidden(session, collection_id)}
            if Purpose.BUILDING.value in rows:
                raise ConflictError(
                    f"Cannot return {parent.name!r} to its earlier index: another one is being built "
                    f"({_described(rows[Purpose.BUILDING.value])}).",
                    "Give that up first: alioth collection reindex NAME --cancel.",
                )
            row = rows.get(Purpose.RETURNING.value) or rows.get(Purpose.PREVIOUS.value)
            if row is None:
                raise NotFoundError(
                    f"No earlier index of {parent.name!r} is kept.",
                    "One is kept after each `alioth collection reindex`.",
                )
            row.purpose = Purpose.RETURNING.value
            return to_collection(row)

    def cancel(self, collection_id: str) -> bool:
        """Give up what is under way: an index being built goes, the kept one stays kept. False when there was none."""
        return self._drop(collection_id, Purpose.BUILDING) or self._keep(collection_id)

    def forget_previous(self, collection_id: str) -> bool:
        """Let the kept index go for good. False when there was none."""
        return self._drop(collection_id, Purpose.PREVIOUS)

    def lack(self, collection_id: str, retry_failed: bool = False) -> Lack:
        """What the hidden index under way needs to hold the same documents with the same bytes.

        Args:
            retry_failed: count documents as missing that failed with these bytes, to be tried again.
        """
        with self._db.read() as session:
            parent, hidden = _under_way(session, collection_id)
            mine, others = _live(session, parent.id), _newest(session, hidden.id)
            missing = [
                (path, row.content_hash, row.size)
                for path, row in mine.items()
                if path not in others
                or others[path].content_hash != row.content_hash
                or (retry_failed and others[path].state == DocumentState.FAILED.value)
            ]
            surplus = [row.document_id for path, row in others.items() if path not in mine]
        return Lack(missing, surplus)

    def position(self, collection_id: str) -> int:
        """A number that grows whenever something else answers in the collection."""
        with self._db.read() as session:
            return int(session.scalar(select(CollectionTable.changes).where(CollectionTable.id == collection_id)) or 0)

    def state(self, collection_id: str) -> list[ReindexState]:
        """Every hidden index of a collection, the one under way first."""
        with self._db.read() as session:
            parent = session.get(CollectionTable, collection_id)
            if parent is None:
                return []
            rows = sorted(_hidden(session, collection_id), key=lambda row: row.purpose == Purpose.PREVIOUS)
            return [_state(session, parent, row) for row in rows]

    def switch(self, collection_id: str, *, allow_missing: bool = False, insist: bool = False) -> Switched:
        """Let the hidden index answer, in one transaction; the one that answered is kept, an older kept one goes.

        Args:
            allow_missing: also when documents failed in the hidden index; they then answer no more, and are listed
                as failed.
            insist: also while a worker holds versions of the collection; they are queued again.

        Raises:
            NotReadyError: the two do not hold the same documents yet, or a worker is busy; nothing was changed.
            ConflictError: documents failed, and `allow_missing` was not given.
            NotFoundError: nothing is under way.
        """
        with self._db.write() as session:
            _lock_all(session, collection_id)
            parent, hidden = _under_way(session, collection_id)
            done = Exchange(session, parent, hidden).run(allow_missing=allow_missing, insist=insist)
            for row in _hidden(session, collection_id):
                if row.id != hidden.id:
                    drop_row(session, row)
            hidden.purpose = Purpose.PREVIOUS.value
            return done

    def _drop(self, collection_id: str, purpose: Purpose) -> bool:
        with self._db.write() as session:
            _lock_all(session, collection_id)
            for row in _hidden(session, collection_id):
                if row.purpose == purpose.value:
                    drop_row(session, row)
                    return True
        return False

    def _keep(self, collection_id: str) -> bool:
        with self._db.write() as session:
            _lock_all(session, collection_id)
            for row in _hidden(session, collection_id):
                if row.purpose == Purpose.RETURNING.value:
                    row.purpose = Purpose.PREVIOUS.value
                    return True
        return False


def _hidden(session: Session, collection_id: str) -> list[CollectionTable]:
    query = select(CollectionTable).where(CollectionTable.parent_id == collection_id)
    return list(session.scalars(query.order_by(CollectionTable.id)))


def _lock_all(session: Session, collection_id: str) -> None:
    """Lock a collection and its hidden rows, always in this order; nobody else locks two."""
    lock_collection(session, collection_id)
    for row in _hidden(session, collection_id):
        lock_collection(session, row.id)


def _under_way(session: Session, collection_id: str) -> tuple[CollectionTable, CollectionTable]:
    parent = session.get(CollectionTable, collection_id)
    rows = [row for row in _hidden(session, collection_id) if row.purpose != Purpose.PREVIOUS]
    if parent is None or not rows:
        raise NotFoundError("No reindex is under way for this collection.", "It may have ended or been cancelled.")
    return parent, rows[0]


def _described(row: CollectionTable) -> str:
    return f"{row.fingerprint['embedder_id']!r}, chunker {row.fingerprint['chunker_version']!r}"


def _live(session: Session, collection_id: str) -> dict[str, Any]:
    """Path to content_hash, size and chunk_count of what answers."""
    query = (
        select(DocumentTable.path, VersionTable.content_hash, VersionTable.size, VersionTable.chunk_count)
        .join(VersionTable, VersionTable.id == DocumentTable.live_version_id)
        .where(DocumentTable.collection_id == collection_id, DocumentTable.deleted_at.is_(None))
        .order_by(DocumentTable.path)
    )
    return {row.path: row for row in session.execute(query)}


def _newest(session: Session, collection_id: str) -> dict[str, Any]:
    """Path to the newest version of every document that is not deleted; documents without one are left out."""
    newest = (
        select(VersionTable.document_id, func.max(VersionTable.number).label("number"))
        .where(VersionTable.collection_id == collection_id, VersionTable.state != DocumentState.DELETED.value)
        .group_by(VersionTable.document_id)
        .subquery()
    )
    query = (
        select(
            DocumentTable.path,
            VersionTable.document_id,
            VersionTable.content_hash,
            VersionTable.state,
            VersionTable.error,
        )
        .join(newest, newest.c.document_id == DocumentTable.id)
        .join(
            VersionTable,
            (VersionTable.document_id == newest.c.document_id) & (VersionTable.number == newest.c.number),
        )
        .where(DocumentTable.deleted_at.is_(None))
    )
    return {row.path: row for row in session.execute(query)}


def _state(session: Session, parent: CollectionTable, hidden: CollectionTable) -> ReindexState:
    mine, others = _live(session, parent.id), _newest(session, hidden.id)
    same = {path: row for path, row in others.items() if path in mine and mine[path].content_hash == row.content_hash}
    done = [path for path, row in same.items() if row.state == DocumentState.READY.value]
    failed = [
        (path, str((row.error or {}).get("message", "")))
        for path, row in sorted(same.items())
        if row.state == DocumentState.FAILED.value
    ]
    under_way = select(func.count()).where(VersionTable.collection_id == hidden.id, VersionTable.state.in_(_OPEN))
    return ReindexState(
        purpose=Purpose(hidden.purpose),
        collection=to_collection(parent, len(mine), sum(row.chunk_count for row in mine.values())),
        hidden=to_collection(hidden),
        started_at=hidden.created_at,
        documents=len(mine),
        chunks=sum(row.chunk_count for row in mine.values()),
        done=len(done),
        done_chunks=sum(mine[path].chunk_count for path in done),
        failed=tuple(failed),
        open=session.scalar(under_way) or 0,
    )
