"""A plan says before loading what a model takes; on this machine it is held against what really happens."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.bench_llm import bench_llm
from models.engine.load_options import CacheType, LoadOptions
from models.files.catalog import entry, location
from models.files.gguf import GgufHeader, read_header
from models.files.requantise import fast_copy
from models.planning.machine import (
    Card,
    Machine,
    Measured,
    cards,
    container_limit,
    keep_bench,
    last_bench,
    this_machine,
)
from models.planning.plan import SLOTS_ON_CARD, SLOTS_ON_PROCESSOR, Plan, memory, plan, room

GB = 1_000_000_000
BUNDLED = location(entry("smollm2-135m-instruct"), Path())

CHILD = """
import sys, psutil
from pathlib import Path
from models.engine.llama_native import NativeModel, library
from models.engine.load_options import LoadOptions
library()
me = psutil.Process()
before = me.memory_info().rss
slots = int(sys.argv[3])
model = NativeModel(Path(sys.argv[1]), LoadOptions(1, int(sys.argv[2]), slots=slots, cache_type=sys.argv[4]))
words = (model.tokenize("The policy applies to all employees. ", False) * 100)[:280]
for first in (0, 256):
    part = words[first : first + 256]
    model.compute([(word, first + at, 0, first + at == 279) for at, word in enumerate(part)])
