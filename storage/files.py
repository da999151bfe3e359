"""Original files by content hash: in a folder, or in the database when workers are on other machines."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from sqlalchemy import delete, exists, select
from sqlalchemy.exc import IntegrityError

from core.errors import InputError, NotFoundError, StorageError
from storage.database import Database
from storage.tables import FileBlobTable

_BLOCK: Final = 1 << 20
_COPIES: Final = "alioth-original-"
"""Prefix of the folders for temporary files that hold copies out of the database."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class FileStore(Protocol):
    """Bytes under their sha256. Thread-safe; putting the same bytes again changes nothing."""

    def put(self, source: BinaryIO) -> tuple[str, int]:
        """Keep what `source` gives until its end: (sha256 in hex, size in bytes). On return it is on the disk."""
        ...

    def open(self, content_hash: str) -> BinaryIO:
        """The bytes, from the start. Raises NotFoundError."""
        ...

    def path(self, content_hash: str) -> AbstractContextManager[Path]:
        """A real file with the bytes, to be read only, as long as the context lasts. Raises NotFoundError."""
        ...

    def delete(self, content_hash: str) -> None:
        """Remove the bytes; nothing happens when they are not there."""
        ...

    def exists(self, content_hash: str) -> bool:
        """Whether the bytes are there."""
        ...

    def older_than(self, age_s: float) -> Iterator[str]:
        """Hashes of files that were last put more than `age_s` seconds ago."""
        ...

    def forget_unfinished(self, age_s: float) -> int:
        """Remove what a `put` that was killed left behind more than `age_s` seconds ago. Gives how many files."""
        ...


