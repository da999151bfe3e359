"""Versions as the pages show them: one by id with its original's hash, all of one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from core.errors import NotFoundError
from core.types import DocumentState, Problem
from storage.database import Database
from storage.tables import DocumentTable, ReplacedVersionTable, VersionTable


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a document that is not deleted. live: it is the one that answers now. size in bytes.

    facts: JSON form of ingest.report.IngestReport without its warnings, which are `problems`; empty until parsed.
    """

    id: str
    document_id: str
    collection_id: str
    path: str
    number: int
    state: DocumentState
    live: bool
    content_hash: str
    size: int
    media_type: str
    title: str
    pages: int
    chunks: int
    problems: tuple[Problem, ...]
    error: Mapping[str, Any] | None
    created_at: datetime
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DocumentDate:
    """day: YYYY-MM-DD. kind: `document` when the document says so itself, `added` when it was read in then."""

    day: str
    kind: str


class VersionStore:
    """Reads versions. Thread-safe."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, version_id: str) -> StoredVersion:
        """By id; a superseded version is found until it is purged. An id from before a reindex finds its successor.

        Raises:
            NotFoundError: no such version, or its document was deleted.
        """
        replaced = select(ReplacedVersionTable.version_id).where(ReplacedVersionTable.id == version_id)
        with self._db.read() as session:
            current = session.scalar(replaced) or version_id
        found = self._load(VersionTable.id == current)
        if not found:
            raise NotFoundError(f"There is no version with id {version_id!r}.", "Its document may have been replaced.")
        return found[0]

    def of_document(self, document_id: str) -> list[StoredVersion]:
        """All versions of a document, newest first; empty when there is none."""
        return self._load(VersionTable.document_id == document_id)

    def facts(self, version_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The `facts` of each of these versions by id; unknown ones are absent."""
        query = select(VersionTable.id, VersionTable.facts).where(VersionTable.id.in_(version_ids))
        with self._db.read() as session:
            return {version_id: facts or {} for version_id, facts in session.execute(query)}

    def dates(self, version_ids: Sequence[str]) -> dict[str, DocumentDate]:
        """The date of each of these versions' documents by the id asked for; versions that are gone are absent."""
        with self._db.read() as session:
            replaced = select(ReplacedVersionTable.id, ReplacedVersionTable.version_id)
            now_called = {
                row.id: row.version_id
                for row in session.execute(replaced.where(ReplacedVersionTable.id.in_(version_ids)))
            }
            wanted = {asked: now_called.get(asked, asked) for asked in version_ids}
            created, modified = (VersionTable.facts[name].as_string() for name in ("created", "modified"))
            query = select(VersionTable.id, created, modified, VersionTable.created_at)
            rows = {row[0]: row for row in session.execute(query.where(VersionTable.id.in_(set(wanted.values()))))}
        return {asked: _date(*rows[current][1:]) for asked, current in wanted.items() if current in rows}

    def _load(self, condition: Any) -> list[StoredVersion]:
        query = (
            select(VersionTable, DocumentTable)
            .join(DocumentTable, DocumentTable.id == VersionTable.document_id)
            .where(condition, DocumentTable.deleted_at.is_(None))
            .order_by(VersionTable.number.desc())
        )
        with self._db.read() as session:
            return [_version(version, document) for version, document in session.execute(query)]


def _date(created: str | None, modified: str | None, added: datetime) -> DocumentDate:
    own = (modified or created or "")[:10]
    return DocumentDate(own, "document") if own else DocumentDate(added.date().isoformat(), "added")


def _version(version: VersionTable, document: DocumentTable) -> StoredVersion:
    return StoredVersion(
        id=version.id,
        document_id=document.id,
        collection_id=document.collection_id,
        path=document.path,
        number=version.number,
        state=DocumentState(version.state),
        live=version.id == document.live_version_id,
        content_hash=version.content_hash,
        size=version.size,
        media_type=version.media_type,
        title=version.title,
        pages=version.pages,
        chunks=version.chunk_count,
        problems=tuple(Problem(p["code"], p["message"], p.get("page")) for p in version.problems),
        error=version.error,
        created_at=version.created_at,
        facts=version.facts or {},
    )
