"""Question to ranked chunks: dense and keyword search side by side, joined to live rows, fused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from chat.ports import ChunkReader, DocumentFilter, GlossaryReader, KeywordSearch, VectorSearch
from chat.retrieval.candidates import CANDIDATES, MOST_CANDIDATES, Asked, Candidates, Found, Vector, timed
from chat.retrieval.exact import Exact, exact_terms, glossary_terms
from chat.retrieval.fuse import EXACT_WEIGHTS, READS, blend, dense_share, fuse, merge_by_rank
from chat.retrieval.glossary import Expansion, expand, named_by, stand_ins, tokens_of, widened
from chat.retrieval.pointers import pointing, topic_serves
from chat.retrieval.rarity import among
from chat.retrieval.refuse import MEASURED_EMBEDDERS, Evidence, weigh
from chat.retrieval.subjects import subjects_of
from chat.retrieval.suppress import without_repeats
from core.errors import AliothError, ModelUnavailableError
from core.filters import Filters
from core.text import detect_language, fold, present, segment
from core.types import Collection, GlossaryTerm, ScoredChunk
from models.protocols import Embedder, Reranker

__all__ = ["CANDIDATES", "MOST_CANDIDATES", "Retrieval", "Retriever", "Searches", "Trace"]

log = logging.getLogger(__name__)

RERANKED = 30
"""Best chunks that a reranker looks at, where one is configured."""
NO_FILTERS = Filters()


@dataclass(frozen=True, slots=True)
class Trace:
    """What each stage did, for people who want to know why.

    tokens: search words. expansions: glossary words met. exact: what was to be found to the letter. ranked: every
    candidate in the order of the last stage before suppression; `stages` has its figures. suppressed: chunk id to that
    of the better one it repeats. dense_share: weight of the dense score by embedder. selected: documents and
    chunks that pass the filters, None without any; scored_all: each of them was compared.
    """

    tokens: tuple[str, ...] = ()
    expansions: tuple[Expansion, ...] = ()
    exact: tuple[Exact, ...] = ()
    ranked: tuple[ScoredChunk, ...] = ()
    suppressed: Mapping[int, int] = field(default_factory=dict)
    dense_share: Mapping[str, float] = field(default_factory=dict)
    selected: tuple[int, int] | None = None
    scored_all: bool = False
    reranker: str = ""
    reranker_problem: str = ""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """results: best first. timings: seconds by stage. degraded: the embedder was away, keywords alone ranked.

    vectors: the question's vector by embedding space (`Fingerprint.space`), so that nobody embeds it again. question:
    with the glossary's other words behind it. query: the form of the question that these are the results of.
    """

    results: list[ScoredChunk]
    evidence: Evidence
    timings: dict[str, float]
    degraded: bool = False
    vectors: Mapping[tuple[object, ...], Vector] = field(default_factory=dict)
    question: str = ""
    trace: Trace = Trace()
    query: str = ""


class Searches(Protocol):
    """What answering needs of a retriever; `Retriever` is the real one."""

    def retrieve(
        self,
        query: str,
        collections: Sequence[Collection],
        k: int = 10,
        *,
        typed: str = "",
        filters: Filters = NO_FILTERS,
    ) -> Retrieval:
        """The `k` best chunks, best first."""
        ...

    def reading_embedder(self, collection: Collection, text: str) -> Embedder | None:
        """The collection's embedder when it reads the text's language, else None."""
        ...


class Retriever:
    """Searches collections. Thread-safe; it holds no state of a question.

    Args:
        filtering: needed for filters. glossary: company words of collections. reranker: looks at the best 30 again.
    """

    def __init__(
        self,
        chunks: ChunkReader,
        vectors: VectorSearch,
        keyword: KeywordSearch,
        embedder_for: Callable[[Collection], Embedder],
        filtering: DocumentFilter | None = None,
        glossary: GlossaryReader | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self._embedder_for = embedder_for
        self._filtering, self._glossary, self._reranker = filtering, glossary, reranker
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="retrieve")
        self._candidates = Candidates(chunks, vectors, keyword, filtering, self._pool)

    def close(self) -> None:
        """End the search threads."""
        self._pool.shutdown(wait=False)

    def retrieve(
        self,
        query: str,
        collections: Sequence[Collection],
        k: int = 10,
        *,
        typed: str = "",
        filters: Filters = NO_FILTERS,
    ) -> Retrieval:
        """The `k` best live chunks of these collections and no others; ties by smaller chunk id.

        Texts that repeat a better one's are left out. Collections of different embedders are merged by rank.

        Args:
            typed: a question as it was typed, beside its form `query` with the topic of the conversation. Both are
                searched. Where the topic belongs to it, the rankings are blended, so that a bad form cannot lose what
                the question itself finds; where no passage has both, the conversation went on to something else, and
                the question as it was typed is all that counts. `Retrieval.query` says which.
            filters: only documents that pass; which of them answers is as exact as without.

        Raises:
            IndexUnavailableError: the vector server does not answer.
            FingerprintMismatchError: a collection was built by another embedder (raised by `embedder_for`).
        """
        started = time.perf_counter()
        timings: dict[str, float] = {}
        once = list({c.id: c for c in collections}.values())
        with timed(timings, "question"):
            terms = self.terms(once)
            asked = _asked(query, terms)
        groups: dict[tuple[object, ...], list[Collection]] = {}
        for collection in once:
            groups.setdefault(collection.fingerprint.space, []).append(collection)
        vectors: dict[tuple[object, ...], Vector] = {}
        ranked, found = self._ranked(asked, groups, filters, timings, vectors)
        ranked_for_evidence = ranked
        if typed and typed != query:
            bare, own_vectors = _asked(typed, terms), dict[tuple[object, ...], Vector]()
            alone, own_found = self._ranked(bare, groups, filters, timings, own_vectors)
            both = blend(ranked[:CANDIDATES], alone[:CANDIDATES])
            if _topic_serves(typed, bare, asked, both):
                ranked = both
            else:
                query, asked, ranked, found, vectors = typed, bare, alone, own_found, own_vectors
                ranked_for_evidence = alone
        reranker_problem = ""
        if self._reranker is not None:
            with timed(timings, "rerank"):
                ranked, reranker_problem = _reranked_if_it_answers(self._reranker, query, ranked)
        with timed(timings, "evidence"):
            evidence = _evidence(asked, ranked_for_evidence, found)
        with timed(timings, "suppress"):
            results, suppressed = without_repeats(ranked, k)
        timings["total"] = time.perf_counter() - started
        trace = Trace(
            tokens=asked.tokens,
            expansions=asked.expansions,
            exact=asked.exact,
            ranked=tuple(ranked),
            suppressed=suppressed,
            dense_share={f.embedder_id: f.dense_share for f in found},
            selected=_selected(found) if filters else None,
            scored_all=bool(found) and all(f.scored_all for f in found),
            reranker=self._reranker.id if self._reranker else "",
            reranker_problem=reranker_problem,
        )
        degraded = any(f.degraded for f in found)
        question = widened(query, asked.expansions)
        return Retrieval(results, evidence, timings, degraded, vectors, question, trace, query)

    def reading_embedder(self, collection: Collection, text: str) -> Embedder | None:
        """The collection's embedder if it reads this text, else None."""
        try:
            embedder = self._embedder_for(collection)
        except ModelUnavailableError:
            return None
        return embedder if embedder.tokenizer.unknown_share(text) <= READS else None

    def terms(self, collections: Sequence[Collection]) -> list[GlossaryTerm]:
        """The glossaries of these collections."""
        return self._glossary.terms([c.id for c in collections]) if self._glossary and collections else []

    def _ranked(
        self,
        asked: Asked,
        groups: Mapping[tuple[object, ...], list[Collection]],
        filters: Filters,
        timings: dict[str, float],
        vectors: dict[tuple[object, ...], Vector],
    ) -> tuple[list[ScoredChunk], list[Found]]:
        found = []
        for space, group in sorted(groups.items()):
            one, vector = self._search(asked, group, filters, timings)
            found.append(one)
            if vector is not None:
                vectors[space] = vector
        return _merged(found, asked.tokens), found

    def _search(
        self, asked: Asked, group: Sequence[Collection], filters: Filters, timings: dict[str, float]
    ) -> tuple[Found, Vector | None]:
        if filters:
            asked = self._filtered(asked, group, filters, timings)
        words = self._candidates.start_keywords(group, asked)
        vector: Vector | None = None
        unknown = 1.0
        try:
            with timed(timings, "embed"):
                embedder = self._embedder_for(group[0])
                unknown = embedder.tokenizer.unknown_share(asked.text)
                vector = embedder.embed_query(asked.text)
        except ModelUnavailableError:
            log.warning("The embedder does not answer; ranking by keywords alone")
        found = self._candidates.find(group, asked, vector, words, timings)
        found.unknown, found.degraded = unknown, vector is None
        found.embedder_id = group[0].fingerprint.embedder_id
        found.selected = asked.selected
        with timed(timings, "fuse"):
            found.dense_share = dense_share(unknown) if vector is not None else 0.0
            weight = max((EXACT_WEIGHTS[term.kind] for term in asked.exact), default=0.0)
            found.among = among(asked.tokens, list(found.chunks.values()), stand_ins(asked.expansions))
            found.ranking = fuse(found.dense, found.keyword, found.dense_share, found.exact, weight, found.among)
        return found, vector

    def _filtered(
        self, asked: Asked, group: Sequence[Collection], filters: Filters, timings: dict[str, float]
    ) -> Asked:
        if self._filtering is None:
            raise ValueError("a retriever without `filtering` cannot take filters")
        with timed(timings, "filter"):
            selected = self._filtering.select([c.id for c in group], filters)
        return Asked(asked.text, asked.tokens, asked.expansions, asked.exact, selected)


