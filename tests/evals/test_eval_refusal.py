"""The refusal's curve: the limit in force is on it, more is refused the higher it is, names anywhere."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evals.refusal import TARGETS, Judged, curve, judged, point, refused


def evidence(score: float, always: str = "") -> dict[str, Any]:
    return {"score": score, "refused": score < 0, "always": always}


def sets(seed: int) -> list[Judged]:
    rng = random.Random(seed)

    def some(low: float, high: float) -> tuple[dict[str, Any], ...]:
        return tuple(evidence(round(rng.uniform(low, high), 3)) for _ in range(20))

    return [Judged(some(-1, 4), some(-3, 2), some(-5, 0)), Judged(some(-1, 4), (), some(-5, 0))]


def test_some_questions_are_refused_or_answered_at_any_limit() -> None:
    assert refused(evidence(9.0, "refuse"), -5.0) and not refused(evidence(-9.0, "answer"), 5.0)
    assert refused(evidence(-0.1), 0.0) and not refused(evidence(-0.1), -0.2)


def test_rows_are_sorted_by_what_is_known_of_them() -> None:
    rows = [
        {"qid": "a", "gold": ["d"], "evidence": evidence(1.0)},
        {"qid": "b", "gold": [], "evidence": evidence(2.0)},
        {"qid": "c", "gold": [], "evidence": evidence(3.0)},
        {"qid": "old", "gold": ["d"]},
    ]
    one = judged(rows, {"b"}, [{"qid": "x", "evidence": evidence(4.0)}])
    assert [[row["score"] for row in kind] for kind in (one.answerable, one.unanswerable, one.foreign)] == [
        [1.0],
        [2.0],
        [4.0],
    ]


@given(st.integers(0, 50))
def test_the_curve_rises_and_keeps_to_its_targets(seed: int) -> None:
    points = curve(sets(seed))
    assert points
    for before, after in pairwise(points):
        assert before.limit < after.limit
        for name in ("answerable", "unanswerable", "foreign"):
            assert getattr(before, name) <= getattr(after, name)
    assert all((one.answerable or 0.0) <= max(TARGETS) for one in points)


def test_a_mean_over_sets_leaves_out_those_without_such_questions() -> None:
    both = [
        Judged((evidence(1.0), evidence(-1.0)), (evidence(-1.0),), ()),
        Judged((evidence(1.0),), (), ()),
    ]
    here = point(both, 0.0)
    assert (here.answerable, here.unanswerable, here.foreign) == (0.25, 1.0, None)
