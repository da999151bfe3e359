"""Real models, loaded once for all tests of this folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.client.connection import ModelsClient
from models.embedding.sentence_transformer import SentenceTransformerEmbedder
from models.engine.llama import LlamaCppModel
from models.engine.load_options import LoadOptions
from models.files import catalog, weights

TOKEN = "test-token"
ENDLESS = {"type": "array", "items": {"type": "string", "minLength": 400}, "minItems": 12}
"""A JSON schema under which a small model cannot come to an end of its own."""


@pytest.fixture(scope="session")
def models_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def llama(models_home: Path) -> Iterator[LlamaCppModel]:
    entry = catalog.entry("smollm2-135m-instruct")
    model = LlamaCppModel(weights.resolve(entry.id, models_home), entry, LoadOptions(2, 4096))
    yield model
    model.close()


@pytest.fixture(scope="session")
def minilm(models_home: Path) -> SentenceTransformerEmbedder:
    entry = catalog.entry("all-minilm-l6-v2")
    folder = weights.resolve(entry.id, models_home)
    return SentenceTransformerEmbedder(folder, entry, entry.sha256, threads=2)


def server_environment(home: Path, **extra: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALIOTH_")}
    return {**clean, "ALIOTH_HOME": str(home), "ALIOTH_MODELS__TOKEN": TOKEN, **extra}


@pytest.fixture(scope="session")
def server_url(models_home: Path) -> Iterator[str]:
    """A real models process; it must end with exit code 0 on SIGTERM."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.model_server", "--port", "0", "--ready-fd", str(write)],
        pass_fds=(write,),
        env=server_environment(models_home, ALIOTH_MODELS__CONTEXT_TOKENS="4096", ALIOTH_MODELS__SLOTS="1"),
    )
    os.close(write)
    with os.fdopen(read) as stream:
        line = stream.read()
    try:
        ready = json.loads(line)
        assert ready["pid"] == process.pid
        yield ready["url"]
        assert process.poll() is None, "the server died during the tests"
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert code == 0


@pytest.fixture(scope="session")
def client(server_url: str, models_home: Path) -> ModelsClient:
    return ModelsClient(server_url, TOKEN, models_home)
