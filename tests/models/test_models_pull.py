"""Pulling a model: every byte is what the hub's record says, an interruption costs nothing, a fault leaves nothing."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import AliothError, ConflictError, LimitError, ModelError, NotFoundError, WeightsError
from models.files import store, weights
from models.files.catalog import entry, location
from models.files.pull import pull
from tests.models.gguf_samples import llm_pairs, safetensors_bytes, write_gguf
from tests.models.hub import COMMIT, Hub, running_hub
from tests.models.odd_server import wait_until

FOLDER = {
    "config.json": b'{"hidden_size": 8, "max_position_embeddings": 64}',
    "modules.json": b'[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]',
    "1_Pooling/config.json": b'{"word_embedding_dimension": 8}',
    "model.safetensors": safetensors_bytes({"a": (4, 8)}),
    "pytorch_model.bin": b"\x80\x04.",
    "onnx/model.onnx": b"onnx",
    "modeling_own.py": b"raise SystemExit",
}
OWN = """
[[model]]
id = "sample-llm"
role = "llm"
kind = "gguf"
source = "home:sample.gguf"
repository = "org/sample"
hub_file = "Sample-Q8.gguf"
languages = ["en"]
window = 4096
licence = "MIT"

[[model]]
id = "sample-embedder"
role = "embedder"
kind = "sentence_transformers"
source = "home:sample-embedder"
repository = "org/sample"
languages = ["en"]
dimension = 8
window = 64
licence = "MIT"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "catalog.toml").write_text(OWN)
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Serves a small GGUF file and a folder."""
    files = {"Sample-Q8.gguf": write_gguf(tmp_path / "Sample-Q8.gguf")}
    for name, data in FOLDER.items():
        files[name] = tmp_path / "served" / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_bytes(data)
    with running_hub(files) as served:
        yield served


@pytest.fixture
def large_hub() -> Iterator[Hub]:
    """Serves the bundled model under the sample's name: large enough to be cut in the middle."""
    with running_hub({"Sample-Q8.gguf": location(entry("smollm2-135m-instruct"), Path())}) as served:
        yield served


def left_over(home: Path) -> list[str]:
    """Files of a pull that are neither locks nor in place."""
    folder = home / "models" / store.INCOMING
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")


def test_a_pulled_file_is_checked_pinned_and_resolves(home: Path, hub: Hub) -> None:
    done = pull("sample-llm", home, hub.url)
    digest = hashlib.sha256(hub.files["Sample-Q8.gguf"].read_bytes()).hexdigest()
    assert (done.revision, done.sha256, done.resumed_bytes) == (COMMIT, {"sample.gguf": digest}, 0)
    assert weights.resolve("sample-llm", home) == done.path == home / "models" / "sample.gguf"
    assert weights.weights_sha256("sample-llm", home) == digest
    assert left_over(home) == []
    with pytest.raises(ConflictError, match="here already"):
        pull("sample-llm", home, hub.url)


def test_of_a_folder_only_safe_files_come(home: Path, hub: Hub) -> None:
    done = pull("sample-embedder", home, hub.url)
    assert sorted(done.sha256) == ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json"]
    assert weights.resolve("sample-embedder", home) == done.path
    assert {name for name, _ in hub.asked} == set(done.sha256)


def test_a_repository_without_safetensors_is_refused(home: Path, hub: Hub) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(WeightsError, match="no safetensors"):
        pull("sample-embedder", home, hub.url)
    assert hub.asked == []


def test_a_connection_cut_in_the_middle_goes_on_from_there(home: Path, large_hub: Hub) -> None:
    large_hub.cut_at = 25_000_000
    done = pull("sample-llm", home, large_hub.url)
    assert [wanted for _, wanted in large_hub.asked] == ["", "bytes=20971520-"]
    assert done.path.stat().st_size == done.size_bytes


def _command(home: Path, hub: Hub, *arguments: str) -> dict[str, Any]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALIOTH_")}
    return {
        "args": [sys.executable, "-m", "app.cli", "models", *arguments],
        "env": {**clean, "ALIOTH_HOME": str(home), "ALIOTH_MODELS__ENDPOINT": hub.url},
        "stderr": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "text": True,
    }


