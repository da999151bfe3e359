"""Several embedders in one models process, and an administrator's own catalogue."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from core.errors import NotFoundError, SettingsError, WeightsError
from models.client.connection import ModelsClient
from models.embedding.embedders import MOST_BESIDES, Embedders
from models.fakes import FakeEmbedder, FakeLanguageModel
from models.files import catalog, weights
from models.protocols import fingerprint_of
from models.serving.service import Served, serve
from tests.models.twin import TWIN, put_twin

TOKEN = "test-token"


# ---------------------------------------------------------------- the catalogue


def test_an_own_entry_stands_beside_the_shipped_ones_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    assert "twin" not in catalog.catalog(tmp_path)
    put_twin(tmp_path)
    assert list(catalog.catalog(tmp_path))[-1] == "twin" and "twin" not in catalog.catalog()
    assert catalog.entry("twin", tmp_path).document_prefix == "passage: "
    assert weights.resolve("twin", tmp_path) == tmp_path / "models" / "twin"
    assert weights.weights_sha256("twin", tmp_path) == catalog.entry("all-minilm-l6-v2").sha256
    file = tmp_path / "models" / "catalog.toml"
    file.write_text(file.read_text().replace("passage: ", "text: "), encoding="utf-8")
    assert catalog.entry("twin", tmp_path).document_prefix == "text: "
    with pytest.raises(NotFoundError, match="'twin'"):
        catalog.entry("twinn", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('id = "twin"', 'id = "all-minilm-l6-v2"', "one that Alioth ships"),
        ("home:twin", "home:../../etc", "must stay under"),
        ("home:twin", "home:/etc", "must stay under"),
        ("home:twin", "package:os/x", "home:<path>"),
        ("dimension = 384", "dimension = 0", "has a dimension"),
        ("window = 256", "window = 0", "window"),
        ('role = "embedder"', 'role = "llm"', "role and kind"),
        ('licence = "Apache-2.0"', 'licence = "x"\nbundled = true', "bundled"),
        ("window = 256", "window = 256\ncolour = 1", "colour"),
        ("[[model]]", "[[model", "TOML"),
    ],
)
def test_an_own_entry_that_breaks_a_rule_is_refused_with_the_rule(
    tmp_path: Path, old: str, new: str, rule: str
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "catalog.toml").write_text(TWIN.replace(old, new), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        catalog.catalog(tmp_path)
    assert rule in str(caught.value) and "catalog.toml" in str(caught.value)


def test_own_weights_load_only_with_their_pinned_hash(tmp_path: Path) -> None:
    put_twin(tmp_path)
    file = tmp_path / "models" / "twin" / "config.json"
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data + b" ")
    with pytest.raises(WeightsError, match=r"config\.json"):
        weights.resolve("twin", tmp_path)


# ---------------------------------------------------------------- loading on demand


class Loader:
    """Makes fake embedders; remembers which, and can fail or wait."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, model_id: str) -> FakeEmbedder:
        self.gate.wait(60)
        if self.failures:
            raise self.failures.pop()
        self.loaded.append(model_id)
        return FakeEmbedder(dimension=16, model_id=model_id)


def test_an_embedder_is_loaded_once_however_many_ask_at_the_same_time() -> None:
    loader = Loader()
    pool = Embedders(loader)
    loader.gate.clear()
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(lambda: pool.get("a").result(20)) for _ in range(8)]
        time.sleep(0.1)
        loader.gate.set()
        assert len({id(one.result(20)) for one in asked}) == 1
    assert loader.loaded == ["a"]


def test_a_failed_load_reaches_who_asked_and_is_tried_again() -> None:
    loader = Loader()
    loader.failures.append(WeightsError("gone", "put it back"))
    pool = Embedders(loader)
    with pytest.raises(WeightsError):
        pool.get("a").result(20)
    assert pool.loaded() == [] and pool.get("a").result(20).id == "a"


def test_the_one_not_used_longest_is_let_go() -> None:
    loader = Loader()
    pool = Embedders(loader)
    for name in [str(n) for n in range(MOST_BESIDES)] + ["0", "new"]:
        pool.get(name).result(20)
    kept = [embedder.id for embedder, _ in pool.loaded()]
    assert len(kept) == MOST_BESIDES and kept[-2:] == ["0", "new"]


def test_the_process_serves_each_embedder_by_its_id_and_lists_what_is_loaded() -> None:
    loader = Loader()
    served = Served(FakeLanguageModel(), FakeEmbedder(), Embedders(loader))
    client = TestClient(serve(served, TOKEN), headers={"Authorization": f"Bearer {TOKEN}"})

    def dimension(model: str) -> int:
        reply = client.post("/v1/embeddings", json={"model": model, "input": ["text"]})
        assert reply.status_code == 200, reply.text
        return len(reply.json()["data"][0]["embedding"])

    assert (dimension("fake-embedder"), dimension("other"), dimension("fake-embedder")) == (32, 16, 32)
    assert loader.loaded == ["other"]
    rows = client.get("/v1/models").json()["data"]
    assert [row["id"] for row in rows if row["role"] == "embedder"] == ["fake-embedder", "other"]
    loader.failures.append(NotFoundError("No model 'none' in the catalogue.", "See the list."))
    refused = client.post("/v1/embeddings", json={"model": "none", "input": ["text"]})
    assert refused.status_code == 404 and "'none'" in refused.json()["error"]["message"]


# ---------------------------------------------------------------- a real process


@pytest.fixture(scope="module")
def twin_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelsClient]:
    home = tmp_path_factory.mktemp("twin-home")
    put_twin(home)
    read, write = os.pipe()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALIOTH_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.model_server", "--port", "0", "--ready-fd", str(write)],
        pass_fds=(write,),
        env={**clean, "ALIOTH_HOME": str(home), "ALIOTH_MODELS__TOKEN": TOKEN, "ALIOTH_MODELS__REQUANTISE": "false"},
    )
    os.close(write)
    with os.fdopen(read) as stream:
        url = json.loads(stream.read())["url"]
    try:
        yield ModelsClient(url, TOKEN, home)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        shutil.rmtree(home, ignore_errors=True)
    assert code == 0


def test_a_second_embedder_is_loaded_while_the_first_goes_on_answering(twin_client: ModelsClient) -> None:
    first, second = twin_client.embedder("all-minilm-l6-v2"), twin_client.embedder("twin")
    assert fingerprint_of(first, "2").space != fingerprint_of(second, "2").space
    before = first.embed_query("How many days of leave?")
    ended = threading.Event()
    waits: list[float] = []

    def ask() -> None:
        while not ended.is_set():
            started = time.monotonic()
            first.embed_query("How many days of leave?")
            waits.append(time.monotonic() - started)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        [document] = second.embed_documents(["Employees get 25 days of leave."])
    finally:
        ended.set()
        asking.join()
    assert len(waits) >= 2, "questions were answered while the second was loaded"
    query = second.embed_query("How many days of leave?")
    assert float(query @ document) > 0.5 and float(query @ before) < 0.999
    assert np.allclose(first.embed_query("How many days of leave?"), before, atol=0.02)
    rows = {row["id"]: row for row in twin_client.models()}
    assert rows["twin"]["memory_mb"] > 0 and rows["twin"]["dimension"] == 384
    assert twin_client.health()["ready"] is True


def test_an_embedder_that_the_catalogue_lacks_is_refused_by_name(twin_client: ModelsClient) -> None:
    call: Callable[[], object] = lambda: twin_client.openai().embeddings.create(model="nobody", input=["x"])  # noqa: E731
    with pytest.raises(NotFoundError, match="'nobody'"), twin_client.errors():
        call()
