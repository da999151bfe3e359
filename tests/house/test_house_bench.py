"""`make bench`: the page it writes, and the texts and questions it asks with."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from bench import query
from bench.ingest import IngestResult, _Clock
from bench.ingest_sets import renumbered
from bench.processes import ROLES, cpu_by_role, peak_mb_by_role
from bench.query import QueryResult
from bench.raw import Raw
from bench.report import performance_page
from bench.start import StartResult
from bench.workplace import cpu_seconds, resident_mb
from core.settings import load_settings


def _result(**changes: Any) -> IngestResult:
    facts: dict[str, Any] = {
        "name": "files",
        "files": 50,
        "failed": 1,
        "chunks": 600,
        "seconds": 10.0,
        "again": 0.25,
        "cpu": {"worker": 4.0, "parsers": 2.0, "models": 9.0, "chroma": 1.0},
        "stages": {"parse": 2.0, "OCR": 0.0, "chunk": 2.0, "embed": 9.0, "index": 2.0, "rest": 1.0},
        "peak_mb": {"worker": 200.0, "parsers": 90.0, "models": 900.0, "chroma": 100.0},
        "raw": Raw(6.0, 12.0, 300),
        "raw_dtype": "bfloat16",
        "busy": 0.94,
    }
    return IngestResult(**{**facts, **changes})


def test_ratios_compare_with_raw_encoding_in_the_same_run() -> None:
    result = _result()
    assert result.wall_ratio == 1.2 and result.cpu_ratio == 1.5
    page = performance_page([result], [], load=0.25)
    assert "| files | 50 | 1 | 600 | 10.0 | 60.0 | 50.0 | 1.20 | 1.50 | 94% | 0.2 |" in page and "in bfloat16" in page
    assert "| files | 12% | 0% | 12% | 56% | 12% | 6% |" in page
    assert "| files | 4.0 | 2.0 | 9.0 | 1.0 | 200 | 90 | 900 | 100 |" in page
    assert "load of the machine when the run began: 0.2" in page and "## Queries" not in page


def test_a_set_that_was_not_encoded_raw_has_no_ratio_and_what_was_left_out_is_told() -> None:
    page = performance_page([_result(raw=None, left_out=5_000_000)], [], load=0.0)
    assert "| 60.0 | - | - | - | 94% | 0.2 |" in page and "files: 5,000,000 characters are over the limit" in page


def test_what_the_comparison_found_afterwards_is_told() -> None:
    assert "files: compared with both indexes entry by entry afterwards, 0 findings" in performance_page(
        [_result(findings=0)], [], load=0.0
    )
    assert "compared" not in performance_page([_result()], [], load=0.0)


def test_the_time_in_which_the_embedder_has_work_counts_calls_side_by_side_once() -> None:
    clock = _Clock()
    begun = time.perf_counter()
    clock._count("embed", 1)
    clock._count("embed", 1)
    clock._count("store", 1)
    clock._count("embed", -1)
    clock._count("embed", -1)
    assert 0 < clock.embedding <= time.perf_counter() - begun
    before = clock.embedding
    clock._count("embed", 1)
    assert clock.embedding == before, "nothing was under way in between"


def test_repeated_texts_differ_in_their_numbers() -> None:
    text = "Room 12 opens at 9, room 13 at 10."
    assert renumbered(text, 1).endswith("Room 13 opens at 10, room 14 at 11.")
    assert len({renumbered("no number", number) for number in range(1000)}) == 1000


def test_peak_memory_and_seconds_are_told_for_each_kind_of_process(tmp_path: Path) -> None:
    home = tmp_path
    assert set(cpu_by_role(home)) == set(peak_mb_by_role(home)) == set(ROLES)
    assert peak_mb_by_role(home)["worker"] > 10 and peak_mb_by_role(home)["models"] == 0


def test_made_up_collections_are_said_to_be_made_up() -> None:
    real, made_up = QueryResult(1000, False, 10, 20, 50, 3), QueryResult(100_000, True, 11, 21, 51, 90)
    assert "random vectors" not in performance_page([], [real], 0.0)
    page = performance_page([], [real, made_up], 0.0)
    assert "| 1,000 | 10.0 | 20.0 | 50.0 | 3 |" in page and "| 100,000* | 11.0 |" in page and "random vectors" in page
    weighed = QueryResult(1_000_000, True, 11, 21, 51, 90, {"worker": 900.4, "chroma": 2500.0, "parsers": 0.0})
    page = performance_page([], [weighed], 0.0)
    assert "| worker, MB | chroma, MB |" in page and "| 90 | 900 | 2,500 |" in page


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