def test_a_pull_that_was_killed_is_resumed_by_the_next(home: Path, large_hub: Hub) -> None:
    large_hub.stall_at = 25_000_000
    process = subprocess.Popen(**_command(home, large_hub, "pull", "sample-llm"))
    folder = home / "models" / store.INCOMING / "sample-llm"
    until = time.monotonic() + 120
    while not any(file.stat().st_size >= 20_971_520 for file in folder.glob("*.partial")):
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=30)
    large_hub.stall_at = 0
    large_hub.asked.clear()
    done = pull("sample-llm", home, large_hub.url)
    assert done.resumed_bytes == 20_971_520
    assert [wanted for _, wanted in large_hub.asked] == ["bytes=20971520-"]
    assert weights.resolve("sample-llm", home) == done.path


def test_a_pull_killed_just_before_the_model_is_in_place_is_done_again(
    home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    for step in ("require_fits", "pin", "place"):
        for model_id in ("sample-llm", "sample-embedder"):
            with monkeypatch.context() as patched:
                patched.setattr("models.files.pull." + step, die)
                with pytest.raises(Killed):
                    pull(model_id, home, hub.url)
            with pytest.raises(WeightsError, match="not on this machine"):
                weights.resolve(model_id, home)
    for model_id in ("sample-llm", "sample-embedder"):
        done = pull(model_id, home, hub.url)
        assert weights.resolve(model_id, home) == done.path
    assert left_over(home) == []


def test_a_second_pull_of_the_same_model_is_refused_and_the_first_goes_on(home: Path, large_hub: Hub) -> None:
    large_hub.stall_at = 25_000_000
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(pull, "sample-llm", home, large_hub.url)
        wait_until(lambda: bool(large_hub.asked) or first.done())
        with pytest.raises(ConflictError, match="being pulled by another"):
            pull("sample-llm", home, large_hub.url)
        large_hub.go.set()
        done = first.result(120)
    assert len({name for name, _ in large_hub.asked}) == 1 and left_over(home) == []
    assert weights.resolve("sample-llm", home) == done.path


def test_a_server_that_does_not_know_ranges_starts_from_the_beginning(home: Path, large_hub: Hub) -> None:
    large_hub.cut_at, large_hub.ranges = 25_000_000, False
    done = pull("sample-llm", home, large_hub.url)
    assert [wanted for _, wanted in large_hub.asked] == ["", "bytes=20971520-"]
    assert weights.resolve("sample-llm", home) == done.path


@pytest.mark.parametrize("announced", [-40, 40], ids=["too little", "too much"])
def test_a_server_that_lies_about_the_length_is_found_out(home: Path, hub: Hub, announced: int) -> None:
    hub.announces = hub.files["Sample-Q8.gguf"].stat().st_size + announced
    with pytest.raises((ModelError, WeightsError), match=r"does not answer|not what the hub's record says"):
        pull("sample-llm", home, hub.url)
    assert not (home / "models" / "sample.gguf").exists()
    hub.announces = 0
    done = pull("sample-llm", home, hub.url)
    assert weights.resolve("sample-llm", home) == done.path


def test_a_file_that_is_not_what_the_record_says_is_removed(home: Path, hub: Hub) -> None:
    good = hub.files["Sample-Q8.gguf"].read_bytes()
    for lie in (good[:-1] + b"\x01", good[:-7], good + b"more"):
        hub.lies = {"Sample-Q8.gguf": lie}
        with pytest.raises(WeightsError, match="not what the hub's record says"):
            pull("sample-llm", home, hub.url)
        assert not (home / "models" / "sample.gguf").exists() and left_over(home) == []
    hub.lies = {"config.json": FOLDER["config.json"].replace(b"8", b"9")}
    with pytest.raises(WeightsError, match="git sha1"):
        pull("sample-embedder", home, hub.url)
    assert not (home / "models" / "sample-embedder").exists()
    hub.lies = {}
    assert pull("sample-llm", home, hub.url).path.exists() and pull("sample-embedder", home, hub.url).path.exists()


def test_a_file_that_changed_on_the_hub_after_it_was_pinned_is_refused(home: Path, hub: Hub, tmp_path: Path) -> None:
    done = pull("sample-llm", home, hub.url)
    done.path.unlink()
    write_gguf(hub.files["Sample-Q8.gguf"], llm_pairs(**{"general.name": "Another"}))
    with pytest.raises(WeightsError, match="was pinned to"):
        pull("sample-llm", home, hub.url)
    store.remove_model("sample-llm", home, {})
    (home / "models" / "catalog.toml").write_text(OWN)
    assert pull("sample-llm", home, hub.url).path.exists()


def test_an_embedding_model_in_the_place_of_an_llm_is_refused_and_removed(home: Path, hub: Hub) -> None:
    write_gguf(hub.files["Sample-Q8.gguf"], llm_pairs("bert"))
    with pytest.raises(WeightsError, match="an embedding model"):
        pull("sample-llm", home, hub.url)
    assert not (home / "models" / "sample.gguf").exists() and left_over(home) == []


@pytest.mark.parametrize("name", ["../../evil.json", "/evil.json", "a\\..\\evil.json"])
def test_a_name_that_points_outside_is_refused(home: Path, hub: Hub, name: str) -> None:
    hub.files[name] = hub.files["config.json"]
    with pytest.raises(WeightsError, match="lie outside"):
        pull("sample-embedder", home, hub.url)
    assert hub.asked == []


def test_a_record_without_hash_or_size_is_refused(home: Path, hub: Hub) -> None:
    for change in ({"lfs": None, "blobId": None}, {"size": None}):
        hub.record_changes = {"Sample-Q8.gguf": change}
        with pytest.raises(WeightsError, match="no size or hash"):
            pull("sample-llm", home, hub.url)


def test_a_file_that_the_repository_lacks_is_told_with_those_it_has(home: Path, hub: Hub) -> None:
    hub.files["Other.gguf"] = hub.files.pop("Sample-Q8.gguf")
    with pytest.raises(NotFoundError, match=r"Other\.gguf"):
        pull("sample-llm", home, hub.url)


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        ({"status": 404}, NotFoundError, "no such repository"),
        ({"status": 500}, ModelError, "status 500"),
        ({"garbage": b"<html>"}, ModelError, "cannot be read"),
        ({"garbage": b"[]"}, ModelError, "cannot be read"),
    ],
    ids=["404", "500", "html", "list"],
)
def test_a_hub_that_fails_gives_a_message(
    home: Path, hub: Hub, change: dict[str, Any], kind: type[AliothError], word: str
) -> None:
    for name, value in change.items():
        setattr(hub, name, value)
    with pytest.raises(kind, match=word):
        pull("sample-llm", home, hub.url)