def _asked(query: str, terms: Sequence[GlossaryTerm]) -> Asked:
    expansions = expand(query, terms)
    tokens = tokens_of(query, expansions) if expansions else segment(query)
    exact = exact_terms(query)
    written = {fold(term.text) for term in exact}
    exact += glossary_terms([one.found for one in expansions if one.found not in written])
    return Asked(query, tuple(tokens), expansions, exact)


def _topic_serves(typed: str, bare: Asked, asked: Asked, ranked: Sequence[ScoredChunk]) -> bool:
    if not ranked:
        return True
    best = ranked[0].chunk
    carried = set(asked.tokens) - set(bare.tokens)
    return topic_serves(pointing(typed), bare.tokens, carried, f"{best.title} {best.context} {best.text}")


def _merged(found: Sequence[Found], tokens: Sequence[str]) -> list[ScoredChunk]:
    """One ranking of what each embedder's collections gave."""
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


def _evidence(asked: Asked, ranked: Sequence[ScoredChunk], found: Sequence[Found]) -> Evidence:
    reading = [f for f in found if f.unknown <= READS and f.dense]
    measured = [max(f.dense.values()) for f in reading if f.embedder_id in MEASURED_EMBEDDERS]
    language = detect_language(asked.text)
    own = [detect_language(result.chunk.text) == language for result in ranked[:3]]
    foreign = len(measured) < len(reading) and not all(own)
    if asked.expansions and not all(own):  # the glossary leads to another language, where words cannot tell
        foreign = foreign or any(named_by(result.chunk.text, asked.expansions) for result in ranked[:3])
    subjects = subjects_of(asked.text) if all(own) else ()  # a name may be written otherwise in another language
    similarity = max(measured, default=None)
    return weigh(asked.tokens, ranked, similarity, foreign, subjects, stand_ins(asked.expansions))


