"""Two runs: equal ones do not differ, real changes are found with their direction, chance is not called a change."""

from __future__ import annotations

import random
from typing import Any

import pytest

from core.errors import InputError
from evals.compare import FEWEST, compare
from evals.figures import ANSWERS, RETRIEVAL, kind_of, summary


def rows(count: int, seed: int = 1, **changes: Any) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {
            "qid": f"q{n}",
            "question": f"Question {n}?",
            "gold": ["d"],
            "mrr@10": rng.choice([0.0, 0.5, 1.0]),
            "seconds": 0.1,
        }
        | changes
        for n in range(count)
    ]


def of(comparison: Any, name: str) -> Any:
    return next(one for one in comparison.differences if one.figure == name)


def test_a_run_is_the_same_as_itself() -> None:
    comparison = compare("retrieval", rows(40), rows(40))
    found = of(comparison, "mrr@10")
    assert (found.verdict, found.delta, found.p) == ("same", 0.0, 1.0)
    assert comparison.worse() == [] and comparison.changes("mrr@10") == []
    assert (comparison.pairs, comparison.left_out) == (40, 0)


def test_what_got_worse_on_many_questions_is_certain_and_named() -> None:
    before = rows(60, **{"mrr@10": 1.0})
    after = [row | {"mrr@10": 0.5} if n % 3 == 0 else row for n, row in enumerate(before)]
    [worse] = compare("retrieval", before, after).worse()
    assert worse.figure == "mrr@10" and worse.delta == pytest.approx(-1 / 6, abs=1e-3)
    assert worse.low < worse.delta < worse.high < 0 and worse.p < 0.01
    [better] = [one for one in compare("retrieval", after, before).differences if one.verdict == "better"]
    assert better.delta == pytest.approx(1 / 6, abs=1e-3)


def test_one_question_of_many_is_not_certain() -> None:
    before = rows(60, **{"mrr@10": 1.0})
    after = [row | {"mrr@10": 0.0} if n == 7 else row for n, row in enumerate(before)]
    assert of(compare("retrieval", before, after), "mrr@10").verdict == "unclear"


def test_of_too_few_questions_nothing_is_said() -> None:
    before, after = rows(FEWEST - 1, **{"mrr@10": 1.0}), rows(FEWEST - 1, **{"mrr@10": 0.0})
    comparison = compare("retrieval", before, after)
    assert of(comparison, "mrr@10").verdict == "few" and comparison.worse() == []


def test_less_is_better_where_it_is() -> None:
    before = [{"qid": str(n), "question": "?", "answer": "", "sentences": 2, "unsupported": 0} for n in range(40)]
    after = [row | {"unsupported": 1} for row in before]
    [worse] = compare("answers", before, after).worse()
    assert worse.figure == "unsupported_rate" and worse.delta == 0.5


def test_time_never_fails_a_gate() -> None:
    slow = [row | {"seconds": 9.0} for row in rows(40)]
    comparison = compare("retrieval", rows(40), slow)
    assert of(comparison, "seconds_per_question").verdict == "worse" and comparison.worse() == []


def test_questions_that_are_not_the_same_any_more_are_left_out() -> None:
    before, after = rows(30), rows(30)
    after[0] = after[0] | {"question": "Another?"}
    after[1] = after[1] | {"gold": ["e"]}
    after[2] = after[2] | {"qid": "new"}
    comparison = compare("retrieval", before, after)
    assert comparison.pairs == 27 and comparison.left_out == 4
    with pytest.raises(InputError, match="no question in common"):
        compare("retrieval", before[:1], after[1:])


def test_wins_and_losses_are_the_questions_that_changed() -> None:
    before = rows(30, **{"mrr@10": 0.5})
    after = [row | {"mrr@10": {3: 1.0, 4: 0.0}.get(n, 0.5)} for n, row in enumerate(before)]
    result = compare("retrieval", before, after).to_dict("mrr@10")
    assert [one["qid"] for one in result["wins"]] == ["q3"] and [one["qid"] for one in result["losses"]] == ["q4"]
    with pytest.raises(InputError, match="'nonsense'"):
        compare("retrieval", before, after).changes("nonsense")


def test_the_interval_does_not_depend_on_the_order_of_questions_nor_on_the_day() -> None:
    before, after = rows(50, 1), rows(50, 2)
    assert compare("retrieval", before, after) == compare("retrieval", before, after)


def test_a_ratio_counts_citations_not_questions() -> None:
    some = [
        {"qid": "a", "answer": "", "cited": 3, "cited_gold": 3},
        {"qid": "b", "answer": "", "cited": 1, "cited_gold": 0},
    ]
    figures = summary("answers", [*some, {"qid": "c", "answer": "", "cited": 0, "cited_gold": 0}, None])
    assert figures["citation_precision"] == 0.75
    assert figures["token_f1"] is None
    assert kind_of(some) == "answers" and kind_of([{"qid": "a"}]) == "retrieval"
    assert len({one.name for one in (*RETRIEVAL, *ANSWERS)}) == len(RETRIEVAL) + len(ANSWERS)