def test_a_hub_that_is_away_is_named(home: Path, hub: Hub) -> None:
    url = hub.url
    with running_hub({}) as other:
        gone = other.url
    assert gone != url
    with pytest.raises(ModelError, match=gone) as caught:
        pull("sample-llm", home, gone)
    assert "ALIOTH_MODELS__ENDPOINT" in caught.value.hint


def test_without_room_nothing_is_asked_for(home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SPARE_BYTES", 1 << 60)
    with pytest.raises(LimitError, match="MB free"):
        pull("sample-llm", home, hub.url)
    assert hub.asked == []


def test_a_disk_that_gets_full_ends_with_a_message_and_leaves_nothing(home: Path, large_hub: Hub) -> None:
    """The limit on file sizes gives the same error as a full disk, without filling one."""
    done = subprocess.run(
        **_command(home, large_hub, "pull", "sample-llm"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (15_000_000, 15_000_000)),
        timeout=120,
    )
    assert done.returncode == 1 and "The disk is full" in done.stderr and "Traceback" not in done.stderr
    assert left_over(home) == []


def test_the_command_pulls_and_prints_what_it_pinned(home: Path, hub: Hub) -> None:
    done = subprocess.run(**_command(home, hub, "pull", "sample-llm"), timeout=120)
    assert done.returncode == 0 and "checked and pinned" in done.stderr
    pins = tomllib.loads((home / "models" / "pins.toml").read_text())
    assert set(pins) == {"sample-llm"} and set(pins["sample-llm"]) == {"sample.gguf"}


def test_bundled_and_unknown_models_are_not_pulled(home: Path, hub: Hub) -> None:
    with pytest.raises(ConflictError, match="comes with Alioth"):
        pull("smollm2-135m-instruct", home, hub.url)
    with pytest.raises(NotFoundError, match="sample-llm"):
        pull("sample-lm", home, hub.url)
