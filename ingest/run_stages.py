"""The stages of one version: parse and chunk, embed, store. They run in worker threads of a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import (
    AliothError,
    EmptyDocumentError,
    FingerprintMismatchError,
    IndexUnavailableError,
    LeaseLostError,
    StorageError,
    StoreUnavailableError,
)
from core.settings import IngestSettings
from core.text import segment
from core.types import Collection, DocumentState, NewChunk, ParsedDocument
from ingest.chunk import chunk_document
from ingest.chunk_settings import require_same_chunker, reserved_tokens, settings_for
from ingest.describe import describe
from ingest.parser_pool import ParserPool, ParseStopped
from ingest.run_jobs import SLICE, Call, Job, Slice
from models.protocols import Embedder, Embeddings, fingerprint_of
from storage.chunks import unpack
from storage.documents import DocumentStore
from storage.files import FileStore
from storage.jobs import EMBEDDING_FROM, INDEXING_FROM, storable
from storage.reuse import text_digest
from storage.vectors import VectorIndex

PARSING_FROM, CHUNKING_FROM = 0.02, 0.3
"""Progress at the beginning of these stages; those of the later ones are in storage.jobs."""
PAGES_EVERY_S = 1.0
"""Seconds between two reports of the pages read."""
LONG_TEXT = 200_000
"""Characters from which on chunking takes long enough to be shown as a stage."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a version. chunks: 0 until known. error: set when it failed."""

    version_id: str
    path: str
    state: DocumentState
    chunks: int = 0
    error: AliothError | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run works with."""

    settings: IngestSettings
    documents: DocumentStore
    vectors: VectorIndex
    files: FileStore
    embedder_for: Callable[[Collection], Embedder]
    parsers: ParserPool
    worker: str


class Stages:
    """Does the work of a run's threads. Every write to SQL checks the lease, so a job that was lost stops by itself."""

    def __init__(self, parts: Parts, stop: threading.Event, report: Callable[[Event], None]) -> None:
        self._parts = parts
        self._stop = stop
        self._report = report

    def prepare(self, job: Job) -> None:
        """Parse and chunk one version, and find the embeddings that are known.

        Raises:
            ParseStopped: nobody wants it any more. DocumentError: it cannot be read. LeaseLostError.
        """
        documents, worker, claimed = self._parts.documents, self._parts.worker, job.claimed
        if self._gone(job):
            raise ParseStopped
        embedder = job.embedder = self._embedder(claimed.collection)
        documents.set_state(job.id, worker, DocumentState.PARSING, PARSING_FROM)
        self._report(Event(job.id, claimed.path, DocumentState.PARSING))
        began = time.monotonic()
        parsed = self._parse(job)
        parsed_at = time.monotonic()
        if sum(len(block.text) for block in parsed.blocks) > LONG_TEXT:
            documents.set_state(job.id, worker, DocumentState.CHUNKING, CHUNKING_FROM)
        reserved = reserved_tokens(embedder)
        settings = settings_for(claimed.collection, self._parts.settings)
        chunks = chunk_document(parsed, embedder.tokenizer, settings, reserved)
        if not chunks:
            raise EmptyDocumentError(f"Cannot ingest {claimed.path!r}: it holds no text.", "Check the file.")
        seconds = {"parse": parsed_at - began, "chunk": time.monotonic() - parsed_at}
        total = len(chunks)
        job.cut(chunks, embedder.dimension)
        self._reuse(job)
        describe(
            documents,
            worker,
            claimed,
            parsed,
            chunks,
            window=embedder.max_tokens - reserved,
            max_pages=self._parts.settings.max_pages,
            seconds=seconds,
            reused=job.reused,
        )
        del parsed, chunks
        self._report(Event(job.id, claimed.path, DocumentState.EMBEDDING, total))

    def embed(self, call: Call, wanted: Callable[[Job], bool], step: int) -> Embeddings | None:
        """The embeddings of a call's texts, `step` texts at a time; None when nobody wants any of them."""
        embedder = call.entries[0][0].job.embedder
        assert embedder is not None
        parts: list[Embeddings] = []
        for at in range(0, len(call.entries), step):
            if self._stop.is_set() or not any(wanted(job) for job in call.jobs):
                return None
            texts = [piece.chunks[place].embedded_text for piece, place in call.entries[at : at + step]]
            parts.append(embedder.embed_documents(texts))
        return np.concatenate(parts)

    def store(self, group: Sequence[Slice]) -> dict[Job, bool | Exception]:
        """Rows, vectors, and for versions that are complete the read-back and the switch.

        Gives those that came to an end: True when it is ready, False when it was outdated, else what went wrong.

        Raises:
            IndexUnavailableError, StoreUnavailableError: a part is away.
        """
        ended: dict[Job, bool | Exception] = {}
        written: dict[str, list[tuple[Slice, list[int]]]] = {}
        for piece in group:
            if piece.job not in ended:
                try:
                    ids = self._store_rows(piece)
                except (IndexUnavailableError, StoreUnavailableError):
                    raise
                except AliothError as error:  # of this document alone
                    ended[piece.job] = error
                    continue
                written.setdefault(piece.job.claimed.collection.vector_key, []).append((piece, ids))
        for key, pieces in written.items():
            self._store_vectors(key, pieces, ended)
        return ended

    def progress(self, job: Job) -> None:
        """Report how many chunks are embedded. Raises LeaseLostError."""
        share = job.embedded / job.total
        self._parts.documents.set_state(
            job.id,
            self._parts.worker,
            DocumentState.EMBEDDING,
            EMBEDDING_FROM + (INDEXING_FROM - EMBEDDING_FROM) * share,
            chunks_done=job.embedded,
        )

    # ---------------------------------------------------------------- parts of them

    def _gone(self, job: Job) -> bool:
        return job.stopped or self._stop.is_set()

    def _parse(self, job: Job) -> ParsedDocument:
        reported = time.monotonic()

        def on_page(number: int, total: int) -> None:
            nonlocal reported
            if time.monotonic() - reported < PAGES_EVERY_S:
                return
            reported = time.monotonic()
            share = PARSING_FROM + (CHUNKING_FROM - PARSING_FROM) * number / max(1, total)
            try:
                self._parts.documents.set_state(
                    job.id, self._parts.worker, DocumentState.PARSING, share, pages_done=number, pages=total
                )
            except LeaseLostError:
                job.stopped = True

        with self._parts.files.path(job.claimed.content_hash) as path:
            return self._parts.parsers.parse(path, job.claimed.path, on_page, lambda: self._gone(job))

    def _embedder(self, collection: Collection) -> Embedder:
        require_same_chunker(collection)
        embedder = self._parts.embedder_for(collection)
        own = fingerprint_of(embedder, collection.fingerprint.chunker_version)
        if own != collection.fingerprint:
            raise FingerprintMismatchError(
                f"Cannot add to the collection {collection.name!r}: its index was made with "
                f"{collection.fingerprint.embedder_id!r}; this program has {own.embedder_id!r}, or other weights.",
                f"Make its index anew: alioth collection reindex {collection.name!r}",
            )
        return embedder

    def _reuse(self, job: Job) -> None:
        """Take over the embeddings of texts that the index has already."""
        collection = job.claimed.collection
        known = self._parts.documents.known_texts(job.id, collection)
        if not known:
            return
        for piece in job.slices:
            digests = [_digest(chunk) for chunk in piece.chunks]
            ids = [known[digest] for digest in digests if digest in known]
            found = self._parts.documents.stored_embeddings(ids, collection) if ids else {}
            for place, digest in enumerate(digests):
                if digest in found:
                    piece.give(place, np.frombuffer(found[digest], "<f2"))
                    job.reused += 1
            piece.todo = type(piece.todo)(place for place in piece.todo if digests[place] not in found)

    def _store_rows(self, piece: Slice) -> list[int]:
        job = piece.job
        start = None if job.total == len(piece.chunks) else piece.start
        tokens = [" ".join(segment(chunk.text)) for chunk in piece.chunks]
        ids = self._parts.documents.store_chunks(job.id, self._parts.worker, piece.chunks, tokens, piece.rows, start)
        job.characters -= piece.characters
        piece.chunks.clear()
        return ids

    def _store_vectors(
        self, key: str, pieces: Sequence[tuple[Slice, list[int]]], ended: dict[Job, bool | Exception]
    ) -> None:
        """Exactly what SQL holds goes into the index: so a vector is the same fresh, reused or rebuilt."""
        vectors = self._parts.vectors
        ids = [chunk_id for _, piece_ids in pieces for chunk_id in piece_ids]
        vectors.upsert(key, ids, unpack([row.tobytes() for piece, _ in pieces for row in piece.rows]))
        self._take_back(key, ids, {piece.job.claimed.collection_id for piece, _ in pieces})
        complete: dict[Job, list[int]] = {}
        for piece, piece_ids in pieces:
            job = piece.job
            job.stored += len(piece_ids)
            if job.stored == job.total and job not in ended:
                whole = len(piece_ids) == job.total
                complete[job] = piece_ids if whole else self._parts.documents.chunk_ids(job.id)
        present = vectors.present(key, [chunk_id for job_ids in complete.values() for chunk_id in job_ids])
        for job, job_ids in complete.items():
            try:
                ended[job] = self._switch(job, job_ids, present)
            except (IndexUnavailableError, StoreUnavailableError):
                raise
            except AliothError as error:
                ended[job] = error

    def _take_back(self, key: str, ids: Sequence[int], collection_ids: set[str]) -> None:
        """Remove vectors again whose rows were cleared away while this worker slept beyond its leases."""
        documents, vectors = self._parts.documents, self._parts.vectors
        if lost := documents.without_rows(ids):
            vectors.delete(key, lost)
            if not any(documents.collection_exists(collection_id) for collection_id in collection_ids):
                vectors.drop(key)

    def _switch(self, job: Job, ids: Sequence[int], present: set[int]) -> bool:
        documents, worker = self._parts.documents, self._parts.worker
        missing = set(ids) - present
        if missing or len(ids) != job.total:
            raise StorageError(
                f"The vector server took {job.total} vectors and shows {len(ids) - len(missing)} of them.",
                "Run `alioth index verify`, then try the document again.",
            )
        if len(ids) > SLICE:
            documents.set_state(job.id, worker, DocumentState.INDEXING, INDEXING_FROM, chunks_done=job.total)
        return documents.switch(job.id, worker)


def _digest(chunk: NewChunk) -> bytes:
    return text_digest(storable(chunk.context), storable(chunk.text))
