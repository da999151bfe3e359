"""`make bench`: the page it writes, and the texts and questions it asks with."""

from __future__ import annotations

import os

from bench import query
from bench.ingest import IngestResult, Raw
from bench.query import QueryResult
from bench.report import performance_page
from bench.start import StartResult
from bench.workplace import cpu_seconds, resident_mb
from core.settings import load_settings


def test_ratios_compare_with_raw_float32_of_the_same_run() -> None:
    result = IngestResult("files", 50, 1, 600, 10.0, 16.0, 900.0, Raw(12.0, 24.0), Raw(6.0, 12.0))
    assert result.wall_ratio == 1.2 and result.cpu_ratio == 1.5
    page = performance_page([result], [], load=0.25)
    assert "| files | 50 | 1 | 600 | 10.0 | 60.0 | 50.0 | 100.0 | 1.20 | 1.50 | 900 |" in page
    assert "load of the machine when the run began: 0.2" in page and "## Queries" not in page


def test_made_up_collections_are_said_to_be_made_up() -> None:
    real, made_up = QueryResult(1000, False, 10, 20, 50, 3), QueryResult(100_000, True, 11, 21, 51, 90)
    assert "random vectors" not in performance_page([], [real], 0.0)
    page = performance_page([], [real, made_up], 0.0)
    assert "| 1,000 | 10.0 | 20.0 | 50.0 | 3 |" in page and "| 100,000* | 11.0 |" in page and "random vectors" in page


def test_a_start_has_a_row_for_each_language() -> None:
    start = StartResult(2.25, 8.5, {"en": 1.5, "zh": 1.75}, {"en": 0.5, "zh": 0.75})
    page = performance_page([], [], 0.0, start)
    assert "| 2.2 | 8.5 | en | 1.50 | 0.50 |" in page and "| 2.2 | 8.5 | zh | 1.75 | 0.75 |" in page


def test_texts_differ_and_questions_are_real() -> None:
    texts, questions = query._texts(), query._questions()
    assert len(set(texts)) == len(texts) and all(len(text) <= 200 for text in texts)
    assert texts == query._texts() and questions == query._questions()
    assert all(question.strip() for question in questions)


def test_costs_count_this_process() -> None:
    home = load_settings().home
    before = cpu_seconds(home)
    sum(number * number for number in range(2_000_000))
    assert cpu_seconds(home) > before
    assert resident_mb(home) > 10 and os.getpid() > 0
