"""Rerankers: one in the models process from imported files, others behind HTTP, and what happens when they fail."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from core.errors import CancelledError, ModelError, ModelUnavailableError, WeightsError
from models.client.connection import ModelsClient
from models.client.reranker import ClientReranker
from models.embedding.cross_encoder import TEXTS_PER_TURN, CrossEncoderReranker
from models.files import weights
from models.files.catalog import entry
from models.files.store import Wanted, import_model
from models.remote.reranker import RemoteReranker
from models.serving.service import Served, serve
from tests.models.odd_server import Call, odd_server, wait_until
from tests.models.tiny_reranker import make_reranker

QUESTION = "How many days of annual leave do I get?"
TEXTS = [
    "The pump must be switched off before the filter is cleaned.",
    "Employees are entitled to 25 days of paid vacation per year.",
    "清洗过滤器之前必须先关闭水泵。",
]


@pytest.fixture(scope="module")
def reranker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reranker(tmp_path_factory.mktemp("made") / "tiny-reranker")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, reranker_folder: Path) -> Path:
    """A data directory into which the folder was imported."""
    home = tmp_path_factory.mktemp("home")
    found = import_model(reranker_folder, home, Wanted(languages=("en", "zh"), licence="Apache-2.0"))
    assert (found.id, found.role, found.kind, found.window) == ("tiny-reranker", "reranker", "cross_encoder", 128)
    return home


@pytest.fixture(scope="module")
def tiny(imported: Path) -> Iterator[CrossEncoderReranker]:
    model = CrossEncoderReranker(
        weights.resolve("tiny-reranker", imported), entry("tiny-reranker", imported), threads=1
    )
    yield model
    model.close()


# ---------------------------------------------------------------- in the models process


def test_an_imported_cross_encoder_puts_the_answer_first(tiny: CrossEncoderReranker) -> None:
    scores = tiny.scores(QUESTION, TEXTS)
    assert scores.shape == (3,) and scores.dtype == np.float32
    assert int(scores.argmax()) == 1
    assert int(tiny.scores("我每年有多少天年假？", [TEXTS[2], "员工每年享有二十五天带薪休假。"]).argmax()) == 1


def test_scores_do_not_depend_on_how_many_texts_come_together(tiny: CrossEncoderReranker) -> None:
    many = tiny.scores(QUESTION, TEXTS * TEXTS_PER_TURN)
    assert np.allclose(many, np.tile(tiny.scores(QUESTION, TEXTS), TEXTS_PER_TURN), atol=1e-4)
    assert tiny.scores(QUESTION, []).shape == (0,)


def test_a_pair_over_the_window_is_cut_and_scored(tiny: CrossEncoderReranker) -> None:
    assert np.isfinite(tiny.scores(QUESTION, ["pump " * 5000])).all()


def test_a_stopped_caller_stops_the_computing(tiny: CrossEncoderReranker) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        tiny.scores(QUESTION, TEXTS, stop)


def changed(folder: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The same model with other tensors."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    tensors = load_file(target / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def turn_round(tensors: dict[str, Any]) -> None:
    tensors["classifier.weight"] *= -1
    tensors["classifier.bias"] *= -1


def drop_head(tensors: dict[str, Any]) -> None:
    del tensors["classifier.weight"]


def not_finite(tensors: dict[str, Any]) -> None:
    tensors["classifier.bias"] += float("nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (turn_round, "does not order a known pair"),
        (drop_head, "no trained score head: classifier.weight"),
        (not_finite, "does not order a known pair"),
    ],
)
def test_a_reranker_that_computes_nonsense_is_not_used(
    reranker_folder: Path, imported: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    folder = changed(reranker_folder, tmp_path / "changed", change)
    with pytest.raises(WeightsError, match=words):
        CrossEncoderReranker(folder, entry("tiny-reranker", imported), threads=1)


def test_a_classifier_is_no_reranker(imported: Path, tmp_path: Path) -> None:
    folder = make_reranker(tmp_path / "classifier", labels=3)
    with pytest.raises(WeightsError, match="gives 3 figures for a pair"):
        CrossEncoderReranker(folder, entry("tiny-reranker", imported), threads=1)


def test_a_file_that_was_replaced_after_the_import_is_refused(
    reranker_folder: Path, tmp_path: Path, imported: Path
) -> None:
    home = tmp_path / "home"
    import_model(reranker_folder, home, Wanted(languages=("en",)))
    turned = changed(reranker_folder, tmp_path / "turned", turn_round)
    (turned / "model.safetensors").replace(home / "models" / "tiny-reranker" / "model.safetensors")
    with pytest.raises(WeightsError, match="is not the file that 'tiny-reranker' pins"):
        weights.resolve("tiny-reranker", home)


# ---------------------------------------------------------------- its route and its client


class InProcess:
    """The client side of the service without a socket."""

    def __init__(self, served: Served) -> None:
        self._app = serve(served, "secret")

    def post(self, body: dict[str, Any]) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            headers = {"Authorization": "Bearer secret"}
            async with httpx.AsyncClient(transport=transport, base_url="http://models", headers=headers) as client:
                return await client.post("/v1/rerank", json=body)

        return asyncio.run(ask())


def test_the_route_answers_in_the_common_shape_best_first(tiny: CrossEncoderReranker) -> None:
    served = Served()
    served.shelf.load(lambda: tiny)
    reply = InProcess(served).post({"model": "tiny-reranker", "query": QUESTION, "documents": TEXTS, "top_n": 2}).json()
    assert reply["model"] == "tiny-reranker"
    assert reply["results"][0]["index"] == 1 and len(reply["results"]) == 2
    scores = [row["relevance_score"] for row in reply["results"]]
    assert scores == sorted(scores, reverse=True)


def test_without_a_reranker_the_route_says_why() -> None:
    served = Served()
    reply = InProcess(served).post({"query": "q", "documents": ["d"]})
    assert reply.status_code == 503 and "ALIOTH_MODELS__RERANKER" in reply.text

    def broken() -> Any:
        raise WeightsError("The weights are not here.")

    with pytest.raises(WeightsError):
        served.shelf.load(broken)
    assert "The weights are not here" in InProcess(served).post({"query": "q", "documents": ["d"]}).text


def test_another_reranker_than_the_loaded_one_is_not_taken_for_it(tiny: CrossEncoderReranker) -> None:
    served = Served()
    served.shelf.load(lambda: tiny)
    assert InProcess(served).post({"model": "bge", "query": "q", "documents": ["d"]}).status_code == 404


def by_words(call: Call) -> None:
    """A rerank server that knows synonyms."""
    near = ("leave", "vacation", "年假", "休假")
    texts = call.body.get("documents") or call.body["texts"]
    rows = [{"index": i, "relevance_score": float(sum(w in t for w in near))} for i, t in enumerate(texts)]
    call.json({"results": sorted(rows, key=lambda row: -row["relevance_score"])})


def client_of(url: str, tmp_path: Path, patience_s: float = 60.0) -> ClientReranker:
    return ClientReranker(ModelsClient(url, "token", tmp_path), "r", patience_s)


def test_the_client_gives_scores_in_the_order_of_the_texts(tmp_path: Path) -> None:
    with odd_server(rerank=by_words) as server:
        assert client_of(server.url, tmp_path).scores(QUESTION, TEXTS).tolist() == [0.0, 1.0, 0.0]


def test_a_reranker_that_takes_too_long_is_left_alone_for_a_while(tmp_path: Path) -> None:
    with odd_server(rerank=lambda call: call.ended.wait(60)) as server:  # type: ignore[arg-type,return-value]
        client = client_of(server.url, tmp_path, patience_s=0.3)
        for words in ("took over", "a moment ago"):
            with pytest.raises(ModelUnavailableError, match=words):
                client.scores(QUESTION, TEXTS)
        wait_until(lambda: len(server.asked("/rerank")) >= 1)
        assert len(server.asked("/rerank")) == 1


# ---------------------------------------------------------------- on other servers


@contextmanager
def remote(*urls: str) -> Iterator[RemoteReranker]:
    reranker = RemoteReranker(urls, "sk-rank", "remote:r", "r", every_s=0.2)
    try:
        yield reranker
    finally:
        reranker.close()


def tei(call: Call) -> None:
    """Text-embeddings-inference: at the root, other field names, a bare list."""
    if call.path != "/rerank" or "texts" not in call.body:
        call.json({"error": "no"}, 404 if call.path != "/rerank" else 422)
        return
    near = ("leave", "vacation", "年假", "休假")
    call.json([{"index": i, "score": float(sum(w in t for w in near))} for i, t in enumerate(call.body["texts"])])


@pytest.mark.parametrize("answer", [by_words, tei], ids=["Jina, Cohere, llama.cpp, vLLM", "TEI"])
def test_rerank_servers_of_both_kinds_are_understood(answer: Callable[[Call], None]) -> None:
    with odd_server(rerank=answer) as server, remote(server.url) as reranker:
        assert reranker.scores(QUESTION, TEXTS).tolist() == [0.0, 1.0, 0.0]
        assert server.calls[-1].headers["Authorization"] == "Bearer sk-rank"
        assert not reranker.notes


BAD: dict[str, tuple[Callable[[Call], None], str]] = {
    "counts up": (
        lambda call: call.json({"results": [{"index": i, "relevance_score": -i} for i in range(2)]}),
        "no reranker",
    ),
    "NaN": (
        lambda call: call.send('{"results": [{"index": 0, "relevance_score": NaN}, {"index": 1, "score": 1}]}'),
        "one finite score for each text",
    ),
    "one too few": (lambda call: call.json({"results": [{"index": 0, "score": 1}]}), "one finite score for each text"),
    "a web page": (lambda call: call.send("<html>", kind="text/html"), "a web page"),
    "500": (lambda call: call.json({"error": {"message": "broken"}}, 500), "HTTP 500: broken"),
    "the key refused": (lambda call: call.json({}, 401), "refuses the key"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_rerank_server_gives_a_clear_message_and_another_one_takes_over(name: str) -> None:
    answer, words = BAD[name]
    with odd_server(rerank=answer) as bad, odd_server(rerank=by_words) as good:
        with remote(bad.url) as reranker, pytest.raises((ModelUnavailableError, ModelError), match=words):
            reranker.scores(QUESTION, TEXTS)
        with remote(bad.url, good.url) as reranker:
            assert reranker.scores(QUESTION, TEXTS).tolist() == [0.0, 1.0, 0.0]
            assert bad.url in json.dumps(reranker.notes)
