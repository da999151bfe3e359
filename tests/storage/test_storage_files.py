"""File stores: one contract for the folder and the database."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError, NotFoundError, StorageError
from storage.database import Database
from storage.files import DatabaseFileStore, FileStore, FolderFileStore

DATA = bytes(range(256)) * 9000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, open_database: Callable[[str], Database]) -> FileStore:
    """Each implementation."""
    if request.param == "folder":
        return FolderFileStore(tmp_path / "files")
    return DatabaseFileStore(open_database(request.param))


def test_what_was_put_comes_back_under_its_hash(store: FileStore) -> None:
    assert store.put(io.BytesIO(DATA)) == (DIGEST, len(DATA))
    assert store.exists(DIGEST)
    with store.open(DIGEST) as source:
        assert source.read() == DATA
    with store.path(DIGEST) as path:
        assert path.read_bytes() == DATA


def test_an_empty_file_is_a_file(store: FileStore) -> None:
    digest, size = store.put(io.BytesIO(b""))
    assert size == 0
    with store.open(digest) as source:
        assert source.read() == b""


def test_putting_the_same_bytes_from_many_threads_keeps_one_copy(store: FileStore) -> None:
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(store.put(io.BytesIO(DATA)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(DIGEST, len(DATA))] * 6
    with store.open(DIGEST) as source:
        assert source.read() == DATA


def test_deleted_bytes_are_gone_and_deleting_again_does_no_harm(store: FileStore) -> None:
    store.put(io.BytesIO(DATA))
    store.delete(DIGEST)
    store.delete(DIGEST)
    assert not store.exists(DIGEST)
    with pytest.raises(NotFoundError, match=DIGEST):
        store.open(DIGEST)
    with pytest.raises(NotFoundError), store.path(DIGEST):
        pass


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "/" + "a" * 63])
def test_only_hashes_are_names(store: FileStore, name: str) -> None:
    for call in (store.open, store.delete, store.exists):
        with pytest.raises(InputError, match="64 hexadecimal digits"):
            call(name)


def test_a_source_that_breaks_half_way_leaves_nothing(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise ConnectionError("upload broke")
            return super().read(size)

    store = FolderFileStore(tmp_path / "files")
    with pytest.raises(StorageError, match="upload broke"):
        store.put(Broken(DATA))
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


def test_files_lie_under_their_hash_and_are_on_the_disk_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    root = tmp_path / "files"
    FolderFileStore(root).put(io.BytesIO(DATA))
    place = root / DIGEST[:2] / DIGEST[2:4] / DIGEST
    assert place.read_bytes() == DATA
    assert synced[0].startswith(str(root / "incoming"))
    assert synced[1:] == [str(folder) for folder in (place.parent, place.parent.parent, root, tmp_path)]
    assert list((root / "incoming").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Cannot keep a file"):
        FolderFileStore(tmp_path / "file" / "files").put(io.BytesIO(DATA))
