"""Question to ranked chunks: dense and keyword search side by side, joined to live rows, fused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chat.fuse import READS, dense_share, fuse, merge_by_rank
from chat.ports import ChunkReader, KeywordSearch, VectorSearch
from chat.refuse import MEASURED_EMBEDDERS, Evidence, weigh
from chat.subjects import subjects_of
from core.errors import ModelUnavailableError
from core.text import detect_language, fold, present, segment
from core.types import Collection, ScoredChunk, StoredChunk
from models.protocols import Embedder

log = logging.getLogger(__name__)

CANDIDATES = 50
MOST_CANDIDATES = 400


@dataclass(frozen=True, slots=True)
class Retrieval:
    """results: best first. timings: seconds by stage. degraded: the embedder was away, keywords alone ranked."""

    results: list[ScoredChunk]
    evidence: Evidence
    timings: dict[str, float]
    degraded: bool = False


@dataclass(slots=True)
class _Found:
    """One embedder's candidates by chunk id, joined to live rows."""

    chunks: dict[int, StoredChunk]
    dense: dict[int, float]
    keyword: dict[int, float]
    ranking: list[tuple[int, float]] = field(default_factory=list)
    unknown: float = 1.0
    embedder_id: str = ""
    degraded: bool = False


class Searches(Protocol):
    """What answering needs of a retriever; `Retriever` is the real one."""

    def retrieve(self, query: str, collections: Sequence[Collection], k: int = 10) -> Retrieval:
        """The `k` best chunks, best first."""
        ...

    def reading_embedder(self, collection: Collection, text: str) -> Embedder | None:
        """The collection's embedder when it reads the text's language, else None."""
        ...


class Retriever:
    """Searches collections. Thread-safe; it holds no state of a question."""

    def __init__(
        self,
        chunks: ChunkReader,
        vectors: VectorSearch,
        keyword: KeywordSearch,
        embedder_for: Callable[[Collection], Embedder],
    ) -> None:
        self._chunks = chunks
        self._vectors = vectors
        self._keyword = keyword
        self._embedder_for = embedder_for
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="retrieve")

    def close(self) -> None:
        """End the search threads."""
        self._pool.shutdown(wait=False)

    def retrieve(self, query: str, collections: Sequence[Collection], k: int = 10) -> Retrieval:
        """The `k` best live chunks of these collections and no others; ties by smaller chunk id.

        Texts that repeat a better one's are left out. Collections of different embedders are merged by rank.

        Raises:
            IndexUnavailableError: the vector server does not answer.
            FingerprintMismatchError: a collection was built by another embedder (raised by `embedder_for`).
        """
        started = time.perf_counter()
        timings: dict[str, float] = {}
        tokens = segment(query)
        groups: dict[tuple[object, ...], list[Collection]] = {}
        for collection in {c.id: c for c in collections}.values():
            groups.setdefault(collection.fingerprint.space, []).append(collection)
        found = [self._search(query, tokens, group, timings) for _, group in sorted(groups.items())]
        ranked = _ranked(found, tokens)
        evidence = _evidence(query, tokens, ranked, found)
        timings["total"] = time.perf_counter() - started
        return Retrieval(_without_repeats(ranked, k), evidence, timings, any(f.degraded for f in found))

    def reading_embedder(self, collection: Collection, text: str) -> Embedder | None:
        """The collection's embedder if it reads this text, else None."""
        try:
            embedder = self._embedder_for(collection)
        except ModelUnavailableError:
            return None
        return embedder if embedder.tokenizer.unknown_share(text) <= READS else None

    def _search(
        self, query: str, tokens: Sequence[str], group: Sequence[Collection], timings: dict[str, float]
    ) -> _Found:
        words = self._pool.submit(self._search_keywords, [c.index_id for c in group], tokens)
        vector: NDArray[np.float32] | None = None
        unknown = 1.0
        try:
            with _timed(timings, "embed"):
                embedder = self._embedder_for(group[0])
                unknown = embedder.tokenizer.unknown_share(query)
                vector = embedder.embed_query(query)
        except ModelUnavailableError:
            log.warning("The embedder does not answer; ranking by keywords alone")
        found = self._join(group, vector, words, timings)
        found.unknown, found.degraded = unknown, vector is None
        found.embedder_id = group[0].fingerprint.embedder_id
        with _timed(timings, "fuse"):
            found.ranking = fuse(found.dense, found.keyword, dense_share(unknown) if vector is not None else 0.0)
        return found

    def _join(
        self,
        group: Sequence[Collection],
        vector: NDArray[np.float32] | None,
        words: Future[tuple[dict[int, float], float]],
        timings: dict[str, float],
    ) -> _Found:
        """Candidates of both searches that are live; widened when superseded vectors crowd the live ones out."""
        ids = [c.id for c in group]
        keyword, seconds = words.result()
        timings["keyword"] = timings.get("keyword", 0.0) + seconds
        wanted = CANDIDATES
        while True:
            with _timed(timings, "dense"):
                dense = self._search_vectors(group, vector, wanted) if vector is not None else {}
            with _timed(timings, "load"):
                chunks = self._chunks.load_live(sorted(dense.keys() | keyword.keys()), ids)
            live = sum(chunk_id in chunks for chunk_id in dense)
            if live == len(dense) or live >= CANDIDATES // 2 or wanted >= MOST_CANDIDATES:
                break
            wanted *= 4
        if vector is not None:
            with _timed(timings, "dense"):
                dense |= self._exact(vector, [i for i in chunks if i not in dense])
        return _Found(
            chunks,
            {i: s for i, s in dense.items() if i in chunks},
            {i: s for i, s in keyword.items() if i in chunks},
        )

    def _search_keywords(self, index_ids: Sequence[str], tokens: Sequence[str]) -> tuple[dict[int, float], float]:
        started = time.perf_counter()
        scores = dict(self._keyword.search(index_ids, tokens, CANDIDATES)) if tokens else {}
        return scores, time.perf_counter() - started

    def _search_vectors(self, group: Sequence[Collection], vector: NDArray[np.float32], k: int) -> dict[int, float]:
        searches = [self._pool.submit(self._vectors.query, c.vector_key, vector, k) for c in group]
        scores = {chunk_id: score for search in searches for chunk_id, score in search.result()}
        return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k])

    def _exact(self, vector: NDArray[np.float32], chunk_ids: Sequence[int]) -> dict[int, float]:
        """True similarity of chunks that only the keyword search found, from the embeddings in SQL."""
        if not chunk_ids:
            return {}
        ids, matrix = self._chunks.embeddings(chunk_ids)
        return dict(zip(ids, (matrix @ vector).tolist(), strict=True))


