"""Sources: one row per place, what their files were, whose a document is, one sync at a time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import ConflictError, InputError, NotFoundError
from storage.keyword import KeywordIndex
from storage.sources import Entry, Source, SourceStore


@pytest.fixture
def store(bench, tmp_path: Path) -> SourceStore:
    return SourceStore(bench.db, tmp_path / "run")


@pytest.fixture
def source(store: SourceStore, bench) -> Source:
    return store.remember(bench.collection.id, "folder", "/srv/docs", {"prefix": "hr", "ignore": ["*.tmp"]})


def entry(path: str, **changes: object) -> Entry:
    return replace(Entry(path, path, f"id of {path}", "0" * 64, 1, 2), **changes)  # type: ignore[arg-type]


def bring(bench, path: str, content: str, source: Source | None) -> str:
    """A ready document of a source, or of a person."""
    version_id = bench.submit(path, content, **({"source": source.id} if source else {}))
    bench.take(version_id)
    bench.store(version_id, [content])
    assert bench.documents.switch(version_id, bench.worker)
    return str(bench.document_id(path))


def test_a_place_is_one_source_whose_options_are_the_last(store: SourceStore, source: Source, bench) -> None:
    again = store.remember(bench.collection.id, "folder", "/srv/docs", {"prefix": ""})
    assert (again.id, again.options) == (source.id, {"prefix": ""})
    store.remember(bench.collection.id, "folder", "/srv/other", {})
    assert [known.place for known in store.known(bench.collection.id)] == ["/srv/docs", "/srv/other"]
    assert store.known("another collection") == [] and len(store.known()) == 2
    store.finished(source.id, {"added": 3})
    done = store.get(source.id)
    assert done.result == {"added": 3} and done.synced_at is not None and source.synced_at is None


def test_a_source_needs_a_collection_and_a_place_that_fits(store: SourceStore, bench) -> None:
    with pytest.raises(NotFoundError, match="no collection"):
        store.remember("f" * 32, "folder", "/srv/docs", {})
    with pytest.raises(InputError, match="1001 characters are over the limit of 1000"):
        store.remember(bench.collection.id, "folder", "/" * 1001, {})
    with pytest.raises(NotFoundError, match="no source"):
        store.get("f" * 32)


def test_entries_are_replaced_file_by_file(store: SourceStore, source: Source) -> None:
    members = [entry(f"pack.zip/{name}", file="pack.zip") for name in ("a", "b")]
    store.record(source.id, [entry("x.md"), *members])
    assert store.entries(source.id) == {"x.md": [entry("x.md")], "pack.zip": members}
    store.record(source.id, [entry("pack.zip/c", file="pack.zip"), entry("x.md", modified_ns=9)])
    found = store.entries(source.id)
    assert [row.path for row in found["pack.zip"]] == ["pack.zip/c"] and found["x.md"][0].modified_ns == 9
    store.record(source.id, [entry("pack.zip/c")], forget=["x.md", "never there"])  # it became a folder
    assert store.entries(source.id) == {"pack.zip/c": [entry("pack.zip/c")]}
    store.record(source.id, [entry(f"{number}.md") for number in range(2500)], forget=["pack.zip/c"])
    assert len(store.entries(source.id)) == 2500
    with pytest.raises(NotFoundError):
        store.record("f" * 32, [entry("x.md")])


def test_documents_know_whose_they_are(store: SourceStore, source: Source, bench) -> None:
    mine = bring(bench, "a.md", "one", source)
    theirs = bring(bench, "b.md", "two", None)
    assert {path: held.id for path, held in store.documents(source.id).items()} == {"a.md": mine}
    found = store.documents_at(bench.collection.id, ["a.md", "b.md", "c.md"])
    assert {held.id: held.source_id for held in found.values()} == {mine: source.id, theirs: None}
    assert found["a.md"].settled and found["a.md"].size == 3
    bench.submit("a.md", "newer", source=source.id)
    assert not store.documents(source.id)["a.md"].settled
    assert store.get(source.id).documents == 1
    bench.documents.delete(mine)
    assert store.documents(source.id) == {} and store.get(source.id).documents == 0


def test_a_source_replaces_and_deletes_only_its_own(store: SourceStore, source: Source, bench) -> None:
    other = store.remember(bench.collection.id, "folder", "/srv/other", {})
    by_hand, others = bring(bench, "hand.md", "1", None), bring(bench, "other.md", "2", other)
    for path, key, whose in (("hand.md", by_hand, "added by hand"), ("other.md", others, "belongs to another source")):
        with pytest.raises(ConflictError, match=whose):
            bench.submit(path, "new bytes", source=source.id)
        with pytest.raises(ConflictError, match=whose):
            bench.documents.delete(key, source=source.id)
        assert not bench.documents.rename(key, "elsewhere.md", source.id)
    assert (
        bench.documents.submit(bench.collection.id, "hand.md", _hash("1"), 1, source=source.id).outcome == "unchanged"
    )
    assert store.documents(source.id) == {}
    bench.submit("hand.md", "new bytes", source=source.id, adopt=True)
    assert set(store.documents(source.id)) == {"hand.md"}


def test_an_upload_makes_a_document_the_persons_and_a_retry_does_not(store: SourceStore, source: Source, bench) -> None:
    key = bring(bench, "a.md", "one", source)
    bench.documents.retry(key)
    assert set(store.documents(source.id)) == {"a.md"}
    bench.submit("a.md", "one")
    assert store.documents(source.id) == {}


def test_a_deleted_document_comes_back_as_whose_it_is_now(store: SourceStore, source: Source, bench) -> None:
    bench.documents.delete(bring(bench, "a.md", "one", source))
    bench.submit("a.md", "one")
    assert store.documents(source.id) == {}
    bench.documents.delete(bring(bench, "b.md", "one", None))
    bench.submit("b.md", "two", source=source.id)
    assert set(store.documents(source.id)) == {"b.md"}


def test_a_renamed_document_is_found_by_its_new_name_only(
    store: SourceStore, source: Source, bench, tmp_path: Path
) -> None:
    key = bring(bench, "old/plan.md", "text", source)
    bring(bench, "taken.md", "other", None)
    keyword = KeywordIndex(tmp_path / "keyword", bench.db)
    assert keyword.search([bench.collection.id], ["old"], 3)
    live = bench.live()
    assert bench.documents.rename(key, "new/plan.md", source.id)
    assert keyword.search([bench.collection.id], ["new"], 3) and not keyword.search([bench.collection.id], ["old"], 3)
    assert bench.live() == live and bench.document_id("new/plan.md") == key
    assert not bench.documents.rename(key, "taken.md", source.id)
    assert not bench.documents.rename("f" * 32, "free.md", source.id)
    bench.submit("new/plan.md", "under way", source=source.id)
    assert not bench.documents.rename(key, "free.md", source.id)


def test_removing_a_source_leaves_its_documents_to_the_people(store: SourceStore, source: Source, bench) -> None:
    key = bring(bench, "a.md", "one", source)
    store.record(source.id, [entry("a.md", document_id=key)])
    assert store.remove(source.id) == 1
    assert store.known() == [] and store.entries(source.id) == {}
    assert store.documents_at(bench.collection.id, ["a.md"])["a.md"].source_id is None


def test_a_dropped_collection_takes_its_sources_along(store: SourceStore, source: Source, bench) -> None:
    store.record(source.id, [entry("a.md")])
    bench.collections.delete(bench.collection.id)
    assert store.known() == [] and store.entries(source.id) == {}


HOLD = """
import sys, time
from pathlib import Path
from storage.database import Database
from storage.sources import SourceStore
store = SourceStore(Database(sys.argv[1]), Path(sys.argv[2]))
with store.exclusive(sys.argv[3]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_sync_at_a_time_among_processes_and_a_killed_one_frees_it(
    store: SourceStore,
    source: Source,
    bench,
    tmp_path: Path,
    start_python: Callable[..., subprocess.Popen[str]],
) -> None:
    holder = start_python(HOLD, bench.db.url, tmp_path / "run", source.id)
    assert holder.stdout is not None and holder.stdout.readline().strip() == "held"
    refused = pytest.raises(ConflictError, match=r"Another sync of '/srv/docs' is running")
    with refused, store.exclusive(source.id):
        pass
    with store.exclusive("another source"):
        pass
    holder.kill()
    holder.wait(60)
    for _ in range(100):  # PostgreSQL notices the dead connection a moment later
        try:
            with store.exclusive(source.id):
                break
        except ConflictError:
            time.sleep(0.05)
    with store.exclusive(source.id):
        pass


def _hash(content: str) -> str:
    import hashlib

    return hashlib.sha256(content.encode()).hexdigest()
