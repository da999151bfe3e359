"""The quality page: every figure in its place, every missing set with its reason."""

from __future__ import annotations

from typing import Any

from evals import baselines
from evals.quality_sections import Results, part_sections, sections
from evals.report import figure, quality_page, table


def retrieval_report(**changes: Any) -> dict[str, Any]:
    report = {name: 0.5 for name in ("hit@1", "hit@5", "hit@10", "recall@10", "ndcg@10", "evidence@5", "evidence@10")}
    return {
        **report,
        "questions": 1000,
        "mrr@10": 0.25,
        "latency_ms": {"p50": 12.34, "p95": 56.78},
        "ingest": {"documents": 848, "chunks": 2345, "seconds": 61.2},
        "date": "2026-11-22",
        **changes,
    }


def test_figures_of_a_set_stand_in_its_row() -> None:
    page = quality_page({"zh_cmrc": retrieval_report(**{"evidence@5": None})}, {}, {}, {}, ["measured here"])
    [row] = [line for line in page.splitlines() if line.startswith("| zh_cmrc")]
    figures = "1,000 | 0.500 | 0.500 | 0.500 | 0.500 | 0.250 | 0.500 | – | 0.500 | 12.3 | 56.8 | 848 | 2,345 | 61"
    assert row == f"| zh_cmrc | {figures} | 2026-11-22 |"
    assert "- measured here" in page
    assert "Mean MRR@10 over the 1 sets: **0.250**" in page


def test_answers_and_skipped_sets_are_shown() -> None:
    answers = {
        "own corpus": {
            "questions": 40,
            "token_f1": 0.4,
            "contains": 0.9,
            "refusal": {"recall": 1.0, "false_rate": None},
            "citation_precision": 0.95,
            "unsupported_rate": 0.0,
            "seconds_per_answer": 0.126,
        }
    }
    page = quality_page({}, answers, {}, {"en_x": "'en_x' is not on this machine"}, [])
    assert "| own corpus | 40 | 0.400 | 0.900 | 1.000 | – | 0.950 | 0.000 | 0.13 |  |" in page
    assert "- en_x: 'en_x' is not on this machine" in page
    assert "## Retrieval" not in page


def test_readers_stand_side_by_side_and_a_group_that_one_does_not_read_has_a_dash() -> None:
    ours = {"files": 3, "read": 3, "easy": 1.0, "expected": 0.9, "recall": 0.8}
    plain = {"files": 3, "read": 2, "easy": 0.5, "expected": 0.4, "recall": None}
    page = quality_page({}, {}, {"Alioth": {"PDF": ours, "Mail": ours}, "plain": {"PDF": plain}}, {}, [])
    assert "| group | files | read: Alioth | read: plain | easy strings: Alioth |" in page
    assert "| PDF | 3 | 3 | 2 | 1.000 | 0.500 | 0.900 | 0.400 | 0.800 | – |" in page
    assert "| Mail | 3 | 3 | – | 1.000 | – | 0.900 | – | 0.800 | – |" in page


def test_numbers_read_well() -> None:
    assert [figure(1234), figure(None), figure(0.12345), figure(2.0, 1)] == ["1,234", "–", "0.123", "2.0"]
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n|---|---:|\n| x | 1 |"


def row(number: int, rank: float, score: float = 1.0) -> dict[str, Any]:
    evidence = {"score": score, "refused": score < 0, "always": ""}
    return {"qid": f"q{number}", "question": "?", "gold": ["d"], "mrr@10": rank, "hit@1": rank, "evidence": evidence}


def results(**changes: Any) -> Results:
    kinds = [{"qid": "q1", "type": "single"}, {"qid": "q2", "type": "multi"}, {"qid": "none", "unanswerable": True}]
    refused = {"qid": "none", "question": "?", "gold": [], "evidence": row(9, 0.0, -1.0)["evidence"]}
    values: dict[str, Any] = {
        "retrieval": {"en_gitlab_handbook": [row(1, 1.0), row(2, 0.5, -0.5), refused]},
        "strangers": {"en_gitlab_handbook": [row(3, 0.0, -2.0)]},
        "questions": {"en_gitlab_handbook": kinds},
        "generated": {},
        "quoted": {},
        "parts": {},
    }
    return Results(**(values | changes))


def test_our_figures_stand_beside_the_frozen_baselines_of_the_same_questions() -> None:
    page = quality_page({}, {}, {}, {}, [], sections(results()))
    expected = "| en_gitlab_handbook | 2 | 0.543 | 0.655 | 0.629 | 0.680 | 0.692 | 0.750 | 0.095 | 0.058 | 0.750 |"
    assert expected in page
    assert "lin0.5 (0.689)" in page or "lin0.3 (0.689)" in page
    assert "+0." not in page.partition("| set |")[0]  # nothing is claimed over all sets from one of them


def test_the_baselines_use_the_first_300_answerable_questions_of_a_shuffle() -> None:
    rows = [row(number, 1.0) | ({"gold": []} if number % 2 else {}) for number in range(1000)]
    same = baselines.same_questions(rows)
    assert len(same) == 300 and all(one["gold"] for one in same)
    assert same == baselines.same_questions(rows) != [one for one in rows if one["gold"]][:300]


def test_kinds_of_question_and_refusal_have_rows_of_their_own() -> None:
    page = quality_page({}, {}, {}, {}, [], sections(results()))
    assert "| en_gitlab_handbook: single | 1 | 1.000 | – | – | 1.000 |" in page
    assert "| en_gitlab_handbook: multi | 1 | 0.500 |" in page
    assert "| en_gitlab_handbook | 2 | 0.500 | 1 | 1.000 | 1 | 1.000 |" in page
    assert "| +0.00 | 0.500 | 1.000 | 1.000 |" in page


def test_another_commands_figures_become_a_table_for_each_kind_of_them() -> None:
    report = {"n": 2, "zh": {"caught": {"number": {"n": 1, "share": 0.5}, "date": {"n": 4, "share": None}}}}
    page = quality_page(
        {}, {}, {}, {}, [], part_sections("verification", {"runs": {"set": report}, "date": "2026-11-22"})
    )
    assert "| set | 2 |" in page and "2026-11-22" in page
    assert "| set / zh / caught / number | 1 | 0.500 |" in page and "| set / zh / caught / date | 4 | – |" in page


def test_what_was_not_measured_makes_no_section() -> None:
    assert sections(results(retrieval={}, strangers={})) == []
