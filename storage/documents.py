"""Documents and their versions: submit, switch, delete. The only place that decides which version answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import InputError, NotFoundError, StorageError
from core.types import FINAL_STATES, DocumentState
from storage.archives import Archives
from storage.claiming import due_at
from storage.document_rows import DocumentRows, VersionStatus, lock_collection
from storage.jobs import ClaimedVersion, Jobs, own
from storage.ownership import require_owner, settle_owner
from storage.purging import Purge, Purging, require_original
from storage.reuse import Reuse
from storage.sketches import Sketches
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


class DocumentStore(DocumentRows, Jobs, Purging, Reuse, Sketches, Archives):
    """Documents of every collection. Thread-safe; every change is one transaction."""

    def submit(
        self,
        collection_id: str,
        path: str,
        content_hash: str,
        size: int,
        priority: int = 0,
        retry_failed: bool = True,
        source: str | None = None,
        adopt: bool = False,
        is_kept: Callable[[str], bool] | None = None,
    ) -> Submission:
        """Say that `path` now has these bytes; the original is in the file store already.

        Bytes that answer now, with nothing newer under way: `unchanged`. Bytes under way: `pending`. The bytes of
        a failed version are tried again (or left, `unchanged`, without `retry_failed`). Else a version is queued;
        an older one that failed or that no worker has taken yet ends as deleted. A deleted document comes back as
        the same one.

        Args:
            size: bytes. priority: higher is claimed first.
            source: the source that brings it; empty when a person does, whose document it becomes.
            adopt: the source takes a document over that is not its own.
            is_kept: whether the file store has a hash; asked where no purge can come in between.

        Raises:
            NotFoundError: no such collection. InputError: the path is empty or over 1,000 characters.
            ConflictError: another than `source` put other bytes there. OriginalGoneError: `is_kept` says no.
        """
        if not path or len(path) > MAX_PATH_CHARS:
            raise InputError(
                f"Cannot take the path {path[:60]!r}: it has {len(path)} characters, allowed are 1 to "
                f"{MAX_PATH_CHARS} characters.",
                "Rename the file or shorten the prefix.",
            )
        with self._db.write() as session:
            if is_kept is not None:
                require_original(session, content_hash, is_kept)
            lock_collection(session, collection_id)
            document = _document(session, collection_id, path)
            newest = _newest_version(session, document.id)
            settle_owner(document, newest, content_hash, source, adopt)
            if newest is not None:
                if newest.state == DocumentState.FAILED.value and _live_has(session, document, content_hash):
                    newest.state, newest.updated_at = DocumentState.DELETED.value, now()  # its bytes were taken back
                    return Submission(document.id, str(document.live_version_id), "unchanged")
                same = self._same_bytes(session, document, newest, content_hash, priority, retry_failed)
                if same is not None:
                    return same
            outcome = "changed" if document.live_version_id else "new"
            _supersede_waiting(session, document.id)
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
            source = document.source_id
        return self.submit(*known, source=source)

    def rename(self, document_id: str, path: str, source: str) -> bool:
        """Give a source's document another path without reading it anew; keyword replicas learn the new name.

        False, and nothing changed, when it is not the source's, does not answer as it is (failed or under way), or
        the path is taken, be it by a deleted document that waits for its purge.
        """
        with self._db.write() as session:
            known = session.get(DocumentTable, document_id)
            if known is None:
                return False
            collection = lock_collection(session, known.collection_id)
            document = _locked_document(session, document_id)
            newest = _newest_version(session, document_id)
            taken = select(DocumentTable.id).where(
                DocumentTable.collection_id == collection.id, DocumentTable.path == path
            )
            if (
                document.deleted_at is not None
                or document.source_id != source
                or newest is None
                or newest.id != document.live_version_id
                or session.scalar(taken) is not None
            ):
                return False
            document.path = path
            _record_change(session, collection, "add", newest.id)
            return True

    def delete(self, document_id: str, source: str | None = None) -> None:
        """Take a document out: gone for readers when this returns; vectors, rows and file go at the next purge.

        Args:
            source: delete it only if it is this source's.

        Raises:
            NotFoundError: no such document, or deleted already. ConflictError: it is not the source's.
        """
        with self._db.write() as session:
            known = session.get(DocumentTable, document_id)
            if known is None or known.deleted_at is not None:
                raise NotFoundError(f"There is no document with id {document_id!r}.", "It may be deleted already.")
            collection = lock_collection(session, known.collection_id)
            document = _locked_document(session, document_id)
            if document.deleted_at is not None:
                raise NotFoundError(f"There is no document with id {document_id!r}.", "It may be deleted already.")
            require_owner(document, source)
            document.deleted_at = now()
            if document.live_version_id is not None:
                _record_change(session, collection, "remove", document.live_version_id)
                document.live_version_id = None
            versions = select(VersionTable).where(VersionTable.document_id == document_id).order_by(VersionTable.id)
            for version in session.scalars(versions.with_for_update()):
                _take_away(version)

    def cancel(self, document_id: str) -> bool:
        """Stop reading a document in: what is queued or under way ends as deleted, the live version goes on answering.

        The worker notices within seconds. A document that has no other version is removed. False: nothing was
        queued or under way.

        Raises:
            NotFoundError: no such document, or deleted already.
        """
        with self._db.write() as session:
            known = session.get(DocumentTable, document_id)
            if known is not None:
                lock_collection(session, known.collection_id)
                known = _locked_document(session, document_id)
            if known is None or known.deleted_at is not None:
                raise NotFoundError(f"There is no document with id {document_id!r}.", "It may be deleted already.")
            query = select(VersionTable).where(
                VersionTable.document_id == document_id, VersionTable.state.not_in(_FINAL)
            )
            pending = list(session.scalars(query.order_by(VersionTable.id).with_for_update()))
            for version in pending:
                _take_away(version)
            session.flush()
            if pending and _newest_version(session, document_id) is None:
                known.deleted_at = now()
            return bool(pending)

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
            return Submission(document.id, newest.id, "pending")  # a claimed one keeps its place in its run
        if newest.state != DocumentState.FAILED.value:
            return None
        if not retry_failed:
            return Submission(document.id, newest.id, "unchanged")
        if _chunk_rows(session, newest.id):
            # purging may be removing its vectors right now, so these ids must not be used again
            newest.state, newest.updated_at = DocumentState.DELETED.value, now()
            return None
        newest.state, newest.attempts, newest.error = DocumentState.QUEUED.value, 0, None
        newest.progress, newest.problems, newest.lost_in = 0.0, [], []
        newest.pages_done = newest.chunks_done = 0
        newest.priority = max(newest.priority, priority)
        newest.lease_owner = newest.lease_until = None
        newest.updated_at = now()
        newest.due = due_at(newest.updated_at, newest.size)
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


def _take_away(version: VersionTable) -> None:
    """End it as deleted, whoever works on it.

    Its lease stays: purging waits until the worker says that it has stopped (`let_go`), or until the lease runs out.
    """
    version.state = DocumentState.DELETED.value
    version.updated_at = now()


def _live_has(session: Session, document: DocumentTable, content_hash: str) -> bool:
    live = session.get(VersionTable, document.live_version_id) if document.live_version_id else None
    return live is not None and live.content_hash == content_hash


def _supersede_waiting(session: Session, document_id: str) -> None:
    """Nobody needs versions any more that no worker has taken yet, or that failed: newer bytes are here."""
    superseded = [DocumentState.QUEUED.value, DocumentState.FAILED.value]
    query = (
        select(VersionTable)
        .where(
            VersionTable.document_id == document_id,
            VersionTable.state.in_(superseded),
            VersionTable.lease_owner.is_(None),
        )
        .order_by(VersionTable.id)
        .with_for_update()
    )
    for version in session.scalars(query):
        _take_away(version)


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
        due=due_at(stamp, size),
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
        IndexChangeTable(index_id=collection.index_id, number=collection.changes, kind=kind, version_id=version_id)
    )
