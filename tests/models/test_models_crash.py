"""A language model that brings the process down is passed over: the last one that answered comes back, and says so."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.files.catalog import entry, location
from models.files.chosen import choose_llm
from models.files.store import Wanted, import_model
from models.protocols import Delta
from models.serving.llm_record import MOST_EVENTS, PHASE, RECORD, LlmRecord, forgive, load_events

BUNDLED = "smollm2-135m-instruct"
EPSILON = b"llama.attention.layer_norm_rms_epsilon"


def crashing_model(folder: Path) -> Path:
    """The bundled model with a negative epsilon: sound by every rule of the format, and llama.cpp aborts on it."""
    data = bytearray(location(entry(BUNDLED), Path()).read_bytes())
    at = data.index(EPSILON) + len(EPSILON)
    assert struct.unpack_from("<I", data, at)[0] == 6  # float32
    struct.pack_into("<f", data, at + 4, -1.0)
    (folder / "crasher.gguf").write_bytes(data)
    return folder / "crasher.gguf"


def a_dead_process_was(home: Path, phase: str, model: str) -> None:
    (home / "models").mkdir(parents=True, exist_ok=True)
    (home / PHASE).write_text(json.dumps({"pid": 0, "model": model, "phase": phase}))


def answer(record: LlmRecord, model: str) -> None:
    record.loaded(model)
    deltas = iter([Delta(text="Paris"), Delta(finish_reason="stop", generated_tokens=1)])
    assert [delta.text for delta in record.watch(deltas)] == ["Paris", ""]


def test_the_model_that_is_wanted_is_chosen_until_it_failed_twice(tmp_path: Path) -> None:
    record = LlmRecord(tmp_path)
    assert record.choose("qwen3-4b") == "qwen3-4b"
    record.failed("qwen3-4b", "no memory")
    assert record.choose("qwen3-4b") == "qwen3-4b"
    record.failed("qwen3-4b", "no memory")
    assert record.choose("qwen3-4b") == BUNDLED
    newest = load_events(tmp_path)[0]
    assert newest.model == "qwen3-4b" and f"{BUNDLED} answers instead" in newest.text and "no memory" in newest.text


def test_the_last_one_that_answered_goes_before_the_bundled_one(tmp_path: Path) -> None:
    record = LlmRecord(tmp_path)
    (tmp_path / "models").mkdir()
    location(entry("qwen3-0.6b"), tmp_path).write_bytes(b"here")
    answer(record, "qwen3-0.6b")
    for _ in range(2):
        record.failed("qwen3-4b", "crash")
    assert record.choose("qwen3-4b") == "qwen3-0.6b"
    for _ in range(2):
        record.failed("qwen3-0.6b", "crash")
    assert record.choose("qwen3-4b") == BUNDLED
    assert record.choose(BUNDLED) == BUNDLED
    location(entry("qwen3-0.6b"), tmp_path).unlink()
    forgive("qwen3-0.6b", tmp_path)
    assert record.choose("qwen3-4b") == BUNDLED


def test_an_answer_and_a_person_s_choice_clear_the_failures(tmp_path: Path) -> None:
    record = LlmRecord(tmp_path)
    for clear in (lambda: answer(record, "qwen3-4b"), lambda: forgive("qwen3-4b", tmp_path)):
        record.failed("qwen3-4b", "x")
        record.failed("qwen3-4b", "x")
        assert record.choose("qwen3-4b") == BUNDLED
        record._answered = ""
        clear()
        assert record.choose("qwen3-4b") == "qwen3-4b"


@pytest.mark.parametrize(("phase", "counted"), [("loading", True), ("computing", True), ("idle", False)])
def test_an_end_counts_only_while_something_was_computed(tmp_path: Path, phase: str, counted: bool) -> None:
    for _ in range(2):
        a_dead_process_was(tmp_path, phase, "qwen3-4b")
        LlmRecord(tmp_path).begin()
    assert (LlmRecord(tmp_path).choose("qwen3-4b") == BUNDLED) is counted
    assert not (tmp_path / PHASE).exists()


def test_a_process_that_still_runs_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / PHASE).write_text(json.dumps({"pid": os.getppid(), "model": "qwen3-4b", "phase": "loading"}))
    LlmRecord(tmp_path).begin()
    assert load_events(tmp_path) == []


def test_an_orderly_end_leaves_nothing_behind(tmp_path: Path) -> None:
    record = LlmRecord(tmp_path)
    record.loading("qwen3-4b")
    assert json.loads((tmp_path / PHASE).read_text())["phase"] == "loading"
    record.ended()
    assert not (tmp_path / PHASE).exists()


def test_what_is_computed_is_on_disk_while_it_is_and_cancelled_answers_prove_nothing(tmp_path: Path) -> None:
    record = LlmRecord(tmp_path)
    record.loaded("qwen3-4b")

    def phase() -> str:
        return str(json.loads((tmp_path / PHASE).read_text())["phase"])

    def deltas() -> Iterator[Delta]:
        yield Delta(text="a")
        assert phase() == "computing"
        yield Delta(text="b")

    one, two = record.watch(deltas()), record.watch(deltas())
    next(one), next(two)
    one.close()  # type: ignore[attr-defined]
    assert phase() == "computing"
    assert [delta.text for delta in two] == ["b"]
    assert phase() == "idle" and "good" not in json.loads(
        (tmp_path / RECORD).read_text() if (tmp_path / RECORD).exists() else "{}"
    )


def test_events_that_repeat_are_counted_and_old_ones_go(tmp_path: Path) -> None:
    record = LlmRecord(tmp_path)
    for _ in range(3):
        record.note("a", "same")
    assert [(one.text, one.count) for one in load_events(tmp_path)] == [("same", 3)]
    for number in range(MOST_EVENTS + 5):
        record.note("a", f"event {number}")
    assert len(load_events(tmp_path)) == MOST_EVENTS and load_events(tmp_path)[0].text == f"event {MOST_EVENTS + 4}"


@pytest.mark.parametrize("text", ["", "[]", '{"failed": 3, "events": [{"x": 1}], "good": 7}', "\0"])
def test_a_damaged_record_costs_only_the_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / RECORD).write_text(text)
    (tmp_path / PHASE).write_text(text)
    record = LlmRecord(tmp_path)
    record.begin()
    assert record.choose("qwen3-4b") == "qwen3-4b" and load_events(tmp_path) == []
    record.failed("qwen3-4b", "x")
    record.failed("qwen3-4b", "x")
    assert record.choose("qwen3-4b") == BUNDLED


# ---------------------------------------------------------------- a real process


def start(home: Path, *, ready: bool) -> tuple[subprocess.Popen[bytes], str]:
    read, write = os.pipe()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALIOTH_")}
    own = {"ALIOTH_HOME": str(home), "ALIOTH_MODELS__TOKEN": "t", "ALIOTH_MODELS__REQUANTISE": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.model_server", "--port", "0", "--ready-fd", str(write)],
        env={**clean, **own}, pass_fds=(write,), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as stream:
        line = stream.readline()  # ends when it is ready or dead
    if ready:
        return process, str(json.loads(line)["url"])
    process.wait(timeout=300)
    return process, line


ABORT_TWICE = """
import ctypes, pathlib, threading
import llama_cpp
from models.engine.llama_native import library
library()
[found] = pathlib.Path(llama_cpp.__file__).parent.glob("lib/libggml-base.so")
abort, both = ctypes.CDLL(str(found)).ggml_abort, threading.Barrier(2)
def fail(number):
    both.wait()
    abort(b"test.c", number, b"by a test")
