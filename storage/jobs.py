"""The work on versions: report, store chunks, fail. Claiming and giving back is in storage.claiming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from core.errors import AliothError, NotFoundError, StorageError
from core.types import FINAL_STATES, DocumentState, NewChunk, Problem
from storage.claiming import ClaimedVersion, Claiming, drop_lease, error_dict, own
from storage.sketches import put_sketch
from storage.tables import ChunkTable, CollectionTable, VersionTable, now

__all__ = ["ClaimedVersion", "Jobs", "own", "storable"]

EMBEDDING_FROM: Final = 0.4
"""Progress of a version whose chunks are about to be embedded."""
INDEXING_FROM: Final = 0.9
"""Progress of a version whose chunks are stored."""


class Jobs(Claiming):
    """The working half of DocumentStore. See Claiming for `worker`."""

    def set_state(
        self,
        version_id: str,
        worker: str,
        state: DocumentState,
        progress: float | None = None,
        *,
        pages_done: int | None = None,
        pages: int | None = None,
        chunks_done: int | None = None,
    ) -> None:
        """Report a working stage, progress (0.0–1.0), pages read of how many, chunks done. Raises LeaseLostError."""
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
            if pages_done is not None:
                row.pages_done = pages_done
            if pages is not None:
                row.pages = pages
            if chunks_done is not None:
                row.chunks_done = chunks_done

    def expect_chunks(self, version_id: str, worker: str, count: int, reused: int = 0) -> None:
        """Chunking gave `count` chunks, embedding begins; rows of an earlier attempt beyond them are set aside.

        Args:
            reused: chunks whose embedding is known already; kept as the fact `chunks_reused`.

        Raises:
            LeaseLostError: another worker took the version over, or it was deleted.
        """
        with self._db.write() as session:
            row = own(session, version_id, worker)
            _begin_embedding(session, row, count, reused)
            row.updated_at = now()

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
        sketch: Sequence[int] = (),
        expected: tuple[int, int] | None = None,
    ) -> None:
        """Keep what the parser found. Raises LeaseLostError.

        Args:
            sketch: of ingest.near_duplicates, empty for none.
            expected: chunks and how many are reused, to do what `expect_chunks` does in the same transaction.
        """
        with self._db.write() as session:
            row = own(session, version_id, worker)
            put_sketch(session, version_id, row.collection_id, sketch)
            row.media_type, row.title, row.pages = media_type, storable(title), pages
            row.problems = [problem.to_dict() for problem in problems]
            row.facts = dict(facts)
            if expected is not None:
                _begin_embedding(session, row, *expected)
            row.updated_at = now()

    def store_chunks(
        self,
        version_id: str,
        worker: str,
        chunks: Sequence[NewChunk],
        tokens: Sequence[str],
        embeddings: NDArray[np.float32] | NDArray[np.float16],
        start: int | None = None,
    ) -> list[int]:
        """Write chunk rows; those of an earlier attempt at the same places are replaced and keep their ids.

        So a second attempt's upsert covers what a killed worker left in Chroma.

        Args:
            tokens: search tokens of each chunk, separated by blanks.
            embeddings: (n, dim) of norm 1; float32 is kept as float16, float16 as it is.
            start: place of the first chunk, after `expect_chunks`, when these are a slice of the version's chunks.
                None: they are all of them, and the state becomes indexing.

        Returns:
            Chunk ids in the order of `chunks`.

        Raises:
            LeaseLostError: another worker took the version over, or it was deleted.
            StorageError: lengths differ, wrong dimension, or a number that is not finite.
        """
        first = start or 0
        with self._db.write() as session:
            row = own(session, version_id, worker)
            index_id = _check_embeddings(session, row, chunks, tokens, embeddings)
            if start is None:
                _expect(session, row, len(chunks))
                row.state, row.progress = DocumentState.INDEXING.value, INDEXING_FROM
                row.chunks_done = len(chunks)
            kept = _reuse_ids(session, version_id, first, len(chunks))
            packed = np.ascontiguousarray(embeddings).astype("<f2")
            rows = [
                {
                    "version_id": version_id,
                    "index_id": index_id,
                    "ordinal": first + place,
                    "context": storable(chunk.context),
                    "text": storable(chunk.text),
                    "tokens": storable(tokens[place]),
                    "locator": chunk.locator.to_dict(),
                    "n_tokens": chunk.n_tokens,
                    "embedding": packed[place].tobytes(),
                }
                for place, chunk in enumerate(chunks)
            ]
            for place, one in enumerate(rows):
                if first + place in kept:
                    one["id"] = kept[first + place]
            _insert(session, [r for r in rows if "id" in r])
            _insert(session, [r for r in rows if "id" not in r])
            row.updated_at = now()
            return _ids(session, version_id, first, len(chunks))

    def chunk_ids(self, version_id: str) -> list[int]:
        """Ids of the version's chunks in order, those set aside left out."""
        with self._db.read() as session:
            return _ids(session, version_id, 0, None)

    def fail(self, version_id: str, worker: str, error: AliothError) -> None:
        """End in state failed; the document's live version goes on answering. Raises LeaseLostError.

        When newer bytes have been submitted meanwhile, nobody waits for this version: it ends as deleted.
        """
        with self._db.write() as session:
            row = own(session, version_id, worker)
            row.state, row.error, row.updated_at = DocumentState.FAILED.value, error_dict(error), now()
            if _is_superseded(session, row):
                row.state = DocumentState.DELETED.value
            drop_lease(row)


