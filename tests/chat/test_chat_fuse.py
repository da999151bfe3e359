"""Fusion as arithmetic: weights by what the embedder reads, and independence of the order of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.retrieval.fuse import (
    BLIND,
    DENSE_SHARE_BLIND,
    DENSE_SHARE_READS,
    READS,
    blend,
    dense_share,
    fuse,
    merge_by_rank,
)

_SCORES = st.dictionaries(st.integers(0, 30), st.floats(-1, 40, allow_nan=False), max_size=20)


@given(dense=_SCORES, keyword=_SCORES, share=st.floats(0, 1), order=st.randoms())
def test_the_order_of_the_lists_changes_nothing(
    dense: dict[int, float], keyword: dict[int, float], share: float, order: Any
) -> None:
    expected = fuse(dense, keyword, share)
    mixed_dense, mixed_keyword = list(dense.items()), list(keyword.items())
    order.shuffle(mixed_dense)
    order.shuffle(mixed_keyword)
    assert fuse(dict(mixed_dense), dict(mixed_keyword), share) == expected
    assert {chunk_id for chunk_id, _ in expected} == dense.keys() | keyword.keys()
    assert all(0.0 <= score <= 1.0 + 1e-9 for _, score in expected)


@given(scores=_SCORES)
def test_one_list_alone_keeps_its_order(scores: dict[int, float]) -> None:
    positive = {i: s for i, s in scores.items() if s > 0}
    by_score = sorted(positive, key=lambda i: (-positive[i], i))
    ranked = [chunk_id for chunk_id, _ in fuse({}, positive, 0.0)]
    assert [positive[i] for i in ranked] == pytest.approx([positive[i] for i in by_score])


def test_ties_go_to_the_smaller_id() -> None:
    assert [i for i, _ in fuse({7: 0.5, 3: 0.5}, {}, 1.0)] == [3, 7]
    assert [i for i, _ in merge_by_rank([[9], [4]])] == [4, 9]
    assert [i for i, _ in merge_by_rank([[9], [4]], {9: 0.5})] == [9, 4]


def test_the_weight_follows_what_the_embedder_reads() -> None:
    assert dense_share(0.0) == DENSE_SHARE_READS
    assert dense_share(0.6) == DENSE_SHARE_BLIND
    middle = dense_share((READS + BLIND) / 2)
    assert DENSE_SHARE_BLIND < middle < DENSE_SHARE_READS
    assert dense_share(READS) >= dense_share(READS + 0.01) >= dense_share(BLIND)


def test_a_blind_embedder_cannot_push_the_best_keyword_chunk_from_the_top() -> None:
    dense = {1: 0.9, 2: 0.1}
    keyword = {2: 12.0, 1: 3.0}
    assert fuse(dense, keyword, dense_share(0.6))[0][0] == 2


def test_reciprocal_ranks_add_up_over_rankings() -> None:
    merged = dict(merge_by_rank([[1, 2], [2, 3]]))
    assert merged[2] == pytest.approx(1 / 62 + 1 / 61)
    assert max(merged, key=merged.__getitem__) == 2


def test_a_blend_leans_on_the_stand_alone_form(scored: Callable[..., Any]) -> None:
    full, typed = scored("alpha", "beta"), scored("alpha", "beta")
    typed = [typed[1], typed[0]]
    blended = blend(full, typed)
    assert [item.chunk.id for item in blended] == [0, 1]
    assert blended[0].stages["fused"] == blended[0].score
