"""Compare SQL, Chroma and the keyword index of a collection, and restore either index from SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from core.types import Collection, DocumentState
from storage.chunks import ChunkStore, unpack
from storage.collections import CollectionStore
from storage.database import Database
from storage.files import FileStore
from storage.keyword import KeywordIndex
from storage.tables import ChunkTable, DocumentTable, VersionTable
from storage.vectors import VectorIndex

_SHOWN = 5
_BATCH = 2000
_ROUNDING = 0.005
"""SQL keeps float16, Chroma float32."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not agree.

    kind: vector_missing, vector_orphan, vector_wrong, vector_unreached, keyword_missing, keyword_orphan, file_missing
        or stray_vector_collection.
    collection: its name. detail: for a person, with examples. count: how many chunks, files or collections.
    """

    kind: str
    collection: str
    detail: str
    count: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Findings, and how many vectors belong to versions under way or awaiting purge, which is no fault."""

    findings: list[Finding] = field(default_factory=list)
    pending: int = 0


def compare(
    collection: Collection, db: Database, vectors: VectorIndex, keyword: KeywordIndex, files: FileStore | None = None
) -> Comparison:
    """Compare one collection's live chunks with both indexes, and live versions with the file store.

    Right also while documents are ingested: SQL is read before and after the indexes, and only what both readings
    agree on counts.

    Raises:
        IndexUnavailableError: Chroma does not answer.
    """
    chunks = ChunkStore(db)
    live_before, known_before = chunks.live_ids(collection.index_id), _known_ids(db, collection.index_id)
    keyword.catch_up(collection.index_id)
    in_chroma = vectors.ids(collection.vector_key)
    in_keyword = keyword.ids(collection.index_id)
    live_after, known_after = chunks.live_ids(collection.index_id), _known_ids(db, collection.index_id)

    live = np.intersect1d(live_before, live_after)
    ever_live = np.union1d(live_before, live_after)
    known = np.union1d(known_before, known_after)
    findings = [
        *_ids("vector_missing", collection, np.setdiff1d(live, in_chroma), "live chunks have no vector"),
        *_ids("vector_orphan", collection, np.setdiff1d(in_chroma, known), "vectors belong to no chunk"),
        *_unfound(collection, chunks, vectors, np.intersect1d(live, in_chroma)),
        *_ids(
            "keyword_missing", collection, np.setdiff1d(live, in_keyword), "live chunks are not in the keyword index"
        ),
        *_ids("keyword_orphan", collection, np.setdiff1d(in_keyword, ever_live), "keyword entries are not live"),
    ]
    if files is not None:
        findings.extend(_missing_files(collection, db, files))
    pending = np.setdiff1d(np.intersect1d(in_chroma, known), ever_live)
    return Comparison(findings, len(pending))


def verify(
    collection: Collection, db: Database, vectors: VectorIndex, keyword: KeywordIndex, files: FileStore | None = None
) -> list[Finding]:
    """The findings of `compare`; [] when all agree."""
    return compare(collection, db, vectors, keyword, files).findings


def verify_vector_collections(db: Database, vectors: VectorIndex) -> list[Finding]:
    """Chroma collections that belong to no collection and do not wait to be dropped; `detail` is their name."""
    keys = vectors.keys()  # before SQL, so that a collection made meanwhile is not taken for a stray
    store = CollectionStore(db)
    expected = set(store.vector_keys()) | set(store.dropped())
    return [Finding("stray_vector_collection", "", key, 1) for key in keys if key not in expected]


def rebuild_vectors(collection: Collection, db: Database, vectors: VectorIndex, drop: bool = True) -> int:
    """Write the vectors of a collection anew from SQL, nothing is embedded again. Gives how many.

    Chunks of versions that are being indexed right now are written too, so that none becomes live without vectors.

    Args:
        drop: remove the Chroma collection first (cures a damaged one, searches see a part meanwhile). Without,
            vectors are replaced in place and those that belong to no chunk are removed.
    """
    orphans = np.zeros(0, dtype=np.int64)
    if drop:
        vectors.drop(collection.vector_key)
    else:
        before = _known_ids(db, collection.index_id)
        there = vectors.ids(collection.vector_key)
        orphans = np.setdiff1d(there, np.union1d(before, _known_ids(db, collection.index_id)))
    written = 0
    for ids, matrix in _vector_batches(db, collection.index_id):
        vectors.upsert(collection.vector_key, ids, matrix)
        written += len(ids)
    vectors.delete(collection.vector_key, [int(i) for i in orphans])
    return written


