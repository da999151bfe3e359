"""Documents and their versions: submit, switch, delete. The only place that decides which version answers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import InputError, NotFoundError, StorageError
from core.types import FINAL_STATES, DocumentState
from storage.document_rows import DocumentRows, VersionStatus, lock_collection
from storage.jobs import ClaimedVersion, Jobs, own
from storage.purging import Purge, Purging
from storage.tables import ChunkTable, CollectionTable, DocumentTable, IndexChangeTable, VersionTable, now

__all__ = ["ClaimedVersion", "DocumentStore", "Purge", "Submission", "VersionStatus"]

MAX_PATH_CHARS = 1000
_FINAL = [state.value for state in FINAL_STATES]


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of submitted bytes. outcome: new, changed, unchanged or pending (these bytes are under way)."""

    document_id: str
    version_id: str
    outcome: str


class DocumentStore(DocumentRows, Jobs, Purging):
    """Documents of every collection. Thread-safe; every change is one transaction."""

    def submit(
        self,
        collection_id: str,
        path: str,
        content_hash: str,
        size: int,
        priority: int = 0,
        retry_failed: bool = True,
    ) -> Submission:
        """Say that `path` now has these bytes; the original is in the file store already.

        Bytes that answer now, with nothing newer under way: `unchanged`. Bytes under way: `pending`. The bytes of
        a failed version are tried again (or left, `unchanged`, without `retry_failed`). Else a version is queued;
        an older one that no worker has taken yet ends as deleted. A deleted document comes back as the same one.

        Args:
            size: bytes. priority: higher is claimed first.

        Raises:
            NotFoundError: no such collection. InputError: the path is empty or over 1,000 characters.
        """
        if not path or len(path) > MAX_PATH_CHARS:
            raise InputError(
                f"Cannot take the path {path[:60]!r}: it has {len(path)} characters, allowed are 1 to "
                f"{MAX_PATH_CHARS} characters.",
                "Rename the file or shorten the prefix.",
            )
        with self._db.write() as session:
            lock_collection(session, collection_id)
            document = _document(session, collection_id, path)
            newest = _newest_version(session, document.id)
            if newest is not None:
                if newest.state == DocumentState.FAILED.value and _live_has(session, document, content_hash):
                    newest.state, newest.updated_at = DocumentState.DELETED.value, now()  # its bytes were taken back
                    return Submission(document.id, str(document.live_version_id), "unchanged")
                same = self._same_bytes(session, document, newest, content_hash, priority, retry_failed)
                if same is not None:
                    return same
            outcome = "changed" if document.live_version_id else "new"
            _supersede_queued(session, document.id)
            version = _queue(session, document, content_hash, size, priority)
            return Submission(document.id, version.id, outcome)

    def switch(self, version_id: str, worker: str) -> bool:
        """Make this version the one that answers, in one transaction; the older live one becomes deleted.

        False when a newer version is live already or the document was deleted: this version becomes deleted.

        Raises:
            LeaseLostError: another worker took it over. StorageError: its chunks are not all stored.
        """
        with self._db.write() as session:
            collection_id = own_collection(session, version_id, worker)
            collection = lock_collection(session, collection_id)
            version = own(session, version_id, worker)
            document = _locked_document(session, version.document_id)
            live = session.get(VersionTable, document.live_version_id) if document.live_version_id else None
            version.lease_owner = version.lease_until = None
            version.updated_at = now()
            if document.deleted_at is not None or (live is not None and live.number >= version.number):
                version.state = DocumentState.DELETED.value
                return False
            _check_complete(session, version)
            if live is not None:
                live.state, live.updated_at = DocumentState.DELETED.value, now()
                _record_change(session, collection, "remove", live.id)
            version.state, version.progress, version.error = DocumentState.READY.value, 1.0, None
            document.live_version_id = version.id
            _record_change(session, collection, "add", version.id)
            return True

    def retry(self, document_id: str) -> Submission:
        """Queue a document's failed newest version again with the bytes that are kept; others stay as they are.

        Raises:
            NotFoundError: no such document.
        """
        with self._db.read() as session:
            document = session.get(DocumentTable, document_id)
            newest = None if document is None or document.deleted_at else _newest_version(session, document_id)
            if document is None or newest is None:
                raise NotFoundError(f"There is no document with id {document_id!r}.", "It may be deleted already.")
            known = (document.collection_id, document.path, newest.content_hash, newest.size, newest.priority)
        return self.submit(*known)

    def delete(self, document_id: str) -> None:
        """Take a document out: gone for readers when this returns; vectors, rows and file go at the next purge.

        Raises:
            NotFoundError: no such document, or deleted already.
        """
        with self._db.write() as session:
            known = session.get(DocumentTable, document_id)
            if known is None or known.deleted_at is not None:
                raise NotFoundError(f"There is no document with id {document_id!r}.", "It may be deleted already.")
            collection = lock_collection(session, known.collection_id)
            document = _locked_document(session, document_id)
            if document.deleted_at is not None:
                raise NotFoundError(f"There is no document with id {document_id!r}.", "It may be deleted already.")
            document.deleted_at = now()
            if document.live_version_id is not None:
                _record_change(session, collection, "remove", document.live_version_id)
                document.live_version_id = None
            versions = select(VersionTable).where(VersionTable.document_id == document_id).order_by(VersionTable.id)
            for version in session.scalars(versions.with_for_update()):
                version.state = DocumentState.DELETED.value
                version.lease_owner = None  # lease_until stays: purging waits for a worker that may still write
                version.updated_at = now()

    def _same_bytes(
        self,
        session: Session,
        document: DocumentTable,
        newest: VersionTable,
        content_hash: str,
        priority: int,
        retry_failed: bool,
    ) -> Submission | None:
        """The answer when the newest version has these bytes, or None when a new version must be queued."""
        if newest.content_hash != content_hash:
            return None
        if newest.id == document.live_version_id:
            return Submission(document.id, newest.id, "unchanged")
        if newest.state not in _FINAL:
            newest.priority = max(newest.priority, priority)
            return Submission(document.id, newest.id, "pending")
        if newest.state != DocumentState.FAILED.value:
            return None
        if not retry_failed:
            return Submission(document.id, newest.id, "unchanged")
        if _chunk_rows(session, newest.id):
            # purging may be removing its vectors right now, so these ids must not be used again
            newest.state, newest.updated_at = DocumentState.DELETED.value, now()
            return None
        newest.state, newest.attempts, newest.error = DocumentState.QUEUED.value, 0, None
        newest.progress, newest.problems = 0.0, []
        newest.priority = max(newest.priority, priority)
        newest.lease_owner = newest.lease_until = None
        newest.updated_at = now()
        return Submission(document.id, newest.id, "changed" if document.live_version_id else "new")


