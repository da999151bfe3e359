"""Reindex on both databases: built beside, exchanged in one step, returned to, and nothing lost or left over."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text

from core.errors import ConflictError, InputError, LeaseLostError, NotFoundError, NotReadyError
from core.types import Collection, DocumentState, Fingerprint, Locator, NewChunk
from storage.consistency import verify, verify_vector_collections
from storage.keyword import KeywordIndex
from storage.reindex import Purpose, ReindexStore
from storage.tables import ChunkTable, CollectionTable, DocumentTable, SketchTable, VersionTable
from storage.vectors import VectorIndex
from storage.versions import VersionStore

WORKER = "reindexer"
WIDE = 12


class House:
    """A bench with indexes, and the two steps a reindex is made of."""

    def __init__(self, bench: Any, vectors: VectorIndex, folder: Path, new: Fingerprint) -> None:
        self.bench, self.vectors, self.new = bench, vectors, new
        self.keyword = KeywordIndex(folder / "keyword", bench.db)
        self.reindex = ReindexStore(bench.db)

    @property
    def id(self) -> str:
        return str(self.bench.collection.id)

    @property
    def collection(self) -> Collection:
        found: Collection = self.bench.collections.get_by_id(self.id)
        return found

    def put(self, collection: Collection, path: str, content: str, pieces: int = 2) -> str:
        """Ingest with vectors, as the pipeline does, into an index that answers or not."""
        version_id = self.submit(collection, path, content)
        self.finish(collection, version_id, content, pieces)
        return version_id

    def submit(self, collection: Collection, path: str, content: str) -> str:
        import hashlib

        digest = hashlib.sha256(content.encode()).hexdigest()
        return str(self.bench.documents.submit(collection.id, path, digest, len(content)).version_id)

    def finish(self, collection: Collection, version_id: str, content: str, pieces: int = 2) -> None:
        documents = self.bench.documents
        documents.claim(WORKER, 1, 60, [version_id])
        chunks = [NewChunk(n, f"{content} {n}", Locator(page=1), n_tokens=3) for n in range(pieces)]
        rng = np.random.default_rng(abs(hash(content)) % 1000)
        rows = rng.normal(size=(pieces, collection.fingerprint.dimension)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        words = [chunk.text.lower() for chunk in chunks]
        ids = documents.store_chunks(version_id, WORKER, chunks, words, rows)
        self.vectors.upsert(collection.vector_key, ids, rows)
        documents.switch(version_id, WORKER)

    def fail(self, version_id: str) -> None:
        self.bench.documents.claim(WORKER, 1, 60, [version_id])
        self.bench.documents.fail(version_id, WORKER, InputError("Cannot read it.", "Mend it."))

    def build(self, pieces: int = 3) -> Collection:
        hidden = self.reindex.begin(self.id, self.new, {"chunk_tokens": 100})
        self.carry_over(hidden, pieces)
        return hidden

    def carry_over(self, hidden: Collection, pieces: int = 3) -> None:
        lack = self.reindex.lack(self.id)
        for path, content_hash, size in lack.missing:
            done = self.bench.documents.submit(hidden.id, path, content_hash, size)
            if done.outcome != "unchanged":
                self.finish(hidden, done.version_id, path, pieces)
        for document_id in lack.surplus:
            self.bench.documents.delete(document_id)

    def purge(self) -> None:
        for purge in self.bench.documents.purgeable(1000):
            self.vectors.delete(purge.vector_key, purge.chunk_ids)
            self.bench.documents.purged(purge.version_id)
        for key in self.bench.collections.dropped():
            self.vectors.drop(key)
            self.keyword.drop(key.split("-")[1])
            self.bench.collections.forget_dropped(key)

    def clean(self) -> bool:
        """Every index, hidden ones too, agrees with SQL, and Chroma holds nothing else of this collection."""
        everyone = [self.collection, *self.bench.collections.hidden(self.id)]
        findings = [f for one in everyone for f in verify(one, self.bench.db, self.vectors, self.keyword)]
        assert findings == []
        own = {one.index_id for one in everyone}
        strays = [f.detail for f in verify_vector_collections(self.bench.db, self.vectors)]
        return not any(index_id in name for index_id in own for name in strays)

    def shown(self) -> dict[str, tuple[str, int, str]]:
        """Path to document id, version number and state, as lists show them."""
        rows = self.bench.documents.list(self.id)
        return {row.path: (row.id, row.version, row.state.value) for row in rows}

    def found(self, words: str) -> list[str]:
        """Paths that a keyword search gives, joined to live rows as every search does."""
        collection = self.collection
        hits = self.keyword.search([collection.index_id], words.split(), 50)
        live = self.bench.chunks.load_live([chunk_id for chunk_id, _ in hits], [collection.id])
        return sorted({live[chunk_id].path for chunk_id, _ in hits if chunk_id in live})


@pytest.fixture
def house(bench: Any, vectors: VectorIndex, tmp_path: Path, make_fingerprint: Callable[..., Fingerprint]) -> House:
    new = make_fingerprint(embedder_id="other", dimension=WIDE, chunker_version="2:100:10")
    return House(bench, vectors, tmp_path, new)


@pytest.fixture
def sqlite_house(
    sqlite_bench: Any, vectors: VectorIndex, tmp_path: Path, make_fingerprint: Callable[..., Fingerprint]
) -> House:
    """Where the kind of database does not matter."""
    return House(sqlite_bench, vectors, tmp_path, make_fingerprint(embedder_id="other", dimension=WIDE))


def test_the_switch_changes_the_index_and_keeps_every_id_and_number(house: House) -> None:
    house.put(house.collection, "a.txt", "apples")
    house.put(house.collection, "a.txt", "apples and pears")
    house.put(house.collection, "b.txt", "bread")
    before, old = house.shown(), house.collection
    hidden = house.build()
    assert house.found("pears") == ["a.txt"] and house.shown() == before
    done = house.reindex.switch(house.id)
    assert (done.documents, done.missing) == (2, ())
    now = house.collection
    assert (now.id, now.name, now.documents) == (old.id, old.name, 2) and house.shown() == before
    assert now.fingerprint == house.new and now.settings == {"chunk_tokens": 100} and now.chunks == 6
    assert now.vector_key == hidden.vector_key != old.vector_key
    [state] = house.reindex.state(house.id)
    assert state.purpose is Purpose.PREVIOUS and state.hidden.vector_key == old.vector_key
    assert house.found("a.txt") == ["a.txt"] and house.found("pears") == []
    assert house.clean()
    house.purge()
    assert house.clean()


def test_hidden_indexes_are_seen_by_nobody(house: House) -> None:
    house.put(house.collection, "a.txt", "apples")
    hidden = house.build()
    collections = house.bench.collections
    assert [c.id for c in collections.list()] == [house.id]
    for call in (lambda: collections.get_by_id(hidden.id), lambda: collections.delete(hidden.id)):
        with pytest.raises(NotFoundError):
            call()
    assert collections.get("Handbook").documents == 1
    ids = house.bench.chunks.live_ids(hidden.index_id)
    assert len(ids) == 3 and house.bench.chunks.load_live(ids.tolist(), [hidden.id + "x"]) == {}


def test_a_question_that_began_before_the_switch_still_finds_its_chunks(house: House) -> None:
    version_id = house.put(house.collection, "a.txt", "apples")
    house.put(house.collection, "b.txt", "bread")
    old = house.collection
    ids = [int(i) for i in house.bench.chunks.live_ids(old.index_id)]
    house.build()
    house.reindex.switch(house.id)
    found = house.bench.chunks.load_live(ids, [old.id])
    assert {chunk.path for chunk in found.values()} == {"a.txt", "b.txt"}
    assert {chunk.collection_id for chunk in found.values()} == {old.id}
    assert {chunk.document_id for chunk in found.values()} == {house.bench.document_id(p) for p in ("a.txt", "b.txt")}
    first = next(chunk for chunk in found.values() if chunk.version_id == version_id)
    assert len(house.bench.chunks.neighbours(first, 1, 1)) == 2
    assert house.bench.chunks.load_live(ids, ["another"]) == {}
    house.bench.documents.delete(house.bench.document_id("a.txt"))
    house.put(house.collection, "b.txt", "bread and butter")
    assert house.bench.chunks.load_live(ids, [old.id]) == {} and house.bench.chunks.neighbours(first, 1, 1) == []


def test_old_version_ids_lead_to_their_successors_through_several_reindexes(
    house: House, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    old = house.put(house.collection, "a.txt", "apples")
    versions = VersionStore(house.bench.db)
    for round_ in range(2):
        house.new = make_fingerprint(embedder_id=f"e{round_}", dimension=WIDE)
        house.build()
        house.reindex.switch(house.id)
        found = versions.get(old)
        assert found.document_id == house.bench.document_id("a.txt") and found.live
        assert found.collection_id == house.id and found.id != old
    house.reindex.forget_previous(house.id)
    assert versions.get(old).live
    house.bench.documents.delete(house.bench.document_id("a.txt"))
    with pytest.raises(NotFoundError):
        versions.get(old)


def test_a_return_brings_the_kept_index_back_with_what_changed_meanwhile(house: House) -> None:
    for name in ("same", "changed", "deleted"):
        house.put(house.collection, name, name)
    first = house.collection
    house.build()
    house.reindex.switch(house.id)
    house.put(house.collection, "changed", "changed again")
    house.put(house.collection, "new", "new")
    house.bench.documents.delete(house.bench.document_id("deleted"))
    before = house.shown()
    hidden = house.reindex.begin_return(house.id)
    assert hidden.vector_key == first.vector_key and not house.reindex.forget_previous(house.id)
    lack = house.reindex.lack(house.id)
    assert [path for path, _, _ in lack.missing] == ["changed", "new"] and len(lack.surplus) == 1
    with pytest.raises(NotReadyError):
        house.reindex.switch(house.id)
    house.carry_over(hidden, 2)
    house.reindex.switch(house.id)
    assert house.collection.vector_key == first.vector_key and house.collection.fingerprint == first.fingerprint
    assert house.shown() == before and house.found("new") == ["new"] and house.found("deleted") == []
    assert house.clean()
    house.purge()
    assert house.clean()
    house.reindex.begin_return(house.id)  # and forth again: nothing to carry over, so at once
    assert not house.reindex.lack(house.id)
    house.reindex.switch(house.id)
    assert house.collection.fingerprint == house.new and house.shown() == before and house.clean()


def test_the_switch_is_refused_until_both_hold_the_same_bytes(house: House) -> None:
    house.put(house.collection, "a", "a")
    hidden = house.build()
    house.put(house.collection, "b", "b")
    with pytest.raises(NotReadyError, match="'b'"):
        house.reindex.switch(house.id)
    house.carry_over(hidden)
    house.put(house.collection, "a", "a changed")
    with pytest.raises(NotReadyError, match="'a'"):
        house.reindex.switch(house.id)
    house.carry_over(hidden)
    house.bench.documents.delete(house.bench.document_id("b"))
    with pytest.raises(NotReadyError, match="'b'"):
        house.reindex.switch(house.id)
    house.carry_over(hidden)
    pending = house.submit(hidden, "a", "something newer")
    with pytest.raises(NotReadyError, match="still being read"):
        house.reindex.switch(house.id)
    house.bench.documents.claim(WORKER, 1, 60, [pending])
    house.bench.documents.fail(pending, WORKER, InputError("x", "y"))
    assert house.reindex.lack(house.id).missing[0][0] == "a"
    house.carry_over(hidden)
    house.reindex.switch(house.id)
    assert set(house.shown()) == {"a"} and house.clean()


def test_documents_that_failed_in_the_new_index_stop_the_switch_unless_told_otherwise(house: House) -> None:
    house.put(house.collection, "good", "good")
    house.put(house.collection, "bad", "bad")
    hidden = house.reindex.begin(house.id, house.new, {})
    for path, content_hash, size in house.reindex.lack(house.id).missing:
        version_id = house.bench.documents.submit(hidden.id, path, content_hash, size).version_id
        if path == "bad":
            house.fail(version_id)
        else:
            house.finish(hidden, version_id, path)
    assert house.reindex.lack(house.id).missing == [] and house.reindex.lack(house.id, retry_failed=True).missing
    [state] = house.reindex.state(house.id)
    assert state.complete and state.failed == (("bad", "Cannot read it."),) and state.done == 1
    with pytest.raises(ConflictError, match="'bad': Cannot read it"):
        house.reindex.switch(house.id)
    assert house.found("bad") == ["bad"]
    before = house.shown()
    assert house.reindex.switch(house.id, allow_missing=True).missing == ("bad",)
    assert house.found("bad") == [] and house.found("good") == ["good"]
    assert house.shown()["bad"] == (*before["bad"][:2], "failed") and house.clean()
    house.reindex.begin_return(house.id)
    assert [row for row in house.reindex.lack(house.id).surplus] != []


def test_a_stale_version_in_the_new_index_never_answers_for_newer_bytes(house: House) -> None:
    house.put(house.collection, "a", "first")
    hidden = house.build()
    house.put(house.collection, "a", "second")
    [(path, content_hash, size)] = house.reindex.lack(house.id).missing
    house.fail(house.bench.documents.submit(hidden.id, path, content_hash, size).version_id)
    house.reindex.switch(house.id, allow_missing=True)
    assert house.found("a") == [] and house.shown()["a"][2] == "failed"
    assert house.bench.chunks.live_ids(house.collection.index_id).size == 0 and house.clean()
    house.purge()
    assert house.clean()


def test_uploads_under_way_at_the_switch_are_read_again_for_the_new_index(house: House) -> None:
    house.put(house.collection, "a", "a")
    house.build()
    old = house.collection
    waiting = house.submit(old, "waiting", "waiting")
    taken, stored = house.submit(old, "taken", "taken"), house.submit(old, "stored", "stored")
    documents = house.bench.documents
    documents.claim("slow", 2, 60, [taken, stored])
    rows = np.eye(1, old.fingerprint.dimension, dtype=np.float32)
    [chunk_id] = documents.store_chunks(stored, "slow", [NewChunk(0, "x", Locator())], ["x"], rows)
    house.vectors.upsert(old.vector_key, [chunk_id], rows)
    with pytest.raises(NotReadyError, match="worker"):
        house.reindex.switch(house.id)
    house.reindex.switch(house.id, insist=True)
    with pytest.raises(LeaseLostError):
        documents.switch(stored, "slow")
    rows_now = {row.path: row for row in documents.list(house.id)}
    assert {row.state for path, row in rows_now.items() if path != "a"} == {DocumentState.QUEUED}
    assert rows_now["waiting"].version_id == waiting and rows_now["taken"].version_id != taken
    for path in ("waiting", "taken", "stored"):
        house.finish(house.collection, rows_now[path].version_id, path)
    assert house.found("stored") == ["stored"]
    with house.bench.db.write() as session:  # the slow worker's lease runs out
        session.execute(text("UPDATE versions SET lease_until = NULL WHERE state = 'deleted'"))
    house.purge()
    assert house.clean()
    assert {path: (number, state) for path, (_, number, state) in house.shown().items()} == {
        path: (1, "ready") for path in ("a", "waiting", "taken", "stored")
    }


def test_a_failed_upload_stays_visible_through_the_switch(house: House) -> None:
    house.put(house.collection, "a", "a")
    house.fail(house.submit(house.collection, "a", "newer and broken"))
    house.fail(house.submit(house.collection, "broken", "broken"))
    before = house.shown()
    house.build()
    house.reindex.switch(house.id)
    assert house.shown() == before and before["a"][1:] == (2, "failed") and house.found("a") == ["a"]
    assert house.clean()


def test_superseded_versions_that_wait_for_their_purge_go_with_their_index(house: House) -> None:
    house.put(house.collection, "a", "one")
    house.put(house.collection, "gone", "gone")
    house.put(house.collection, "a", "two")
    house.bench.documents.delete(house.bench.document_id("gone"))
    hidden = house.build()
    house.put(hidden, "a", "other bytes")
    house.carry_over(hidden)
    house.reindex.switch(house.id)
    assert house.clean()
    house.purge()
    assert house.clean() and set(house.shown()) == {"a"}
    with house.bench.db.read() as session:
        states = session.scalars(select(VersionTable.state)).all()
        assert sorted(states) == ["ready", "ready"]
        assert len(session.scalars(select(DocumentTable.id)).all()) == 2


def test_sketches_follow_their_versions(house: House) -> None:
    version_id = house.put(house.collection, "a", "a")
    with house.bench.db.write() as session:
        session.add(SketchTable(version_id=version_id, band=0, collection_id=house.id, value=5))
    hidden = house.build()
    house.reindex.switch(house.id)
    with house.bench.db.read() as session:
        assert session.scalars(select(SketchTable.collection_id)).all() == [hidden.id]


def test_only_one_index_is_built_at_a_time_and_the_same_wish_goes_on(
    house: House, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    house.put(house.collection, "a", "a")
    hidden = house.reindex.begin(house.id, house.new, {})
    assert house.reindex.begin(house.id, house.new, {}).id == hidden.id
    with pytest.raises(ConflictError, match="'other'"):
        house.reindex.begin(house.id, make_fingerprint(embedder_id="third"), {})
    with pytest.raises(ConflictError, match="'other'"):
        house.reindex.begin_return(house.id)


def test_cancelling_removes_the_index_under_way_and_keeps_the_one_before(
    house: House, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    house.put(house.collection, "a", "a")
    assert not house.reindex.cancel(house.id)
    key = house.build().vector_key
    assert house.reindex.cancel(house.id) and not house.reindex.state(house.id)
    assert house.bench.collections.dropped() == [key]
    house.purge()
    assert key not in set(house.vectors.keys()) and house.clean()
    house.build()
    house.reindex.switch(house.id)
    house.reindex.begin_return(house.id)
    assert house.reindex.cancel(house.id)
    assert [state.purpose for state in house.reindex.state(house.id)] == [Purpose.PREVIOUS]
    with pytest.raises(NotFoundError):
        house.reindex.switch(house.id)
    house.new = make_fingerprint(embedder_id="third", dimension=WIDE)
    house.build()
    house.reindex.switch(house.id)
    assert len(house.reindex.state(house.id)) == 1, "an older kept index goes with the next switch"
    house.purge()
    assert house.clean()


def test_forgetting_lets_go_of_rows_vectors_and_files_and_only_of_those(house: House) -> None:
    house.put(house.collection, "a", "a")
    old = house.collection
    house.build()
    house.reindex.switch(house.id)
    house.put(house.collection, "a", "a changed")
    house.purge()
    first = hash_in_use(house, "a")
    assert first, "the kept index needs the bytes it was made of"
    assert house.reindex.forget_previous(house.id) and not house.reindex.forget_previous(house.id)
    with pytest.raises(NotFoundError, match="No earlier index"):
        house.reindex.begin_return(house.id)
    house.purge()
    assert not hash_in_use(house, "a") and hash_in_use(house, "a changed")
    assert old.vector_key not in set(house.vectors.keys()) and house.clean() and house.found("a") == ["a"]
    with house.bench.db.read() as session:
        assert {row.index_id for row in session.scalars(select(ChunkTable))} == {house.collection.index_id}


def hash_in_use(house: House, content: str) -> bool:
    import hashlib

    return bool(house.bench.documents.hash_in_use(hashlib.sha256(content.encode()).hexdigest()))


def test_deleting_a_collection_deletes_its_hidden_indexes(house: House) -> None:
    house.put(house.collection, "a", "a")
    house.build()
    house.reindex.switch(house.id)
    keys = {house.collection.vector_key, house.reindex.state(house.id)[0].hidden.vector_key}
    house.bench.collections.delete(house.id)
    assert set(house.bench.collections.dropped()) == keys
    with house.bench.db.read() as session:
        for table in (CollectionTable, DocumentTable, VersionTable, ChunkTable):
            assert session.scalars(select(table)).all() == []
    with pytest.raises(NotFoundError):
        house.reindex.begin(house.id, house.new, {})


def test_a_keyword_replica_needs_nothing_to_be_read_again_after_the_switch(sqlite_house: House) -> None:
    house = sqlite_house
    house.put(house.collection, "a", "a")
    hidden = house.build()
    house.keyword.catch_up(hidden.index_id)
    house.reindex.switch(house.id)
    assert house.keyword.catch_up(house.collection.index_id) == 0 and house.found("a") == ["a"]


KILLED = """
import os, sys
from sqlalchemy import event
from storage.database import Database
from storage.reindex import ReindexStore
from storage.reindex_exchange import Exchange
db = Database(sys.argv[1])
step = int(sys.argv[3])
seen = 0
def count(*arguments):
    global seen
    seen += 1
    if seen == step:
        os._exit(9)
event.listen(db.engine, "before_cursor_execute", count)
ReindexStore(db).switch(sys.argv[2])
print("switched")
"""


def test_a_switch_that_is_killed_at_any_statement_did_nothing_or_all(
    sqlite_house: House, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    house = sqlite_house
    for number in range(3):
        house.put(house.collection, f"{number}.txt", f"text {number}")
    house.build()
    old, shown = house.collection, house.shown()
    ends = 0
    for step in (*range(2, 24, 7), 30, 500):
        process = start_python(KILLED, house.bench.db.url, house.id, step)
        out, errors = process.communicate(timeout=60)
        assert process.returncode in (0, 9), errors
        ends += process.returncode == 0
        switched = house.collection.vector_key != old.vector_key
        assert switched == ("switched" in out) and house.shown() == shown and house.clean()
        if switched:
            break
    assert ends == 1