def _reranked_if_it_answers(
    reranker: Reranker, query: str, ranked: Sequence[ScoredChunk]
) -> tuple[list[ScoredChunk], str]:
    """In the reranker's order; as they were, with the reason, when it fails: a question never fails with it."""
    try:
        return _reranked(reranker, query, ranked), ""
    except AliothError as error:
        log.warning("The reranker is left out: %s", error)
        return list(ranked), str(error)


def _reranked(reranker: Reranker, query: str, ranked: Sequence[ScoredChunk]) -> list[ScoredChunk]:
    """The best ones in the reranker's order (ties stay), the others behind them as they were."""
    head, tail = list(ranked[:RERANKED]), list(ranked[RERANKED:])
    if not head:
        return tail
    scores = reranker.scores(query, [f"{item.chunk.title}\n{item.chunk.context}\n{item.chunk.text}" for item in head])
    order = sorted(range(len(head)), key=lambda place: (-float(scores[place]), place))
    bottom = max((item.score for item in tail), default=0.0)
    return [
        ScoredChunk(
            head[place].chunk,
            bottom + 1.0 - rank / len(head),
            {**head[place].stages, "rerank": float(scores[place])},
        )
        for rank, place in enumerate(order)
    ] + tail


def _stages(found: Found, chunk_id: int, score: float) -> Mapping[str, float]:
    stages = {"fused": score}
    given = (("dense", found.dense), ("keyword", found.keyword), ("among", found.among), ("exact", found.exact))
    for name, figures in given:
        if chunk_id in figures:
            stages[name] = figures[chunk_id]
    return stages


def _selected(found: Sequence[Found]) -> tuple[int, int]:
    chosen = [f.selected for f in found if f.selected is not None]
    return sum(one.documents for one in chosen), sum(one.chunks for one in chosen)
