"""Chunks: the join lets nothing through that may not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import event

from core.errors import UnreadableError
from core.types import Fingerprint, Locator, NewChunk


def test_only_chunks_of_live_versions_in_the_asked_collections_come_back(
    bench: Any, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    live = bench.ingest("live", "1", ["p", "q"])
    superseded = bench.ingest("changed", "old")
    current = bench.ingest("changed", "new")
    deleted = bench.ingest("deleted", "2")
    bench.documents.delete(bench.document_id("deleted"))
    failing = bench.submit("failed", "3")
    bench.take(failing)
    failed = bench.store(failing, ["x"])
    bench.documents.fail(failing, "bench", UnreadableError("no"))
    working = bench.submit("working", "4")
    bench.take(working)
    unfinished = bench.store(working, ["y"])
    home = bench.collection
    bench.collection = bench.collections.create("Other", make_fingerprint())
    other = bench.ingest("live", "1")

    everything = [*live, *superseded, *current, *deleted, *failed, *unfinished, *other, 10**12, -1]
    assert bench.chunks.load_live(everything, [home.id]).keys() == {*live, *current}
    assert bench.chunks.load_live(everything, [bench.collection.id]).keys() == set(other)
    assert bench.chunks.load_live(everything, [home.id, bench.collection.id]).keys() == {*live, *current, *other}
    assert bench.chunks.load_live(everything, []) == {}
    assert bench.chunks.load_live([], [home.id]) == {}
    assert bench.chunks.load_live(everything, ["0" * 32]) == {}


def test_chunks_of_a_deleted_collection_never_come_back(bench: Any) -> None:
    ids = bench.ingest("a", "1")
    bench.collections.delete(bench.collection.id)
    assert bench.chunks.load_live(ids, [bench.collection.id]) == {}


def test_a_loaded_chunk_says_where_it_stands(bench: Any) -> None:
    version_id = bench.submit("dir/plan.pdf", "1")
    bench.take(version_id)
    bench.documents.describe(
        version_id, "bench", media_type="application/pdf", title="Plan 计划", pages=2, problems=(), facts={}
    )
    where = Locator(page=2, heading=("一", "Two"), lines=(3, 9))
    [chunk_id] = bench.documents.store_chunks(
        version_id, "bench", [NewChunk(0, "正文", where, "一 > Two", 12)], ["正文"], np.eye(8, dtype=np.float32)[:1]
    )
    bench.documents.switch(version_id, "bench")
    chunk = bench.chunks.load_live([chunk_id], [bench.collection.id])[chunk_id]
    assert (chunk.path, chunk.title, chunk.text, chunk.context, chunk.locator, chunk.ordinal, chunk.version_id) == (
        "dir/plan.pdf",
        "Plan 计划",
        "正文",
        "一 > Two",
        where,
        0,
        version_id,
    )
    assert chunk.document_id == bench.document_id("dir/plan.pdf")
    assert chunk.collection_id == bench.collection.id


def test_neighbours_are_of_the_same_version_in_order_and_end_at_its_edges(bench: Any) -> None:
    bench.ingest("other", "o", ["x", "y", "z"])
    ids = bench.ingest("a", "1", [f"t{n}" for n in range(5)])
    chunks = bench.chunks.load_live(ids, [bench.collection.id])
    assert [c.text for c in bench.chunks.neighbours(chunks[ids[2]], 1, 1)] == ["t1", "t2", "t3"]
    assert [c.text for c in bench.chunks.neighbours(chunks[ids[0]], 3, 1)] == ["t0", "t1"]
    assert [c.text for c in bench.chunks.neighbours(chunks[ids[4]], 0, 9)] == ["t4"]


def test_neighbours_of_a_chunk_that_was_replaced_meanwhile_are_none(bench: Any) -> None:
    [old] = bench.ingest("a", "1")
    chunk = bench.chunks.load_live([old], [bench.collection.id])[old]
    bench.ingest("a", "2")
    assert bench.chunks.neighbours(chunk, 2, 2) == []


def test_embeddings_come_back_in_the_asked_order_with_norm_one_close_to_what_was_stored(
    bench: Any, make_vectors: Callable[..., NDArray[np.float32]]
) -> None:
    ids = bench.ingest("a", "1", [f"t{n}" for n in range(40)])
    stored = make_vectors(40, bench.seed)
    asked = [ids[7], 10**9, ids[3], ids[39]]
    found, matrix = bench.chunks.embeddings(asked)
    assert found == [ids[7], ids[3], ids[39]]
    assert matrix.dtype == np.float32 and matrix.shape == (3, 8)
    assert np.abs(np.linalg.norm(matrix, axis=1) - 1).max() < 1e-6
    assert np.abs(matrix - stored[[7, 3, 39]]).max() < 1e-3
    none, empty = bench.chunks.embeddings([])
    assert none == [] and empty.shape == (0, 0)


def test_batches_give_every_live_chunk_once_and_nothing_else(bench: Any) -> None:
    wanted = [i for n in range(7) for i in bench.ingest(f"{n}", f"{n}", ["Alpha", "Beta", "Gamma"], title=f"T{n}")]
    bench.ingest("gone", "x")
    bench.documents.delete(bench.document_id("gone"))
    batches = list(bench.chunks.live_batches(bench.collection.id, size=4))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 1]
    rows = [row for batch in batches for row in batch]
    assert [row.id for row in rows] == sorted(wanted) == list(bench.chunks.live_ids(bench.collection.id))
    assert (rows[1].tokens, rows[1].title, rows[1].path) == ("beta", "T0", "0")
    assert rows[0].embedding.shape == (8,) and rows[0].embedding.dtype == np.float32


def test_loading_a_hundred_chunks_among_thousands_takes_milliseconds_of_the_processor(sqlite_bench: Any) -> None:
    ids = sqlite_bench.ingest("a", "1", ["some words in a chunk of usual length " * 20] * 5000)
    some = ids[::50]
    sqlite_bench.chunks.load_live(some, [sqlite_bench.collection.id])
    times = []
    for _ in range(15):
        start = time.thread_time()
        assert len(sqlite_bench.chunks.load_live(some, [sqlite_bench.collection.id])) == 100
        times.append(time.thread_time() - start)
    assert min(times) < 0.01  # 3.5 ms on an idle processor, where 5 are allowed


def test_reads_begin_at_the_asked_chunks_and_not_at_the_whole_collection(sqlite_bench: Any) -> None:
    ids = sqlite_bench.ingest("a", "1", ["x", "y"])
    chunk = sqlite_bench.chunks.load_live(ids, [sqlite_bench.collection.id])[ids[0]]
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT") and "chunks" in statement:
            cursor.execute("EXPLAIN QUERY PLAN " + statement, parameters)
            plans.append(cursor.fetchall()[0][3])

    event.listen(sqlite_bench.db.engine, "before_cursor_execute", explain)
    sqlite_bench.chunks.load_live(ids, [sqlite_bench.collection.id])
    sqlite_bench.chunks.neighbours(chunk, 1, 1)
    list(sqlite_bench.chunks.live_batches(sqlite_bench.collection.id))
    event.remove(sqlite_bench.db.engine, "before_cursor_execute", explain)
    load, near, *batches = plans
    assert load == "SEARCH chunks USING INTEGER PRIMARY KEY (rowid=?)"
    assert "version_id=?" in near or "(id=?)" in near
    assert all("chunks" in plan and "rowid>?" in plan for plan in batches) and batches
