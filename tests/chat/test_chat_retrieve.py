"""Retrieval over real SQLite, Chroma, tantivy and MiniLM, and its rules over a brute-force store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.retrieval.retrieve import Retriever
from core.errors import IndexUnavailableError, ModelUnavailableError
from core.types import Collection
from models.protocols import fingerprint_of
from storage.vectors import VectorIndex


def test_an_english_question_finds_its_chunk_first(library: Any, shelf: Mapping[str, Collection]) -> None:
    found = library.retriever.retrieve("How many vacation days do employees get?", [shelf["handbook"]])
    assert found.results[0].chunk.text.startswith("Employees receive 25 days")
    assert not found.evidence.too_little
    assert set(found.results[0].stages) == {"dense", "keyword", "among", "fused"}
    assert {"embed", "dense", "keyword", "load", "fuse", "total"} <= set(found.timings)


def test_a_chinese_question_is_found_by_an_english_embedder(library: Any, shelf: Mapping[str, Collection]) -> None:
    found = library.retriever.retrieve("华夏娱乐2020年的净利润是多少？", list(shelf.values()))
    assert found.results[0].chunk.text.startswith("2020年，公司营业收入")
    assert found.evidence.similarity is None
    assert not found.evidence.too_little


def test_nothing_outside_the_given_collections_is_returned(library: Any, shelf: Mapping[str, Collection]) -> None:
    found = library.retriever.retrieve("年假 annual leave days", [shelf["reports"]], k=50)
    assert found.results
    assert {item.chunk.collection_id for item in found.results} == {shelf["reports"].id}


def test_an_empty_collection_gives_nothing_and_no_error(library: Any, shelf: Mapping[str, Collection]) -> None:
    found = library.retriever.retrieve("annual leave", [shelf["empty"]])
    assert found.results == []
    assert found.evidence.too_little
    assert library.retriever.retrieve("annual leave", []).results == []


def test_a_superseded_version_never_answers(library: Any) -> None:
    own = library.collections.create("versions", fingerprint_of(library.embedder, "1"))
    library.add(own, "price.md", ["The blue widget costs 40 euros."])
    library.add(own, "price.md", ["The blue widget costs 55 euros."])
    found = library.retriever.retrieve("What does the blue widget cost?", [own])
    assert [item.chunk.text for item in found.results] == ["The blue widget costs 55 euros."]


def test_a_deleted_document_is_gone_at_once(library: Any) -> None:
    own = library.collections.create("deletion", fingerprint_of(library.embedder, "1"))
    library.add(own, "secret.md", ["The gate code is 7781."])
    library.documents.delete(library.documents.find(own.id, "secret.md").id)
    assert library.retriever.retrieve("What is the gate code?", [own]).results == []


def test_live_chunks_are_found_behind_many_superseded_vectors(
    chunk: Callable[..., Any], collection: Callable[..., Any], fake_store: Callable[..., Any]
) -> None:
    chunks = [chunk(i, "alpha beta gamma", ordinal=i) for i in range(120)] + [chunk(500, "zeta eta theta", ordinal=500)]
    store = fake_store(chunks, ghosts=set(range(120)))
    # "kappa" is in no text, so that only the vectors can find the one live chunk behind 120 ghosts.
    found = Retriever(store, store, store, lambda _: store.embedder).retrieve("kappa alpha", [collection()])
    assert [item.chunk.id for item in found.results] == [500]


def test_texts_that_repeat_a_better_one_are_left_out_but_not_ones_with_another_number(
    chunk: Callable[..., Any], collection: Callable[..., Any], fake_store: Callable[..., Any]
) -> None:
    texts = ["Rent is 400 euros.", "Rent  is 400 Euros", "Rent is 500 euros."]
    store = fake_store([chunk(i, text, path=f"{i}.md") for i, text in enumerate(texts)])
    found = Retriever(store, store, store, lambda _: store.embedder).retrieve("rent euros", [collection()])
    assert sorted(item.chunk.id for item in found.results) == [0, 2]


def test_collections_of_other_fingerprints_are_merged_by_rank(
    chunk: Callable[..., Any], collection: Callable[..., Any], fake_store: Callable[..., Any]
) -> None:
    store = fake_store([chunk(1, "blue widget"), chunk(2, "blue widget price", collection="c2"), chunk(3, "other")])
    retriever = Retriever(store, store, store, lambda _: store.embedder)
    found = retriever.retrieve("blue widget", [collection("c1", "a"), collection("c2", "b")])
    assert [item.chunk.id for item in found.results][:2] == [1, 2]
    assert found.results[0].score == found.results[1].score == pytest.approx(1 / 61)


def test_without_the_embedder_keywords_rank_and_the_result_says_so(
    library: Any, shelf: Mapping[str, Collection]
) -> None:
    def gone(_: Collection) -> Any:
        raise ModelUnavailableError("The models process does not answer.")

    retriever = Retriever(library.chunks, library.vectors, library.keyword, gone)
    found = retriever.retrieve("annual leave days", [shelf["handbook"]])
    assert found.degraded
    assert found.results[0].chunk.text.startswith("Employees receive 25 days")


def test_a_dead_vector_server_is_an_error_and_not_a_worse_ranking(
    library: Any, shelf: Mapping[str, Collection]
) -> None:
    dead = VectorIndex("http://127.0.0.1:9")
    retriever = Retriever(library.chunks, dead, library.keyword, lambda _: library.embedder)
    with pytest.raises(IndexUnavailableError):
        retriever.retrieve("annual leave", [shelf["handbook"]])


_WORDS = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "年假", "净利润"]), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.tuples(_WORDS, st.sampled_from(["c1", "c2", "c3"])), max_size=12),
    asked=st.sets(st.sampled_from(["c1", "c2", "c3"])),
    query=_WORDS,
    ghosts=st.sets(st.integers(0, 11)),
)
def test_whatever_is_asked_only_live_chunks_of_the_given_collections_come_back(
    texts: list[tuple[list[str], str]],
    asked: set[str],
    query: list[str],
    ghosts: set[int],
    chunk: Callable[..., Any],
    collection: Callable[..., Any],
    fake_store: Callable[..., Any],
) -> None:
    chunks = [chunk(i, " ".join(words), collection=where, path=f"{i}") for i, (words, where) in enumerate(texts)]
    if not chunks:
        return
    store = fake_store(chunks, ghosts=ghosts)
    retriever = Retriever(store, store, store, lambda _: store.embedder)
    try:
        found = retriever.retrieve(" ".join(query), [collection(name) for name in sorted(asked)], k=20)
    finally:
        retriever.close()
    assert all(item.chunk.collection_id in asked and item.chunk.id not in ghosts for item in found.results)
    scores = [item.score for item in found.results]
    assert scores == sorted(scores, reverse=True)
    ids = [item.chunk.id for item in found.results]
    assert len(ids) == len(set(ids))


def test_a_chunk_only_keywords_found_gets_its_true_similarity(
    chunk: Callable[..., Any], collection: Callable[..., Any], fake_store: Callable[..., Any]
) -> None:
    chunks = [chunk(i, f"alpha filler{i} words{i}", path=f"{i}") for i in range(60)]
    chunks.append(chunk(900, "alpha omega " + " ".join(f"noise{i}" for i in range(40)), path="z"))
    store = fake_store(chunks)
    embedder = store.embedder
    found = Retriever(store, store, store, lambda _: embedder).retrieve("alpha omega", [collection()], k=70)
    item = next(item for item in found.results if item.chunk.id == 900)
    expected = float(store.vectors[900] @ embedder.embed_query("alpha omega"))
    assert item.stages["dense"] == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(item.score)
