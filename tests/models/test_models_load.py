"""Loading a language model: what does not fit steps down and says so, what computes no sense is refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError, ModelError, WeightsError
from models.engine.llama import LlamaCppModel
from models.engine.llama_load import SMALLEST_WINDOW, load_what_fits
from models.engine.llama_native import NativeModel
from models.engine.load_options import LoadOptions, cache_tokens, tensor_split_of
from models.files.catalog import entry, location
from models.known_answer import SENTENCES, require_sense
from tests.models.gguf_samples import llm_pairs, write_gguf


@dataclass
class LimitedOpener:
    """Fails as llama.cpp does when more is wanted than there is; remembers what was tried."""

    most_layers: int = 99
    most_window: int = 1 << 20
    broken: bool = False
    tried: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, path: Path, options: LoadOptions) -> str:
        layers, window = options.gpu_layers, options.window
        self.tried.append((layers, window))
        if self.broken or layers > self.most_layers:
            raise WeightsError(f"llama.cpp cannot load '{path}'.")
        if window > self.most_window:
            raise ModelError(f"No memory for a window of {window} tokens.")
        return f"{layers} {window}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pairs = llm_pairs()
    pairs["llama.block_count"] = 32
    pairs["llama.context_length"] = 8192
    return write_gguf(tmp_path / "m.gguf", pairs)


def load(file: Path, opener: LimitedOpener, layers: int = -1, card: bool = True) -> tuple[str, tuple[str, ...]]:
    return load_what_fits(file, LoadOptions(1, 8192, gpu_layers=layers), opener=opener, card=card)


def test_what_fits_is_loaded_at_once_and_nothing_is_said(file: Path) -> None:
    assert load(file, LimitedOpener()) == ("33 8192", ())
    assert load(file, LimitedOpener(), layers=5) == ("5 8192", ())


def test_a_machine_without_a_card_puts_nothing_there_and_says_nothing(file: Path) -> None:
    assert load(file, LimitedOpener(most_layers=0), card=False) == ("0 8192", ())


def test_layers_step_down_until_they_fit_on_the_card(file: Path) -> None:
    opener = LimitedOpener(most_layers=20)
    loaded, notes = load(file, opener)
    assert loaded == "18 8192" and opener.tried == [(33, 8192), (24, 8192), (18, 8192)]
    assert len(notes) == 1 and "18 of 33 layers" in notes[0]


def test_then_the_window_steps_down(file: Path) -> None:
    loaded, notes = load(file, LimitedOpener(most_layers=0, most_window=3000))
    assert loaded == "0 2048"
    assert "0 of 33 layers" in notes[0] and "2048 tokens, not 8192" in notes[1]


def test_no_memory_at_all_is_an_error_after_the_least_was_tried(file: Path) -> None:
    opener = LimitedOpener(most_window=100)
    with pytest.raises(ModelError, match=f"window of {SMALLEST_WINDOW}"):
        load(file, opener)
    assert opener.tried[-1] == (0, SMALLEST_WINDOW) and len(opener.tried) < 20


def test_a_file_that_never_loads_is_tried_without_a_card_and_refused(file: Path) -> None:
    opener = LimitedOpener(broken=True)
    with pytest.raises(WeightsError, match="cannot load"):
        load(file, opener)
    assert opener.tried[-1][0] == 0


@pytest.mark.parametrize("pairs", [llm_pairs("bert"), llm_pairs("brain-9000")], ids=["embedder", "unknown"])
def test_a_file_of_another_kind_never_reaches_the_loader(tmp_path: Path, pairs: dict[str, object]) -> None:
    opener = LimitedOpener()
    with pytest.raises(WeightsError):
        load(write_gguf(tmp_path / "m.gguf", pairs), opener)
    assert opener.tried == []


def test_a_cut_model_is_refused_with_a_message(tmp_path: Path) -> None:
    whole = location(entry("smollm2-135m-instruct"), Path())
    with whole.open("rb") as stream:
        (tmp_path / "cut.gguf").write_bytes(stream.read(5_000_000))
    with pytest.raises(WeightsError, match="bytes are missing"):
        LlamaCppModel(tmp_path / "cut.gguf", entry("smollm2-135m-instruct"), LoadOptions(1, 8192))


def test_a_header_that_lies_about_its_tensors_is_refused_and_not_a_crash(tmp_path: Path) -> None:
    """Sound by the format, but not the model it says it is: llama.cpp itself has to refuse it."""
    with pytest.raises(WeightsError, match="cannot load"):
        LlamaCppModel(write_gguf(tmp_path / "m.gguf"), entry("smollm2-135m-instruct"), LoadOptions(1, 8192))


# ---------------------------------------------------------------- known answers


@dataclass
class Guessing:
    """A model that finds every token equally likely, times a factor."""

    factor: float
    vocabulary: int = 1000

    def tokenize(self, text: str, markers: bool) -> list[int]:
        return list(range(len(text)))

    def losses(self, tokens: Sequence[int]) -> list[float]:
        return [self.factor * math.log(self.vocabulary)] * (len(tokens) - 1)


def test_the_bundled_model_finds_the_known_sentence_likely_and_noise_not() -> None:
    native = NativeModel(location(entry("smollm2-135m-instruct"), Path()), LoadOptions(1, 256))
    try:
        require_sense(native, "bundled", ("en",))
        losses = native.losses(native.tokenize(SENTENCES["en"], False))
        assert len(losses) > 10 and sum(losses) / len(losses) < 3
        noise = native.losses(list(range(1000, 1030)))
        assert sum(noise) / len(noise) > 0.7 * math.log(native.vocabulary)
    finally:
        native.close()


@pytest.mark.parametrize("factor", [0.7, 1.0, math.nan, math.inf])
def test_noise_and_what_is_no_number_are_refused(factor: float) -> None:
    with pytest.raises(WeightsError, match=r"finite|likelier"):
        require_sense(Guessing(factor), "broken", ("en",))


def test_only_the_languages_that_a_model_claims_are_asked() -> None:
    require_sense(Guessing(0.2), "good", ("en", "zh"))
    require_sense(Guessing(1.0), "of another language", ("xx",))
    with pytest.raises(WeightsError, match=r"\(zh\)"):
        require_sense(Guessing(1.0), "claims Chinese", ("zh",))


# ---------------------------------------------------------------- less memory than was thought


def test_after_the_layers_the_cache_and_the_slots_step_down(file: Path) -> None:
    tried: list[tuple[int, str, int, int]] = []

    def opener(path: Path, options: LoadOptions) -> str:
        tried.append((options.gpu_layers, options.cache_type, options.slots, options.window))
        if tried[-1] != (0, "q8_0", 1, 8192):
            raise ModelError("No memory.")
        return "loaded"

    wanted = LoadOptions(1, 8192, slots=4, gpu_layers=2)
    loaded, notes = load_what_fits(_packable(file), wanted, opener=opener, card=True)
    assert loaded == "loaded"
    assert tried == [
        (2, "f16", 4, 8192), (0, "f16", 4, 8192), (0, "q8_0", 4, 8192), (0, "q8_0", 2, 8192), (0, "q8_0", 1, 8192)
    ]  # fmt: skip
    assert [word in note for word, note in zip(("0 of 2 layers", "q8_0, not f16", "1 answers"), notes, strict=True)]


def _packable(file: Path) -> Path:
    pairs = llm_pairs()
    pairs |= {"llama.block_count": 32, "llama.context_length": 8192, "llama.embedding_length": 128}
    return write_gguf(file.with_name("packable.gguf"), pairs)


SMALL_PROCESS = """
import json, resource, sys
from pathlib import Path
from models.engine.llama_load import load_what_fits
from models.engine.llama_native import NativeModel, library
from models.engine.load_options import LoadOptions, cache_tokens, tensor_split_of
library()
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
room = taken + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (room, room))
wanted = LoadOptions(1, 8192, slots=8)
model, notes = load_what_fits(Path(sys.argv[1]), wanted, opener=NativeModel, card=False)
print(json.dumps({"slots": model.slots, "window": model.window, "notes": notes}))
"""


def small_process(room_bytes: int) -> subprocess.CompletedProcess[str]:
    bundled = location(entry("smollm2-135m-instruct"), Path())
    return subprocess.run(
        [sys.executable, "-c", SMALL_PROCESS, str(bundled), str(room_bytes)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip


def test_a_process_without_the_memory_loads_less_and_says_so() -> None:
    """llama.cpp's own allocations fail here, as they do where other programs took the memory in between."""
    done = small_process(520_000_000)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert (got["slots"], got["window"]) != (8, 8192) and got["window"] >= SMALLEST_WINDOW
    assert "q8_0, not f16" in got["notes"][0]


