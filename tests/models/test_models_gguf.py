"""Model files by strangers: a sound header is read right, every other one gives an error, fast and in little memory."""

from __future__ import annotations

import dataclasses
import json
import struct
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import models
from core.errors import WeightsError
from models.files import gguf_read
from models.files.catalog import entry, location
from models.files.gguf import GgufHeader, read_header, require_language_model
from models.files.safetensors_read import read_safetensors_header, require_safe_folder
from tests.models.gguf_samples import TENSORS, gguf_bytes, llm_pairs, safetensors_bytes, text, write_gguf

SOUND = gguf_bytes(llm_pairs(), TENSORS)
SOUND_TENSORS = safetensors_bytes({"a.weight": (4, 8), "b.bias": (8,)})
MEMORY_BYTES = 64 * 1024 * 1024


def test_the_bundled_model_is_described_as_it_is() -> None:
    header = read_header(location(entry("smollm2-135m-instruct"), Path()))
    assert (header.architecture, header.quantisation, header.layers, header.heads) == ("llama", "Q4_1", 30, 9)
    assert (header.kv_heads, header.key_length, header.value_length) == ((3,) * 30, 64, 64)
    assert (header.context, header.vocabulary, header.weights) == (8192, 49152, 134_515_008)
    assert header.file_role == "llm" and "<|im_start|>" in header.chat_template
    assert 0 < header.size_bytes - header.tensor_bytes < 2_000_000
    require_language_model(header)


def test_a_sample_is_described_as_it_was_written(tmp_path: Path) -> None:
    header = read_header(write_gguf(tmp_path / "a.gguf"))
    assert (header.name, header.layers, header.kv_heads, header.key_length) == ("Sample", 2, (2, 2), 16)
    assert header.layer_bytes == (64 * 64 * 4,) * 2 and header.other_bytes == (64 * 4 + 64) * 4
    assert header.vocabulary == 4 and header.quantisation == "F32"


def test_heads_may_differ_by_layer(tmp_path: Path) -> None:
    pairs = llm_pairs()
    pairs["llama.attention.head_count_kv"] = [2, 0]
    assert read_header(write_gguf(tmp_path / "a.gguf", pairs)).kv_heads == (2, 0)
    pairs["llama.attention.head_count_kv"] = [2, 0, 1]
    with pytest.raises(WeightsError, match="one per layer"):
        read_header(write_gguf(tmp_path / "a.gguf", pairs))


@pytest.mark.parametrize(
    ("pairs", "role", "word"),
    [
        (llm_pairs("bert"), "embedder", "an embedding model"),
        (llm_pairs("qwen3", **{"qwen3.pooling_type": 3}), "embedder", "an embedding model"),
        (llm_pairs("qwen3", **{"qwen3.pooling_type": 4}), "reranker", "a reranker"),
        (llm_pairs("llama", **{"llama.attention.causal": False}), "embedder", "an embedding model"),
        (llm_pairs(**{"general.type": "adapter"}), "adapter", "a LoRA adapter"),
        (llm_pairs(**{"general.type": "mmproj"}), "projector", "the picture part"),
    ],
    ids=["bert", "pooled", "rank", "not-causal", "adapter", "projector"],
)
def test_what_is_no_language_model_is_told_apart(tmp_path: Path, pairs: dict[str, Any], role: str, word: str) -> None:
    header = read_header(write_gguf(tmp_path / "a.gguf", pairs))
    assert header.file_role == role
    with pytest.raises(WeightsError, match=word):
        require_language_model(header)


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'brain-9000'.*does not know"):
        read_header(write_gguf(tmp_path / "a.gguf", llm_pairs("brain-9000")))


def test_a_vocabulary_alone_is_no_language_model(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(gguf_bytes(llm_pairs(), {}))
    with pytest.raises(WeightsError, match="lacks what a language model needs"):
        require_language_model(read_header(tmp_path / "a.gguf"))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not a GGUF file"),
        (b"PK\x03\x04" + b"\0" * 40, "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "limits are"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40), "limits are"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 62) + b"x" * 64, "the limit is 1024"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 4, 1 << 50), "elements"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 1 << 20), "type 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 99) + b"\0" * 16, "unknown type 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<I4QIQ", 4, *[1 << 40] * 4, 0, 0), "shape"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<IQIQ", 1, 32, 777, 0), "unknown type 777"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<IQIQ", 1, 64, 0, 0), "bytes are missing"),
        (gguf_bytes({"general.alignment": 3}, {}), "alignment"),
        (gguf_bytes(llm_pairs(**{"llama.block_count": 1 << 30}), TENSORS), "whole number from 0 to 4096"),
        (gguf_bytes(llm_pairs(**{"general.architecture": 5}), TENSORS), "must be a text"),
    ],
)
def test_each_broken_rule_has_its_message(tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(WeightsError, match=word):
        read_header(tmp_path / "a.gguf")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.gguf"):
        read_header(tmp_path / "none.gguf")


def test_every_cut_gives_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    for length in range(0, len(SOUND), 37):
        file.write_bytes(SOUND[:length])
        with pytest.raises(WeightsError):
            read_header(file)


def _mutate(sound: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(sound)
    for place, length, new in changes:
        at = place % len(data)
        data[at : at + length] = new
    return bytes(data)


NUMBERS = st.sampled_from([0, 1, 255, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 48, 1 << 63, (1 << 64) - 1])
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 1200),
        st.integers(0, 16),
        st.one_of(st.binary(max_size=16), NUMBERS.map(lambda one: struct.pack("<Q", one))),
    ),
    min_size=1,
    max_size=6,
)


