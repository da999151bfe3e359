"""Documents: which version answers, in whatever order submissions, switches and deletions come."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from core.errors import (
    EmptyDocumentError,
    InputError,
    LeaseLostError,
    NotFoundError,
    StorageError,
    UnreadableError,
)
from core.types import DocumentState, Locator, NewChunk, Problem
from storage.tables import CollectionTable, DocumentTable, IndexChangeTable, VersionTable


def changes(bench: Any) -> list[tuple[int, str, str]]:
    with bench.db.read() as session:
        rows = session.scalars(select(IndexChangeTable).order_by(IndexChangeTable.number))
        return [(row.number, row.kind, row.version_id) for row in rows]


def outcome(bench: Any, path: str, content: str, **more: Any) -> str:
    digest = content.encode().hex().ljust(64, "0")[:64]
    return str(bench.documents.submit(bench.collection.id, path, digest, 1, **more).outcome)


def finish(bench: Any, version_id: str, worker: str = "bench") -> bool:
    bench.store(version_id, ["text"], worker)
    return bool(bench.documents.switch(version_id, worker))


# ------------------------------------------------------------------ submit


def test_the_same_bytes_again_are_pending_then_unchanged_and_new_bytes_are_changed(bench: Any) -> None:
    assert outcome(bench, "a", "1") == "new"
    assert outcome(bench, "a", "1") == "pending"
    [claimed] = bench.documents.claim("bench", 5, 60)
    assert outcome(bench, "a", "1") == "pending"
    assert finish(bench, claimed.version_id)
    assert outcome(bench, "a", "1") == "unchanged"
    assert outcome(bench, "a", "2") == "changed"
    assert outcome(bench, "a", "2") == "pending"


def test_going_back_to_the_live_bytes_while_newer_ones_are_under_way_queues_a_third_version(bench: Any) -> None:
    bench.ingest("a", "old")
    second = bench.submit("a", "new")
    bench.take(second)
    third = bench.submit("a", "old")
    assert third not in (second, bench.documents.find(bench.collection.id, "a").live_version_id)
    bench.take(third, "other")
    assert finish(bench, third, "other")
    assert not finish(bench, second)
    assert bench.documents.find(bench.collection.id, "a").live_version_id == third


def test_a_queued_version_that_newer_bytes_overtake_is_never_claimed(bench: Any) -> None:
    first = bench.submit("a", "1")
    second = bench.submit("a", "2")
    assert [c.version_id for c in bench.documents.claim("w", 9, 60)] == [second]
    assert bench.documents.get_many([first])[first].state is DocumentState.DELETED


def test_failed_bytes_are_tried_again_as_the_same_version(bench: Any) -> None:
    version_id = bench.submit("a", "broken")
    bench.take(version_id)
    bench.documents.fail(version_id, "bench", UnreadableError("Cannot read 'a'.", "Repair it.", page=3))
    row = bench.documents.find(bench.collection.id, "a")
    assert (row.state, row.error) == (
        DocumentState.FAILED,
        {"code": "unreadable", "message": "Cannot read 'a'.", "hint": "Repair it.", "page": 3},
    )
    assert (
        bench.documents.submit(bench.collection.id, "a", row_hash(bench, version_id), 6, retry_failed=False).outcome
        == "unchanged"
    )
    assert bench.documents.pending() == 0
    assert bench.submit("a", "broken") == version_id
    row = bench.documents.find(bench.collection.id, "a")
    assert (row.state, row.error, row.version) == (DocumentState.QUEUED, None, 1)
    bench.take(version_id)
    assert finish(bench, version_id)


def row_hash(bench: Any, version_id: str) -> str:
    with bench.db.read() as session:
        return str(session.get(VersionTable, version_id).content_hash)


def test_a_failed_version_with_vectors_left_is_retried_under_new_ids(bench: Any) -> None:
    first = bench.submit("a", "x")
    bench.take(first)
    old = bench.store(first, ["p", "q"])
    bench.documents.fail(first, "bench", EmptyDocumentError("late failure"))
    [purge] = bench.documents.purgeable()
    assert purge.chunk_ids == old
    second = bench.submit("a", "x")
    assert second != first
    bench.take(second)
    new = bench.store(second, ["p", "q"])
    bench.documents.purged(purge.version_id)  # a purge that began before the retry
    assert bench.documents.switch(second, "bench")
    assert set(new).isdisjoint(old) and bench.live() == set(new)


def test_taking_broken_new_bytes_back_makes_the_document_ready_again(bench: Any) -> None:
    bench.ingest("a", "good")
    bad = bench.submit("a", "bad")
    bench.take(bad)
    bench.documents.fail(bad, "bench", UnreadableError("no"))
    live = bench.documents.find(bench.collection.id, "a").live_version_id
    assert bench.submit("a", "good") == live
    row = bench.documents.find(bench.collection.id, "a")
    assert (row.state, row.version_id, row.version) == (DocumentState.READY, live, 1)


def test_a_failed_new_version_leaves_the_old_one_answering(bench: Any) -> None:
    ids = bench.ingest("a", "good")
    bad = bench.submit("a", "bad")
    bench.take(bad)
    bench.documents.fail(bad, "bench", UnreadableError("no"))
    assert bench.live() == set(ids)
    row = bench.documents.find(bench.collection.id, "a")
    assert (row.state, row.version, row.live_version_id is not None) == (DocumentState.FAILED, 2, True)


def test_a_deleted_path_comes_back_as_the_same_document_without_its_old_chunks(bench: Any) -> None:
    bench.ingest("a", "one")
    document_id = bench.document_id("a")
    bench.documents.delete(document_id)
    with pytest.raises(NotFoundError):
        bench.documents.get(document_id)
    assert outcome(bench, "a", "x") == "new"
    row = bench.documents.get(document_id)
    assert (row.version, row.live_version_id, row.state) == (2, None, DocumentState.QUEUED)
    assert bench.live() == set()
    for purge in bench.documents.purgeable():
        bench.documents.purged(purge.version_id)
    assert bench.documents.get(document_id).version == 2


@pytest.mark.parametrize("path", ["", "x" * 1001])
def test_paths_that_do_not_fit_are_refused(bench: Any, path: str) -> None:
    with pytest.raises(InputError, match="1000 characters"):
        bench.submit(path, "x")


def test_submitting_to_a_collection_that_is_gone_is_not_found(bench: Any) -> None:
    bench.collections.delete(bench.collection.id)
    with pytest.raises(NotFoundError):
        bench.submit("a", "x")


def test_many_threads_that_submit_one_new_path_make_one_document_and_one_version(bench: Any) -> None:
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(outcome(bench, "a", "1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["new"] + ["pending"] * 7
    assert bench.documents.pending() == 1


# ------------------------------------------------------------------ switch and delete


def test_switching_replaces_the_old_version_in_one_step_and_writes_both_changes(bench: Any) -> None:
    old = bench.ingest("a", "one", ["p", "q"])
    first = bench.documents.find(bench.collection.id, "a").live_version_id
    new = bench.ingest("a", "two", ["r"])
    second = bench.documents.find(bench.collection.id, "a").live_version_id
    assert bench.live() == set(new) and set(new).isdisjoint(old)
    assert changes(bench) == [(1, "add", first), (2, "remove", first), (3, "add", second)]
    assert bench.documents.get_many([first, second])[first].state is DocumentState.DELETED


def test_an_older_version_that_finishes_later_never_answers(bench: Any) -> None:
    slow = bench.submit("a", "1")
    bench.take(slow, "slow")
    fast = bench.submit("a", "2")
    bench.take(fast, "fast")
    bench.store(slow, ["old"], "slow")
    new = bench.store(fast, ["new"], "fast")
    assert bench.documents.switch(fast, "fast") is True
    assert bench.documents.switch(slow, "slow") is False
    assert bench.live() == set(new)
    assert bench.documents.get_many([slow])[slow].state is DocumentState.DELETED
    assert [purge.version_id for purge in bench.documents.purgeable()] == [slow]


def test_deleting_during_processing_stops_the_worker_and_the_document_stays_gone(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    bench.store(version_id, ["x"])
    bench.documents.delete(bench.document_id("a"))
    for call in (
        lambda: bench.documents.switch(version_id, "bench"),
        lambda: bench.documents.set_state(version_id, "bench", DocumentState.EMBEDDING),
        lambda: bench.store(version_id, ["x"]),
        lambda: bench.documents.fail(version_id, "bench", UnreadableError("late")),
    ):
        with pytest.raises(LeaseLostError):
            call()
    assert bench.documents.renew("bench", [version_id], 60) == []
    assert bench.live() == set() and bench.documents.pending() == 0
    assert changes(bench) == []


def test_vectors_of_a_deleted_document_wait_for_the_lease_of_a_worker_that_may_still_write(bench: Any) -> None:
    held, lost = bench.submit("held", "1"), bench.submit("lost", "2")
    bench.take(held, lease_s=60)
    bench.take(lost, lease_s=0)
    bench.store(held, ["x"])
    ids = bench.store(lost, ["x"])
    bench.documents.delete(bench.document_id("held"))
    bench.documents.delete(bench.document_id("lost"))
    assert [(p.version_id, p.chunk_ids) for p in bench.documents.purgeable()] == [(lost, ids)]


def test_deleting_takes_the_document_from_readers_at_once_and_twice_is_not_found(bench: Any) -> None:
    ids = bench.ingest("a", "1")
    document_id = bench.document_id("a")
    bench.documents.delete(document_id)
    assert bench.chunks.load_live(ids, [bench.collection.id]) == {}
    assert bench.documents.find(bench.collection.id, "a") is None
    assert bench.documents.list(bench.collection.id) == [] and bench.documents.count(bench.collection.id) == 0
    assert [kind for _, kind, _ in changes(bench)] == ["add", "remove"]
    with pytest.raises(NotFoundError):
        bench.documents.delete(document_id)


def test_switching_twice_or_before_the_chunks_are_stored_is_refused(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    with pytest.raises(StorageError, match="Store its chunks first"):
        bench.documents.switch(version_id, "bench")
    assert finish(bench, version_id)
    with pytest.raises(LeaseLostError):
        bench.documents.switch(version_id, "bench")
    with pytest.raises(LeaseLostError):
        bench.documents.switch("0" * 32, "bench")


def test_change_numbers_have_no_gap_and_stand_in_the_order_of_commits(bench: Any) -> None:
    def work(worker: str) -> None:
        for turn in range(6):
            version_id = bench.submit(f"{worker}/{turn % 3}", f"{worker}{turn}")
            bench.take(version_id, worker)
            bench.store(version_id, ["x"], worker)
            bench.documents.switch(version_id, worker)
            if turn == 4:
                bench.documents.delete(bench.document_id(f"{worker}/0"))

    seen: list[list[int]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.append([number for number, _, _ in changes(bench)])

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    watcher = threading.Thread(target=watch)
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    watcher.join()
    final = changes(bench)
    assert [number for number, _, _ in final] == list(range(1, len(final) + 1))
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen)
    with bench.db.read() as session:
        collection = session.get(CollectionTable, bench.collection.id)
        live = set(session.scalars(select(DocumentTable.live_version_id).where(DocumentTable.deleted_at.is_(None))))
    assert collection.changes == len(final)
    replayed: set[str] = set()
    for _, kind, version_id in final:
        (replayed.add if kind == "add" else replayed.remove)(version_id)
    assert replayed == live


# ------------------------------------------------------------------ chunks of a version


def test_storing_again_keeps_the_ids_so_that_vectors_of_a_killed_worker_are_overwritten(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id, "killed", lease_s=0)
    first = bench.store(version_id, ["p", "q", "r"], "killed")
    [claimed] = bench.documents.claim("heir", 1, 60)
    assert (claimed.version_id, claimed.attempts) == (version_id, 2)
    assert bench.store(version_id, ["p", "q", "r"], "heir") == first
    fewer = bench.store(version_id, ["p", "q"], "heir")
    assert fewer == first[:2]
    assert bench.documents.switch(version_id, "heir")
    assert bench.live() == set(fewer)
    assert bench.chunks.load_live(first, [bench.collection.id]).keys() == set(fewer)
    bench.documents.delete(bench.document_id("a"))
    [purge] = bench.documents.purgeable()
    assert sorted(purge.chunk_ids) == first  # the surplus id too: its vector may be in Chroma


def test_storing_more_chunks_than_the_first_attempt_adds_ids_and_never_reuses_one(bench: Any) -> None:
    other = bench.ingest("b", "other", ["s", "t"])
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    first = bench.store(version_id, ["p", "q", "r"])
    one = bench.store(version_id, ["p"])
    four = bench.store(version_id, ["p", "q", "r", "u"])
    assert one == first[:1] and four[:3] == first
    assert set(four).isdisjoint(other) and len(set(four)) == 4
    assert bench.documents.switch(version_id, "bench")
    texts = [chunk.text for chunk in bench.chunks.of_version(version_id)]
    assert texts == ["p", "q", "r", "u"]


def test_a_worker_that_lost_its_lease_cannot_store_describe_or_switch(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id, "old", lease_s=0)
    bench.take(version_id, "new")
    for call in (
        lambda: bench.store(version_id, ["x"], "old"),
        lambda: bench.documents.switch(version_id, "old"),
        lambda: bench.documents.set_state(version_id, "old", DocumentState.CHUNKING),
        lambda: bench.documents.fail(version_id, "old", UnreadableError("late")),
    ):
        with pytest.raises(LeaseLostError, match="no longer holds"):
            call()
    assert finish(bench, version_id, "new")


@pytest.mark.parametrize(
    ("shape", "tokens"), [((2, 8), 1), ((1, 7), 1), ((1, 8), 2), ((8,), 1)], ids=["rows", "columns", "tokens", "flat"]
)
def test_embeddings_of_another_shape_are_refused(bench: Any, shape: tuple[int, ...], tokens: int) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    with pytest.raises(StorageError, match="shape"):
        bench.documents.store_chunks(
            version_id, "bench", [NewChunk(0, "x", Locator())], ["x"] * tokens, np.zeros(shape, np.float32)
        )


def test_an_embedding_that_is_not_finite_is_refused(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    bad = np.full((1, 8), np.nan, np.float32)
    with pytest.raises(StorageError, match="not finite"):
        bench.documents.store_chunks(version_id, "bench", [NewChunk(0, "x", Locator())], ["x"], bad)


def test_text_with_nul_and_lone_surrogates_is_stored_on_both_databases(bench: Any) -> None:
    [chunk_id] = bench.ingest("a", "odd", ["a\x00b\ud800c"], title="t\x00")
    chunk = bench.chunks.load_live([chunk_id], [bench.collection.id])[chunk_id]
    assert (chunk.text, chunk.title) == ("a\ufffdb?c", "t\ufffd")


def test_a_version_without_chunks_can_be_live(bench: Any) -> None:
    assert bench.ingest("empty", "x", []) == []
    assert bench.documents.find(bench.collection.id, "empty").state is DocumentState.READY


# ------------------------------------------------------------------ reading


def test_documents_are_found_by_part_of_path_or_title_whatever_its_case(bench: Any) -> None:
    for name in ("Été/Plan.md", "b/PLAN 2.md", "c/制度.md"):
        bench.ingest(name, name)
    bench.submit("plan, not read yet", "d")
    documents, collection = bench.documents, bench.collection.id

    def found(text: str, *states: DocumentState) -> list[str]:
        rows = [documents.get(key) for key in documents.named(collection, text, states)]
        assert documents.list(collection, ids=[row.id for row in rows]) == rows
        return [row.path for row in rows]

    assert found(" plan ") == sorted(["Été/Plan.md", "b/PLAN 2.md", "plan, not read yet"], key=str.encode)
    assert found("plan", DocumentState.READY) == ["b/PLAN 2.md", "Été/Plan.md"]
    assert found("ÉTÉ") == ["Été/Plan.md"] and found("制度") == ["c/制度.md"] and found("%") == []
    assert documents.paths(collection) == sorted(["Été/Plan.md", "b/PLAN 2.md", "plan, not read yet", "c/制度.md"])
    assert documents.paths(collection, answering=True) == sorted(["Été/Plan.md", "b/PLAN 2.md", "c/制度.md"])


def test_lists_are_by_path_with_states_offset_and_limit(bench: Any) -> None:
    for name in ("c", "a", "b"):
        bench.ingest(name, name)
    bench.submit("d", "d")
    paths = [row.path for row in bench.documents.list(bench.collection.id)]
    assert paths == ["a", "b", "c", "d"]
    assert [row.path for row in bench.documents.list(bench.collection.id, offset=1, limit=2)] == ["b", "c"]
    ready = [DocumentState.READY]
    assert [row.path for row in bench.documents.list(bench.collection.id, states=ready)] == ["a", "b", "c"]
    assert (bench.documents.count(bench.collection.id), bench.documents.count(bench.collection.id, ready)) == (4, 3)


def test_what_a_worker_reports_is_what_lists_and_waiting_callers_see(bench: Any) -> None:
    version_id = bench.submit("a.pdf", "1", priority=3)
    bench.take(version_id)
    problem = Problem("hidden_text", "White text.", 2)
    bench.documents.describe(
        version_id, "bench", media_type="application/pdf", title="Plan", pages=7, problems=[problem], facts={"n": 1}
    )
    bench.documents.set_state(version_id, "bench", DocumentState.EMBEDDING, 0.5)
    status = bench.documents.get_many([version_id, "0" * 32])
    assert status.keys() == {version_id}
    seen = status[version_id]
    assert (seen.path, seen.state, seen.progress, seen.problems, seen.pages, seen.error) == (
        "a.pdf",
        DocumentState.EMBEDDING,
        0.5,
        (problem,),
        7,
        None,
    )
    row = bench.documents.get(seen.document_id)
    assert (row.title, row.media_type, row.problems, row.live_version_id) == (
        "Plan",
        "application/pdf",
        (problem,),
        None,
    )


def test_final_states_cannot_be_set_by_hand(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    with pytest.raises(StorageError, match="final states"):
        bench.documents.set_state(version_id, "bench", DocumentState.READY)


def test_pending_counts_versions_under_way_in_one_collection_or_all(bench: Any) -> None:
    bench.submit("a", "1")
    bench.submit("b", "2")
    bench.ingest("c", "3")
    assert bench.documents.pending() == bench.documents.pending(bench.collection.id) == 2
    assert bench.documents.pending("0" * 32) == 0


# ------------------------------------------------------------------ purging


def test_purging_removes_superseded_rows_and_the_last_one_takes_the_deleted_document(bench: Any) -> None:
    old = bench.ingest("a", "one", ["p", "q"])
    new = bench.ingest("a", "two")
    [purge] = bench.documents.purgeable()
    assert (purge.vector_key, purge.chunk_ids) == (bench.collection.vector_key, old)
    bench.documents.purged(purge.version_id)
    assert bench.documents.purgeable() == [] and bench.live() == set(new)
    bench.documents.delete(bench.document_id("a"))
    for purge in bench.documents.purgeable():
        bench.documents.purged(purge.version_id)
    with bench.db.read() as session:
        assert session.scalars(select(DocumentTable)).all() == []
        assert session.scalars(select(VersionTable)).all() == []


def test_a_live_or_pending_version_cannot_be_purged(bench: Any) -> None:
    ids = bench.ingest("a", "one")
    live = bench.documents.find(bench.collection.id, "a").live_version_id
    queued = bench.submit("b", "two")
    for version_id in (live, queued, "0" * 32):
        bench.documents.purged(version_id)
    assert bench.live() == set(ids)
    assert bench.documents.get_many([queued])[queued].state is DocumentState.QUEUED


def test_purging_a_failed_version_removes_its_chunks_and_keeps_its_error(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    bench.store(version_id, ["x"])
    bench.documents.fail(version_id, "bench", UnreadableError("no"))
    [purge] = bench.documents.purgeable()
    bench.documents.purged(purge.version_id)
    assert bench.documents.purgeable() == []
    assert bench.documents.get_many([version_id])[version_id].error["code"] == "unreadable"


def test_a_file_is_in_use_until_its_last_version_is_deleted(bench: Any) -> None:
    bench.ingest("a", "same")
    bench.ingest("b", "same")
    digest = row_hash(bench, bench.documents.find(bench.collection.id, "a").version_id)
    removed: list[str] = []
    bench.documents.delete(bench.document_id("a"))
    assert bench.documents.hash_in_use(digest)
    assert bench.documents.remove_unused(digest, removed.append) is False
    bench.documents.delete(bench.document_id("b"))
    assert not bench.documents.hash_in_use(digest)
    assert bench.documents.remove_unused(digest, removed.append) is True
    assert removed == [digest]
