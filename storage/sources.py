"""Sources: places that documents come from again and again, what their files were, and which documents are theirs."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from core.errors import ConflictError, InputError, NotFoundError
from core.types import DocumentState
from storage.database import Database, slices
from storage.tables import DocumentTable, SourceEntryTable, SourceTable, VersionTable, now

MAX_PLACE_CHARS = 1000
_SLICE = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """One place. options: what a sync of it goes by. result: counts of its last sync. documents: how many are its."""

    id: str
    collection_id: str
    kind: str
    place: str
    options: Mapping[str, Any]
    created_at: datetime
    synced_at: datetime | None
    result: Mapping[str, Any]
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A document that a file became. content_hash, size, modified_ns: the file's, when it was read.

    file: logical path of the file; that of the document is `path`, the same unless the file is an archive. A file
    that became no document, such as an archive of pictures, has one entry without document_id.
    """

    file: str
    path: str
    document_id: str
    content_hash: str
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class HeldDocument:
    """A document that is in the collection now. content_hash, size, title: of its newest version.

    source_id: whose it is; None is a person's. settled: the newest version is the one that answers.
    """

    id: str
    path: str
    source_id: str | None
    content_hash: str
    size: int
    title: str
    settled: bool


class SourceStore:
    """Reads and writes sources. Thread-safe.

    Args:
        run_folder: where lock files go; used with SQLite, PostgreSQL has locks of its own.
    """

    def __init__(self, db: Database, run_folder: Path) -> None:
        self._db = db
        self._run_folder = run_folder

    def find(self, collection_id: str, kind: str, place: str) -> Source | None:
        """The source of this kind and place in a collection, or None."""
        found = self._load(
            SourceTable.collection_id == collection_id, SourceTable.kind == kind, SourceTable.place == place
        )
        return found[0] if found else None

    def get(self, source_id: str) -> Source:
        """By id. Raises NotFoundError."""
        found = self._load(SourceTable.id == source_id)
        if not found:
            raise NotFoundError(f"There is no source with id {source_id!r}.", "It may have been removed.")
        return found[0]

    def known(self, collection_id: str | None = None) -> list[Source]:
        """Sources of one collection, or of all, by kind and place."""
        return self._load() if collection_id is None else self._load(SourceTable.collection_id == collection_id)

    def remember(self, collection_id: str, kind: str, place: str, options: Mapping[str, Any]) -> Source:
        """The source of this kind and place, made if it is new, with these options from now on.

        Raises:
            InputError: the place is over 1,000 characters. NotFoundError: the collection is gone.
        """
        if len(place) > MAX_PLACE_CHARS:
            raise InputError(
                f"Cannot keep the source {place[:60] + '…'!r}: {len(place)} characters are over the limit of "
                f"{MAX_PLACE_CHARS} characters.",
                "Choose a shorter place.",
            )
        row = {"collection_id": collection_id, "kind": kind, "place": place, "options": dict(options)}
        try:
            with self._db.write() as session:
                ours = (
                    SourceTable.collection_id == collection_id,
                    SourceTable.kind == kind,
                    SourceTable.place == place,
                )
                known = session.scalar(select(SourceTable.id).where(*ours))
                if known is None:
                    session.execute(insert(SourceTable).values(id=uuid.uuid4().hex, created_at=now(), result={}, **row))
                else:
                    session.execute(update(SourceTable).where(*ours).values(options=dict(options)))
        except IntegrityError as error:  # the collection went, or another process was first
            if not self.find(collection_id, kind, place):
                raise NotFoundError(
                    f"There is no collection with id {collection_id!r}.", "It may have been deleted."
                ) from error
        source = self.find(collection_id, kind, place)
        if source is None:
            raise NotFoundError(f"The source {place!r} was just removed.", "Start the sync again.")
        return source

    def finished(self, source_id: str, result: Mapping[str, Any]) -> None:
        """A sync of this source has ended now."""
        with self._db.write() as session:
            session.execute(
                update(SourceTable).where(SourceTable.id == source_id).values(synced_at=now(), result=dict(result))
            )

    def remove(self, source_id: str) -> int:
        """Forget a source; its documents stay and are nobody's but a person's from now on. Gives their number."""
        with self._db.write() as session:
            freed = session.execute(
                update(DocumentTable)
                .where(DocumentTable.source_id == source_id, DocumentTable.deleted_at.is_(None))
                .values(source_id=None)
            )
            session.execute(delete(SourceEntryTable).where(SourceEntryTable.source_id == source_id))
            session.execute(delete(SourceTable).where(SourceTable.id == source_id))
            return int(getattr(freed, "rowcount", 0))

    # ------------------------------------------------------------ entries

    def entries(self, source_id: str) -> dict[str, list[Entry]]:
        """What each file became, by the file's logical path."""
        out: dict[str, list[Entry]] = {}
        query = select(
            SourceEntryTable.file,
            SourceEntryTable.path,
            SourceEntryTable.document_id,
            SourceEntryTable.content_hash,
            SourceEntryTable.size,
            SourceEntryTable.modified_ns,
        ).where(SourceEntryTable.source_id == source_id)
        with self._db.read() as session:
            for row in session.execute(query):
                out.setdefault(row.file, []).append(Entry(*row))
        return out

    def record(self, source_id: str, entries: Iterable[Entry], forget: Iterable[str] = ()) -> None:
        """Replace what is known of the files in `entries`, and forget the files `forget`, in one transaction.

        Raises:
            NotFoundError: the source was removed.
        """
        fresh = {entry.path: entry for entry in entries}
        gone = {entry.file for entry in fresh.values()} | set(forget)
        if not gone:
            return
        with self._db.write() as session:
            if session.get(SourceTable, source_id, with_for_update=True) is None:
                raise NotFoundError(f"There is no source with id {source_id!r}.", "It may have been removed.")
            ours = SourceEntryTable.source_id == source_id
            for files in slices(sorted(gone), _SLICE):
                session.execute(delete(SourceEntryTable).where(ours, SourceEntryTable.file.in_(files)))
            for paths in slices(sorted(fresh), _SLICE):  # an entry may have been of another file before
                session.execute(delete(SourceEntryTable).where(ours, SourceEntryTable.path.in_(paths)))
            rows = [{"source_id": source_id, **_columns(entry)} for entry in fresh.values()]
            if rows:
                session.execute(insert(SourceEntryTable), rows)

    # ------------------------------------------------------------ documents

    def documents(self, source_id: str) -> dict[str, HeldDocument]:
        """The documents that are this source's, by path."""
        return self._held(DocumentTable.source_id == source_id)

    def documents_at(self, collection_id: str, paths: Sequence[str]) -> dict[str, HeldDocument]:
        """The documents that have one of these paths, by path, whoever's they are."""
        out: dict[str, HeldDocument] = {}
        for part in slices(paths, _SLICE):
            out |= self._held(DocumentTable.collection_id == collection_id, DocumentTable.path.in_(part))
        return out

    @contextmanager
    def exclusive(self, source_id: str) -> Iterator[None]:
        """Nobody else syncs this source meanwhile; freed at any death of this process.

        Raises:
            ConflictError: another sync of it is running.
        """
        with self._locked_row(source_id) if self._db.dialect == "postgresql" else self._locked_file(source_id) as free:
            if not free:
                raise ConflictError(
                    f"Another sync of {self.get(source_id).place!r} is running.",
                    "Wait until it has ended, or stop it; a running --watch brings changes in by itself.",
                )
            yield

    @contextmanager
    def _locked_row(self, source_id: str) -> Iterator[bool]:
        """A lock of the connection, not of a transaction: a sync may take minutes and must not block others."""
        key = func.hashtextextended(source_id, 0)
        with self._db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            free = bool(connection.scalar(select(func.pg_try_advisory_lock(key))))
            try:
                yield free
            finally:
                if free:
                    connection.execute(select(func.pg_advisory_unlock(key)))

    @contextmanager
    def _locked_file(self, source_id: str) -> Iterator[bool]:
        self._run_folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._run_folder / f"sync-{source_id}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        try:
            yield free
        finally:
            os.close(descriptor)

    def _held(self, *where: Any) -> dict[str, HeldDocument]:
        with self._db.read() as session:
            return {row.path: HeldDocument(*row) for row in session.execute(_held_query().where(*where))}

    def _load(self, *where: Any) -> list[Source]:
        with self._db.read() as session:
            query = select(SourceTable).where(*where).order_by(SourceTable.kind, SourceTable.place)
            rows = list(session.scalars(query))
            counts = _counts(session, [row.id for row in rows])
        return [_to_source(row, counts.get(row.id, 0)) for row in rows]


