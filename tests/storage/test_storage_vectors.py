"""Vectors: a real Chroma server answers as brute force does, and its absence is said plainly."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import IndexUnavailableError, SettingsError, StorageError
from storage.vectors import HNSW, VectorIndex

Vectors = Callable[..., NDArray[np.float32]]


@pytest.fixture
def key() -> str:
    """A Chroma collection of this test alone."""
    return f"c-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}"


def test_similarity_is_the_inner_product_and_the_nearest_come_first(
    vectors: VectorIndex, key: str, make_vectors: Vectors
) -> None:
    rows = make_vectors(200, 1)
    vectors.upsert(key, range(1000, 1200), rows)
    question = make_vectors(1, 2)[0]
    exact = rows @ question
    order = np.argsort(-exact)[:10]
    found = vectors.query(key, question, 10)
    assert [i for i, _ in found] == [1000 + int(n) for n in order]
    assert np.abs(np.array([score for _, score in found]) - exact[order]).max() < 1e-5


def test_what_was_just_written_is_found_by_the_very_next_query_of_any_client(
    vectors: VectorIndex, chroma_url: str, key: str, make_vectors: Vectors
) -> None:
    other = VectorIndex(chroma_url)
    rows = make_vectors(60, 3)
    for place, row in enumerate(rows):
        vectors.upsert(key, [place], rows[place : place + 1])
        assert vectors.query(key, row, 1)[0][0] == place
        assert other.query(key, row, 1)[0][0] == place
    other.close()


def test_the_graph_has_the_width_that_was_measured(vectors: VectorIndex, key: str, make_vectors: Vectors) -> None:
    vectors.upsert(key, [1], make_vectors(1, 7))
    graph = vectors._client().get_collection(key).configuration_json["hnsw"]
    assert {name: graph[name] for name in HNSW} == HNSW


def test_vectors_that_hardly_differ_are_each_found_after_many_changes(vectors: VectorIndex, key: str) -> None:
    chance = np.random.default_rng(5)
    rows = 1.0 + 0.3 * chance.standard_normal((1500, 48)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = np.arange(len(rows))
    vectors.upsert(key, [int(i) for i in ids], rows)
    for turn in (1, 2):
        some = chance.permutation(len(rows))[:700]
        vectors.delete(key, [int(i) for i in ids[some]])
        ids[some] += 10_000 * turn
        vectors.upsert(key, [int(i) for i in ids[some]], rows[some])
    assert len(vectors.unreached(key, [int(i) for i in ids], rows)) <= 1


def test_what_no_question_leads_to_is_named(vectors: VectorIndex, key: str) -> None:
    axes = np.eye(8, dtype=np.float32)
    assert vectors.unreached(key, [1, 2], axes[:2]) == {1: False, 2: False}
    vectors.upsert(key, [1, 2, 3], axes[:3])
    vectors.delete(key, [2])
    assert vectors.unreached(key, [1, 2, 3], axes[[0, 1, 3]]) == {2: False, 3: False}


def test_equal_vectors_stand_for_each_other_and_unequal_ones_do_not(vectors: VectorIndex, key: str) -> None:
    rows = np.repeat(np.eye(8, dtype=np.float32)[:1], 60, axis=0)
    vectors.upsert(key, range(60), rows)
    many = vectors.unreached(key, range(60), rows)
    assert len(many) >= 50 and all(many.values())  # ten of sixty are among the ten nearest
    vectors.delete(key, range(1, 60))
    close = np.array([[1.0, 0.02, 0, 0, 0, 0, 0, 0]], dtype=np.float32)
    assert vectors.unreached(key, [0, 99], np.concatenate([rows[:1], close])) == {99: False}


def test_vectors_are_given_back_as_they_were_written(vectors: VectorIndex, key: str, make_vectors: Vectors) -> None:
    assert vectors.read(key, [1])[0] == []
    rows = make_vectors(3, 8)
    vectors.upsert(key, [7, 5, 6], rows)
    ids, found = vectors.read(key, [5, 7, 99])
    assert ids == [5, 7]
    assert np.array_equal(found, rows[[1, 0]])


def test_writing_an_id_again_replaces_its_vector(vectors: VectorIndex, key: str) -> None:
    axes = np.eye(8, dtype=np.float32)
    vectors.upsert(key, [5, 6], axes[:2])
    vectors.upsert(key, [5], axes[2:3])
    assert vectors.count(key) == 2
    assert vectors.query(key, axes[2], 1) == [(5, pytest.approx(1.0))]
    assert vectors.query(key, axes[0], 1)[0][1] == pytest.approx(0.0)


def test_more_vectors_than_one_request_holds_are_all_there(
    vectors: VectorIndex, key: str, make_vectors: Vectors
) -> None:
    vectors.upsert(key, range(12_000), make_vectors(12_000, 4, 4))
    assert vectors.count(key) == 12_000
    assert np.array_equal(vectors.ids(key), np.arange(12_000))
    assert vectors.present(key, range(11_990, 12_010)) == set(range(11_990, 12_000))
    vectors.delete(key, range(6_000))
    assert np.array_equal(vectors.ids(key), np.arange(6_000, 12_000))


def test_deleted_vectors_never_come_back_and_unknown_ids_do_no_harm(
    vectors: VectorIndex, key: str, make_vectors: Vectors
) -> None:
    rows = make_vectors(20, 5)
    vectors.upsert(key, range(20), rows)
    vectors.delete(key, [3, 4, 999])
    vectors.delete(key, [])
    for row in rows:
        assert {i for i, _ in vectors.query(key, row, 20)} == set(range(20)) - {3, 4}


def test_an_absent_collection_is_empty_everywhere(vectors: VectorIndex, key: str, make_vectors: Vectors) -> None:
    assert vectors.query(key, make_vectors(1)[0], 5) == []
    assert vectors.count(key) == 0 and len(vectors.ids(key)) == 0 and vectors.present(key, [1]) == set()
    vectors.delete(key, [1])
    vectors.drop(key)
    names = vectors.keys()
    assert key not in names


def test_a_collection_dropped_and_made_anew_by_another_process_is_followed(
    vectors: VectorIndex, chroma_url: str, key: str, make_vectors: Vectors
) -> None:
    rows = make_vectors(3, 6)
    vectors.upsert(key, [1, 2, 3], rows)
    other = VectorIndex(chroma_url)
    other.drop(key)
    assert vectors.query(key, rows[0], 5) == []
    assert vectors.count(key) == 0
    other.upsert(key, [7], rows[:1])
    assert [i for i, _ in vectors.query(key, rows[0], 5)] == [7]
    other.drop(key)
    vectors.upsert(key, [8], rows[1:2])
    assert [i for i, _ in other.query(key, rows[1], 5)] == [8]
    other.close()


def test_threads_that_create_and_fill_one_collection_lose_nothing(
    vectors: VectorIndex, chroma_url: str, key: str, make_vectors: Vectors
) -> None:
    clients = [vectors, VectorIndex(chroma_url)]
    errors: list[Exception] = []

    def fill(worker: int) -> None:
        try:
            for turn in range(10):
                start = worker * 1000 + turn * 20
                clients[worker % 2].upsert(key, range(start, start + 20), make_vectors(20, start))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fill, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clients[1].close()
    assert errors == []
    assert vectors.count(key) == 4 * 200


@pytest.mark.parametrize(
    ("ids", "shape"), [([1, 1], (2, 8)), ([1], (2, 8)), ([1], (8,))], ids=["twice", "too many rows", "flat"]
)
def test_ids_and_rows_must_match(vectors: VectorIndex, key: str, ids: list[int], shape: tuple[int, ...]) -> None:
    with pytest.raises(StorageError, match="one row per id"):
        vectors.upsert(key, ids, np.ones(shape, np.float32))


def test_numbers_that_are_not_finite_are_refused_in_and_out(vectors: VectorIndex, key: str) -> None:
    bad = np.full((1, 8), np.nan, np.float32)
    with pytest.raises(StorageError, match="not finite"):
        vectors.upsert(key, [1], bad)
    with pytest.raises(StorageError, match="not finite"):
        vectors.query(key, bad[0], 1)


def test_a_vector_of_another_dimension_is_an_error_not_a_silent_loss(
    vectors: VectorIndex, key: str, make_vectors: Vectors
) -> None:
    vectors.upsert(key, [1], make_vectors(1, 1, 8))
    with pytest.raises(IndexUnavailableError, match="refused"):
        vectors.upsert(key, [2], make_vectors(1, 1, 9))


def test_a_server_that_is_away_is_said_with_address_and_remedy(make_vectors: Vectors) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    index = VectorIndex(url)
    for call in (
        index.ping,
        index.keys,
        lambda: index.query("c-abc", make_vectors(1)[0], 1),
        lambda: index.upsert("c-abc", [1], make_vectors(1)),
        lambda: index.delete("c-abc", [1]),
    ):
        with pytest.raises(IndexUnavailableError, match="does not answer") as caught:
            call()
        assert url in caught.value.message and "alioth serve" in caught.value.hint


def test_killing_the_server_is_noticed_and_its_vectors_are_there_after_a_restart(
    own_chroma: Any, key: str, make_vectors: Vectors
) -> None:
    index = VectorIndex(own_chroma.url)
    rows = make_vectors(300, 8)
    index.upsert(key, range(300), rows)
    own_chroma.kill()
    with pytest.raises(IndexUnavailableError):
        index.query(key, rows[0], 1)
    own_chroma.start()
    assert index.count(key) == 300
    assert index.query(key, rows[17], 1)[0][0] == 17
    index.close()


def test_the_server_stops_cleanly_and_writes_no_error(own_chroma: Any) -> None:
    assert own_chroma.stop() == 0
    log = (own_chroma.folder / "chroma.log").read_text()
    assert "127.0.0.1" in log and "ERROR" not in log
    own_chroma.start()


def test_a_proxy_of_the_environment_is_not_asked(chroma_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    index = VectorIndex(chroma_url)
    index.ping()
    index.close()


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://"])
def test_an_address_that_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="ALIOTH_CHROMA__URL"):
        VectorIndex(url)


def test_a_server_that_is_not_chroma_is_said_plainly(make_vectors: Vectors) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        index = VectorIndex(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(IndexUnavailableError):
            index.ping()
        index.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
