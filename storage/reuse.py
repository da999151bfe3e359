"""Embeddings that are stored and serve again: unchanged chunks of a changed document, copies, second attempts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from core.types import Collection
from storage.collections import to_collection
from storage.database import Database, slices
from storage.tables import ChunkTable, CollectionTable, DocumentTable, VersionTable

_ROWS: Final = 2000
_FIRST_ORDINAL: Final = -(2**31)
"""The least that PostgreSQL holds: chunks that are set aside have negative ones."""


class Reuse:
    """The part of DocumentStore that finds embeddings of texts that were embedded before.

    An embedding serves again when context and text are the same and it stands in the same index, so that embedder,
    prefix and chunker are the same. It is taken over bit for bit, as float16.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def known_texts(self, version_id: str, collection: Collection) -> dict[bytes, int]:
        """`text_digest` to chunk id, of chunks that may serve `version_id`; `collection` as it was claimed with.

        They are those of an earlier attempt at this version, of its document's live version, and of a live version
        with the same bytes in the collection. Memory: about 150 bytes per chunk.
        """
        known: dict[bytes, int] = {}
        with self._db.read() as session:
            sources = _sources(session, version_id) if _same_index(session, collection) else []
        for source in sources:
            begin = _FIRST_ORDINAL
            while True:
                with self._db.read() as session:
                    rows = session.execute(_texts(source, collection.index_id, begin)).all()
                for row in rows:
                    known.setdefault(text_digest(row.context, row.text), row.id)
                if len(rows) < _ROWS:
                    break
                begin = rows[-1].ordinal + 1
        return known

    def stored_embeddings(self, chunk_ids: Sequence[int], collection: Collection) -> dict[bytes, bytes]:
        """float16 bytes by the `text_digest` that the chunks have now, of those still in the collection's index."""
        found: dict[bytes, bytes] = {}
        with self._db.read() as session:
            if _same_index(session, collection):
                for part in slices(chunk_ids, 5000):
                    query = select(ChunkTable.context, ChunkTable.text, ChunkTable.embedding).where(
                        ChunkTable.id.in_(part), ChunkTable.index_id == collection.index_id
                    )
                    found.update((text_digest(row[0], row[1]), row[2]) for row in session.execute(query))
        return found


def text_digest(context: str, text: str) -> bytes:
    """16 bytes that stand for what the embedder reads, of a chunk as it is stored."""
    return hashlib.blake2b(f"{context}\x00{text}".encode("utf-8", "replace"), digest_size=16).digest()


def _texts(version_id: str, index_id: str, begin: int) -> Select[*tuple[Any, ...]]:
    """The next chunks of a version. The index's id must not look like a way in: SQLite would read all its chunks."""
    return (
        select(ChunkTable.id, ChunkTable.ordinal, ChunkTable.context, ChunkTable.text)
        .where(
            ChunkTable.version_id == version_id,
            func.coalesce(ChunkTable.index_id, "") == index_id,
            ChunkTable.ordinal >= begin,
        )
        .order_by(ChunkTable.ordinal)
        .limit(_ROWS)
    )


def _same_index(session: Session, collection: Collection) -> bool:
    """Whether the collection still has the index that it had when the version was claimed."""
    row = session.get(CollectionTable, collection.id)
    if row is None:
        return False
    now = to_collection(row)
    return (now.index_id, now.fingerprint) == (collection.index_id, collection.fingerprint)


def _sources(session: Session, version_id: str) -> list[str]:
    version = session.get(VersionTable, version_id)
    if version is None:
        return []
    document = session.get(DocumentTable, version.document_id)
    copy = (
        select(VersionTable.id)
        .join(DocumentTable, DocumentTable.live_version_id == VersionTable.id)
        .where(
            VersionTable.content_hash == version.content_hash,
            func.coalesce(VersionTable.collection_id, "") == version.collection_id,  # else all of them are read
            VersionTable.id != version_id,
            DocumentTable.deleted_at.is_(None),
        )
        .order_by(VersionTable.id)
        .limit(1)
    )
    live = document.live_version_id if document is not None else None
    return [source for source in dict.fromkeys([version_id, live, session.scalar(copy)]) if source is not None]