def rebuild_keyword(collection: Collection, keyword: KeywordIndex) -> int:
    """Make the keyword index of a collection anew from SQL. Gives the number of chunks in it."""
    return keyword.rebuild(collection.index_id)


def _known_ids(db: Database, index_id: str) -> NDArray[np.int64]:
    query = select(ChunkTable.id).where(ChunkTable.index_id == index_id)
    with db.read() as session:
        return np.array(session.scalars(query).all(), dtype=np.int64)


def _ids(kind: str, collection: Collection, ids: NDArray[np.int64], what: str) -> list[Finding]:
    if not len(ids):
        return []
    some = ", ".join(str(i) for i in ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")
    return [Finding(kind, collection.name, f"{len(ids)} {what}: {some}", len(ids))]


def _unfound(collection: Collection, chunks: ChunkStore, vectors: VectorIndex, ids: NDArray[np.int64]) -> list[Finding]:
    """Vectors that a search cannot find: others than SQL has, or not reached by their own embedding."""
    missed: dict[int, bool] = {}
    for start in range(0, len(ids), _BATCH):
        kept, rows = chunks.embeddings([int(i) for i in ids[start : start + _BATCH]])
        missed.update(vectors.unreached(collection.vector_key, kept, rows))
    if not missed:
        return []
    kept, rows = chunks.embeddings(list(missed))
    wanted = dict(zip(kept, rows, strict=True))
    there = dict(zip(*vectors.read(collection.vector_key, kept), strict=True))
    alike = {i for i in kept if i in there and float(there[i] @ wanted[i]) > 1.0 - _ROUNDING}
    live = set(chunks.live_ids(collection.index_id).tolist())
    wrong = [i for i in kept if i in live and i not in alike]
    unreached = [i for i in kept if i in live and i in alike and not missed[i]]
    return [
        *_ids("vector_wrong", collection, np.array(wrong, dtype=np.int64), "vectors are others than the database has"),
        *_ids("vector_unreached", collection, np.array(unreached, dtype=np.int64), "vectors are reached by no search"),
    ]


def _missing_files(collection: Collection, db: Database, files: FileStore) -> list[Finding]:
    query = (
        select(DocumentTable.path, VersionTable.content_hash)
        .join(VersionTable, VersionTable.id == DocumentTable.live_version_id)
        .where(DocumentTable.collection_id == collection.id, DocumentTable.deleted_at.is_(None))
        .order_by(DocumentTable.path)
    )
    with db.read() as session:
        rows = session.execute(query).all()
    lost = [path for path, content_hash in rows if not files.exists(content_hash)]
    if not lost:
        return []
    some = ", ".join(repr(path) for path in lost[:_SHOWN]) + (", …" if len(lost) > _SHOWN else "")
    return [Finding("file_missing", collection.name, f"{len(lost)} original files are gone: {some}", len(lost))]


def _vector_batches(db: Database, index_id: str) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    last = 0
    while True:
        query = (
            select(ChunkTable.id, ChunkTable.embedding)
            .join(VersionTable, VersionTable.id == ChunkTable.version_id)
            .where(
                ChunkTable.index_id == index_id,
                ChunkTable.id > last,
                ChunkTable.ordinal >= 0,
                func.coalesce(VersionTable.state, "").in_([DocumentState.READY.value, DocumentState.INDEXING.value]),
            )
            .order_by(ChunkTable.id)
            .limit(_BATCH)
        )
        with db.read() as session:
            rows = session.execute(query).all()
        if not rows:
            return
        yield [row.id for row in rows], unpack([row.embedding for row in rows])
        last = rows[-1].id