class _timed:
    """Adds the seconds of a block to one stage."""

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self._timings, self._stage = timings, stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timings[self._stage] = self._timings.get(self._stage, 0.0) + time.perf_counter() - self._started


def _ranked(found: Sequence[_Found], tokens: Sequence[str]) -> list[ScoredChunk]:
    if len(found) == 1:
        ranking = found[0].ranking
    else:
        words = set(tokens)
        # how much of the question a text has is the one thing that is the same figure in every collection
        covered = {
            chunk_id: len(present(f"{chunk.title} {chunk.context} {chunk.text}", words)) / max(1, len(words))
            for f in found
            for chunk_id, chunk in f.chunks.items()
        }
        ranking = merge_by_rank([[chunk_id for chunk_id, _ in f.ranking] for f in found], covered)
    by_id = {chunk_id: f for f in found for chunk_id in f.chunks}
    return [
        ScoredChunk(by_id[chunk_id].chunks[chunk_id], score, _stages(by_id[chunk_id], chunk_id, score))
        for chunk_id, score in ranking
    ]


def _evidence(query: str, tokens: Sequence[str], ranked: Sequence[ScoredChunk], found: Sequence[_Found]) -> Evidence:
    reading = [f for f in found if f.unknown <= READS and f.dense]
    measured = [max(f.dense.values()) for f in reading if f.embedder_id in MEASURED_EMBEDDERS]
    language = detect_language(query)
    own = [detect_language(result.chunk.text) == language for result in ranked[:3]]
    foreign = len(measured) < len(reading) and not all(own)
    subjects = subjects_of(query) if all(own) else ()  # a name may be written otherwise in another language
    return weigh(tokens, ranked, max(measured, default=None), foreign, subjects)


def _stages(found: _Found, chunk_id: int, score: float) -> Mapping[str, float]:
    stages = {"fused": score}
    if chunk_id in found.dense:
        stages["dense"] = found.dense[chunk_id]
    if chunk_id in found.keyword:
        stages["keyword"] = found.keyword[chunk_id]
    return stages


def _without_repeats(ranked: Sequence[ScoredChunk], k: int) -> list[ScoredChunk]:
    """The first `k`, leaving out texts that equal a better one's but for spaces, punctuation and width.

    Nothing looser: two forms that differ in one number or name are the very documents a person must see both of.
    """
    kept: list[ScoredChunk] = []
    texts: set[str] = set()
    for item in ranked:
        text = "".join(ch for ch in fold(item.chunk.text) if ch.isalnum())
        if text in texts:
            continue
        texts.add(text)
        kept.append(item)
        if len(kept) == k:
            break
    return kept
