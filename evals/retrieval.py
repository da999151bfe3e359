"""Runner: what do the questions of a set find?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from chat.condense import condense
from chat.retrieve import Searches
from core.types import ScoredChunk
from evals import metrics
from evals.corpus import Corpus, CorpusBuilder
from evals.scoped import DEPTH, ScopedRetriever
from evals.sets import EvalDocument, EvalQuestion, sample

Row = dict[str, Any]
Progress = Callable[[int, int], None]
"""Called with questions done and questions in all."""


def evaluate_retrieval(
    builder: CorpusBuilder,
    retriever: Searches,
    documents: Sequence[EvalDocument],
    questions: Sequence[EvalQuestion],
    *,
    limit: int | None = None,
    seed: int = 1,
    on_row: Callable[[Row], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Read the documents in, ask, score at document level.

    Means are over the questions that have gold documents (`judged`); the latency is over all. Follow-ups are
    condensed with their history exactly as a chat does it, and that is part of the latency.

    Returns:
        The report of DESIGN's contract. A figure that no question of the set can be judged by is None.
    """
    chosen = sample(questions, limit, seed)
    with builder.build(documents) as corpus:
        retriever.retrieve(chosen[0].question, [corpus.collection])  # the first search after a change catches up
        rows: list[Row] = []
        for number, question in enumerate(chosen, 1):
            rows.append(_ask(retriever, corpus, question))
            if on_row:
                on_row(rows[-1])
            if progress:
                progress(number, len(chosen))
        return _report(rows, corpus)


def _ask(retriever: Searches, corpus: Corpus, question: EvalQuestion) -> Row:
    searcher = retriever
    if question.scope:
        searcher = ScopedRetriever(retriever, lambda path: corpus.parent(path) == question.scope)
    started = time.perf_counter()
    query = condense(question.question, question.history)
    results = searcher.retrieve(query, [corpus.collection], DEPTH).results
    seconds = time.perf_counter() - started
    ranked = _documents(results, corpus)
    row: Row = {
        "qid": question.qid,
        "question": question.question,
        "query": query,
        "documents": ranked[:10],
        "gold": list(question.gold),
        "chunks": [_chunk_row(item, corpus) for item in results[:10]],
        "seconds": round(seconds, 5),
    }
    return row | _figures(question, ranked, [item.chunk.text for item in results[:10]])


def _documents(results: Sequence[ScoredChunk], corpus: Corpus) -> list[str]:
    """Documents in the order of their best chunk."""
    return list(dict.fromkeys(corpus.doc_id(item.chunk.path) for item in results))


def _chunk_row(item: ScoredChunk, corpus: Corpus) -> Row:
    return {
        "document": corpus.doc_id(item.chunk.path),
        "ordinal": item.chunk.ordinal,
        "score": round(item.score, 5),
        "stages": {name: round(value, 5) for name, value in item.stages.items()},
    }


def _figures(question: EvalQuestion, ranked: Sequence[str], texts: Sequence[str]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {
        "evidence@5": metrics.evidence_recall(texts[:5], question.evidence),
        "evidence@10": metrics.evidence_recall(texts[:10], question.evidence),
    }
    if not question.gold:
        return figures
    return {
        "hit@1": metrics.hit(ranked, question.gold, 1),
        "hit@5": metrics.hit(ranked, question.gold, 5),
        "hit@10": metrics.hit(ranked, question.gold, 10),
        "recall@10": metrics.recall(ranked, question.gold, 10),
        "mrr@10": metrics.reciprocal_rank(ranked, question.gold, 10),
        "ndcg@10": metrics.ndcg(ranked, question.gold, 10),
        **figures,
    }


MEANS = ("hit@1", "hit@5", "hit@10", "recall@10", "mrr@10", "ndcg@10", "evidence@5", "evidence@10")


def _report(rows: Sequence[Row], corpus: Corpus) -> dict[str, Any]:
    seconds = [row["seconds"] for row in rows]
    return {
        "questions": len(rows),
        "judged": sum("hit@1" in row for row in rows),
        **{name: metrics.mean(row.get(name) for row in rows) for name in MEANS},
        "latency_ms": {"p50": _milliseconds(seconds, 0.5), "p95": _milliseconds(seconds, 0.95)},
        "ingest": asdict(corpus.figures),
    }


def _milliseconds(seconds: Sequence[float], share: float) -> float | None:
    value = metrics.percentile(seconds, share)
    return None if value is None else round(value * 1000, 2)
