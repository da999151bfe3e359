"""Runner: what do the questions of a set find?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from chat.retrieval.condense import condense
from chat.retrieval.refuse import Evidence
from chat.retrieval.retrieve import Searches
from core.types import ScoredChunk
from evals import metrics
from evals.corpus import CorpusBuilder
from evals.live import Measured
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
            rows.append(ask(retriever, corpus, question))
            if on_row:
                on_row(rows[-1])
            if progress:
                progress(number, len(chosen))
        return report(rows) | {"ingest": asdict(corpus.figures)}


def ask(retriever: Searches, corpus: Measured, question: EvalQuestion) -> Row:
    """What one question finds, with its figures; those it cannot be judged by are None or left out."""
    searcher = retriever
    if question.scope:
        searcher = ScopedRetriever(retriever, corpus.scope(question.scope))
    started = time.perf_counter()
    query = condense(question.question, question.history)
    found = searcher.retrieve(query, [corpus.collection], DEPTH, typed=question.question)
    seconds = time.perf_counter() - started
    results = found.results
    ranked = _documents(results, corpus)
    row: Row = {
        "qid": question.qid,
        "question": question.question,
        "query": found.query or query,
        "documents": ranked[:10],
        "gold": list(question.gold),
        "chunks": [_chunk_row(item, corpus) for item in results[:10]],
        "seconds": round(seconds, 5),
        "evidence": _evidence(found.evidence),
    }
    return row | _figures(question, ranked, [item.chunk.text for item in results[:10]])


def _evidence(evidence: Evidence) -> Row:
    """What the refusal goes by. always: `refuse` or `answer` where the score does not decide, else empty."""
    always = "answer" if evidence.foreign else ""
    if not evidence.results or evidence.unnamed:
        always = "refuse"
    figures = {name: round(getattr(evidence, name), 4) for name in ("coverage", "reach", "spread", "weight")}
    near = None if evidence.similarity is None else round(evidence.similarity, 4)
    return {
        "score": round(evidence.score, 4),
        "refused": evidence.too_little,
        "always": always,
        "similarity": near,
        **figures,
    }


def _documents(results: Sequence[ScoredChunk], corpus: Measured) -> list[str]:
    """Documents in the order of their best chunk."""
    return list(dict.fromkeys(corpus.doc_id(item.chunk.path) for item in results))


def _chunk_row(item: ScoredChunk, corpus: Measured) -> Row:
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


def report(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of DESIGN's contract from the rows, without those of the reading in."""
    seconds = [row["seconds"] for row in rows]
    return {
        "questions": len(rows),
        "judged": sum("hit@1" in row for row in rows),
        **{name: metrics.mean(row.get(name) for row in rows) for name in MEANS},
        "latency_ms": {"p50": _milliseconds(seconds, 0.5), "p95": _milliseconds(seconds, 0.95)},
    }


def _milliseconds(seconds: Sequence[float], share: float) -> float | None:
    value = metrics.percentile(seconds, share)
    return None if value is None else round(value * 1000, 2)
