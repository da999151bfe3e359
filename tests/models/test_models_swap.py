"""Changing the language model while people ask: nobody loses an answer, a failure changes nothing."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.errors import ConflictError, ContextOverflowError, WeightsError
from models.engine.llama import LlamaCppModel
from models.engine.load_options import LoadOptions
from models.fakes import FakeEmbedder
from models.files import catalog, weights
from models.files.chosen import choose_llm, former_llms
from models.protocols import Delta, GenerationSettings, Message
from models.queueing.lanes import ComputeGate
from models.serving.service import Served, serve
from models.serving.swap import LlmSwap, LoadedLlm

TOKEN = "test-token"
FILE = "smollm2-135m-instruct"
HELLO = [Message("user", "Say hello.")]


class HeldGate(ComputeGate):
    """Keeps an answer from beginning until `go`, so that a test decides what is under way; loading goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded = False
        self.entered, self.go = threading.Event(), threading.Event()

    @contextmanager
    def answer(self) -> Iterator[None]:
        if self.loaded:
            self.entered.set()
            assert self.go.wait(120)
        self.loaded = True
        with super().answer():
            yield


class Loader:
    """Loads the bundled file under any name; `bad` fails. Answers of `first` begin when the gate lets them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.gate = HeldGate()
        self.loaded: list[LlamaCppModel] = []

    def __call__(self, model_id: str) -> LoadedLlm:
        if model_id == "bad":
            raise WeightsError("llama.cpp cannot load 'bad'.", "Take another.")
        known = dataclasses.replace(catalog.entry(FILE), id=model_id)
        window = 512 if model_id == "narrow" else 2048
        model = LlamaCppModel(
            weights.resolve(FILE, self.home),
            known,
            LoadOptions(1, window),
            gate=self.gate if model_id == "first" else None,
        )
        self.loaded.append(model)
        return LoadedLlm(model, "0" * 64)


@pytest.fixture
def loader(models_home: Path) -> Iterator[Loader]:
    made = Loader(models_home)
    yield made
    made.gate.go.set()
    for model in made.loaded:
        model.close()


@pytest.fixture
def swap(loader: Loader) -> LlmSwap:
    made = LlmSwap(Served(embedder=FakeEmbedder()), loader)
    made.start("first")
    made.serve()
    return made


def wait_until_retired() -> None:
    for thread in threading.enumerate():
        if thread.name == "llm-retire":
            thread.join(120)


def test_the_answer_under_way_ends_on_the_old_model_and_waiting_ones_go_to_the_new(
    swap: LlmSwap, loader: Loader
) -> None:
    served = swap._served
    old = loader.loaded[0]
    running = old.stream(HELLO, GenerationSettings(max_tokens=6), None, "a")
    assert loader.gate.entered.wait(60)
    waiting = [old.stream(HELLO, GenerationSettings(max_tokens=5), None, user) for user in ("b", "c")]
    swap.use("second")
    assert served.llm is loader.loaded[1] and served.llm.info().id == "second"
    for stream in waiting:  # the old model is still held, so these come from the new one
        assert list(stream)[-1].finish_reason in ("stop", "length")
    loader.gate.go.set()
    assert list(running)[-1].generated_tokens > 1
    wait_until_retired()
    late: list[Delta] = list(old.stream(HELLO, GenerationSettings(max_tokens=3)))
    assert late[-1].finish_reason in ("stop", "length") and old.count_tokens(["two words"]) == [2]


def test_a_waiting_question_that_does_not_fit_the_new_window_is_told_so(swap: LlmSwap, loader: Loader) -> None:
    old = loader.loaded[0]
    running = old.stream(HELLO, GenerationSettings(max_tokens=4), None, "a")
    assert loader.gate.entered.wait(60)
    wide = old.stream([Message("user", "word " * 900)], GenerationSettings(max_tokens=5), None, "b")
    swap.use("narrow")
    with pytest.raises(ContextOverflowError, match="512 tokens"):
        list(wide)
    loader.gate.go.set()
    assert list(running)[-1].finish_reason in ("stop", "length")
    wait_until_retired()


def test_a_model_that_cannot_be_loaded_changes_nothing(swap: LlmSwap, loader: Loader) -> None:
    with pytest.raises(WeightsError, match="bad"):
        swap.use("bad")
    loader.gate.go.set()
    assert swap._served.llm is loader.loaded[0]
    assert list(loader.loaded[0].stream(HELLO, GenerationSettings(max_tokens=3)))[-1].generated_tokens > 0
    swap.use("second")
    wait_until_retired()
    assert swap.use("second") == () and len(loader.loaded) == 2


def test_two_changes_at_once_are_refused(loader: Loader) -> None:
    entered, go = threading.Event(), threading.Event()

    def slow(model_id: str) -> LoadedLlm:
        if model_id == "second":
            entered.set()
            go.wait(60)
        return loader(model_id)

    swap = LlmSwap(Served(embedder=FakeEmbedder()), slow)
    swap.start("first")
    swap.serve()
    thread = threading.Thread(target=swap.use, args=("second",))
    thread.start()
    assert entered.wait(60)
    with pytest.raises(ConflictError, match="already"):
        swap.use("third")
    go.set()
    loader.gate.go.set()
    thread.join(120)
    wait_until_retired()


def test_the_server_changes_its_model_and_still_knows_the_old_name(swap: LlmSwap, loader: Loader) -> None:
    served = swap._served
    served.swap = swap
    loader.gate.go.set()
    header = {"Authorization": f"Bearer {TOKEN}"}
    body: dict[str, Any] = {"model": "first", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
    with TestClient(serve(served, TOKEN), headers=header) as http:
        assert http.post("/v1/llm", json={"model": "second"}, headers={"Authorization": "x"}).status_code == 401
        failed = http.post("/v1/llm", json={"model": "bad"})
        assert failed.status_code == 500 and failed.json()["error"]["code"] == "weights"
        assert http.post("/v1/llm", json={"model": "second"}).json() == {"model": "second", "notes": []}
        assert http.get("/v1/models").json()["data"][0]["id"] == "second"
        for name in ("first", "second"):
            assert http.post("/v1/chat/completions", json={**body, "model": name}).status_code == 200
        assert http.post("/v1/chat/completions", json={**body, "model": "never"}).status_code == 404
    wait_until_retired()


def test_a_choice_is_kept_with_what_was_used_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.settings import load_settings

    choose_llm("second", "first", tmp_path)
    choose_llm("third", "second", tmp_path)
    assert former_llms(tmp_path) == {"first", "second"}
    choose_llm("first", "third", tmp_path)
    assert former_llms(tmp_path) == {"second", "third"}
    monkeypatch.setenv("ALIOTH_HOME", str(tmp_path))
    assert load_settings().models.llm == "first"
    monkeypatch.setenv("ALIOTH_MODELS__LLM", "set-by-hand")
    assert load_settings().models.llm == "set-by-hand"