model.compute([(words[0], 280 if seq == 0 else 0, seq, True) for seq in range(slots)])
print(me.memory_info().rss - before)
"""


def header(**changes: object) -> GgufHeader:
    """A model of 8 billion parameters in Q4_K_M, as large ones look."""
    sample = dataclasses.replace(
        read_header(BUNDLED),
        architecture="qwen3", weights=8_190_000_000, layers=36, width=4096, feed_forward=12288, heads=32,
        kv_heads=(8,) * 36, key_length=128, value_length=128, context=40960, vocabulary=151_936,
        layer_bytes=(120_000_000,) * 36, other_bytes=700_000_000, quantisation="Q4_K_M",
    )  # fmt: skip
    return dataclasses.replace(sample, **changes)  # type: ignore[arg-type]


def test_the_cache_is_layers_times_heads_times_window() -> None:
    eight = header()
    assert memory(eight, 8192, 0).cache == 36 * 8 * 256 * 2 * 8192
    assert memory(eight, 8192, 0, "q8_0").cache == int(8 * 256 * 34 / 32) * 36 * 8192
    assert memory(header(kv_heads=(8,) * 18 + (0,) * 18), 8192, 0).cache == 18 * 8 * 256 * 2 * 8192
    assert memory(header(attention_compressed=576), 8192, 0).cache == 36 * 576 * 2 * 8192


def test_what_is_on_the_card_is_not_in_memory() -> None:
    eight = header()
    none, some, all_ = (memory(eight, 8192, layers) for layers in (0, 10, 37))
    assert none.card == 0 and none.host == none.total
    assert 0 < some.card < all_.card and some.host > all_.host
    assert some.host + some.card == some.total


def test_the_output_goes_to_the_card_first_then_the_last_layers() -> None:
    """As llama.cpp deals them out: the first of the counted layers is the output."""
    eight = header(output_bytes=300_000_000, embedding_bytes=300_000_000)
    one, two = memory(eight, 1024, 1), memory(eight, 1024, 2)
    per_layer = 120_000_000 + 8 * 256 * 2 * 1024
    assert two.card - one.card == per_layer and one.weights == two.weights == eight.tensor_bytes
    tied = header(output_bytes=0, embedding_bytes=300_000_000)
    assert memory(tied, 1024, 1).weights == tied.tensor_bytes + 300_000_000
    assert memory(tied, 1024, 0).weights == tied.tensor_bytes


def test_layers_are_dealt_to_cards_by_their_shares() -> None:
    even, odd = (memory(header(), 8192, 37, shares=shares).by_card for shares in ((1, 1), (3, 1)))
    assert even[0] == pytest.approx(even[1], rel=0.2) and odd[0] > 2 * odd[1]
    assert memory(header(), 8192, 37, shares=(0, 1)).by_card[0] == 0
    two = (Card("a", 24 * GB, 23 * GB), Card("b", 4 * GB, 4 * GB))
    machine = Machine(64 * GB, 60 * GB, two)
    assert plan(header(), machine, users=1, window=8192).layers == 37  # by free memory
    split = plan(header(), machine, users=1, window=8192, options=LoadOptions(1, 8192, tensor_split=(1.0, 3.0)))
    assert 0 < split.layers < 37 and split.memory.by_card[1] <= 4 * GB
    alone = plan(header(), machine, users=1, window=8192, options=LoadOptions(1, 8192, main_card=1))
    assert 0 < alone.layers < 37 and len(alone.memory.by_card) == 1


def test_slots_are_as_many_as_people_ask_and_as_memory_allows() -> None:
    """Fewer slots come before a smaller cache type, that before fewer layers, that before a smaller window."""

    def on(card_gb: float, users: int = 50, slots: int = 0) -> Plan:
        cards = (Card("card", int(card_gb * GB), int(card_gb * GB)),)
        return plan(header(), Machine(64 * GB, 60 * GB, cards), users=users, window=8192, slots=slots)

    assert on(80).slots == SLOTS_ON_CARD and on(80, users=3).slots == 3 and on(80, slots=32).slots == 32
    smaller = on(12)
    assert (smaller.slots, smaller.cache_type, smaller.layers, smaller.window) == (8, "f16", 37, 8192)
    assert smaller.memory.card <= 12 * GB and smaller.less == ()
    assert "Only 8 slots fit, not 16" in on(12, slots=16).less[0]
    tight = on(6.2)
    assert (tight.slots, tight.cache_type, tight.layers, tight.window) == (2, "q8_0", 37, 8192)
    least = on(4)
    assert (least.slots, least.window) == (1, 8192) and 0 < least.layers < 37
    on_processor = plan(header(), Machine(64 * GB, 60 * GB), users=50, window=8192)
    assert on_processor.slots == SLOTS_ON_PROCESSOR and on_processor.options.gpu_layers == 0


def test_what_is_planned_never_exceeds_what_can_be_taken() -> None:
    for free in range(2, 80, 11):
        for card in (0, 2, 7, 24):
            cards = (Card("c", card * GB, card * GB),) if card else ()
            machine = Machine(80 * GB, free * GB, cards)
            made = plan(header(), machine, users=20, window=32768)
            if made.fits:
                assert made.memory.host <= room(machine)
                assert made.memory.card <= card * GB


def test_a_cache_that_cannot_be_packed_stays_as_it_is() -> None:
    odd = header(key_length=100, value_length=100)
    made = plan(odd, Machine(10 * GB, int(7.5 * GB)), users=1, window=32768)
    assert made.cache_type == "f16" and made.window < 32768


def test_a_container_s_limit_is_the_memory_there_is(tmp_path: Path) -> None:
    assert container_limit(tmp_path) is None
    for name, text in (("memory.max", "max"), ("memory.current", "1000"), ("memory.stat", "inactive_file 200")):
        (tmp_path / name).write_text(text)
    assert container_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("5000")
    assert container_limit(tmp_path) == (5000, 4200)


def test_a_large_card_takes_all_layers() -> None:
    made = plan(header(), Machine(32 * GB, 30 * GB, (Card("L4", 24 * GB, 23 * GB),)), users=1, window=8192)
    assert (made.fits, made.layers, made.all_layers, made.window, made.notes) == (True, 37, 37, 8192, ())
    assert {one.name: one.fits for one in made.quantisations}["F16"] == "card"


def test_a_small_card_takes_some_layers_and_says_so() -> None:
    made = plan(header(), Machine(32 * GB, 30 * GB, (Card("small", 4 * GB, 4 * GB),)), users=1, window=8192)
    assert made.fits and 0 < made.layers < 37 and made.memory.card <= 4 * GB
    assert f"{made.layers} of 37 layers" in made.notes[0]
    assert {one.name: one.fits for one in made.quantisations}["F16"] == "ram"


def test_two_cards_are_taken_together() -> None:
    two = (Card("a", 4 * GB, 4 * GB), Card("b", 4 * GB, 4 * GB))
    assert plan(header(), Machine(32 * GB, 30 * GB, two), users=1, window=8192).layers > 30


def test_little_memory_makes_the_window_smaller_and_too_little_is_told() -> None:
    made = plan(header(), Machine(10 * GB, int(7.5 * GB)), users=1, window=32768)
    assert made.fits and 1024 <= made.window < 32768 and "not 32768" in made.less[-1]
    assert made.cache_type == "q8_0" and "q8_0, not f16" in made.less[0]
    made = plan(header(), Machine(4 * GB, 3 * GB), users=1, window=8192)
    assert not made.fits and "does not fit" in made.notes[0]


def test_a_window_over_the_model_s_is_cut_to_it() -> None:
    made = plan(header(), Machine(99 * GB, 90 * GB), users=1, window=100_000)
    assert made.window == 40960 and "at most 40960" in made.notes[0]


def test_speed_is_unknown_until_it_was_measured_then_scaled(tmp_path: Path) -> None:
    machine = Machine(32 * GB, 30 * GB)
    assert last_bench(tmp_path) is None and plan(header(), machine, users=5, window=4096).speed is None
    keep_bench(Measured("small", 300.0, 100.0, 100_000_000, 135_000_000, 0), tmp_path)
    known = dataclasses.replace(machine, measured=last_bench(tmp_path))
    made = plan(header(), known, users=5, window=4096)
    assert made.speed is not None and "small" in made.speed.basis
    assert made.speed.answer_per_s == pytest.approx(100 * 100_000_000 / header().tensor_bytes)
    assert made.speed.prompt_per_s == pytest.approx(300 * 135e6 / 8.19e9)
    assert "5 people share 4 slots" in made.notes[-1] and " s." in made.notes[-1]
    with_card = dataclasses.replace(known, cards=(Card("L4", 24 * GB, 24 * GB),))
    assert plan(header(), with_card, users=5, window=4096).speed is None
    assert plan(header(experts=8), known, users=5, window=4096).speed is None


def test_this_machine_is_described(tmp_path: Path) -> None:
    machine = this_machine(tmp_path)
    assert machine.ram_total_bytes >= machine.ram_free_bytes > 0 and machine.measured is None
    assert all(card.total_bytes >= card.free_bytes >= 0 for card in cards())


@pytest.mark.parametrize(
    ("kind", "window", "slots", "cache"),
    [
        ("Q4_1", 1024, 1, "f16"),
        ("Q4_1", 4096, 1, "f16"),
        ("Q4_1", 8192, 1, "f16"),
        ("Q8_0", 4096, 1, "f16"),
        ("Q4_1", 4096, 4, "f16"),
        ("Q4_1", 8192, 1, "q8_0"),
        ("Q4_1", 8192, 4, "q8_0"),
        ("Q4_1", 8192, 4, "q4_0"),
    ],
)
def test_planned_memory_is_within_15_percent_of_what_a_loaded_model_takes(
    window: int, kind: str, slots: int, cache: CacheType, models_home: Path
) -> None:
    sha256 = entry("smollm2-135m-instruct").sha256
    file = BUNDLED if kind == "Q4_1" else fast_copy(BUNDLED, sha256, models_home, 2)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(file), str(window), str(slots), cache],
        capture_output=True, text=True, timeout=240, check=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    planned = memory(read_header(file), window, 0, cache, slots=slots).total
    assert planned == pytest.approx(int(done.stdout), rel=0.15)


def test_the_command_plans_for_a_card_that_is_not_here(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALIOTH_")}
    command = [sys.executable, "-m", "app.cli", "models", "plan", str(BUNDLED), "--card", "L4:24:20", "--json"]
    done = subprocess.run(
        command, env={**clean, "ALIOTH_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120
    )
    made = json.loads(done.stdout)
    assert (made["fits"], made["layers"], made["window"]) == (True, 31, 8192)
    assert made["machine"]["cards"] == [{"name": "L4", "total_bytes": 24 * GB, "free_bytes": 20 * GB}]


def test_a_bench_measures_ours_beside_the_bare_stream() -> None:
    done = bench_llm(BUNDLED, entry("smollm2-135m-instruct"), threads=1, gpu_layers=0, tokens=4)
    assert done.prompt_tokens > 400 and done.answer_tokens == 3 and done.ratio > 0
    assert min(done.measured.prompt_per_s, done.bare_prompt_per_s, done.bare_answer_per_s) > 0
    assert (done.measured.model, done.measured.layers_on_card) == ("smollm2-135m-instruct", 0)
    assert done.measured.weights_bytes == read_header(BUNDLED).tensor_bytes