for number in (1, 2):
    threading.Thread(target=fail, args=(number,)).start()
"""


def test_threads_of_llama_cpp_that_abort_at_once_end_the_process_and_start_no_debugger() -> None:
    clean = {name: value for name, value in os.environ.items() if name != "GGML_NO_BACKTRACE"}
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", ABORT_TWICE], env=clean, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == -signal.SIGABRT and "by a test" in done.stderr
        assert not [line for line in done.stderr.splitlines() if not line.startswith("test.c")], done.stderr


def test_a_model_that_aborts_the_process_twice_is_passed_over_and_use_gives_it_another_try(tmp_path: Path) -> None:
    import_model(crashing_model(tmp_path), tmp_path, Wanted(id="crasher"))
    choose_llm("crasher", BUNDLED, tmp_path)
    LlmRecord(tmp_path).failed("crasher", "The first of two.")
    process, line = start(tmp_path, ready=False)
    assert process.returncode == -signal.SIGABRT and line == ""
    process, url = start(tmp_path, ready=True)
    try:
        with httpx.Client(base_url=url, headers={"Authorization": "Bearer t"}, timeout=120) as http:
            llm: dict[str, Any] = http.get("/v1/models").json()["data"][0]
            assert llm["id"] == BUNDLED and "crasher failed 2 times" in llm["notes"][0]
            body = {"model": "crasher", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
            assert http.post("/v1/chat/completions", json=body).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 0
    finally:
        process.kill()
    record = LlmRecord(tmp_path)
    assert not (tmp_path / PHASE).exists() and json.loads((tmp_path / RECORD).read_text())["good"] == BUNDLED
    assert record.choose("crasher") == BUNDLED
    forgive("crasher", tmp_path)
    assert record.choose("crasher") == "crasher"
