"""Loading a language model: what does not fit steps down and says so, what computes no sense is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.errors import ModelError, WeightsError
from models.catalog import entry, location
from models.known_answer import SENTENCES, require_sense
from models.llama import LlamaCppModel
from models.llama_load import SMALLEST_WINDOW, load_what_fits
from models.llama_native import NativeModel
from tests.models.gguf_samples import llm_pairs, write_gguf


@dataclass
class LimitedOpener:
    """Fails as llama.cpp does when more is wanted than there is; remembers what was tried."""

    most_layers: int = 99
    most_window: int = 1 << 20
    broken: bool = False
    tried: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, path: Path, *, threads: int, window: int, gpu_layers: int) -> str:
        self.tried.append((gpu_layers, window))
        if self.broken or gpu_layers > self.most_layers:
            raise WeightsError(f"llama.cpp cannot load '{path}'.")
        if window > self.most_window:
            raise ModelError(f"No memory for a window of {window} tokens.")
        return f"{gpu_layers} {window}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pairs = llm_pairs()
    pairs["llama.block_count"] = 32
    pairs["llama.context_length"] = 8192
    return write_gguf(tmp_path / "m.gguf", pairs)


def load(file: Path, opener: LimitedOpener, layers: int = -1, card: bool = True) -> tuple[str, tuple[str, ...]]:
    return load_what_fits(file, threads=1, window=8192, gpu_layers=layers, opener=opener, card=card)


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
        LlamaCppModel(tmp_path / "cut.gguf", entry("smollm2-135m-instruct"), threads=1)


def test_a_header_that_lies_about_its_tensors_is_refused_and_not_a_crash(tmp_path: Path) -> None:
    """Sound by the format, but not the model it says it is: llama.cpp itself has to refuse it."""
    with pytest.raises(WeightsError, match="cannot load"):
        LlamaCppModel(write_gguf(tmp_path / "m.gguf"), entry("smollm2-135m-instruct"), threads=1)


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
    native = NativeModel(location(entry("smollm2-135m-instruct"), Path()), threads=1, window=256, gpu_layers=0)
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
