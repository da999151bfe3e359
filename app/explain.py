"""What each stage of a search did, as rows for the command line and the search test page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.filters import Filters
from core.types import StoredChunk

if TYPE_CHECKING:
    from chat.preview import Reading
    from chat.retrieval.retrieve import Retrieval

STAGES = ("dense", "keyword", "among", "exact", "fused", "rerank")
MOST = 50


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One candidate. rank: in the last ranking before suppression, from 1. figures: stage to its figure and rank there.

    chosen: its place among the results, 0 when it is none of them. suppressed_by: rank of the better one it repeats.
    """

    rank: int
    chunk: StoredChunk
    figures: dict[str, tuple[float, int]]
    chosen: int
    suppressed_by: int


def candidate_rows(found: Retrieval, most: int = MOST) -> list[CandidateRow]:
    """The first `most` candidates in their last order, and results that stand behind those."""
    ranked = found.trace.ranked
    ranks = {
        stage: {
            item.chunk.id: place
            for place, item in enumerate(
                sorted((i for i in ranked if stage in i.stages), key=lambda i: (-i.stages[stage], i.chunk.id)), 1
            )
        }
        for stage in STAGES
    }
    places = {item.chunk.id: place for place, item in enumerate(ranked, 1)}
    chosen = {item.chunk.id: place for place, item in enumerate(found.results, 1)}
    return [
        CandidateRow(
            rank,
            item.chunk,
            {stage: (item.stages[stage], ranks[stage][item.chunk.id]) for stage in STAGES if stage in item.stages},
            chosen.get(item.chunk.id, 0),
            places.get(found.trace.suppressed.get(item.chunk.id, -1), 0),
        )
        for rank, item in enumerate(ranked, 1)
        if rank <= most or item.chunk.id in chosen
    ]


def explain_json(found: Retrieval, filters: Filters, read: Reading | None = None) -> dict[str, Any]:
    """The public JSON form of a search's inner workings. read: what an answer would be given, where that was asked."""
    trace, evidence = found.trace, found.evidence
    return {
        "tokens": list(trace.tokens),
        "glossary": [{"term": e.term, "found": e.found, "others": list(e.others)} for e in trace.expansions],
        "exact": [{"kind": term.kind, "text": term.text} for term in trace.exact],
        "filters": filters.to_dict(),
        "selected": None
        if trace.selected is None
        else {"documents": trace.selected[0], "chunks": trace.selected[1], "all_compared": trace.scored_all},
        "dense_share": dict(trace.dense_share),
        "reranker": trace.reranker,
        "reranker_problem": trace.reranker_problem,
        "degraded": found.degraded,
        "evidence": {
            "coverage": round(evidence.coverage, 4),
            "reach": round(evidence.reach, 4),
            "similarity": None if evidence.similarity is None else round(evidence.similarity, 4),
            "score": round(evidence.score, 4),
            "enough": not evidence.too_little,
            "missing": list(evidence.missing),
            "unnamed": list(evidence.unnamed),
        },
        "candidates": [
            {
                "rank": row.rank,
                "chunk_id": row.chunk.id,
                "document": row.chunk.path,
                "stages": {s: {"score": round(v, 6), "rank": r} for s, (v, r) in row.figures.items()},
                "chosen": row.chosen,
                "suppressed_by": row.suppressed_by,
            }
            for row in candidate_rows(found)
        ],
        "passages": _passages_json(read) if read else None,
        "timings": {**found.timings, **({"passages": read.seconds} if read else {})},
    }


def _passages_json(read: Reading) -> dict[str, Any]:
    return {
        "budget_tokens": read.budget,
        "left_out": read.left_out,
        "read": [
            {
                "n": source.passage.n,
                "chunk_id": source.passage.chunk.id,
                "document": source.passage.chunk.path,
                "ordinal": source.passage.chunk.ordinal,
                "added": [chunk.ordinal for chunk in read.added_to(source)],
                "characters": len(source.passage.text),
            }
            for source in read.sources
        ],
    }


def explain_lines(found: Retrieval, read: Reading | None = None) -> list[str]:
    """For people at a terminal: what happened to the question, and how the candidates went through the stages."""
    trace, evidence = found.trace, found.evidence
    lines = [f"words      {' '.join(trace.tokens)}"]
    lines += [f"glossary   {e.found} → {', '.join(e.others)}" for e in trace.expansions]
    lines += [f"exactly    {term.text} ({term.kind})" for term in trace.exact]
    if trace.selected is not None:
        how = "each compared" if trace.scored_all else "found through the index"
        lines.append(f"filters    {trace.selected[0]} documents, {trace.selected[1]} chunks pass; {how}")
    lines += [
        f"fusion     {name}: dense {share:.2f}, keyword {1 - share:.2f}, half by rarity among the candidates"
        for name, share in trace.dense_share.items()
    ]
    if trace.reranker:
        how = trace.reranker_problem or f"{1000 * found.timings.get('rerank', 0.0):.0f} ms"
        lines.append(f"reranker   {trace.reranker}: {how}")
    similarity = "-" if evidence.similarity is None else f"{evidence.similarity:.3f}"
    verdict = "too little: an answer would be refused" if evidence.too_little else "enough"
    lines.append(
        f"evidence   coverage {evidence.coverage:.2f}, reach {evidence.reach:.2f}, similarity {similarity}: {verdict}"
    )
    if evidence.missing:
        lines.append(f"not found  {' '.join(evidence.missing)}")
    rows = candidate_rows(found)
    repeats = [row for row in rows if row.suppressed_by]
    lines.append(f"candidates {len(trace.ranked)}, left out as repeats {len(trace.suppressed)}")
    lines += [f"           #{row.rank} {row.chunk.path} repeats #{row.suppressed_by}" for row in repeats]
    return lines + (_passage_lines(read) if read else [])


def _passage_lines(read: Reading) -> list[str]:
    """What a generated answer would be given, and by which neighbours each passage was widened."""
    room = f"{read.budget} tokens of room" if read.budget is not None else "no language model counts the room"
    lines = [f"an answer would read {len(read.sources)} passages; {room}, {read.left_out} left out"]
    for source in read.sources:
        chunk, added = source.passage.chunk, read.added_to(source)
        with_ = " with its neighbours " + ", ".join(f"{one.ordinal + 1}" for one in added) if added else ""
        lines.append(f"           [{source.passage.n}] {chunk.path}, part {chunk.ordinal + 1}{with_}")
    return lines
