"""What may be removed for good: vectors and rows of superseded, deleted and failed versions, unused files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, exists, func, or_, select
from sqlalchemy.orm import Session

from core.errors import OriginalGoneError
from core.types import DocumentState
from storage.collections import to_collection
from storage.database import Database, slices
from storage.document_rows import lock_collection
from storage.tables import ChunkTable, CollectionTable, DocumentTable, VersionTable

_DELETED = DocumentState.DELETED.value
_FAILED = DocumentState.FAILED.value


@dataclass(frozen=True, slots=True)
class Purge:
    """One version to clean up: remove `chunk_ids` from Chroma's `vector_key`, then call `purged`."""

    version_id: str
    vector_key: str
    content_hash: str
    chunk_ids: list[int]


class Purging:
    """The clearing-up half of DocumentStore. Safe to run in several processes at once."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def purgeable(self, limit: int = 50) -> list[Purge]:
        """Deleted versions, and failed ones that still have chunk rows, oldest first.

        A version whose last lease has not run out is left for later: its worker may be writing vectors right now.
        """
        with self._db.read() as session:
            has_chunks = exists().where(ChunkTable.version_id == VersionTable.id)
            query = (
                select(VersionTable, CollectionTable)
                .join(CollectionTable, CollectionTable.id == VersionTable.collection_id)
                .where(
                    or_(VersionTable.state == _DELETED, and_(VersionTable.state == _FAILED, has_chunks)),
                    or_(VersionTable.lease_until.is_(None), VersionTable.lease_until < self._db.clock(session)),
                )
                .order_by(VersionTable.updated_at)
                .limit(limit)
            )
            return [
                Purge(
                    version.id,
                    to_collection(collection).vector_key,
                    version.content_hash,
                    list(session.scalars(select(ChunkTable.id).where(ChunkTable.version_id == version.id))),
                )
                for version, collection in session.execute(query).all()
            ]

    def purged(self, version_id: str) -> None:
        """The vectors of this version are gone from Chroma: remove its chunk rows, and what hangs on nothing else.

        A deleted version's row goes too, and with the last one the row of a deleted document. A version that is
        neither deleted nor failed is left alone.
        """
        with self._db.write() as session:
            known = session.get(VersionTable, version_id)
            if known is None:
                return
            lock_collection(session, known.collection_id)
            version = session.get(VersionTable, version_id, with_for_update=True, populate_existing=True)
            if version is None or version.state not in (_DELETED, _FAILED):
                return
            session.execute(delete(ChunkTable).where(ChunkTable.version_id == version_id))
            if version.state == _DELETED:
                document_id = version.document_id
                session.delete(version)
                session.flush()
                _remove_empty(session, document_id)

    def hash_in_use(self, content_hash: str) -> bool:
        """Whether a version that is not deleted has these bytes."""
        with self._db.read() as session:
            return _in_use(session, content_hash)

    def without_rows(self, chunk_ids: Sequence[int]) -> list[int]:
        """Which of these chunk ids have no row (any more)."""
        known: set[int] = set()
        with self._db.read() as session:
            for part in slices(chunk_ids, 5000):
                known.update(session.scalars(select(ChunkTable.id).where(ChunkTable.id.in_(part))))
        return [chunk_id for chunk_id in chunk_ids if chunk_id not in known]

    def count_rows(self, index_id: str) -> int:
        """Chunk rows of one index, of whatever version."""
        with self._db.read() as session:
            return session.scalar(select(func.count()).where(ChunkTable.index_id == index_id)) or 0

    def collection_exists(self, collection_id: str) -> bool:
        """Whether the collection has not been dropped."""
        with self._db.read() as session:
            return session.get(CollectionTable, collection_id) is not None

    def hashes_in_use(self) -> set[str]:
        """Content hashes of every version that is not deleted."""
        with self._db.read() as session:
            return set(
                session.scalars(select(VersionTable.content_hash).where(VersionTable.state != _DELETED).distinct())
            )

    def remove_unused(self, content_hash: str, remove: Callable[[str], None]) -> bool:
        """Call `remove(content_hash)` if no version needs these bytes; no submission can come in between.

        Who submits puts the file first, and `submit` looks once more, in its own transaction. True when removed.
        """
        with self._db.write() as session:
            _lock_hash(session, content_hash)
            if _in_use(session, content_hash):
                return False
            remove(content_hash)
            return True


def require_original(session: Session, content_hash: str, is_kept: Callable[[str], bool]) -> None:
    """Check in a submission's transaction that no purge took the file away; from then on none will.

    Raises:
        OriginalGoneError: it is not there.
    """
    _lock_hash(session, content_hash)
    if not is_kept(content_hash):
        raise OriginalGoneError(
            f"Cannot submit the file {content_hash!r}: it is not in the file store.", "Put it there again."
        )


def _lock_hash(session: Session, content_hash: str) -> None:
    """One decision about a file at a time. On SQLite every writing transaction is alone anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(content_hash))))


def _in_use(session: Session, content_hash: str) -> bool:
    query = select(exists().where(VersionTable.content_hash == content_hash, VersionTable.state != _DELETED))
    return bool(session.scalar(query))


def _remove_empty(session: Session, document_id: str) -> None:
    document = session.get(DocumentTable, document_id, with_for_update=True, populate_existing=True)
    if document is None or document.deleted_at is None:
        return
    if not session.scalar(select(exists().where(VersionTable.document_id == document_id))):
        session.delete(document)