def test_a_process_with_no_memory_at_all_ends_with_a_message_and_not_a_crash() -> None:
    done = small_process(60_000_000)
    assert done.returncode == 1 and "WeightsError" in done.stderr and "cannot load" in done.stderr


# ---------------------------------------------------------------- what may be asked for


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"slots": 0}, "slots"),
        ({"slots": 65}, "slots"),
        ({"main_card": 99}, "main_card"),
        ({"cache_type": "q5_1"}, "q5_1"),
        ({"cache_type": "q8_0", "flash_attention": "off"}, "flash attention is 'off'"),
        ({"tensor_split": (3.0, 1.0), "main_card": 0}, "'3,1'"),
    ],
)
def test_options_that_cannot_be_are_refused(values: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError) as caught:
        LoadOptions(1, 4096, **values)
    assert word in str(caught.value) and caught.value.hint


def test_a_packed_cache_switches_flash_attention_on() -> None:
    assert LoadOptions(1, 4096, cache_type="q8_0").flash == "on" and LoadOptions(1, 4096).flash == "auto"


def test_shares_of_cards_are_read_from_text() -> None:
    assert tensor_split_of("") == () and tensor_split_of(" 3, 1.5 ") == (3.0, 1.5) and tensor_split_of("0,1") == (0, 1)
    for text in ("a,b", "1;2", "-1,2", "0,0", "nan,1", "1,,2", ",".join("1" * 17)):
        with pytest.raises(InputError, match="split over cards"):
            tensor_split_of(text)


def test_slots_share_half_a_window_each_and_never_less_than_one() -> None:
    assert [cache_tokens(8192, slots) for slots in (1, 2, 3, 4, 16)] == [8192, 8192, 16384, 16384, 65536]
