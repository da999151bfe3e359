"""`python -m bench gpu`: nothing is made up without a card, and its parts run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gpu import NO_CARD, GpuResult, Rate, gpu_report, llama_bench, measure_gpu
from models.files.catalog import entry, location
from models.planning.machine import Card, cards


@pytest.mark.skipif(bool(cards()), reason="there is a card here")
def test_without_a_card_nothing_is_measured_and_that_is_said() -> None:
    assert measure_gpu() is None
    assert gpu_report(None) == NO_CARD == "no card: nothing measured"


def test_llama_cpp_s_own_figures_are_taken_through_the_library() -> None:
    file = location(entry("smollm2-135m-instruct"), Path())
    rate = llama_bench(file, "processor", gpu_layers=0, prompt=16, answer=2)
    assert rate.prompt_per_s > 0 and rate.answer_per_s > 0


def test_the_report_names_card_and_date_and_compares_with_one_user() -> None:
    result = GpuResult((Card("L4", 24_000_000_000, 23_000_000_000),), "qwen3-4b", "2026-11-22")
    result.rates, result.many = [Rate("Alioth, card", 2500.0, 90.25)], {1: 80.0, 4: 240.0}
    result.embedding = (3000.0, 2000.0)
    page = gpu_report(result)
    assert "qwen3-4b on L4 (24 GB), 2026-11-22" in page and "| Alioth, card | 2,500 | 90.2 |" in page
    assert "| 4 | 240 | 3.0 |" in page and "raw `encode` 2,000 (1.50)" in page
