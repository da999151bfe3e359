"""The work on versions: claim with a lease, report, store chunks, fail, give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.orm import Session

from core.errors import AliothError, LeaseLostError, NotFoundError, StorageError
from core.types import FINAL_STATES, Collection, DocumentState, NewChunk, Problem
from storage.collections import to_collection
from storage.database import Database, slices
from storage.tables import ChunkTable, CollectionTable, DocumentTable, VersionTable, now

_FINAL = [state.value for state in FINAL_STATES]
_UNFINISHED = [state.value for state in DocumentState if state not in FINAL_STATES]


@dataclass(frozen=True, slots=True)
class ClaimedVersion:
    """One version that this worker holds. attempts: counts this one."""

    version_id: str
    document_id: str
    collection_id: str
    collection: Collection
    path: str
    number: int
    content_hash: str
    size: int
    attempts: int


class Jobs:
    """The working half of DocumentStore.

    `worker` names one claiming loop and must be unique among all that ever run: host, process and a random part.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def claim(
        self,
        worker: str,
        limit: int,
        lease_s: float,
        version_ids: Sequence[str] | None = None,
        max_attempts: int = 3,
    ) -> list[ClaimedVersion]:
        """Take up to `limit` versions: queued ones, and ones whose worker has been silent over its lease.

        Higher priority first, then the oldest. No two workers ever hold one version. A version that was taken
        `max_attempts` times without an end becomes failed with code `poison`: it kills its workers.

        Args:
            lease_s: seconds until others may take it, unless renewed.
            version_ids: only among these.
        """
        taken: list[str] = []
        with self._db.write() as session:
            clock = self._db.clock(session)
            for part in [None] if version_ids is None else slices(version_ids, 5000):
                while len(taken) < limit:
                    rows = self._claimable(session, clock, limit - len(taken), part)
                    for row in rows:
                        if row.attempts >= max_attempts:
                            _poison(row, clock)
                        else:
                            _take(row, worker, clock, lease_s)
                            taken.append(row.id)
                    session.flush()
                    if not rows:
                        break
            return self._claimed(session, taken)

    def renew(self, worker: str, version_ids: Sequence[str], lease_s: float) -> list[str]:
        """Prolong leases to `lease_s` seconds from now. Gives the ids this worker still holds."""
        with self._db.write() as session:
            clock = self._db.clock(session)
            held = self._held(session, worker, version_ids)
            for row in held:
                row.lease_until = clock + timedelta(seconds=lease_s)
            still = {row.id for row in held}
        return [version_id for version_id in version_ids if version_id in still]

    def release(self, worker: str) -> None:
        """Give back everything this worker holds, to be taken by others at once; the attempt does not count."""
        with self._db.write() as session:
            for row in self._held(session, worker, None):
                row.state = DocumentState.QUEUED.value
                row.attempts = max(0, row.attempts - 1)
                row.progress = 0.0
                _drop_lease(row)

    def set_state(self, version_id: str, worker: str, state: DocumentState, progress: float | None = None) -> None:
        """Report a working stage and progress (0.0–1.0). Raises LeaseLostError."""
        if state in FINAL_STATES:
            raise StorageError(
                f"Cannot set state {state.value!r}: final states come from switch, fail and delete.", "Call those."
            )
        with self._db.write() as session:
            row = own(session, version_id, worker)
            row.state = state.value
            row.updated_at = now()
            if progress is not None:
                row.progress = min(1.0, max(0.0, progress))

    def describe(
        self,
        version_id: str,
        worker: str,
        *,
        media_type: str,
        title: str,
        pages: int,
        problems: Sequence[Problem],
        facts: Mapping[str, Any],
    ) -> None:
        """Keep what the parser found. Raises LeaseLostError."""
        with self._db.write() as session:
            row = own(session, version_id, worker)
            row.media_type, row.title, row.pages = media_type, _storable(title), pages
            row.problems = [problem.to_dict() for problem in problems]
            row.facts = dict(facts)
            row.updated_at = now()

    def store_chunks(
        self,
        version_id: str,
        worker: str,
        chunks: Sequence[NewChunk],
        tokens: Sequence[str],
        embeddings: NDArray[np.float32],
    ) -> list[int]:
        """Replace the chunk rows of this version; state becomes indexing.

        A second attempt keeps the ids of the first, so that its upsert covers what a killed worker left in Chroma.

        Args:
            tokens: search tokens of each chunk, separated by blanks.
            embeddings: (n, dim) float32, norm 1; kept as float16.

        Returns:
            Chunk ids in the order of `chunks`.

        Raises:
            LeaseLostError: another worker took the version over, or it was deleted.
            StorageError: lengths differ, wrong dimension, or a number that is not finite.
        """
        with self._db.write() as session:
            row = own(session, version_id, worker)
            _check_embeddings(session, row, chunks, tokens, embeddings)
            kept = _reuse_ids(session, version_id, len(chunks))
            packed = np.ascontiguousarray(embeddings).astype("<f2")
            rows = [
                {
                    "version_id": version_id,
                    "collection_id": row.collection_id,
                    "ordinal": place,
                    "context": _storable(chunk.context),
                    "text": _storable(chunk.text),
                    "tokens": _storable(tokens[place]),
                    "locator": chunk.locator.to_dict(),
                    "n_tokens": chunk.n_tokens,
                    "embedding": packed[place].tobytes(),
                }
                for place, chunk in enumerate(chunks)
            ]
            for place, chunk_id in kept.items():
                rows[place]["id"] = chunk_id
            _insert(session, [r for r in rows if "id" in r])
            _insert(session, [r for r in rows if "id" not in r])
            row.chunk_count = len(chunks)
            row.state = DocumentState.INDEXING.value
            row.updated_at = now()
            return list(
                session.scalars(
                    select(ChunkTable.id)
                    .where(ChunkTable.version_id == version_id, ChunkTable.ordinal >= 0)
                    .order_by(ChunkTable.ordinal)
                )
            )

    def fail(self, version_id: str, worker: str, error: AliothError) -> None:
        """End in state failed; the document's live version goes on answering. Raises LeaseLostError."""
        with self._db.write() as session:
            row = own(session, version_id, worker)
            detail: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
            page = getattr(error, "page", None)
            if page is not None:
                detail["page"] = page
            row.state, row.error, row.updated_at = DocumentState.FAILED.value, detail, now()
            _drop_lease(row)

    def _claimable(
        self, session: Session, clock: datetime, limit: int, among: Sequence[str] | None
    ) -> Sequence[VersionTable]:
        query = (
            select(VersionTable)
            .where(
                VersionTable.state.in_(_UNFINISHED),
                or_(VersionTable.lease_owner.is_(None), VersionTable.lease_until < clock),
            )
            .order_by(VersionTable.priority.desc(), VersionTable.created_at, VersionTable.number, VersionTable.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
        if among is not None:
            query = query.where(VersionTable.id.in_(among))
        return session.scalars(query).all()

    def _claimed(self, session: Session, ids: Sequence[str]) -> list[ClaimedVersion]:
        query = (
            select(VersionTable, DocumentTable.path, CollectionTable)
            .join(DocumentTable, DocumentTable.id == VersionTable.document_id)
            .join(CollectionTable, CollectionTable.id == VersionTable.collection_id)
            .where(VersionTable.id.in_(ids))
        )
        found = {
            row.id: ClaimedVersion(
                row.id,
                row.document_id,
                row.collection_id,
                to_collection(collection),
                path,
                row.number,
                row.content_hash,
                row.size,
                row.attempts,
            )
            for row, path, collection in session.execute(query)
        }
        return [found[version_id] for version_id in ids if version_id in found]

    def _held(self, session: Session, worker: str, version_ids: Sequence[str] | None) -> list[VersionTable]:
        out: list[VersionTable] = []
        for part in [None] if version_ids is None else slices(version_ids, 5000):
            query = select(VersionTable).where(VersionTable.lease_owner == worker, VersionTable.state.in_(_UNFINISHED))
            if part is not None:
                query = query.where(VersionTable.id.in_(part))
            out.extend(session.scalars(query.order_by(VersionTable.id).with_for_update()))
        return out


def own(session: Session, version_id: str, worker: str) -> VersionTable:
    """The version's row, locked, if `worker` holds its lease. Raises LeaseLostError."""
    query = select(VersionTable).where(VersionTable.id == version_id).with_for_update()
    row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is None or row.lease_owner != worker or row.state in _FINAL:
        raise LeaseLostError(
            f"Worker {worker!r} no longer holds version {version_id!r}: it was deleted or taken over.",
            "Nothing needs to be done; the other worker finishes it.",
        )
    return row


def _take(row: VersionTable, worker: str, clock: datetime, lease_s: float) -> None:
    row.attempts += 1
    row.state = DocumentState.PARSING.value
    row.progress = 0.0
    row.lease_owner = worker
    row.lease_until = clock + timedelta(seconds=lease_s)
    row.updated_at = now()


def _poison(row: VersionTable, clock: datetime) -> None:
    row.state = DocumentState.FAILED.value
    row.error = {
        "code": "poison",
        "message": f"Gave up after {row.attempts} attempts: each time the worker died or fell silent.",
        "hint": "Look into the worker's log; then try this file again alone.",
    }
    row.updated_at = now()
    row.lease_owner = None  # lease_until stays: purging waits for a worker that may still be alive


def _drop_lease(row: VersionTable) -> None:
    row.lease_owner = None
    row.lease_until = None


def _storable(text: str) -> str:
    """PostgreSQL keeps no NUL, and neither keeps half of a surrogate pair."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def _check_embeddings(
    session: Session,
    row: VersionTable,
    chunks: Sequence[NewChunk],
    tokens: Sequence[str],
    embeddings: NDArray[np.float32],
) -> None:
    collection = session.get(CollectionTable, row.collection_id)
    if collection is None:
        raise NotFoundError(f"There is no collection with id {row.collection_id!r}.", "It may have been deleted.")
    dimension = int(collection.fingerprint["dimension"])
    wanted = (len(chunks), dimension)
    if len(tokens) != len(chunks) or (len(chunks) and embeddings.shape != wanted):
        raise StorageError(
            f"Cannot store {len(chunks)} chunks with {len(tokens)} token strings and embeddings of shape "
            f"{embeddings.shape}: the collection asks for shape {wanted}.",
            "Embed with the collection's own embedder.",
        )
    if len(chunks) and not bool(np.isfinite(embeddings).all()):
        raise StorageError(
            f"Cannot store chunks of version {row.id!r}: an embedding is not finite.", "Check the embedder."
        )


def _reuse_ids(session: Session, version_id: str, count: int) -> dict[int, int]:
    """Ordinal to id of an earlier attempt's rows, which go; surplus rows stay set aside until the purge."""
    old = session.execute(
        select(ChunkTable.id, ChunkTable.ordinal).where(ChunkTable.version_id == version_id).order_by(ChunkTable.id)
    ).all()
    ids = [chunk_id for chunk_id, _ in old]
    if not ids:
        return {}
    kept = dict(enumerate(ids[:count]))
    last = ids[min(count, len(ids)) - 1] if count else 0
    ours = ChunkTable.version_id == version_id
    session.execute(delete(ChunkTable).where(ours, ChunkTable.id <= last))
    session.execute(update(ChunkTable).where(ours, ChunkTable.id > last).values(ordinal=-(ChunkTable.id % 2**31)))
    return kept


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    if rows:
        session.execute(insert(ChunkTable), rows)
