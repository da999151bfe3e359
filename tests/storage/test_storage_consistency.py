"""Consistency: every way in which the three can disagree is found, work under way is not, and SQL restores both."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.types import DocumentState
from storage.consistency import compare, rebuild_keyword, rebuild_vectors, verify, verify_vector_collections
from storage.files import FolderFileStore
from storage.keyword import KeywordIndex
from storage.vectors import VectorIndex


@pytest.fixture
def keyword(bench: Any, tmp_path: Path) -> KeywordIndex:
    return KeywordIndex(tmp_path / "keyword", bench.db)


def add(bench: Any, vectors: VectorIndex, path: str, content: str, texts: list[str]) -> list[int]:
    """Ingest with vectors, as the pipeline does."""
    version_id = bench.submit(path, content)
    bench.take(version_id)
    ids: list[int] = bench.store(version_id, texts)
    vectors.upsert(bench.collection.vector_key, ids, bench.chunks.embeddings(ids)[1])
    assert bench.documents.switch(version_id, bench.worker)
    return ids


def kinds(bench: Any, vectors: VectorIndex, keyword: KeywordIndex, **more: Any) -> dict[str, int]:
    return {f.kind: f.count for f in verify(bench.collection, bench.db, vectors, keyword, **more)}


def test_what_was_ingested_changed_and_deleted_in_order_agrees(
    bench: Any, vectors: VectorIndex, keyword: KeywordIndex
) -> None:
    add(bench, vectors, "a", "1", ["x", "y"])
    add(bench, vectors, "a", "2", ["z"])
    add(bench, vectors, "b", "3", ["z"])
    bench.documents.delete(bench.document_id("b"))
    seen = compare(bench.collection, bench.db, vectors, keyword)
    assert (seen.findings, seen.pending) == ([], 3)
    for purge in bench.documents.purgeable():
        vectors.delete(purge.vector_key, purge.chunk_ids)
        bench.documents.purged(purge.version_id)
    seen = compare(bench.collection, bench.db, vectors, keyword)
    assert (seen.findings, seen.pending) == ([], 0)


def test_vectors_of_a_version_under_way_are_pending_not_findings(
    bench: Any, vectors: VectorIndex, keyword: KeywordIndex
) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    ids = bench.store(version_id, ["x", "y"])
    vectors.upsert(bench.collection.vector_key, ids, bench.chunks.embeddings(ids)[1])
    assert bench.documents.get_many([version_id])[version_id].state is DocumentState.INDEXING
    seen = compare(bench.collection, bench.db, vectors, keyword)
    assert (seen.findings, seen.pending) == ([], 2)


def test_lost_and_ghost_vectors_are_found_and_rebuilt_from_sql(
    bench: Any, vectors: VectorIndex, keyword: KeywordIndex
) -> None:
    key = bench.collection.vector_key
    ids = add(bench, vectors, "a", "1", ["x", "y", "z"])
    vectors.delete(key, ids[:1])
    vectors.upsert(key, [10**9, 10**9 + 1], np.eye(8, dtype=np.float32)[:2])
    assert kinds(bench, vectors, keyword) == {"vector_missing": 1, "vector_orphan": 2}
    assert rebuild_vectors(bench.collection, bench.db, vectors) == 3
    assert kinds(bench, vectors, keyword) == {}
    question = bench.chunks.embeddings(ids[1:2])[1][0]
    assert vectors.query(key, question, 1)[0] == (ids[1], pytest.approx(1.0, abs=1e-5))


def test_a_vector_that_is_another_than_the_database_has_is_found(
    bench: Any, vectors: VectorIndex, keyword: KeywordIndex
) -> None:
    ids = add(bench, vectors, "a", "1", ["x", "y", "z"])
    vectors.upsert(bench.collection.vector_key, ids[1:2], np.eye(8, dtype=np.float32)[:1] * -1)
    assert kinds(bench, vectors, keyword) == {"vector_wrong": 1}
    assert rebuild_vectors(bench.collection, bench.db, vectors, drop=False) == 3
    assert kinds(bench, vectors, keyword) == {}


def test_a_wrong_vector_is_found_also_where_an_equal_one_answers_for_it(
    bench: Any, vectors: VectorIndex, keyword: KeywordIndex
) -> None:
    ids = add(bench, vectors, "a", "1", ["x", "x", "z"])
    vectors.upsert(bench.collection.vector_key, ids[1:2], np.eye(8, dtype=np.float32)[:1] * -1)
    assert kinds(bench, vectors, keyword) == {"vector_wrong": 1}


def test_a_vector_that_no_search_reaches_is_found(
    bench: Any, vectors: VectorIndex, keyword: KeywordIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = add(bench, vectors, "a", "1", ["x", "y", "z"])
    monkeypatch.setattr(VectorIndex, "unreached", lambda self, key, ids, rows: {list(ids)[-1]: False})
    assert kinds(bench, vectors, keyword) == {"vector_unreached": 1}
    assert str(ids[-1]) in verify(bench.collection, bench.db, vectors, keyword)[0].detail


def test_vectors_can_be_rebuilt_in_place_without_a_gap(bench: Any, vectors: VectorIndex, keyword: KeywordIndex) -> None:
    key = bench.collection.vector_key
    ids = add(bench, vectors, "a", "1", ["x", "y"])
    vectors.delete(key, ids[:1])
    vectors.upsert(key, [10**9], np.eye(8, dtype=np.float32)[:1])
    assert rebuild_vectors(bench.collection, bench.db, vectors, drop=False) == 2
    assert kinds(bench, vectors, keyword) == {}


def test_rebuilding_keeps_the_vectors_of_a_version_that_is_about_to_become_live(
    bench: Any, vectors: VectorIndex, keyword: KeywordIndex
) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    ids = bench.store(version_id, ["x", "y"])
    vectors.upsert(bench.collection.vector_key, ids, bench.chunks.embeddings(ids)[1])
    rebuild_vectors(bench.collection, bench.db, vectors)
    assert bench.documents.switch(version_id, bench.worker)
    assert kinds(bench, vectors, keyword) == {}


def test_keyword_entries_that_do_not_agree_are_found_and_rebuilt(
    bench: Any, vectors: VectorIndex, keyword: KeywordIndex, tmp_path: Path
) -> None:
    import tantivy

    add(bench, vectors, "a", "1", ["x", "y"])
    keyword.catch_up(bench.collection.id)
    folder = tantivy.Index.open(str(tmp_path / "keyword" / bench.collection.id))
    writer = folder.writer(15_000_000, 1)
    writer.delete_documents_by_term("version", bench.documents.find(bench.collection.id, "a").version_id)
    ghost = tantivy.Document()
    ghost.add_unsigned("id", 10**9)
    writer.add_document(ghost)
    writer.commit()
    writer.wait_merging_threads()
    fresh = KeywordIndex(tmp_path / "keyword", bench.db)
    assert kinds(bench, vectors, fresh) == {"keyword_missing": 2, "keyword_orphan": 1}
    assert rebuild_keyword(bench.collection, fresh) == 2
    assert kinds(bench, vectors, fresh) == {}


def test_a_lost_original_file_is_named(bench: Any, vectors: VectorIndex, keyword: KeywordIndex, tmp_path: Path) -> None:
    files = FolderFileStore(tmp_path / "files")
    files.put(io.BytesIO(b"kept"))
    add(bench, vectors, "kept.txt", "kept", ["x"])
    add(bench, vectors, "lost.txt", "lost", ["x"])
    [finding] = verify(bench.collection, bench.db, vectors, keyword, files)
    assert (finding.kind, finding.count, finding.collection) == ("file_missing", 1, "Handbook")
    assert "'lost.txt'" in finding.detail


def test_a_chroma_collection_that_nobody_knows_is_a_stray(bench: Any, vectors: VectorIndex) -> None:
    row = np.eye(8, dtype=np.float32)[:1]
    vectors.upsert(bench.collection.vector_key, [1], row)
    stray = "c-" + "e" * 32 + "-" + bench.collection.id[:16]
    vectors.upsert(stray, [1], row)
    found = {finding.detail for finding in verify_vector_collections(bench.db, vectors)}
    assert stray in found and bench.collection.vector_key not in found
    bench.collections.delete(bench.collection.id)
    assert bench.collection.vector_key not in {f.detail for f in verify_vector_collections(bench.db, vectors)}
