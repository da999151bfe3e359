"""Embedders on other servers: our own models as the other side, and servers that lie or change."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import AliothError, ContextOverflowError, ModelUnavailableError, WeightsError
from models.embedding.sentence_transformer import SentenceTransformerEmbedder
from models.protocols import Lane
from models.remote.embedder import RemoteEmbedder
from models.remote.pins import FILE, PROBE, load_pin, make_pin
from tests.models.odd_server import Call, odd_server, wait_until

NAME = "all-minilm-l6-v2"
KEY = "sk-embed"
Vectors = Callable[[Sequence[str]], np.ndarray]


def serving(vectors: Vectors, packed: bool = False) -> Callable[[Call], None]:
    """An OpenAI-compatible /embeddings over a function; out of order, as the protocol allows."""

    def answer(call: Call) -> None:
        rows = vectors(call.body["input"])
        data: list[dict[str, Any]] = []
        for index, row in enumerate(rows):
            value = base64.b64encode(row.astype("<f4").tobytes()).decode() if packed else row.tolist()
            data.insert(0, {"index": index, "embedding": value})
        call.send(json.dumps({"data": data, "model": call.body["model"]}))

    return answer


def drawn(texts: Sequence[str], seed: int = 0) -> np.ndarray:
    """Vectors of a made-up model: questions and answers of one subject lie near each other."""
    subjects = (("annual leave", "vacation", "paid leave"), ("pump", "filter"), ("年假", "休假"), ("水泵", "过滤器"))
    rows = []
    for text in texts:
        row = np.random.default_rng([seed, *text.encode()[:64]]).normal(size=16) * 0.1
        for place, words in enumerate(subjects):
            row[place] += 5.0 * any(word in text for word in words)
        rows.append(np.roll(row, seed))
    return np.array(rows)


@contextmanager
def remote(home: Path, *urls: str, name: str = "acme-embed") -> Iterator[RemoteEmbedder]:
    embedder = RemoteEmbedder(urls, KEY, f"remote:{name}", name, home, every_s=0.2)
    try:
        yield embedder
    finally:
        embedder.close()


@pytest.mark.parametrize("packed", [False, True], ids=["numbers", "base64"])
def test_vectors_of_another_server_are_those_of_the_model(
    minilm: SentenceTransformerEmbedder, tmp_path: Path, packed: bool
) -> None:
    texts = [f"Employees are entitled to {n} days of leave." for n in range(40)]
    raw = serving(lambda asked: 3.0 * minilm.embed(list(asked), Lane.QUESTION), packed)
    with odd_server(embeddings=raw) as server, remote(tmp_path, server.url, name=NAME) as embedder:
        assert (embedder.dimension, embedder.max_tokens, embedder.languages) == (384, 256, ("en",))
        got = embedder.embed(texts, Lane.INGEST)
        assert got.shape == (40, 384) and got.dtype == np.float32
        assert np.allclose(np.linalg.norm(got, axis=1), 1.0, atol=1e-5)
        assert np.allclose(got, minilm.embed(texts, Lane.INGEST), atol=0.02)
        assert server.calls[-1].headers["Authorization"] == f"Bearer {KEY}"


def test_the_fingerprint_lasts_over_restarts_and_small_differences_of_numbers(tmp_path: Path) -> None:
    with odd_server(embeddings=serving(drawn)) as server, remote(tmp_path, server.url) as embedder:
        first = embedder.weights_sha256
    nearly = serving(lambda texts: drawn(texts) + 0.001)
    with odd_server(embeddings=nearly) as server, remote(tmp_path, server.url) as embedder:
        assert embedder.embed(["x"], Lane.INGEST).shape == (1, 16)
        assert embedder.weights_sha256 == first and len(first) == 64


def test_the_fingerprint_is_known_while_no_server_answers(tmp_path: Path) -> None:
    with odd_server(embeddings=serving(drawn)) as server, remote(tmp_path, server.url) as embedder:
        first = embedder.weights_sha256
    with remote(tmp_path, server.url) as embedder:
        assert (embedder.weights_sha256, embedder.dimension) == (first, 16)
        with pytest.raises(ModelUnavailableError, match="No server of 'remote:acme-embed' answers"):
            embedder.embed(["x"], Lane.QUESTION)


def test_other_models_names_or_dimensions_have_other_fingerprints(tmp_path: Path) -> None:
    vector = drawn([PROBE])[0].astype(np.float32)
    other = drawn([PROBE], seed=1)[0].astype(np.float32)
    pins = [make_pin("a", vector, tmp_path), make_pin("b", vector, tmp_path), make_pin("a", other, tmp_path)]
    assert len({pin.sha256 for pin in pins}) == 3
    assert load_pin("a", tmp_path) == pins[2] and load_pin("c", tmp_path) is None


def test_a_damaged_record_of_pins_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text("{", encoding="utf-8")
    with odd_server(embeddings=serving(drawn)) as server, remote(tmp_path, server.url) as embedder:
        assert embedder.dimension == 16
    assert load_pin("acme-embed", tmp_path) is not None


def test_a_model_that_changes_under_its_name_is_refused_with_the_very_batch(tmp_path: Path) -> None:
    seed = [0]
    with odd_server(embeddings=serving(lambda texts: drawn(texts, seed[0]))) as server:
        with remote(tmp_path, server.url) as embedder:
            assert len(embedder.embed(["x"], Lane.INGEST)) == 1
            seed[0] = 1
            with pytest.raises(WeightsError, match="gives other vectors for 'acme-embed'"):
                embedder.embed(["y"] * 40, Lane.INGEST)
            seed[0] = 0
            wait_until(lambda: embedder.replicas.all[0].usable)
            assert len(embedder.embed(["y"], Lane.INGEST)) == 1
        seed[0] = 1
        with remote(tmp_path, server.url) as embedder, pytest.raises(WeightsError, match="reindex"):
            embedder.embed(["y"], Lane.QUESTION)


def nothing_finite(texts: Sequence[str]) -> np.ndarray:
    return np.full((len(texts), 16), np.nan)


BAD: dict[str, tuple[Callable[[Call], None], str]] = {
    "NaN": (serving(nothing_finite), "no numbers, or zero"),
    "zeros": (serving(lambda texts: np.zeros((len(texts), 16))), "no numbers, or zero"),
    "another dimension": (serving(lambda texts: drawn(texts)[:, :8]), "gives other vectors"),
    "one vector too few": (serving(lambda texts: drawn(texts)[:-1]), "no OpenAI-compatible server"),
    "a web page": (lambda call: call.send("<html>", kind="text/html"), "a web page"),
    "garbage": (lambda call: call.send("{"), "no OpenAI-compatible server"),
    "another shape": (lambda call: call.json({"data": [{"index": 0, "embedding": [[1.0]]}]}), "no OpenAI-compatible"),
    "500": (lambda call: call.json({"error": {"message": "broken"}}, 500), "HTTP 500: broken"),
    "half an answer": (lambda call: call.send('{"data": [', Content_Length="999"), "does not answer"),
    "a redirect": (lambda call: call.send("", 308, Location="http://127.0.0.1:1/v1"), "redirects to '127.0.0.1:1'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_server_gives_a_clear_message_and_another_one_takes_over(tmp_path: Path, name: str) -> None:
    answer, words = BAD[name]
    answers = [serving(drawn)]
    with odd_server(embeddings=lambda call: answers[0](call)) as bad, odd_server(embeddings=serving(drawn)) as good:
        with remote(tmp_path, bad.url) as embedder:
            answers[0] = answer
            with pytest.raises(AliothError, match=words):
                embedder.embed(["x"], Lane.INGEST)
        answers[0] = serving(drawn)
        with remote(tmp_path, bad.url, good.url) as embedder:
            answers[0] = answer
            assert embedder.embed(["x"] * 3, Lane.INGEST).shape == (3, 16)
            assert not embedder.replicas.all[0].usable and embedder.replicas.all[1].usable


def test_a_model_that_does_not_order_known_pairs_is_never_pinned(tmp_path: Path) -> None:
    noise = serving(lambda texts: np.array([np.random.default_rng(list(t.encode())).normal(size=16) for t in texts]))
    with odd_server(embeddings=noise) as server, remote(tmp_path, server.url, name="bge-m3") as embedder:
        with pytest.raises(ModelUnavailableError, match="gives wrong embeddings for 'bge-m3'"):
            embedder.embed(["x"], Lane.QUESTION)
        assert embedder.dimension == 0 and not (tmp_path / FILE).exists()


def test_languages_of_an_unknown_model_are_those_whose_pair_it_orders(tmp_path: Path) -> None:
    def english(texts: Sequence[str]) -> np.ndarray:
        return drawn(["one" if any(ord(sign) > 0x3000 for sign in text[:1]) else text for text in texts])

    with odd_server(embeddings=serving(drawn)) as server, remote(tmp_path, server.url) as embedder:
        assert embedder.languages == ("en", "zh") and embedder.tokenizer.unknown_share("年假") == 0.0
    with odd_server(embeddings=serving(english)) as server, remote(tmp_path, server.url, name="other") as embedder:
        assert embedder.languages == ("en",) and embedder.tokenizer.unknown_share("年假") == 1.0


def test_a_text_over_the_window_is_refused_and_never_sent(tmp_path: Path) -> None:
    with odd_server(embeddings=serving(drawn)) as server, remote(tmp_path, server.url) as embedder:
        before = len(server.asked("/embeddings"))
        with pytest.raises(ContextOverflowError, match="Text 2 of 2 has about"):
            embedder.embed(["short", "word " * 600], Lane.INGEST)
        assert all("word word" not in json.dumps(call.body) for call in server.asked("/embeddings")[before:])


def test_a_server_that_reads_less_than_was_said_tells_of_the_text_and_stays_in_use(tmp_path: Path) -> None:
    """In the words of llama.cpp's server, which has a status of its own faults for it."""
    told = {
        "error": {
            "code": 500,
            "message": "input (300 tokens) is too large to process. increase the physical batch size "
            "(current batch size: 256)",
            "type": "server_error",
        }
    }

    def answer(call: Call) -> None:
        if any(len(text) > 500 for text in call.body["input"]):
            call.json(told, 500)
        else:
            serving(drawn)(call)

    with odd_server(embeddings=answer) as server, remote(tmp_path, server.url) as embedder:
        with pytest.raises(ContextOverflowError, match=r"too long for the model.*input \(300 tokens\)"):
            embedder.embed(["word " * 200], Lane.INGEST)
        assert embedder.replicas.all[0].usable
        assert embedder.embed(["annual leave"], Lane.INGEST).shape == (1, 16)


def test_a_cut_question_fits_the_window(tmp_path: Path) -> None:
    with odd_server(embeddings=serving(drawn)) as server, remote(tmp_path, server.url) as embedder:
        for text in ("多少天年假？" * 300, "How many days? " * 300, "short"):
            cut = embedder.tokenizer.cut(text)  # type: ignore[attr-defined]
            assert text.startswith(cut) and cut and embedder.tokenizer.count(cut) <= 512
            assert len(cut) > 200 or cut == text