def _held_query() -> Select[str, str, str | None, str, int, str, bool]:
    other = aliased(VersionTable)
    newest = (
        select(func.max(other.number))
        .where(other.document_id == DocumentTable.id, other.state != DocumentState.DELETED.value)
        .correlate(DocumentTable)
        .scalar_subquery()
    )
    return (
        select(
            DocumentTable.id,
            DocumentTable.path,
            DocumentTable.source_id,
            VersionTable.content_hash,
            VersionTable.size,
            VersionTable.title,
            VersionTable.id == func.coalesce(DocumentTable.live_version_id, ""),
        )
        .join(VersionTable, (VersionTable.document_id == DocumentTable.id) & (VersionTable.number == newest))
        .where(DocumentTable.deleted_at.is_(None))
    )


def _counts(session: Session, ids: Sequence[str]) -> dict[str, int]:
    query = (
        select(DocumentTable.source_id, func.count())
        .where(DocumentTable.source_id.in_(ids), DocumentTable.deleted_at.is_(None))
        .group_by(DocumentTable.source_id)
    )
    return {str(key): int(count) for key, count in session.execute(query)}


def _columns(entry: Entry) -> dict[str, Any]:
    return {
        "file": entry.file,
        "path": entry.path,
        "document_id": entry.document_id,
        "content_hash": entry.content_hash,
        "size": entry.size,
        "modified_ns": entry.modified_ns,
    }


def _to_source(row: SourceTable, documents: int) -> Source:
    return Source(
        row.id,
        row.collection_id,
        row.kind,
        row.place,
        row.options,
        row.created_at,
        row.synced_at,
        row.result,
        documents,
    )
