"""The models process: token, shapes, errors, start and stop. A real sub-process on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from core.errors import ContextOverflowError, InputError, ModelUnavailableError, NotFoundError, PermissionDeniedError
from models import wire
from models.client.connection import ModelsClient
from models.fakes import FakeEmbedder, FakeLanguageModel
from models.protocols import GenerationSettings, Message
from models.serving.service import build_app
from tests.models.odd_server import wait_until

TOKEN = "test-token"
HI = [{"role": "user", "content": "What is the capital of France? One sentence."}]


@pytest.fixture
def http(server_url: str) -> Any:
    with httpx.Client(base_url=server_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
        yield client


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/embeddings", "/v1/chat/completions", "/v1/tokens", "/readyz", "/x"]
)
def test_nothing_but_healthz_answers_without_the_token(server_url: str, path: str, header: dict[str, str]) -> None:
    reply = httpx.request("GET" if path in ("/v1/models", "/readyz") else "POST", server_url + path, headers=header)
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "permission_denied"
    assert httpx.get(server_url + "/healthz", headers=header).json() == {"status": "alive"}


def test_models_are_described(http: httpx.Client) -> None:
    llm, embedder = http.get("/v1/models").json()["data"]
    assert (llm["id"], llm["role"], llm["window"], llm["small"]) == ("smollm2-135m-instruct", "llm", 4096, True)
    assert llm["reading_rate"] > 0 and len(llm["weights_sha256"]) == 64
    assert (embedder["role"], embedder["dimension"], embedder["window"]) == ("embedder", 384, 256)
    assert http.get("/readyz").status_code == 200


def test_a_whole_answer_has_the_openai_shape(http: httpx.Client) -> None:
    body = {"model": "smollm2-135m-instruct", "messages": HI, "max_tokens": 20}
    reply = http.post("/v1/chat/completions", json=body).json()
    assert "Paris" in reply["choices"][0]["message"]["content"] and reply["object"] == "chat.completion"
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"] > 10


def test_a_streamed_answer_is_openai_server_sent_events(http: httpx.Client) -> None:
    body = {"model": "smollm2-135m-instruct", "messages": HI, "max_completion_tokens": 20, "stream": True}
    body["stream_options"] = {"include_usage": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert "Paris" in "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] > 3


def test_embeddings_come_as_floats_or_base64(http: httpx.Client) -> None:
    body = {"model": "all-minilm-l6-v2", "input": ["annual leave", "pump"]}
    floats = http.post("/v1/embeddings", json=body).json()
    packed = http.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()
    for a, b in zip(floats["data"], packed["data"], strict=True):
        assert np.allclose(np.array(a["embedding"], dtype=np.float32), wire.unpack(b["embedding"]), atol=0.02)
    assert floats["usage"]["total_tokens"] == 7


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/embeddings", {"model": "all-minilm-l6-v2", "input": ["word " * 300]}, 400, "context_overflow"),
        ("/v1/embeddings", {"model": "other", "input": ["x"]}, 404, "not_found"),
        ("/v1/embeddings", {"model": "all-minilm-l6-v2"}, 400, "input"),
        ("/v1/chat/completions", {"model": "smollm2-135m-instruct", "messages": []}, 400, "input"),
        ("/v1/chat/completions", {"model": "other", "messages": HI}, 404, "not_found"),
        (
            "/v1/chat/completions",
            {"model": "smollm2-135m-instruct", "messages": HI, "max_tokens": 99999, "stream": True},
            400,
            "context_overflow",
        ),
    ],
)
def test_errors_are_openai_error_objects_with_our_code(
    http: httpx.Client, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    reply = http.post(path, json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert reply.json()["error"]["message"]


def test_an_unknown_lane_is_refused(http: httpx.Client) -> None:
    body = {"model": "all-minilm-l6-v2", "input": "x"}
    assert http.post("/v1/embeddings", json=body, headers={wire.LANE_HEADER: "fast"}).status_code == 400


def test_questions_are_embedded_while_documents_are_ingested(client: ModelsClient) -> None:
    embedder, stop, counts = client.embedder(), threading.Event(), [0]

    def ingest() -> None:
        while not stop.is_set():
            embedder.embed_documents(["The policy of the company says what to do. " * 12] * 64)
            counts[0] += 64

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        for number in range(5):
            embedder.embed_query(f"question {number}")
    finally:
        stop.set()
        thread.join()
    assert counts[0] > 0


def test_client_raises_the_same_errors_as_the_server(client: ModelsClient, models_home: Path) -> None:
    with pytest.raises(PermissionDeniedError):
        ModelsClient(client.url, "wrong", models_home).models()
    with pytest.raises(ContextOverflowError, match="256 tokens"):
        client.embedder().embed_documents(["word " * 300])
    with pytest.raises(NotFoundError):
        ModelsClient(client.url, TOKEN, models_home, llm_id="qwen3-4b").llm().count_tokens(["x"])
    with pytest.raises(NotFoundError, match="no embedder"):
        client.embedder("qwen3-4b")


def test_a_dead_server_is_unavailable_and_says_what_to_do(models_home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    client = ModelsClient(url, TOKEN, models_home)
    embedder = client.embedder()  # needs no server
    assert (embedder.dimension, embedder.max_tokens) == (384, 256)
    calls = (
        lambda: embedder.embed_query("x"),
        lambda: client.llm().info(),
        lambda: client.llm().count_tokens(["x"]),
        lambda: list(client.llm().stream([Message("user", "x")], GenerationSettings())),
    )
    for call in calls:
        with pytest.raises(ModelUnavailableError, match=r"127\.0\.0\.1") as caught:
            call()
        assert "alioth doctor" in caught.value.hint
    assert client.health()["alive"] is False


def run_server(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALIOTH_")}
    return subprocess.run(
        [sys.executable, "-m", "app.model_server", *arguments],
        env={**clean, "ALIOTH_HOME": str(home), "ALIOTH_MODELS__TOKEN": TOKEN, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"ALIOTH_MODELS__LLM": "qwen3-4b"}, "Qwen3-4B-Q4_K_M.gguf"),
        ({"ALIOTH_MODELS__LLM": "nonsense"}, "nonsense"),
        ({"ALIOTH_MODELS__LLM": "all-minilm-l6-v2"}, "ALIOTH_MODELS__LLM"),
        ({"ALIOTH_MODELS__TOKEN": ""}, "ALIOTH_MODELS__TOKEN"),
        ({"ALIOTH_MODELS__THREADS": "many"}, "ALIOTH_MODELS__THREADS"),
    ],
)
def test_a_wrong_setting_ends_with_a_message_and_code_1(tmp_path: Path, environment: dict[str, str], word: str) -> None:
    done = run_server(tmp_path, "--port", "0", **environment)
    assert done.returncode == 1 and word in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_a_wrong_hash_ends_with_a_message_and_code_1(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "Qwen3-4B-Q4_K_M.gguf").write_bytes(b"not the weights")
    (models / "pins.toml").write_text(f'["qwen3-4b"]\n"Qwen3-4B-Q4_K_M.gguf" = "{"a" * 64}"\n')
    done = run_server(tmp_path, "--port", "0", ALIOTH_MODELS__LLM="qwen3-4b")
    assert done.returncode == 1 and "must be aaaa" in done.stderr and "Traceback" not in done.stderr


def test_a_taken_port_ends_with_a_message_and_code_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_server(tmp_path, "--port", port)
    assert done.returncode == 1 and port in done.stderr and "Traceback" not in done.stderr


LOADS_FOR_LONG = """
import sys, time
from app import model_server
load = model_server.load
model_server.load = lambda *arguments: (time.sleep(600), load(*arguments))[1]
sys.exit(model_server.main(sys.argv[1:]))
"""


def test_healthz_answers_while_loading_and_sigterm_then_stops_cleanly(models_home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALIOTH_")}
    process = subprocess.Popen(
        [sys.executable, "-c", LOADS_FOR_LONG, "--port", str(port)],
        env={**clean, "ALIOTH_HOME": str(models_home), "ALIOTH_MODELS__TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url, header = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {TOKEN}"}

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{url}/healthz", timeout=60).json() == {"status": "alive"}
            return False

        wait_until(answers)
        assert httpx.get(f"{url}/readyz", headers=header, timeout=60).status_code == 503
        with pytest.raises(ModelUnavailableError, match="loaded"):
            ModelsClient(url, TOKEN, models_home).embedder().embed_query("x")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in stderr


def test_an_app_without_a_token_is_refused() -> None:
    with pytest.raises(InputError, match="token"):
        build_app(FakeLanguageModel(), FakeEmbedder(), "")


def test_every_error_crosses_the_wire_with_type_message_and_hint() -> None:
    for kind in (ContextOverflowError, NotFoundError, ModelUnavailableError, PermissionDeniedError, InputError):
        there = wire.error_from(wire.error_body(kind("what failed", "what to do")), 500)
        assert (type(there), there.message, there.hint) == (kind, "what failed", "what to do")
    foreign = wire.error_from({"message": "too long", "code": "context_length_exceeded"}, 400)
    assert type(foreign) is ContextOverflowError