def _is_superseded(session: Session, row: VersionTable) -> bool:
    newer = select(VersionTable.id).where(
        VersionTable.document_id == row.document_id,
        VersionTable.number > row.number,
        VersionTable.state != DocumentState.DELETED.value,
    )
    return session.scalar(newer.limit(1)) is not None


def storable(text: str) -> str:
    """PostgreSQL keeps no NUL, and neither keeps half of a surrogate pair."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def _check_embeddings(
    session: Session,
    row: VersionTable,
    chunks: Sequence[NewChunk],
    tokens: Sequence[str],
    embeddings: NDArray[np.float32] | NDArray[np.float16],
) -> str:
    """The index they go into. Raises StorageError."""
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
    return collection.index_id


def _begin_embedding(session: Session, row: VersionTable, count: int, reused: int) -> None:
    _expect(session, row, count)
    row.state, row.progress = DocumentState.EMBEDDING.value, EMBEDDING_FROM
    row.chunks_done = reused
    row.pages_done = row.pages
    row.facts = {**row.facts, "chunks_reused": reused}


def _expect(session: Session, row: VersionTable, count: int) -> None:
    """The version will have `count` chunks.

    Surplus rows of an earlier attempt stay set aside until the purge; those set aside before come back where there is
    room again.
    """
    ours = ChunkTable.version_id == row.id
    session.execute(
        update(ChunkTable).where(ours, ChunkTable.ordinal >= count).values(ordinal=-1 - (ChunkTable.id % 2**31))
    )
    aside = session.scalars(select(ChunkTable.id).where(ours, ChunkTable.ordinal < 0).order_by(ChunkTable.id)).all()
    if aside:
        taken = set(session.scalars(select(ChunkTable.ordinal).where(ours, ChunkTable.ordinal >= 0)))
        free = (place for place in range(count) if place not in taken)
        back = [{"id": chunk_id, "ordinal": place} for chunk_id, place in zip(aside, free, strict=False)]
        if back:
            session.execute(update(ChunkTable), back)
    row.chunk_count = count


def _reuse_ids(session: Session, version_id: str, first: int, count: int) -> dict[int, int]:
    """Ordinal to id of an earlier attempt's rows at these places, which go."""
    ours = (ChunkTable.version_id == version_id, ChunkTable.ordinal >= first, ChunkTable.ordinal < first + count)
    kept = {
        ordinal: chunk_id
        for ordinal, chunk_id in session.execute(select(ChunkTable.ordinal, ChunkTable.id).where(*ours))
    }
    if kept:
        session.execute(delete(ChunkTable).where(*ours))
    return kept


def _ids(session: Session, version_id: str, first: int, count: int | None) -> list[int]:
    query = select(ChunkTable.id).where(ChunkTable.version_id == version_id, ChunkTable.ordinal >= first)
    if count is not None:
        query = query.where(ChunkTable.ordinal < first + count)
    return list(session.scalars(query.order_by(ChunkTable.ordinal)))


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    if rows:
        session.execute(insert(ChunkTable), rows)
