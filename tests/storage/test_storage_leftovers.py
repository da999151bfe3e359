"""The file store forgets what nothing refers to, and nothing else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import OriginalGoneError
from storage.documents import DocumentStore
from storage.files import DatabaseFileStore, FileStore, FolderFileStore
from storage.leftovers import Leftovers

_KILLED_WHILE_PUTTING = """
import os, signal, sys
from pathlib import Path
from storage.files import FolderFileStore
class Dies:
    def seekable(self): return False
    def read(self, size): os.kill(os.getpid(), signal.SIGKILL)
FolderFileStore(Path(sys.argv[1])).put(Dies())
"""


@pytest.fixture
def store(bench: Any, tmp_path: Path) -> FileStore:
    """The file store that goes with each kind of database."""
    return FolderFileStore(tmp_path / "files") if bench.db.dialect == "sqlite" else DatabaseFileStore(bench.db)


def put(store: FileStore, text: str) -> str:
    return store.put(io.BytesIO(text.encode()))[0]


def test_a_file_without_a_version_goes_and_one_with_a_version_stays(bench: Any, store: FileStore) -> None:
    bench.ingest("a", "kept")
    kept, stray = put(store, "kept"), put(store, "never submitted")
    assert Leftovers(bench.documents, store).clear(age_s=-1) == 1
    assert store.exists(kept) and not store.exists(stray)


def test_files_of_a_dropped_collection_go(bench: Any, store: FileStore) -> None:
    bench.ingest("a", "secret")
    content_hash = put(store, "secret")
    bench.collections.delete(bench.collection.id)
    assert Leftovers(bench.documents, store).clear(age_s=-1) == 1
    assert not store.exists(content_hash)


def test_a_young_file_is_left_alone_because_its_row_may_be_on_its_way(sqlite_bench: Any, tmp_path: Path) -> None:
    store = FolderFileStore(tmp_path / "files")
    content_hash = put(store, "just put")
    assert Leftovers(sqlite_bench.documents, store).clear() == 0
    assert store.exists(content_hash)


def test_putting_known_bytes_again_makes_them_young_and_writes_nothing(tmp_path: Path) -> None:
    store = FolderFileStore(tmp_path / "files")
    content_hash = put(store, "twice")
    [place] = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    os.utime(place, (1, 1))
    before = place.stat().st_ino
    assert put(store, "twice") == content_hash
    assert list(store.older_than(3600)) == [] and place.stat().st_ino == before


def test_what_a_killed_put_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    root = tmp_path / "files"
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_PUTTING, str(root)], cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    [left] = list((root / "incoming").iterdir())
    assert FolderFileStore(root).forget_unfinished(age_s=60) == 0

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() and left.exists():
                assert FolderFileStore(root).forget_unfinished(age_s=-1) == 1
                assert not left.exists()
            return super().read(1 if not self.tell() else size)

        def seekable(self) -> bool:
            return False

    content_hash, _ = FolderFileStore(root).put(Slow(b"written meanwhile"))
    assert FolderFileStore(root).exists(content_hash)
    assert list((root / "incoming").iterdir()) == []


def test_a_submission_learns_in_its_own_transaction_that_a_purge_took_its_file(bench: Any, store: FileStore) -> None:
    content_hash = put(store, "bytes")
    documents: DocumentStore = bench.documents
    assert documents.remove_unused(content_hash, store.delete)
    with pytest.raises(OriginalGoneError):
        documents.submit(bench.collection.id, "a", content_hash, 5, is_kept=store.exists)
    assert documents.find(bench.collection.id, "a") is None
    put(store, "bytes")
    documents.submit(bench.collection.id, "a", content_hash, 5, is_kept=store.exists)
    assert not documents.remove_unused(content_hash, store.delete)
    assert store.exists(content_hash)


def test_vectors_without_a_row_go_and_all_others_stay(bench: Any, store: FileStore, vectors: Any) -> None:
    ids = bench.ingest("a.txt", "a", ["one", "two"])
    waiting = bench.submit("b.txt", "b")
    bench.take(waiting)
    under_way = bench.store(waiting, ["three"])
    key, every = bench.collection.vector_key, [*ids, *under_way, 900_001, 900_002]
    _, rows = bench.chunks.embeddings(ids)
    vectors.upsert(key, every, np.resize(rows, (len(every), rows.shape[1])))
    leftovers = Leftovers(bench.documents, store, bench.collections, lambda: vectors)
    assert leftovers.clear_vectors() == 2
    assert vectors.ids(key).tolist() == sorted([*ids, *under_way])
    assert leftovers.clear_vectors() == 0
