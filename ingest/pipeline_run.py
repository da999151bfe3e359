"""One pass of the pipeline: a single thread decides, worker threads parse, embed and store."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import (
    AliothError,
    DocumentError,
    EmptyDocumentError,
    FingerprintMismatchError,
    IndexUnavailableError,
    LeaseLostError,
    ModelUnavailableError,
    StorageError,
)
from core.settings import IngestSettings
from core.text import detect_language, segment
from core.types import Collection, DocumentState, NewChunk, ParsedDocument
from ingest.chunk import CHUNKER_VERSION, chunk_document
from ingest.leases import Leases
from ingest.parser_pool import ParserPool
from models.protocols import Embedder, Embeddings, fingerprint_of
from storage.documents import ClaimedVersion, DocumentStore
from storage.files import FileStore
from storage.vectors import VectorIndex

logger = logging.getLogger(__name__)

TEXTS_PER_CALL = 256
WINDOW = 1024
"""Texts, in order of arrival, that are sorted by length together: little padding, and early documents stay early."""
CALLS_AHEAD = 2
"""Embedding calls under way at once, so that the embedder has the next one when it ends one."""
UNAVAILABLE = (ModelUnavailableError, IndexUnavailableError)


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


@dataclass(slots=True)
class _Job:
    """A claimed version on its way. rows: embeddings by place, filled as calls come back."""

    claimed: ClaimedVersion
    embedder: Embedder | None = None
    chunks: list[NewChunk] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    rows: Embeddings = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    missing: int = 0

    @property
    def id(self) -> str:
        return self.claimed.version_id


_Call = list[tuple[_Job, int]]
"""Texts of one embedding call: job and place of the chunk in it."""


class Run:
    """Brings claimed versions to their end. Its state is touched by the calling thread only."""

    def __init__(
        self, parts: Parts, leases: Leases, stop: threading.Event, on_progress: Callable[[Event], None] | None
    ) -> None:
        self._parts = parts
        self._leases = leases
        self._stop = stop
        self._report = on_progress or (lambda event: None)
        self._waiting: dict[str, deque[tuple[_Job, int]]] = {}
        self._calls: deque[_Call] = deque()
        self._parsing: dict[Future[Any], _Job] = {}
        self._embedding: dict[Future[Any], _Call] = {}
        self._storing: dict[Future[Any], _Job] = {}
        self._jobs: dict[str, _Job] = {}
        self._finished = 0
        self.switched: set[str] = set()

    @property
    def unfinished(self) -> bool:
        """True while versions are claimed that have not come to an end."""
        return bool(self._jobs)

    def work(self, claim: Callable[[int], Sequence[Any]], limit: int, refill: bool) -> int:
        """Claim and finish versions. With `refill`, claim more as room comes up, until there are none.

        Raises:
            ModelUnavailableError, IndexUnavailableError: leave the rest to be released.
        """
        workers = self._parts.settings.parse_workers
        with (
            ThreadPoolExecutor(workers, thread_name_prefix="parse") as parse,
            ThreadPoolExecutor(CALLS_AHEAD, thread_name_prefix="embed") as embed,
            ThreadPoolExecutor(1, thread_name_prefix="store") as store,
        ):
            try:
                more = True
                while not self._stop.is_set():
                    if more and len(self._jobs) <= limit // 2:
                        fresh = claim(limit - len(self._jobs))
                        more = bool(fresh) and refill
                        self._begin(fresh, parse)
                    self._next_calls(embed)
                    futures = [*self._parsing, *self._embedding, *self._storing]
                    if not futures:
                        if more:
                            continue
                        break
                    done, _ = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in done:
                        self._settle(future, store)
            finally:
                for future in (*self._parsing, *self._embedding, *self._storing):
                    future.cancel()
        return self._finished

    # ---------------------------------------------------------------- stages

    def _begin(self, fresh: Sequence[ClaimedVersion], parse: ThreadPoolExecutor) -> None:
        self._leases.hold(claimed.version_id for claimed in fresh)
        for claimed in fresh:
            job = _Job(claimed)
            self._jobs[job.id] = job
            self._parsing[parse.submit(self._prepare, job)] = job

    def _settle(self, future: Future[Any], store: ThreadPoolExecutor) -> None:
        """Take the result of a stage to the next one."""
        if future in self._parsing:
            job = self._parsing.pop(future)
            if self._ok(future, [job]):
                self._queue(job)
        elif future in self._embedding:
            call = self._embedding.pop(future)
            jobs = list({job.id: job for job, _ in call}.values())
            if self._ok(future, jobs):
                self._take_in(call, future.result(), store)
        else:
            job = self._storing.pop(future)
            if self._ok(future, [job]):
                self._end(job, DocumentState.READY if future.result() else DocumentState.DELETED)

    def _prepare(self, job: _Job) -> None:
        """Parse, chunk and segment one version. Runs in a parse thread."""
        documents, worker, claimed = self._parts.documents, self._parts.worker, job.claimed
        if self._stop.is_set() or job.id not in self._jobs:
            return
        job.embedder = self._embedder(claimed.collection)
        documents.set_state(job.id, worker, DocumentState.PARSING, 0.1)
        self._report(Event(job.id, claimed.path, DocumentState.PARSING))
        with self._parts.files.path(claimed.content_hash) as path:
            parsed = self._parts.parsers.parse(path, claimed.path)
        documents.set_state(job.id, worker, DocumentState.CHUNKING, 0.3)
        job.chunks = chunk_document(parsed, job.embedder.tokenizer, self._parts.settings, _reserved(job.embedder))
        if not job.chunks:
            raise EmptyDocumentError(f"Cannot ingest {claimed.path!r}: it holds no text.", "Check the file.")
        job.tokens = [" ".join(segment(chunk.text)) for chunk in job.chunks]
        job.rows = np.zeros((len(job.chunks), job.embedder.dimension), np.float32)
        job.missing = len(job.chunks)
        documents.describe(
            job.id,
            worker,
            media_type=parsed.media_type,
            title=parsed.title,
            pages=parsed.pages,
            problems=parsed.problems,
            facts=_facts(parsed, job.chunks),
        )
        documents.set_state(job.id, worker, DocumentState.EMBEDDING, 0.4)
        self._report(Event(job.id, claimed.path, DocumentState.EMBEDDING, len(job.chunks)))

    def _embedder(self, collection: Collection) -> Embedder:
        embedder = self._parts.embedder_for(collection)
        own = fingerprint_of(embedder, CHUNKER_VERSION)
        if own != collection.fingerprint:
            raise FingerprintMismatchError(
                f"Cannot add to the collection {collection.name!r}: its index was made with "
                f"{collection.fingerprint.embedder_id!r}, chunker {collection.fingerprint.chunker_version!r}; this "
                f"program has {own.embedder_id!r}, chunker {own.chunker_version!r}, or other weights.",
                "Create a new collection and ingest the documents there.",
            )
        return embedder

    def _queue(self, job: _Job) -> None:
        if job.missing:
            waiting = self._waiting.setdefault(job.claimed.collection.fingerprint.key, deque())
            waiting.extend((job, place) for place in range(len(job.chunks)))

    def _next_calls(self, embed: ThreadPoolExecutor) -> None:
        while len(self._embedding) < CALLS_AHEAD:
            if not self._calls:
                self._cut_calls()
            if not self._calls:
                return
            call = [entry for entry in self._calls.popleft() if entry[0].id in self._jobs]
            if call:
                self._embedding[embed.submit(_embed, call)] = call

    def _cut_calls(self) -> None:
        """Make calls of the waiting texts; few are held back while parsing brings more and the embedder is busy."""
        for waiting in self._waiting.values():
            if not waiting or (len(waiting) < TEXTS_PER_CALL and self._parsing and self._embedding):
                continue
            window = [waiting.popleft() for _ in range(min(WINDOW, len(waiting)))]
            window.sort(key=lambda entry: entry[0].chunks[entry[1]].n_tokens)
            self._calls.extend(window[at : at + TEXTS_PER_CALL] for at in range(0, len(window), TEXTS_PER_CALL))

    def _take_in(self, call: _Call, vectors: Embeddings, store: ThreadPoolExecutor) -> None:
        for (job, place), vector in zip(call, vectors, strict=True):
            job.rows[place] = vector
            job.missing -= 1
        for job in {job.id: job for job, _ in call}.values():
            if job.id not in self._jobs:
                continue
            if job.missing == 0:
                self._storing[store.submit(self._store, job)] = job
            else:
                self._progress(job)

    def _progress(self, job: _Job) -> None:
        share = 1 - job.missing / len(job.chunks)
        try:
            self._parts.documents.set_state(job.id, self._parts.worker, DocumentState.EMBEDDING, 0.4 + 0.4 * share)
        except LeaseLostError:
            self._forget(job)

    def _store(self, job: _Job) -> bool:
        """Rows, vectors, read-back, switch. Runs in the store thread."""
        documents, vectors, worker = self._parts.documents, self._parts.vectors, self._parts.worker
        key = job.claimed.collection.vector_key
        ids = documents.store_chunks(job.id, worker, job.chunks, job.tokens, job.rows)
        documents.set_state(job.id, worker, DocumentState.INDEXING, 0.9)
        vectors.upsert(key, ids, job.rows)
        missing = set(ids) - vectors.present(key, ids)
        if missing:
            raise StorageError(
                f"The vector server took {len(ids)} vectors and shows {len(ids) - len(missing)} of them.",
                "Run `alioth index verify`, then try the document again.",
            )
        return documents.switch(job.id, worker)

    # ---------------------------------------------------------------- ends

    def _ok(self, future: Future[Any], jobs: Sequence[_Job]) -> bool:
        """True when the stage went well. Else its jobs end here, or the whole run does when a part is away."""
        error = future.exception()
        if error is None:
            return True
        if isinstance(error, UNAVAILABLE):
            raise error
        if not isinstance(error, Exception):
            raise error
        for job in jobs:
            self._fail(job, error)
        return False

    def _fail(self, job: _Job, error: Exception) -> None:
        if job.id not in self._jobs:
            return
        if isinstance(error, LeaseLostError):
            self._forget(job)
            return
        if not isinstance(error, AliothError):
            logger.error("ingesting %r failed", job.claimed.path, exc_info=error)
            error = _Internal(job.claimed.path, error)
        elif not isinstance(error, DocumentError):
            logger.error("ingesting %r failed: %s", job.claimed.path, error)
        try:
            self._parts.documents.fail(job.id, self._parts.worker, error)
        except LeaseLostError:
            self._forget(job)
            return
        self._end(job, DocumentState.FAILED, error)

    def _end(self, job: _Job, state: DocumentState, error: AliothError | None = None) -> None:
        self._forget(job)
        self._finished += 1
        if state is DocumentState.READY:
            self.switched.add(job.claimed.collection_id)
        self._report(Event(job.id, job.claimed.path, state, len(job.chunks), error))

    def _forget(self, job: _Job) -> None:
        """This worker has nothing more to do with the version."""
        self._jobs.pop(job.id, None)
        self._leases.drop(job.id)


class _Internal(AliothError):
    """A fault of the program itself, as the job's error."""

    code = "internal"

    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(
            f"Cannot ingest {path!r}: an unexpected fault, {type(error).__name__}.",
            "The worker's log has the details. Try again; if it stays, report it.",
        )


def _embed(call: _Call) -> Embeddings:
    embedder = call[0][0].embedder
    assert embedder is not None
    return embedder.embed_documents([job.chunks[place].embedded_text for job, place in call])


def _reserved(embedder: Embedder) -> int:
    """Tokens that the document prefix takes from the window."""
    if not embedder.document_prefix:
        return 0
    return embedder.tokenizer.count(embedder.document_prefix) - embedder.tokenizer.count("") + 1


def _facts(parsed: ParsedDocument, chunks: Sequence[NewChunk]) -> dict[str, Any]:
    sample = " ".join(block.text[:500] for block in parsed.blocks[:40])
    return {
        **dict(parsed.metadata),
        "language": detect_language(sample),
        "blocks": len(parsed.blocks),
        "characters": sum(len(block.text) for block in parsed.blocks),
        "tokens": sum(chunk.n_tokens for chunk in chunks),
    }
