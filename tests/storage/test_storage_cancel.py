"""Cancelling, what a lost worker leaves behind in words, the order of claims, and chunk rows stored in slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.errors import LeaseLostError, NotFoundError, StoreUnavailableError
from core.types import DocumentState, Locator, NewChunk, Priority

# ------------------------------------------------------------------ cancel


def test_cancelling_a_queued_new_document_removes_it(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    document_id = bench.document_id("a")
    assert bench.documents.cancel(document_id)
    assert bench.documents.list(bench.collection.id) == []
    assert bench.documents.pending() == 0 and bench.documents.claim("w", 5, 60) == []
    assert [entry.version_id for entry in bench.documents.purgeable()] == [version_id]
    bench.documents.purged(version_id)
    with pytest.raises(NotFoundError):
        bench.documents.cancel(document_id)


def test_cancelling_a_new_version_keeps_the_live_one_answering(bench: Any) -> None:
    live = bench.ingest("a", "1")
    bench.submit("a", "2")
    document_id = bench.document_id("a")
    assert bench.documents.cancel(document_id)
    assert bench.live() == set(live)
    assert bench.documents.get(document_id).state is DocumentState.READY
    assert not bench.documents.cancel(document_id)  # nothing is under way any more


def test_the_bytes_of_a_cancelled_version_can_be_submitted_again(bench: Any) -> None:
    bench.ingest("a", "1")
    first = bench.submit("a", "2")
    bench.documents.cancel(bench.document_id("a"))
    again = bench.documents.submit(bench.collection.id, "a", _hash("2"), 1)
    assert again.outcome == "changed" and again.version_id != first


def test_a_worker_whose_version_was_cancelled_can_write_nothing_more(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    bench.documents.set_state(version_id, "bench", DocumentState.PARSING)
    bench.documents.cancel(bench.document_id("a"))
    assert bench.documents.still_held("bench", [version_id]) == set()
    for act in (
        lambda: bench.store(version_id, ["x"]),
        lambda: bench.documents.expect_chunks(version_id, "bench", 1),
        lambda: bench.documents.switch(version_id, "bench"),
    ):
        with pytest.raises(LeaseLostError):
            act()


def test_a_cancelled_version_is_purged_only_after_its_worker_let_go_or_its_lease_ran_out(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id, lease_s=60)
    bench.documents.cancel(bench.document_id("a"))
    assert bench.documents.purgeable() == []  # the worker may be writing vectors at this moment
    bench.documents.let_go("another worker", [version_id])
    assert bench.documents.purgeable() == []
    bench.documents.let_go("bench", [version_id])
    assert [entry.version_id for entry in bench.documents.purgeable()] == [version_id]


def test_letting_go_of_what_is_still_held_changes_nothing(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    bench.documents.let_go("bench", [version_id])
    assert bench.documents.still_held("bench", [version_id]) == {version_id}


def test_a_failed_version_beside_a_cancelled_one_stays_to_be_seen(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    bench.documents.fail(version_id, "bench", StoreUnavailableError("It failed.", ""))
    bench.documents.retry(bench.document_id("a"))
    assert bench.documents.cancel(bench.document_id("a"))
    assert bench.documents.list(bench.collection.id) == []  # the failed version was the one that was tried again


# ------------------------------------------------------------------ order


def test_uploads_come_before_files_and_files_before_folders(bench: Any) -> None:
    folder = [bench.submit(f"folder/{n}", f"f{n}", priority=Priority.BULK) for n in range(10)]
    file = bench.submit("file", "1", priority=Priority.FILES)
    upload = bench.submit("upload", "2", priority=Priority.UPLOAD)
    claimed = [c.version_id for c in bench.documents.claim("w", 4, 60)]
    assert claimed[:2] == [upload, file] and set(claimed[2:]) == set(folder[:2])


def test_within_one_priority_a_large_file_lets_small_ones_pass(bench: Any) -> None:
    large = bench.documents.submit(bench.collection.id, "large", _hash("l"), 50_000_000).version_id
    small = [bench.submit(f"{n}", f"{n}") for n in range(3)]
    assert [c.version_id for c in bench.documents.claim("w", 4, 60)] == [*small, large]


def test_a_flood_of_uploads_does_not_starve_a_folder(bench: Any) -> None:
    folder = bench.submit("folder/a", "a")
    for n in range(40):
        bench.submit(f"upload {n}", f"{n}", priority=Priority.UPLOAD)
    claimed = [c.version_id for c in bench.documents.claim("w", 8, 60)]
    assert folder in claimed and len(claimed) == 8


def test_a_claim_from_a_priority_on_leaves_the_others_and_lost_ones_alone(bench: Any) -> None:
    lost = bench.submit("lost", "0")
    bench.take(lost, "dead", lease_s=0)
    bench.submit("bulk", "1")
    upload = bench.submit("upload", "2", priority=Priority.UPLOAD)
    assert [c.version_id for c in bench.documents.claim("w", 5, 60, min_priority=Priority.FILES)] == [upload]


# ------------------------------------------------------------------ attempts


def test_a_version_that_was_claimed_and_never_begun_is_not_to_blame(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    for attempt in range(6):
        [claimed] = bench.documents.claim(f"w{attempt}", 1, 0, max_attempts=3)
        assert (claimed.attempts, claimed.lost_in) == (1, ())
    assert bench.documents.get_many([version_id])[version_id].state is DocumentState.QUEUED


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (("parsing", "parsing", "parsing"), "it was tried 3 times; each time the worker ended while parsing"),
        (("parsing", "embedding", "parsing"), "the worker ended while parsing, embedding, parsing"),
    ],
)
def test_a_poisonous_version_says_how_often_and_in_which_stage_its_workers_ended(
    bench: Any, stages: tuple[str, ...], words: str
) -> None:
    version_id = bench.submit("a", "1")
    for attempt, stage in enumerate(stages):
        bench.documents.claim(f"w{attempt}", 1, 0)
        bench.documents.set_state(version_id, f"w{attempt}", DocumentState(stage))
        row = bench.documents.find(bench.collection.id, "a")
        assert (row.attempts, row.lost_in) == (attempt + 1, stages[:attempt])
    assert bench.documents.claim("w", 1, 60) == []
    row = bench.documents.find(bench.collection.id, "a")
    assert row.state is DocumentState.FAILED and words in row.error["message"]
    assert row.lost_in == stages
    bench.documents.retry(row.id)
    [again] = bench.documents.claim("w", 1, 60)
    assert (again.attempts, again.lost_in) == (1, ())


def test_a_release_with_a_reason_shows_it_while_the_version_waits(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    bench.documents.release("bench", StoreUnavailableError("The disk is full.", "Free space."))
    row = bench.documents.find(bench.collection.id, "a")
    assert (row.state, row.attempts, row.error["message"]) == (DocumentState.QUEUED, 0, "The disk is full.")
    bench.take(version_id)
    assert bench.documents.find(bench.collection.id, "a").error is None


# ------------------------------------------------------------------ slices


def test_chunks_stored_in_slices_are_live_together_and_in_order(bench: Any, make_vectors: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    vectors = make_vectors(5)
    bench.documents.expect_chunks(version_id, "bench", 5)
    texts = [f"text {n}" for n in range(5)]
    for start in (2, 0):  # slices may come in any order
        end = min(start + (2 if start == 0 else 3), 5)
        chunks = [NewChunk(n, texts[n], Locator()) for n in range(start, end)]
        bench.documents.store_chunks(version_id, "bench", chunks, texts[start:end], vectors[start:end], start)
        assert bench.live() == set()
    bench.documents.set_state(version_id, "bench", DocumentState.INDEXING)
    ids = bench.documents.chunk_ids(version_id)
    assert bench.documents.switch(version_id, "bench")
    assert [chunk.text for chunk in bench.chunks.of_version(version_id)] == texts
    _, stored = bench.chunks.embeddings(ids)
    assert np.allclose(stored, vectors, atol=1e-3)


def test_a_version_with_a_missing_slice_cannot_become_live(bench: Any, make_vectors: Any) -> None:
    from core.errors import StorageError

    version_id = bench.submit("a", "1")
    bench.take(version_id)
    bench.documents.expect_chunks(version_id, "bench", 3)
    bench.documents.store_chunks(version_id, "bench", [NewChunk(0, "x", Locator())], ["x"], make_vectors(1), 0)
    bench.documents.set_state(version_id, "bench", DocumentState.INDEXING)
    with pytest.raises(StorageError, match="1 chunk rows"):
        bench.documents.switch(version_id, "bench")


# ------------------------------------------------------------------ reuse


def test_known_texts_are_those_of_the_live_version_and_embeddings_come_back_bit_for_bit(bench: Any) -> None:
    from storage.reuse import text_digest

    ids = bench.ingest("a", "1", ["same", "old"])
    version_id = bench.submit("a", "2")
    known = bench.documents.known_texts(version_id, bench.collection)
    assert known == {text_digest("", "same"): ids[0], text_digest("", "old"): ids[1]}
    found = bench.documents.stored_embeddings(ids[:1], bench.collection)
    [(digest, raw)] = found.items()
    assert digest == text_digest("", "same")
    bench.take(version_id)
    rows = np.frombuffer(raw, "<f2").reshape(1, -1)
    new = bench.documents.store_chunks(version_id, "bench", [NewChunk(0, "same", Locator())], ["same"], rows)
    assert bench.documents.stored_embeddings(new, bench.collection)[digest] == raw


def test_another_index_gives_no_embeddings(bench: Any) -> None:
    from dataclasses import replace

    ids = bench.ingest("a", "1", ["same"])
    version_id = bench.submit("a", "2")
    other = replace(bench.collection, index_id="f" * 32)
    assert bench.documents.known_texts(version_id, other) == {}
    assert bench.documents.stored_embeddings(ids, other) == {}


# ------------------------------------------------------------------ old changes


def test_pruned_changes_make_a_replica_that_is_behind_anew_and_leave_others_as_they_are(
    bench: Any, tmp_path: Any
) -> None:
    from storage.changes import ChangeFeed
    from storage.keyword import KeywordIndex

    feed, collection = ChangeFeed(bench.db), bench.collection.id
    behind = KeywordIndex(tmp_path / "behind", bench.db)
    ahead = KeywordIndex(tmp_path / "ahead", bench.db)
    empty = KeywordIndex(tmp_path / "empty", bench.db)
    assert empty.search([collection], ["apple"], 5) == []  # a replica at the very beginning
    bench.ingest("gone", "0", ["pear"])
    behind.catch_up(collection)
    bench.documents.delete(bench.document_id("gone"))
    for n in range(6):
        bench.ingest(f"{n}", f"{n}", [f"apple {n}"])
    ahead.catch_up(collection)
    assert feed.prune(kept=3) > 0
    assert feed.prune(kept=3) == 0
    for replica in (behind, ahead, empty):
        assert replica.search([collection], ["pear"], 5) == []
        assert len(replica.search([collection], ["apple"], 10)) == 6
    bench.ingest("more", "m", ["apple more"])
    for replica in (behind, ahead, empty):
        assert len(replica.search([collection], ["apple"], 10)) == 7


def _hash(content: str) -> str:
    import hashlib

    return hashlib.sha256(content.encode()).hexdigest()
