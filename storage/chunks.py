"""Chunks of live versions: the join that stands between the indexes and everyone who reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session, aliased

from core.types import DocumentState, Locator, StoredChunk
from storage.database import Database, slices
from storage.tables import ChunkTable, CollectionTable, DocumentTable, VersionTable

_COLUMNS = (
    ChunkTable.id,
    DocumentTable.collection_id,
    VersionTable.document_id,
    ChunkTable.version_id,
    ChunkTable.ordinal,
    DocumentTable.path,
    VersionTable.title,
    ChunkTable.context,
    ChunkTable.text,
    ChunkTable.locator,
    ChunkTable.tokens,
)


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What the two indexes are rebuilt from. tokens: blank-separated. embedding: (dim,) float32, norm 1."""

    id: int
    version_id: str
    context: str
    title: str
    path: str
    tokens: str
    embedding: NDArray[np.float32]


class ChunkStore:
    """Reads chunks. Thread-safe."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def load_live(self, chunk_ids: Sequence[int], collection_ids: Sequence[str]) -> dict[int, StoredChunk]:
        """The chunks among `chunk_ids` that may be shown: of live versions, in the given collections.

        Chunks of superseded, deleted, failed and unfinished versions and of other collections are left out, so
        nothing that an index gives can be shown without passing here. A question that began before a reindex
        switched still finds its chunks, as long as their documents answer with the same bytes.
        """
        out: dict[int, StoredChunk] = {}
        allowed = set(collection_ids)
        if not allowed:
            return out
        wanted = dict.fromkeys(int(i) for i in chunk_ids)
        with self._db.read() as session:
            for part in slices(wanted, 5000):
                for row in session.execute(live(select(*_COLUMNS)).where(ChunkTable.id.in_(part))):
                    if row.collection_id in allowed:
                        out[row.id] = _chunk(row)
            lacking = [chunk_id for chunk_id in wanted if chunk_id not in out]
            if lacking and has_hidden(session, allowed):
                for part in slices(lacking, 5000):
                    for row in session.execute(_of_hidden().where(ChunkTable.id.in_(part))):
                        if row.collection_id in allowed:
                            out[row.id] = _chunk(row)
        return out

    def neighbours(self, chunk: StoredChunk, before: int, after: int) -> list[StoredChunk]:
        """The chunks around one, of the same version, in order, itself included; [] when it is no longer live."""
        near = (
            ChunkTable.version_id == chunk.version_id,
            ChunkTable.ordinal.between(max(0, chunk.ordinal - before), chunk.ordinal + after),
        )
        with self._db.read() as session:
            for query in (live(select(*_COLUMNS)), _of_hidden()):
                rows = session.execute(query.where(*near).order_by(ChunkTable.ordinal))
                found = [_chunk(row) for row in rows if row.collection_id == chunk.collection_id]
                if found or not has_hidden(session, {chunk.collection_id}):
                    return found
        return []

    def of_version(self, version_id: str) -> list[StoredChunk]:
        """All chunks of one version in order, live or not. Not for answers."""
        query = (
            select(*_COLUMNS)
            .join(VersionTable, VersionTable.id == ChunkTable.version_id)
            .join(DocumentTable, DocumentTable.id == VersionTable.document_id)
            .where(ChunkTable.version_id == version_id, ChunkTable.ordinal >= 0)
            .order_by(ChunkTable.ordinal)
        )
        with self._db.read() as session:
            return [_chunk(row) for row in session.execute(query)]

    def embeddings(self, chunk_ids: Sequence[int]) -> tuple[list[int], NDArray[np.float32]]:
        """Ids that exist, in the order asked, and their embeddings (n, dim) float32 of norm 1; (0, 0) when none."""
        found: dict[int, bytes] = {}
        with self._db.read() as session:
            for part in slices(chunk_ids, 5000):
                rows = session.execute(select(ChunkTable.id, ChunkTable.embedding).where(ChunkTable.id.in_(part)))
                found.update((row.id, row.embedding) for row in rows)
        ids = [chunk_id for chunk_id in chunk_ids if chunk_id in found]
        return ids, unpack([found[chunk_id] for chunk_id in ids])

    def live_ids(self, index_id: str) -> NDArray[np.int64]:
        """Ids of all chunks of an index that can answer, ascending, (n,) int64."""
        query = live(select(ChunkTable.id)).where(ChunkTable.index_id == index_id)
        with self._db.read() as session:
            return np.array(session.scalars(query.order_by(ChunkTable.id)).all(), dtype=np.int64)

    def live_batches(self, index_id: str, size: int = 1000) -> Iterator[list[IndexRow]]:
        """All live chunks by id, `size` at a time; each batch is a read of its own, so no lock is held between."""
        last = 0
        while True:
            query = (
                live(
                    select(
                        ChunkTable.id,
                        ChunkTable.version_id,
                        ChunkTable.context,
                        VersionTable.title,
                        DocumentTable.path,
                        ChunkTable.tokens,
                        ChunkTable.embedding,
                    )
                )
                .where(ChunkTable.index_id == index_id, ChunkTable.id > last)
                .order_by(ChunkTable.id)
                .limit(size)
            )
            with self._db.read() as session:
                rows = session.execute(query).all()
            if not rows:
                return
            vectors = unpack([row.embedding for row in rows])
            yield [
                IndexRow(row.id, row.version_id, row.context, row.title, row.path, row.tokens, vectors[place])
                for place, row in enumerate(rows)
            ]
            last = rows[-1].id


def live(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Join a query on chunks to the versions that answer now. Every read for answers goes through here.

    Conditions on documents and versions must not look like ways into an index: SQLite would then begin there and
    read a whole collection to find a hundred chunks.
    """
    return (
        query.join(VersionTable, VersionTable.id == ChunkTable.version_id)
        .join(DocumentTable, DocumentTable.live_version_id == VersionTable.id)
        .where(
            DocumentTable.deleted_at.is_(None),
            DocumentTable.id == VersionTable.document_id,
            func.coalesce(VersionTable.state, "") == DocumentState.READY.value,
            ChunkTable.ordinal >= 0,
        )
    )