class FolderFileStore:
    """Files in a folder as `ab/cd/<sha256>`. No name that a client gave is ever used."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._settled: set[Path] = set()
        """Folders whose own names this process has seen onto the disk; folders of the store are never removed."""

    def put(self, source: BinaryIO) -> tuple[str, int]:
        """See FileStore. Raises StorageError when the folder cannot be written."""
        try:
            return self._put(source)
        except OSError as error:
            raise StorageError(
                f"Cannot keep a file in {str(self._root)!r}: {error.strerror or error}.",
                "Check the free space and the rights of the data directory.",
            ) from error

    def open(self, content_hash: str) -> BinaryIO:
        """See FileStore."""
        return self._existing(content_hash).open("rb")

    @contextmanager
    def path(self, content_hash: str) -> Iterator[Path]:
        """See FileStore."""
        yield self._existing(content_hash)

    def delete(self, content_hash: str) -> None:
        """See FileStore."""
        self._place(content_hash).unlink(missing_ok=True)

    def exists(self, content_hash: str) -> bool:
        """See FileStore."""
        return self._place(content_hash).is_file()

    def older_than(self, age_s: float) -> Iterator[str]:
        """See FileStore."""
        for place in self._root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
            if _HASH.fullmatch(place.name) and _age_s(place) > age_s:
                yield place.name

    def forget_unfinished(self, age_s: float) -> int:
        """See FileStore. A file that a living process is writing is locked by it."""
        forgotten = 0
        for left in (self._root / "incoming").glob("*"):
            if _age_s(left) > age_s:
                with suppress(OSError), left.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()
                    forgotten += 1
        return forgotten

    def _put(self, source: BinaryIO) -> tuple[str, int]:
        """The order is the promise (docs/decisions/0014-durability.md): bytes, name, folders, and only then return."""
        known = self._known(source)
        if known is not None:
            return known
        incoming = self._root / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=incoming)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as target:
                fcntl.flock(target, fcntl.LOCK_EX)
                content_hash, size = _copy(source, target)
                target.flush()
                os.fsync(target.fileno())
                place = self._place(content_hash)
                place.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(place)
            self._sync_folders(place)
        finally:
            temporary.unlink(missing_ok=True)
        return content_hash, size

    def _known(self, source: BinaryIO) -> tuple[str, int] | None:
        """What `put` gives when the bytes are there already, without writing them again; `source` is back at its start.

        Their age begins anew, and the folders are synced here too: who put them first may not have come to it yet.
        """
        if not source.seekable():
            return None
        start = source.tell()
        content_hash, size = _copy(source, _Nowhere())
        place = self._place(content_hash)
        try:
            os.utime(place)
        except FileNotFoundError:
            source.seek(start)
            return None
        self._sync_folders(place)
        return content_hash, size

    def _sync_folders(self, place: Path) -> None:
        _sync_folder(place.parent)
        for folder in (place.parent, place.parent.parent, self._root):
            if folder not in self._settled:
                _sync_folder(folder.parent)
                self._settled.add(folder)

    def _existing(self, content_hash: str) -> Path:
        place = self._place(content_hash)
        if not place.is_file():
            raise _missing(content_hash)
        return place

    def _place(self, content_hash: str) -> Path:
        _check_hash(content_hash)
        return self._root / content_hash[:2] / content_hash[2:4] / content_hash


class DatabaseFileStore:
    """Files in the database, for PostgreSQL with workers on several machines."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, source: BinaryIO) -> tuple[str, int]:
        """See FileStore."""
        buffer = io.BytesIO()
        content_hash, size = _copy(source, buffer)
        if not self.exists(content_hash):
            with suppress(IntegrityError), self._db.write() as session:  # another process may put the same bytes
                session.add(FileBlobTable(content_hash=content_hash, size=size, data=buffer.getvalue()))
        return content_hash, size

    def open(self, content_hash: str) -> BinaryIO:
        """See FileStore."""
        _check_hash(content_hash)
        with self._db.read() as session:
            query = select(FileBlobTable.data).where(FileBlobTable.content_hash == content_hash)
            data = session.scalar(query)
        if data is None:
            raise _missing(content_hash)
        return io.BytesIO(data)

    @contextmanager
    def path(self, content_hash: str) -> Iterator[Path]:
        """See FileStore."""
        with (
            self.open(content_hash) as source,
            tempfile.TemporaryDirectory(prefix=_COPIES) as folder,
            _locked_folder(Path(folder)),
        ):
            place = Path(folder) / content_hash
            with place.open("wb") as target:
                _copy(source, target)
            yield place

    def delete(self, content_hash: str) -> None:
        """See FileStore."""
        _check_hash(content_hash)
        with self._db.write() as session:
            session.execute(delete(FileBlobTable).where(FileBlobTable.content_hash == content_hash))

    def exists(self, content_hash: str) -> bool:
        """See FileStore."""
        _check_hash(content_hash)
        with self._db.read() as session:
            return bool(session.scalar(select(exists().where(FileBlobTable.content_hash == content_hash))))

    def older_than(self, age_s: float) -> Iterator[str]:
        """See FileStore. Rows bear no time of their own: every hash is given, whatever its age."""
        with self._db.read() as session:
            yield from list(session.scalars(select(FileBlobTable.content_hash)))

    def forget_unfinished(self, age_s: float) -> int:
        """See FileStore. A `put` leaves nothing behind, but who is killed in `path` leaves its copy."""
        forgotten = 0
        for left in Path(tempfile.gettempdir()).glob(f"{_COPIES}*"):
            if _age_s(left) > age_s:
                with suppress(OSError), _locked_folder(left):
                    shutil.rmtree(left)
                    forgotten += 1
        return forgotten


class _Nowhere(io.RawIOBase):
    """Takes bytes and keeps none."""

    def write(self, data: Any) -> int:
        return len(data)


def _age_s(path: Path) -> float:
    """Seconds since the last change; 0.0 when it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _copy(source: BinaryIO, target: BinaryIO | _Nowhere) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    while block := source.read(_BLOCK):
        digest.update(block)
        size += len(block)
        target.write(block)
    return digest.hexdigest(), size


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Says that a living process uses it. Raises OSError when another one does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _check_hash(content_hash: str) -> None:
    if not _HASH.fullmatch(content_hash):
        raise InputError(
            f"{content_hash!r} is no content hash: it must be 64 hexadecimal digits.", "Ask for a document."
        )


def _missing(content_hash: str) -> NotFoundError:
    return NotFoundError(f"The original file {content_hash!r} is not in the file store.", "Ingest the document again.")
