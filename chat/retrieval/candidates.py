"""The first stage: chunks that dense or keyword search finds in collections of one embedder, joined to live rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chat.ports import ChunkReader, DocumentFilter, KeywordSearch, Selected, VectorSearch
from chat.retrieval.exact import Exact, found_in
from chat.retrieval.glossary import Expansion, instead
from chat.retrieval.refuse import searchable
from core.types import Collection, StoredChunk

Vector = NDArray[np.float32]
CANDIDATES = 50
MOST_CANDIDATES = 400
EXACT_CANDIDATES = 30
"""Chunks fetched for what must be found to the letter."""
SCORED_CHUNKS = 10_000
"""Up to as many chunks pass a filter, all of them are scored from the embeddings in SQL."""
MOST_FETCHED = 10_000
"""Most neighbours asked of the vector index in order to find enough that pass a filter."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as it is searched. selected: what its filters let pass, None without filters."""

    text: str
    tokens: tuple[str, ...]
    expansions: tuple[Expansion, ...] = ()
    exact: tuple[Exact, ...] = ()
    selected: Selected | None = None


@dataclass(slots=True)
class Found:
    """One embedder's candidates by chunk id, joined to live rows.

    exact: share of the exact terms that a chunk has. among: keyword score by rarity among the candidates.
    """

    chunks: dict[int, StoredChunk]
    dense: dict[int, float]
    keyword: dict[int, float]
    exact: dict[int, float] = field(default_factory=dict)
    among: dict[int, float] = field(default_factory=dict)
    ranking: list[tuple[int, float]] = field(default_factory=list)
    unknown: float = 1.0
    dense_share: float = 0.0
    embedder_id: str = ""
    degraded: bool = False
    selected: Selected | None = None
    scored_all: bool = False
    """Whether every chunk that passes the filters was compared, instead of asking the vector index."""


class timed:  # reads as a word in `with timed(…)`
    """Adds the seconds of a block to one stage."""

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self._timings, self._stage = timings, stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timings[self._stage] = self._timings.get(self._stage, 0.0) + time.perf_counter() - self._started