def _read_or_refuse(read: Any, data: bytes) -> Any:
    """What reading gives, or None for our error; anything else, or much memory, fails the test."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.gguf")
        file.write_bytes(data)
        tracemalloc.start()
        try:
            return read(file)
        except WeightsError as error:
            assert error.message and error.hint and len(error.message) < 1000
            return None
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < MEMORY_BYTES


@settings(max_examples=400)
@given(CHANGES)
@example([(8, 8, b"\xff" * 8)])
@example([(16, 8, b"\xff" * 8)])
def test_a_mutated_gguf_is_read_or_refused_but_never_crashes(changes: list[tuple[int, int, bytes]]) -> None:
    header = _read_or_refuse(read_header, _mutate(SOUND, changes))
    if header is not None:
        assert isinstance(header, GgufHeader) and header.tensor_bytes <= header.size_bytes
        assert len(header.layer_bytes) == len(header.kv_heads) == header.layers <= 4096
        json.dumps(dataclasses.asdict(header), default=str)


@settings(max_examples=150)
@given(st.binary(max_size=400))
def test_noise_after_the_magic_is_refused(noise: bytes) -> None:
    assert _read_or_refuse(read_header, b"GGUF" + struct.pack("<IQQ", 3, 2, 3) + noise) is None


def test_many_tiny_elements_stop_at_the_limit(tmp_path: Path) -> None:
    count = gguf_read.MAX_ELEMENTS // 2
    array = struct.pack("<IIQ", 9, 0, count) + b"\0" * count
    pairs = b"".join(text(f"k{number}") + array for number in range(4))
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 4) + pairs)
    with pytest.raises(WeightsError, match="all together"):
        read_header(tmp_path / "a.gguf")


# ---------------------------------------------------------------- safetensors and folders


def test_a_sound_safetensors_header_gives_shapes(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(SOUND_TENSORS)
    assert read_safetensors_header(tmp_path / "m.safetensors") == {"a.weight": (4, 8), "b.bias": (8,)}
    bundled = location(entry("all-minilm-l6-v2"), Path())
    assert len(read_safetensors_header(bundled / "model.safetensors")) > 90
    require_safe_folder(bundled)


@settings(max_examples=300)
@given(CHANGES)
@example([(0, 8, b"\xff" * 8)])
@example([(8, 0, b"[" * 5000)])
def test_mutated_safetensors_are_read_or_refused_but_never_crash(changes: list[tuple[int, int, bytes]]) -> None:
    shapes = _read_or_refuse(read_safetensors_header, _mutate(SOUND_TENSORS, changes))
    assert shapes is None or all(isinstance(shape, tuple) for shape in shapes.values())


def test_every_cut_of_safetensors_gives_an_error(tmp_path: Path) -> None:
    for length in range(len(SOUND_TENSORS)):
        (tmp_path / "m.safetensors").write_bytes(SOUND_TENSORS[:length])
        with pytest.raises(WeightsError):
            read_safetensors_header(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("name", "data", "word"),
    [
        ("pytorch_model.bin", b"\x80\x04.", "a pickle"),
        ("sub/head.pt", b"\x80\x04.", "a pickle"),
        ("modeling_own.py", b"print(1)", "no part of a safe model"),
        ("config.json", b'{"auto_map": {"AutoModel": "modeling_own.Model"}}', "program code"),
        ("modules.json", b'[{"idx": 0, "name": "0", "path": "", "type": "os.system"}]', "program code"),
        ("config.json", b'{"a": 1', "cannot be read"),
        ("config.json", b'{"a": 1, "a": 2}', "twice"),
        ("tokenizer.json", b"[" * 100_000, "cannot be read"),
    ],
)
def test_a_folder_with_anything_that_could_run_is_refused(tmp_path: Path, name: str, data: bytes, word: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "model.safetensors").write_bytes(SOUND_TENSORS)
    require_safe_folder(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=word):
        require_safe_folder(tmp_path)


def test_a_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(SOUND_TENSORS)
    (tmp_path / "config.json").symlink_to("/etc/hostname")
    with pytest.raises(WeightsError, match="is a link"):
        require_safe_folder(tmp_path)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="no weights"):
        require_safe_folder(tmp_path)


def test_no_loader_ever_trusts_code_of_a_model() -> None:
    sources = [file.read_text(encoding="utf-8") for file in Path(models.__file__).parent.rglob("*.py")]
    loading = [text for text in sources if "SentenceTransformer(" in text or "CrossEncoder(" in text]
    assert loading and all("trust_remote_code=False" in text for text in loading)
    assert not any("trust_remote_code=True" in text or "import pickle" in text for text in sources)


@pytest.mark.parametrize(("number", "count"), [(0, 3), (1, 3), (2, 3)])
def test_a_part_of_a_split_model_is_told_and_refused(tmp_path: Path, number: int, count: int) -> None:
    pairs = llm_pairs() | {"split.no": number, "split.count": count, "split.tensors.count": 9}
    header = read_header(write_gguf(tmp_path / f"m-0000{number + 1}-of-0000{count}.gguf", pairs))
    assert header.parts == count
    with pytest.raises(WeightsError, match="one of 3 parts") as caught:
        require_language_model(header)
    assert "--merge" in caught.value.hint


def test_a_file_that_is_whole_but_was_split_once_is_taken(tmp_path: Path) -> None:
    require_language_model(read_header(write_gguf(tmp_path / "m.gguf", llm_pairs() | {"split.count": 1})))
