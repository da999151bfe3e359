"""One ranking out of two: dense and keyword scores, weighted by how well the embedder reads the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.types import ScoredChunk

READS = 0.05
BLIND = 0.30
DENSE_SHARE_READS = 0.5
DENSE_SHARE_BLIND = 0.1
RANK_OFFSET = 60
FOLLOW_UP_SHARE = 0.3
"""Weight of a follow-up as it was typed, beside its stand-alone form."""
AMONG_SHARE = 0.5
"""Of the keyword score: by how rare words are among the candidates, beside how rare they are in the whole index.
docs/decisions/0021-rarity-among-candidates.md"""
EXACT_WEIGHTS = {
    "phrase": 1.0,
    "mail": 1.0,
    "phone": 1.0,
    "number": 1.0,
    "identifier": 1.0,
    "version": 1.0,
    "article": 1.0,
    "term": 0.3,
}
"""What a chunk gains that has, to the letter, what the question names. docs/decisions/0019-retrieval.md"""


def dense_share(unknown_share: float) -> float:
    """Weight of the dense score, 0.0–1.0, for a question of whose tokens the embedder has no entry for this share.

    docs/decisions/0008-fusion.md has the measurement behind the two ends; between them it falls in a line.
    """
    if unknown_share <= READS:
        return DENSE_SHARE_READS
    if unknown_share >= BLIND:
        return DENSE_SHARE_BLIND
    part = (unknown_share - READS) / (BLIND - READS)
    return DENSE_SHARE_READS + part * (DENSE_SHARE_BLIND - DENSE_SHARE_READS)


def fuse(
    dense: Mapping[int, float],
    keyword: Mapping[int, float],
    share: float,
    exact: Mapping[int, float] | None = None,
    exact_weight: float = 0.0,
    among: Mapping[int, float] | None = None,
) -> list[tuple[int, float]]:
    """(chunk id, score) of every chunk either list knows, best first, ties by smaller id; scores from 0.0 to 1.0.

    Dense scores are stretched over their range in this list, keyword scores are divided by the best one, so that a
    chunk without any of the question's words keeps zero. A chunk absent from `dense` counts as its lowest score.
    exact: share of what is to be found to the letter that a chunk has; comes on top, `exact_weight` for all of it.
    among: keyword scores by rarity among these chunks (`chat.retrieval.rarity`); makes up `AMONG_SHARE` of the keyword
    score.
    """
    lifted = exact or {}
    low = min(dense.values(), default=0.0)
    width = max(dense.values(), default=0.0) - low
    best = max(keyword.values(), default=0.0)
    local = among or {}
    best_local = max(local.values(), default=0.0)
    part = AMONG_SHARE if best_local > 0 else 0.0
    scores: dict[int, float] = {}
    for chunk_id in dense.keys() | keyword.keys():
        near = (dense[chunk_id] - low) / width if chunk_id in dense and width > 0 else float(chunk_id in dense)
        words = max(0.0, keyword.get(chunk_id, 0.0)) / best if best > 0 else 0.0
        if part:
            words = (1.0 - part) * words + part * local.get(chunk_id, 0.0) / best_local
        scores[chunk_id] = share * near + (1.0 - share) * words + exact_weight * lifted.get(chunk_id, 0.0)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def merge_by_rank(
    rankings: Sequence[Sequence[int]], covered: Mapping[int, float] | None = None
) -> list[tuple[int, float]]:
    """Rankings whose scores cannot be compared, merged by reciprocal rank (RRF, Cormack 2009).

    Ties, as between the first of each ranking, go to the greater figure in `covered`, then to the smaller id.
    """
    share = covered or {}
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, chunk_id in enumerate(ranking):
            scores[chunk_id] = scores.get(chunk_id, 0.0) + 1.0 / (RANK_OFFSET + rank + 1)
    return sorted(scores.items(), key=lambda item: (-item[1], -share.get(item[0], 0.0), item[0]))


def blend(standalone: Sequence[ScoredChunk], typed: Sequence[ScoredChunk]) -> list[ScoredChunk]:
    """Rankings of a follow-up's stand-alone form and of its own words as one, best first, ties by smaller id."""
    scores: dict[int, float] = {}
    chunks: dict[int, ScoredChunk] = {}
    for results, weight in ((standalone, 1.0 - FOLLOW_UP_SHARE), (typed, FOLLOW_UP_SHARE)):
        for item in results:
            chunks.setdefault(item.chunk.id, item)
            scores[item.chunk.id] = scores.get(item.chunk.id, 0.0) + weight * item.score
    ranked = sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))
    return [replace(chunks[i], score=scores[i], stages={**chunks[i].stages, "fused": scores[i]}) for i in ranked]