class Candidates:
    """Both searches side by side. Thread-safe."""

    def __init__(
        self,
        chunks: ChunkReader,
        vectors: VectorSearch,
        keyword: KeywordSearch,
        filtering: DocumentFilter | None,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._chunks, self._vectors, self._keyword = chunks, vectors, keyword
        self._filtering, self._pool = filtering, pool

    def start_keywords(self, group: Sequence[Collection], asked: Asked) -> Future[tuple[dict[int, float], float]]:
        """Begin the keyword search in another thread: scores by chunk id, and seconds."""
        return self._pool.submit(self._search_keywords, [c.index_id for c in group], asked)

    def find(
        self,
        group: Sequence[Collection],
        asked: Asked,
        vector: Vector | None,
        words: Future[tuple[dict[int, float], float]],
        timings: dict[str, float],
    ) -> Found:
        """Candidates of both searches that are live and pass the filters; `vector` is None without an embedder.

        Raises:
            IndexUnavailableError: the vector server does not answer.
        """
        ids = [c.id for c in group]
        keyword, seconds = words.result()
        timings["keyword"] = timings.get("keyword", 0.0) + seconds
        passes = None if asked.selected is None else frozenset(asked.selected.versions)
        scored_all = asked.selected is not None and asked.selected.chunks <= SCORED_CHUNKS
        if vector is None:
            dense: dict[int, float] = {}
            chunks = self._live(keyword, ids, passes, timings)
        elif asked.selected is not None and scored_all:
            with timed(timings, "dense"):
                dense = self._score_all(vector, asked.selected, CANDIDATES)
            chunks = self._live(dense.keys() | keyword.keys(), ids, passes, timings)
        else:
            dense, chunks = self._nearest(group, vector, asked.selected, passes, keyword, timings)
            if asked.selected is not None and sum(i in chunks for i in dense) < min(CANDIDATES, asked.selected.chunks):
                with timed(timings, "dense"):
                    dense, scored_all = self._score_all(vector, asked.selected, CANDIDATES), True
                chunks = self._live(dense.keys() | keyword.keys(), ids, passes, timings)
        if vector is not None:
            with timed(timings, "dense"):
                dense |= self._true_similarity(vector, [i for i in chunks if i not in dense])
        found = Found(
            chunks,
            {i: s for i, s in dense.items() if i in chunks},
            {i: s for i, s in keyword.items() if i in chunks},
            scored_all=scored_all,
        )
        if asked.exact:
            with timed(timings, "exact"):
                found.exact = _exact_shares(asked.exact, chunks)
        return found

    def _nearest(
        self,
        group: Sequence[Collection],
        vector: Vector,
        selected: Selected | None,
        passes: frozenset[str] | None,
        keyword: dict[int, float],
        timings: dict[str, float],
    ) -> tuple[dict[int, float], dict[int, StoredChunk]]:
        """Of the vector index; more are asked for while superseded or filtered ones crowd out those that pass."""
        enough, wanted, most = CANDIDATES // 2, CANDIDATES, MOST_CANDIDATES
        if selected is not None:
            everything = max(selected.chunks, sum(c.chunks for c in group))
            enough, most = CANDIDATES, MOST_FETCHED
            wanted = min(most, int(1.5 * CANDIDATES * everything / max(1, selected.chunks)))
        while True:
            with timed(timings, "dense"):
                dense = self._search_vectors(group, vector, wanted)
            chunks = self._live(dense.keys() | keyword.keys(), [c.id for c in group], passes, timings)
            live = sum(chunk_id in chunks for chunk_id in dense)
            if live == len(dense) or live >= enough or wanted >= most or len(dense) < wanted:
                break
            wanted = min(most, wanted * 4)
        if selected is not None:
            best = sorted((i for i in dense if i in chunks), key=lambda i: (-dense[i], i))[:CANDIDATES]
            dense = {i: dense[i] for i in best}
            chunks = {i: c for i, c in chunks.items() if i in dense or i in keyword}
        return dense, chunks

    def _live(
        self, chunk_ids: Any, collection_ids: Sequence[str], passes: frozenset[str] | None, timings: dict[str, float]
    ) -> dict[int, StoredChunk]:
        with timed(timings, "load"):
            chunks = self._chunks.load_live(sorted(chunk_ids), collection_ids)
        return chunks if passes is None else {i: c for i, c in chunks.items() if c.version_id in passes}

    def _search_keywords(self, index_ids: Sequence[str], asked: Asked) -> tuple[dict[int, float], float]:
        started = time.perf_counter()
        if not asked.tokens:
            return {}, 0.0
        versions = None if asked.selected is None else asked.selected.versions
        others = instead(asked.expansions)
        scores = dict(self._keyword.search(index_ids, asked.tokens, CANDIDATES, others, versions=versions))
        for required in {one: None for term in asked.exact for one in term.searches}:
            words = tuple(dict.fromkeys((*asked.tokens, *required)))
            more = self._keyword.search(index_ids, words, EXACT_CANDIDATES, others, required, versions)
            for chunk_id, score in more:
                scores[chunk_id] = max(score, scores.get(chunk_id, 0.0))
        return scores, time.perf_counter() - started

    def _search_vectors(self, group: Sequence[Collection], vector: Vector, k: int) -> dict[int, float]:
        searches = [self._pool.submit(self._vectors.query, c.vector_key, vector, k) for c in group]
        scores = {chunk_id: score for search in searches for chunk_id, score in search.result()}
        return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k])

    def _score_all(self, vector: Vector, selected: Selected, k: int) -> dict[int, float]:
        """The `k` nearest of everything that passes the filters, exactly."""
        assert self._filtering is not None
        best: list[tuple[int, float]] = []
        for ids, matrix in self._filtering.vectors(selected.versions):
            if not len(ids):
                continue
            scores = matrix @ vector
            top = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
            best += [(int(ids[i]), float(scores[i])) for i in top]
            best = sorted(best, key=lambda item: (-item[1], item[0]))[:k]
        return dict(best)

    def _true_similarity(self, vector: Vector, chunk_ids: Sequence[int]) -> dict[int, float]:
        """Of chunks that only the keyword search found, from the embeddings in SQL."""
        if not chunk_ids:
            return {}
        ids, matrix = self._chunks.embeddings(chunk_ids)
        return dict(zip(ids, (matrix @ vector).tolist(), strict=True))


def _exact_shares(terms: Sequence[Exact], chunks: dict[int, StoredChunk]) -> dict[int, float]:
    shares = {i: len(found_in(searchable(chunk), terms)) / len(terms) for i, chunk in chunks.items()}
    return {i: share for i, share in shares.items() if share}
