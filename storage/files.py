"""Original files by content hash: in a folder, or in the database when workers are on other machines."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from sqlalchemy import delete, exists, select
from sqlalchemy.exc import IntegrityError

from core.errors import InputError, NotFoundError, StorageError
from storage.database import Database
from storage.tables import FileBlobTable

_BLOCK: Final = 1 << 20
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


class FolderFileStore:
    """Files in a folder as `ab/cd/<sha256>`. No name that a client gave is ever used."""

    def __init__(self, root: Path) -> None:
        self._root = root

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

    def _put(self, source: BinaryIO) -> tuple[str, int]:
        incoming = self._root / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=incoming)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as target:
                content_hash, size = _copy(source, target)
                target.flush()
                os.fsync(target.fileno())
            place = self._place(content_hash)
            if not place.is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(place)
                for folder in (place.parent, place.parent.parent, self._root):
                    _sync_folder(folder)
        finally:
            temporary.unlink(missing_ok=True)
        return content_hash, size

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
        with self.open(content_hash) as source, tempfile.TemporaryDirectory(prefix="alioth-") as folder:
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


def _copy(source: BinaryIO, target: BinaryIO) -> tuple[str, int]:
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


def _check_hash(content_hash: str) -> None:
    if not _HASH.fullmatch(content_hash):
        raise InputError(
            f"{content_hash!r} is no content hash: it must be 64 hexadecimal digits.", "Ask for a document."
        )


def _missing(content_hash: str) -> NotFoundError:
    return NotFoundError(f"The original file {content_hash!r} is not in the file store.", "Ingest the document again.")