def has_hidden(session: Session, collection_ids: Iterable[str]) -> bool:
    """Whether one of these collections has an index that does not answer."""
    return bool(session.scalar(select(exists().where(CollectionTable.parent_id.in_(list(collection_ids))))))


def _of_hidden() -> Select[*tuple[Any, ...]]:
    """Chunks of indexes that do not answer (any more), as chunks of the documents that answer with the same bytes."""
    document, version = aliased(DocumentTable), aliased(VersionTable)
    return (
        select(
            *(
                {
                    "collection_id": document.collection_id.label("collection_id"),
                    "document_id": document.id.label("document_id"),
                }.get(column.key, column)
                for column in _COLUMNS
            )
        )
        .join(VersionTable, VersionTable.id == ChunkTable.version_id)
        .join(DocumentTable, DocumentTable.live_version_id == VersionTable.id)
        .join(CollectionTable, CollectionTable.id == DocumentTable.collection_id)
        .join(
            document,
            (document.collection_id == CollectionTable.parent_id) & (document.path == DocumentTable.path),
        )
        .join(version, version.id == document.live_version_id)
        .where(
            DocumentTable.deleted_at.is_(None),
            document.deleted_at.is_(None),
            version.content_hash == VersionTable.content_hash,
            func.coalesce(version.state, "") == DocumentState.READY.value,
            func.coalesce(VersionTable.state, "") == DocumentState.READY.value,
            ChunkTable.ordinal >= 0,
        )
    )


def unpack(blobs: Sequence[bytes]) -> NDArray[np.float32]:
    """float16 little-endian bytes to (n, dim) float32 rows of norm 1; a row of zeros stays zeros."""
    if not blobs:
        return np.zeros((0, 0), dtype=np.float32)
    matrix = np.frombuffer(b"".join(blobs), dtype="<f2").reshape(len(blobs), -1).astype(np.float32)
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = matrix / np.maximum(norms, np.float32(1e-12))
    return scaled


def _chunk(row: Any) -> StoredChunk:
    return StoredChunk(
        row.id,
        row.collection_id,
        row.document_id,
        row.version_id,
        row.ordinal,
        row.path,
        row.title,
        row.context,
        row.text,
        Locator.from_dict(row.locator),
        row.tokens,
    )