def own_collection(session: Session, version_id: str, worker: str) -> str:
    """The collection of a version that `worker` holds, unlocked: the collection's lock must come first."""
    query = select(VersionTable.collection_id).where(VersionTable.id == version_id)
    found = session.scalar(query)
    return found if found is not None else own(session, version_id, worker).collection_id


def _document(session: Session, collection_id: str, path: str) -> DocumentTable:
    query = select(DocumentTable).where(DocumentTable.collection_id == collection_id, DocumentTable.path == path)
    document = session.scalars(query.with_for_update()).one_or_none()
    if document is None:
        document = DocumentTable(
            id=uuid.uuid4().hex, collection_id=collection_id, path=path, newest=0, created_at=now()
        )
        session.add(document)
        session.flush()
    elif document.deleted_at is not None:
        document.deleted_at = None
        document.created_at = now()
    return document


def _locked_document(session: Session, document_id: str) -> DocumentTable:
    query = select(DocumentTable).where(DocumentTable.id == document_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def _newest_version(session: Session, document_id: str) -> VersionTable | None:
    query = (
        select(VersionTable)
        .where(VersionTable.document_id == document_id, VersionTable.state != DocumentState.DELETED.value)
        .order_by(VersionTable.number.desc())
        .limit(1)
        .with_for_update()
    )
    return session.scalars(query).one_or_none()


def _live_has(session: Session, document: DocumentTable, content_hash: str) -> bool:
    live = session.get(VersionTable, document.live_version_id) if document.live_version_id else None
    return live is not None and live.content_hash == content_hash


def _supersede_queued(session: Session, document_id: str) -> None:
    query = (
        select(VersionTable)
        .where(VersionTable.document_id == document_id, VersionTable.state == DocumentState.QUEUED.value)
        .order_by(VersionTable.id)
        .with_for_update()
    )
    for version in session.scalars(query):
        version.state, version.updated_at = DocumentState.DELETED.value, now()


def _queue(session: Session, document: DocumentTable, content_hash: str, size: int, priority: int) -> VersionTable:
    document.newest += 1
    stamp = now()
    version = VersionTable(
        id=uuid.uuid4().hex,
        document_id=document.id,
        collection_id=document.collection_id,
        number=document.newest,
        content_hash=content_hash,
        size=size,
        state=DocumentState.QUEUED.value,
        priority=priority,
        created_at=stamp,
        updated_at=stamp,
    )
    session.add(version)
    return version


def _chunk_rows(session: Session, version_id: str, *, set_aside: bool = True) -> int:
    query: Any = select(func.count()).where(ChunkTable.version_id == version_id)
    if not set_aside:
        query = query.where(ChunkTable.ordinal >= 0)
    return int(session.scalar(query) or 0)


def _check_complete(session: Session, version: VersionTable) -> None:
    found = _chunk_rows(session, version.id, set_aside=False)
    if found != version.chunk_count or version.state != DocumentState.INDEXING.value:
        raise StorageError(
            f"Cannot make version {version.id!r} live: it is {version.state!r} with {found} chunk rows, not "
            f"'indexing' with {version.chunk_count}.",
            "Store its chunks first.",
        )


def _record_change(session: Session, collection: CollectionTable, kind: str, version_id: str) -> None:
    collection.changes += 1
    session.add(
        IndexChangeTable(collection_id=collection.id, number=collection.changes, kind=kind, version_id=version_id)
    )
