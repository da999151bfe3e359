"""The quality page: every figure in its place, every missing set with its reason."""

from __future__ import annotations

from typing import Any

from evals.report import figure, quality_page, table


def retrieval_report(**changes: Any) -> dict[str, Any]:
    report = {name: 0.5 for name in ("hit@1", "hit@5", "hit@10", "recall@10", "ndcg@10", "evidence@5", "evidence@10")}
    return {
        **report,
        "questions": 1000,
        "mrr@10": 0.25,
        "latency_ms": {"p50": 12.34, "p95": 56.78},
        "ingest": {"documents": 848, "chunks": 2345, "seconds": 61.2},
        **changes,
    }


def test_figures_of_a_set_stand_in_its_row() -> None:
    page = quality_page({"zh_cmrc": retrieval_report(**{"evidence@5": None})}, {}, {}, {}, ["measured here"])
    [row] = [line for line in page.splitlines() if line.startswith("| zh_cmrc")]
    figures = "1,000 | 0.500 | 0.500 | 0.500 | 0.500 | 0.250 | 0.500 | – | 0.500 | 12.3 | 56.8 | 848 | 2,345 | 61"
    assert row == f"| zh_cmrc | {figures} |"
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
    assert "| own corpus | 40 | 0.400 | 0.900 | 1.000 | – | 0.950 | 0.000 | 0.13 |" in page
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
