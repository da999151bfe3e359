"""Every embedder keeps the same promises: the fake, the real one in this process, the real one over HTTP."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from core.errors import ContextOverflowError, WeightsError
from models.client.connection import ModelsClient
from models.embedding.sentence_transformer import SentenceTransformerEmbedder
from models.embedding.tokenizer import FileTokenizer
from models.fakes import FakeEmbedder
from models.files import catalog, weights
from models.protocols import Embedder, Lane, fingerprint_of

TEXTS = [
    "Employees may carry over five days of annual leave.",
    "",
    "Das Rad dreht sich.",
    "员工每年有五天年假。",
    *(f"Paragraph {i} speaks of topic number {i * 7}." * (1 + i % 9) for i in range(40)),
]


@pytest.fixture(params=["fake", "sentence_transformer", "client"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    if request.param == "fake":
        return FakeEmbedder()
    if request.param == "sentence_transformer":
        real: SentenceTransformerEmbedder = request.getfixturevalue("minilm")
        return real
    client: ModelsClient = request.getfixturevalue("client")
    return client.embedder()


def test_embeddings_are_float32_of_norm_one_in_the_order_of_the_texts(embedder: Embedder) -> None:
    vectors = embedder.embed_documents(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension) and vectors.dtype == np.float32
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    backwards = embedder.embed_documents(TEXTS[::-1])[::-1]
    assert (np.sum(vectors * backwards, axis=1) > 0.995).all()
    for index in (0, 5, 20):
        alone = embedder.embed_documents([TEXTS[index]])[0]
        assert float(vectors[index] @ alone) > 0.995


def test_no_text_gives_an_empty_matrix(embedder: Embedder) -> None:
    assert embedder.embed_documents([]).shape == (0, embedder.dimension)


def test_a_text_over_the_window_is_refused_never_cut(embedder: Embedder) -> None:
    with pytest.raises(ContextOverflowError):
        embedder.embed_documents(["fine", "word " * embedder.max_tokens])
    fits = "word " * (embedder.max_tokens - 2)
    assert embedder.tokenizer.count(fits) == embedder.max_tokens
    assert embedder.embed_documents([fits]).shape == (1, embedder.dimension)


def test_a_question_over_the_window_is_cut_at_its_end(embedder: Embedder) -> None:
    start = "annual leave policy " * (embedder.max_tokens // 3)
    long = embedder.embed_query(start + "pump filter valve " * 200)
    assert long.shape == (embedder.dimension,) and abs(float(np.linalg.norm(long)) - 1) < 1e-5
    assert float(long @ embedder.embed_query(start)) > 0.95


def test_near_texts_are_nearer_than_far_ones_in_either_lane(embedder: Embedder) -> None:
    question = embedder.embed_query("how many days of annual leave")
    for lane in Lane:
        near, far = embedder.embed_documents(["annual leave: 25 days of it", "The pump has a filter."], lane)
        assert float(question @ near) > float(question @ far)


def test_threads_get_their_own_results(embedder: Embedder) -> None:
    expected = embedder.embed_documents(TEXTS[:8])
    results: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        lane = Lane.QUESTION if number % 2 else Lane.INGEST
        results[number] = embedder.embed_documents([TEXTS[number]], lane)[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(float(results[number] @ expected[number]) > 0.995 for number in range(8))


def test_the_tokenizer_counts_what_the_embedder_reads(embedder: Embedder) -> None:
    tokenizer = embedder.tokenizer
    assert tokenizer.max_tokens == embedder.max_tokens
    assert tokenizer.counts(TEXTS) == [tokenizer.count(text) for text in TEXTS]
    text = "Annual leave, 年假 and more."
    spans = tokenizer.offsets(text)
    assert len(spans) == tokenizer.count(text) - 2 or isinstance(embedder, FakeEmbedder)
    assert all(0 <= start < end <= len(text) for start, end in spans) and spans == sorted(spans)
    assert tokenizer.unknown_share("") == 0.0
    assert tokenizer.unknown_share("annual leave policy") == 0.0
    assert 0.3 < tokenizer.unknown_share("饕餮魑魅魍魉") <= 1.0


def test_client_and_local_embedder_agree(client: ModelsClient, minilm: SentenceTransformerEmbedder) -> None:
    remote = client.embedder()
    assert fingerprint_of(remote, "1") == fingerprint_of(minilm, "1")
    assert (np.sum(remote.embed_documents(TEXTS) * minilm.embed_documents(TEXTS), axis=1) > 0.995).all()


def test_bfloat16_is_close_to_float32(models_home: Path, minilm: SentenceTransformerEmbedder) -> None:
    entry = catalog.entry("all-minilm-l6-v2")
    folder = weights.resolve(entry.id, models_home)
    dtype: Literal["float32", "bfloat16"] = "float32" if minilm.dtype == "bfloat16" else "bfloat16"
    other = SentenceTransformerEmbedder(folder, entry, entry.sha256, threads=2, dtype=dtype)
    assert (np.sum(other.embed_documents(TEXTS[:12]) * minilm.embed_documents(TEXTS[:12]), axis=1) > 0.998).all()


def test_an_embedder_that_contradicts_the_catalogue_is_refused(models_home: Path) -> None:
    entry = catalog.entry("all-minilm-l6-v2")
    folder = weights.resolve(entry.id, models_home)
    wrong = dataclasses.replace(entry, dimension=768)
    with pytest.raises(WeightsError, match="384 dimensions, the catalogue says 768"):
        SentenceTransformerEmbedder(folder, wrong, entry.sha256, threads=2)


def test_cut_keeps_the_longest_beginning_that_fits(models_home: Path) -> None:
    file = weights.resolve("all-minilm-l6-v2", models_home) / "tokenizer.json"
    tokenizer = FileTokenizer(file, 16)
    text = "unbelievably internationalised antidisestablishmentarianism policies of the company"
    cut = tokenizer.cut(text)
    assert text.startswith(cut) and tokenizer.count(cut) <= 16 < tokenizer.count(text)
    assert tokenizer.count(cut) >= 14
    assert tokenizer.cut("short") == "short"


def test_the_fake_is_the_same_in_every_process() -> None:
    code = "from models.fakes import FakeEmbedder; print(FakeEmbedder().embed_query('annual leave').tolist())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(FakeEmbedder().embed_query("annual leave").tolist())


def test_one_thread_computes_for_all_callers(
    minilm: SentenceTransformerEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing: set[int] = set()
    forward = minilm._model.forward

    def watched(*arguments: Any, **options: Any) -> Any:
        computing.add(threading.get_ident())
        return forward(*arguments, **options)

    monkeypatch.setattr(minilm._model, "forward", watched)
    with ThreadPoolExecutor(6) as callers:
        list(callers.map(minilm.embed_query, [f"question {n}" for n in range(18)]))
    assert len(computing) == 1
