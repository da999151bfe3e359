"""Reading documents and the state of their versions, as lists and waiting callers need them."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from core.errors import NotFoundError
from core.types import FINAL_STATES, DocumentRow, DocumentState, Problem
from storage.database import Database, slices
from storage.tables import CollectionTable, DocumentTable, VersionTable


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """How far one version is. progress: 0.0–1.0. error: code, message, hint and perhaps page, when failed."""

    version_id: str
    document_id: str
    path: str
    state: DocumentState
    progress: float
    error: Mapping[str, Any] | None
    problems: tuple[Problem, ...]
    pages: int
    chunks: int
    pages_done: int = 0
    chunks_done: int = 0


@dataclass(frozen=True, slots=True)
class Current:
    """What answers for a path now. size: bytes."""

    document_id: str
    version_id: str
    content_hash: str
    size: int
    source_id: str | None


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a version is. progress: 0.0–1.0 of the whole job. pages, chunks: 0 until known."""

    state: DocumentState
    progress: float
    pages_done: int
    pages: int
    chunks_done: int
    chunks: int


class DocumentRows:
    """The reading half of DocumentStore."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def count(self, collection_id: str, states: Sequence[DocumentState] = ()) -> int:
        """How many `list` would give without a limit."""
        with self._db.read() as session:
            return session.scalar(select(func.count()).select_from(_newest(collection_id, states).subquery())) or 0

    def find(self, collection_id: str, path: str) -> DocumentRow | None:
        """The document with exactly this path, or None."""
        rows = self._rows(_newest(collection_id, ()).where(DocumentTable.path == path))
        return rows[0] if rows else None

    def paths(self, collection_id: str, *, answering: bool = False) -> builtins.list[str]:
        """In order; deleted documents left out. answering: only those that have a version which answers now."""
        query = select(DocumentTable.path).where(
            DocumentTable.collection_id == collection_id, DocumentTable.deleted_at.is_(None)
        )
        if answering:
            query = query.where(DocumentTable.live_version_id.is_not(None))
        with self._db.read() as session:
            return sorted(session.scalars(query))

    def named(self, collection_id: str, text: str, states: Sequence[DocumentState] = ()) -> builtins.list[str]:
        """Ids of the documents, by path, that have this in path or title, whatever the case of its letters."""
        query = _newest(collection_id, states).with_only_columns(
            DocumentTable.id, DocumentTable.path, VersionTable.title
        )
        needle = text.strip().casefold()
        with self._db.read() as session:  # SQLite knows the case of ASCII letters only
            return [
                key
                for key, path, title in session.execute(query.order_by(DocumentTable.path))
                if needle in path.casefold() or needle in title.casefold()
            ]

    def under(self, collection_id: str, folder: str) -> dict[str, str]:
        """Ids of the documents whose path begins with `folder/`, by path: the members of an archive."""
        query = select(DocumentTable.path, DocumentTable.id).where(
            DocumentTable.collection_id == collection_id,
            DocumentTable.deleted_at.is_(None),
            DocumentTable.path.startswith(f"{folder}/", autoescape=True),
        )
        with self._db.read() as session:  # LIKE ignores the case of ASCII letters in SQLite
            return {path: key for path, key in session.execute(query) if path.startswith(f"{folder}/")}

    def get(self, document_id: str) -> DocumentRow:
        """By id. Raises NotFoundError, also when deleted."""
        rows = self._rows(_newest(None, ()).where(DocumentTable.id == document_id))
        if not rows:
            raise NotFoundError(f"There is no document with id {document_id!r}.", "It may have been deleted.")
        return rows[0]

    def get_many(self, version_ids: Sequence[str]) -> dict[str, VersionStatus]:
        """State of each version by id; unknown and purged ones are absent."""
        out: dict[str, VersionStatus] = {}
        with self._db.read() as session:
            for part in slices(version_ids, 5000):
                query = (
                    select(VersionTable, DocumentTable.path)
                    .join(DocumentTable, DocumentTable.id == VersionTable.document_id)
                    .where(VersionTable.id.in_(part))
                )
                for version, path in session.execute(query):
                    out[version.id] = _status(version, path)
        return out

    def current(self, collection_id: str, paths: Sequence[str]) -> dict[str, Current]:
        """Of these paths, the documents whose newest version answers now: nothing newer is under way or failed."""
        other = aliased(VersionTable)
        newer = select(other.id).where(
            other.document_id == DocumentTable.id,
            other.number > VersionTable.number,
            other.state != DocumentState.DELETED.value,
        )
        out: dict[str, Current] = {}
        with self._db.read() as session:
            for part in slices(paths, 500):
                query = (
                    select(
                        DocumentTable.path,
                        DocumentTable.id,
                        VersionTable.id,
                        VersionTable.content_hash,
                        VersionTable.size,
                        DocumentTable.source_id,
                    )
                    .join(VersionTable, VersionTable.id == DocumentTable.live_version_id)
                    .where(
                        DocumentTable.collection_id == collection_id,
                        DocumentTable.path.in_(part),
                        DocumentTable.deleted_at.is_(None),
                        VersionTable.state == DocumentState.READY.value,
                        ~newer.exists(),
                    )
                )
                out.update((row[0], Current(*row[1:])) for row in session.execute(query))
        return out

    def stages(self, version_ids: Sequence[str]) -> dict[str, Stage]:
        """How far each version is; purged ones are absent. Light enough for thousands at every redraw of a bar."""
        out: dict[str, Stage] = {}
        with self._db.read() as session:
            for part in slices(version_ids, 5000):
                query = select(
                    VersionTable.id,
                    VersionTable.state,
                    VersionTable.progress,
                    VersionTable.pages_done,
                    VersionTable.pages,
                    VersionTable.chunks_done,
                    VersionTable.chunk_count,
                ).where(VersionTable.id.in_(part))
                out.update((row[0], Stage(DocumentState(row[1]), *row[2:])) for row in session.execute(query))
        return out

    def pending(self, collection_id: str | None = None) -> int:
        """How many versions are queued or under way, in one collection or in all."""
        query = select(func.count()).where(
            VersionTable.state.in_([s.value for s in DocumentState if s not in FINAL_STATES])
        )
        if collection_id is not None:
            query = query.where(VersionTable.collection_id == collection_id)
        with self._db.read() as session:
            return session.scalar(query) or 0

    def _rows(self, query: Select[DocumentTable, VersionTable]) -> list[DocumentRow]:
        with self._db.read() as session:
            return [to_row(document, version) for document, version in session.execute(query)]

    def list(
        self,
        collection_id: str,
        *,
        offset: int = 0,
        limit: int | None = None,
        states: Sequence[DocumentState] = (),
        ids: Sequence[str] | None = None,
    ) -> list[DocumentRow]:
        """Documents by path, each with its newest version; deleted ones left out. states, ids: only those."""
        query = _newest(collection_id, states).order_by(DocumentTable.path).offset(offset)
        if ids is not None:
            query = query.where(DocumentTable.id.in_(ids))
        return self._rows(query if limit is None else query.limit(limit))


def to_row(document: DocumentTable, version: VersionTable) -> DocumentRow:
    """The domain value of a document and its newest version."""
    return DocumentRow(
        id=document.id,
        collection_id=document.collection_id,
        path=document.path,
        state=DocumentState(version.state),
        version=version.number,
        version_id=version.id,
        live_version_id=document.live_version_id,
        media_type=version.media_type,
        size=version.size,
        pages=version.pages,
        chunks=version.chunk_count,
        title=version.title,
        progress=version.progress,
        problems=_problems(version.problems),
        error=version.error,
        created_at=document.created_at,
        updated_at=version.updated_at,
        pages_done=version.pages_done,
        chunks_done=version.chunks_done,
        attempts=version.attempts,
        lost_in=tuple(version.lost_in),
    )


def lock_collection(session: Session, collection_id: str) -> CollectionTable:
    """The collection's row, locked until the transaction ends; always taken before documents and versions.

    Raises:
        NotFoundError: it is gone.
    """
    query = select(CollectionTable).where(CollectionTable.id == collection_id).with_for_update(key_share=True)
    row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no collection with id {collection_id!r}.", "It may have been deleted.")
    return row


def _newest(collection_id: str | None, states: Iterable[DocumentState]) -> Select[DocumentTable, VersionTable]:
    other = aliased(VersionTable)
    newest = (
        select(func.max(other.number))
        .where(other.document_id == DocumentTable.id, other.state != DocumentState.DELETED.value)
        .correlate(DocumentTable)
        .scalar_subquery()
    )
    query = (
        select(DocumentTable, VersionTable)
        .join(VersionTable, (VersionTable.document_id == DocumentTable.id) & (VersionTable.number == newest))
        .where(DocumentTable.deleted_at.is_(None))
    )
    if collection_id is not None:
        query = query.where(DocumentTable.collection_id == collection_id)
    values = [DocumentState(state).value for state in states]
    return query.where(VersionTable.state.in_(values)) if values else query


def _problems(raw: Iterable[Mapping[str, Any]]) -> tuple[Problem, ...]:
    return tuple(Problem(p["code"], p["message"], p.get("page")) for p in raw)


def _status(version: VersionTable, path: str) -> VersionStatus:
    return VersionStatus(
        version_id=version.id,
        document_id=version.document_id,
        path=path,
        state=DocumentState(version.state),
        progress=version.progress,
        error=version.error,
        problems=_problems(version.problems),
        pages=version.pages,
        chunks=version.chunk_count,
        pages_done=version.pages_done,
        chunks_done=version.chunks_done,
    )
