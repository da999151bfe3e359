"""One collection's keyword index on this machine: a tantivy folder that catches up with SQL, and is read."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import StorageError
from storage.changes import Applied, ChangeFeed, PositionGone
from storage.keyword_entries import entry, mark, marked, schema
from storage.keyword_query import Instead, any_of, narrowed

logger = logging.getLogger(__name__)

_COMMIT_ROWS: Final = 20_000
_HEAP_BYTES: Final = 60_000_000
_PAGE: Final = 10_000


class Damaged(Exception):
    """tantivy could not use the folder."""


class Gone(Damaged):
    """The folder was made anew by someone else at this moment."""


class Replica:
    """One collection's index folder."""

    def __init__(self, folder: Path, collection_id: str, feed: ChangeFeed) -> None:
        self._path = folder / collection_id
        self._lock_path = folder / f"{collection_id}.lock"
        self._collection_id = collection_id
        self._feed = feed
        self._mutex = threading.Lock()
        self._index: Any = None
        self._inode = 0
        self._searcher: Any = None
        self._applied: Applied | None = None
        self._written: dict[str, int] = {}

    def shows(self, wanted: Applied) -> bool:
        """Whether searches here see everything up to `wanted`; reads another process's commit if there is one."""
        with self._mutex:
            if self._applied != wanted or self._moved():
                self._refresh()
            applied = self._applied
        if applied is None or applied.number < wanted.number:
            return False
        # further than asked: another process applied a newer change, unless a backup was restored
        return applied == wanted or self._feed.contains(self._collection_id, applied)

    def search(
        self,
        tokens: Sequence[str],
        k: int,
        instead: Sequence[Instead],
        required: Sequence[str],
        versions: Sequence[str] | None,
    ) -> list[tuple[int, float]]:
        with self._mutex:
            searcher, index = self._searcher, self._index
        if searcher is None:
            raise Gone("it was removed during a search")
        with _tantivy_faults():
            query = any_of(searcher, index.schema, tokens, instead)
            query = narrowed(index.schema, query, required, versions)
            found = searcher.search(query, limit=k, count=False).hits
            ids = searcher.fast_field_values("id", [address for _, address in found])
            return [(int(i), float(score)) for i, (score, _) in zip(ids, found, strict=True)]

    def ids(self) -> NDArray[np.int64]:
        import tantivy

        with self._mutex:
            self._refresh()
            searcher = self._searcher
        if searcher is None:
            return np.zeros(0, dtype=np.int64)
        with _tantivy_faults():
            everything = tantivy.Query.exists_query("id")
            found = searcher.search(everything, limit=max(1, searcher.num_docs), count=False).hits
            out: list[int] = []
            for start in range(0, len(found), _PAGE):
                part = [address for _, address in found[start : start + _PAGE]]
                out.extend(int(i) for i in searcher.fast_field_values("id", part))
        return np.sort(np.array(out, dtype=np.int64))

    def catch_up(self, wanted: Applied) -> int:
        """Apply changes until `wanted` is covered. Gives how many were applied by this call."""
        with self._exclusive():
            if self.shows(wanted):  # another process was faster
                return 0
            applied = self._applied
            if applied is not None and not self._feed.contains(self._collection_id, applied):
                logger.warning("keyword index of %s is far behind or belongs to another history", self._collection_id)
                self._remove()
                applied = None
            before = applied.number if applied else 0
            with self._mutex, _tantivy_faults():
                self._index = None  # a writer must know the files of the folder as it is now
                self._open()
                try:
                    number = self._apply(applied)
                except PositionGone as gone:  # pruned since it was looked up
                    raise Damaged(str(gone)) from gone
                self._load()
                self._check_written()
            return number - before

    def wipe(self) -> None:
        with self._exclusive():
            self._remove()

    def _apply(self, applied: Applied | None) -> int:
        self._written = {}
        writer = self._index.writer(_HEAP_BYTES, 1)
        try:
            newest = self._feed.after(self._collection_id, applied)
            for version_id in newest.gone:
                writer.delete_documents_by_term("version", version_id)
            pending = 0
            for version_id in newest.added:
                writer.delete_documents_by_term("version", version_id)
                for row in self._feed.rows(version_id):
                    writer.add_document(entry(row))
                    self._written[version_id] = self._written.get(version_id, 0) + 1
                    pending += 1
                if pending >= _COMMIT_ROWS and newest.resumable:
                    mark(writer, newest.reached(version_id))
                    writer.commit()
                    pending = 0
            mark(writer, newest.end)
            writer.commit()
            return newest.end.number
        finally:
            writer.wait_merging_threads()

    def _check_written(self) -> None:
        """Count the entries of every version that was just added: a search must never see a part of one.

        The switch has checked that SQL holds all chunks of a version, so these are as many as it has chunks.
        """
        import tantivy

        for version_id, rows in self._written.items():
            query = tantivy.Query.term_query(self._index.schema, "version", version_id, index_option="basic")
            found = self._searcher.search(query, limit=1, count=True).count
            if found != rows:
                raise Damaged(f"version {version_id} has {found} entries for {rows} chunks")
        self._written = {}

    def _open(self) -> None:
        import tantivy

        self._path.mkdir(parents=True, exist_ok=True)
        if self._index is None or self._moved():
            self._index = tantivy.Index(schema(), path=str(self._path))
            self._inode = self._path.stat().st_ino

    def _load(self) -> None:
        self._index.reload()
        self._searcher = self._index.searcher()
        self._applied = marked(self._searcher, self._index.schema)

    def _refresh(self) -> None:
        if not (self._path / "meta.json").is_file():
            self._forget()
            return
        with _tantivy_faults():
            self._open()
            self._load()

    def _moved(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def _remove(self) -> None:
        with self._mutex:
            self._forget()
            shutil.rmtree(self._path, ignore_errors=True)

    def _forget(self) -> None:
        self._index = self._searcher = self._applied = None
        self._inode = 0

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One writer per collection among all threads and processes of this machine; the others wait here."""
        try:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            handle = self._lock_path.open("a")
        except OSError as error:
            raise StorageError(
                f"Cannot write the keyword index in {str(self._lock_path.parent)!r}: {error.strerror}.",
                "Make the data directory writable for this user.",
            ) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


@contextmanager
def _tantivy_faults() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise Damaged(str(error)) from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # a panic in Rust is no Exception
            raise Damaged(str(error)) from error
        raise
