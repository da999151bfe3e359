"""Files and streams into the queue: find them, name them, keep the original, submit."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from core.errors import (
    AliothError,
    ConflictError,
    DocumentTooLargeError,
    EmptyDocumentError,
    InputError,
    NotFoundError,
    OriginalGoneError,
)
from core.settings import IngestSettings
from core.types import Collection, Priority
from ingest.archive import ARCHIVE_EXTENSIONS, archive_kind
from ingest.archive_names import LEFT_OUT_NAMES
from ingest.logical_path import logical_path, readable_name, with_prefix
from ingest.parsers import EXTENSIONS
from ingest.sniff import extension_of, supported
from ingest.unpack import LeftOut, Refused, unpack
from storage.document_rows import Current
from storage.documents import DocumentStore, Submission
from storage.files import FileStore

logger = logging.getLogger(__name__)

PUTS = 5
"""Times a file is put anew when a purge of the same bytes comes in between each time."""
FEW_MEMBERS = 100
"""Members of an archive after which the others are a bulk load, whoever waits for it."""
ARCHIVE_EXPANDS = 5
"""An archive and all that comes out of it may have this many times max_file_mb."""


class Bell(Protocol):
    """What Intake needs of a doorbell."""

    def ring(self, version_ids: Sequence[str] = ()) -> None: ...


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to ingest. logical_path: the document's name in its collection. size: bytes."""

    path: Path
    logical_path: str
    size: int

    def opened(self) -> BinaryIO:
        """Its bytes, from the start. Raises OSError."""
        return self.path.open("rb")


@dataclass(frozen=True, slots=True)
class Scan:
    """files: in order of logical path. skipped: files inside folders whose type Alioth does not read."""

    files: list[SourceFile]
    skipped: list[Path]


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one file, or of one member of an archive.

    submission: it was taken. error: it was refused, the others go on. deleted: a document that is no longer in the
    archive was deleted. None of these: it was left out, being no document (its type, a link).
    """

    path: str
    submission: Submission | None = None
    error: AliothError | None = None
    deleted: bool = False


class Intake:
    """Puts documents into the queue. Thread-safe when its parts are."""

    def __init__(self, settings: IngestSettings, documents: DocumentStore, files: FileStore, doorbell: Bell) -> None:
        self._settings = settings
        self._documents = documents
        self._files = files
        self._doorbell = doorbell

    def scan(self, paths: Sequence[Path], prefix: str = "") -> list[SourceFile]:
        """`survey` without the skipped files."""
        return self.survey(paths, prefix).files

    def survey(self, paths: Sequence[Path], prefix: str = "") -> Scan:
        """Files to ingest. A folder gives the files below it under their path relative to it, a file its base name.

        Inside folders, hidden files, links and types that no parser reads are left out; a file that is named itself
        is always taken.

        Raises:
            InputError: a path is missing, a folder holds no documents, or two sources come to one logical path.
        """
        found: dict[str, SourceFile] = {}
        skipped: list[Path] = []
        for path in paths:
            before = len(found)
            for file, name in _files_of(path, skipped):
                source = SourceFile(file, with_prefix(prefix, name), file.stat().st_size)
                other = found.get(source.logical_path)
                if other is not None and not os.path.samefile(other.path, file):
                    raise InputError(
                        f"Two files would become the document {source.logical_path!r}: {str(other.path)!r} and "
                        f"{str(file)!r}.",
                        "Add them one by one with --prefix, or add the folder above them.",
                    )
                found[source.logical_path] = source
            if path.is_dir() and len(found) == before:
                raise InputError(f"The folder {str(path)!r} holds no documents.", f"Alioth reads {supported()}.")
        return Scan([found[name] for name in sorted(found)], skipped)

    def add(self, collection: Collection, source_file: SourceFile, priority: int = 0) -> Submission:
        """Keep a file's bytes and queue it, unless they are what the document holds already.

        Raises:
            DocumentTooLargeError: over max_file_mb; nothing was kept.
            InputError: the file cannot be opened.
        """
        self._check_size(source_file.logical_path, source_file.size)

        def opened() -> BinaryIO:
            try:
                return source_file.path.open("rb")
            except OSError as error:
                raise _unopened(source_file, error) from error

        return self._submit(collection, source_file.logical_path, opened, priority)

    def add_bytes(
        self,
        collection: Collection,
        name: str,
        stream: BinaryIO,
        priority: int = 0,
        *,
        source: str | None = None,
        adopt: bool = False,
    ) -> Submission:
        """Like `add` for an open, seekable stream, such as an upload. `name` becomes the logical path.

        Args:
            source, adopt: see DocumentStore.submit.

        Raises:
            InputError: the name could leave its place (see `logical_path`). DocumentTooLargeError: over max_file_mb.
            ConflictError: see DocumentStore.submit.
        """
        path = logical_path(name)
        size = stream.seek(0, os.SEEK_END)
        self._check_size(path, size)

        def opened() -> BinaryIO:
            stream.seek(0)
            return cast(BinaryIO, _Unclosed(stream))

        return self._submit(collection, path, opened, priority, source, adopt)

    def unchanged(self, collection: Collection, source_files: Sequence[SourceFile]) -> dict[str, Submission]:
        """By logical path, those files that hold what their documents answer with: nothing needs to be done for them.

        One query for hundreds of files; only files of a known name and size are read. Nothing is copied or written.
        """
        out: dict[str, Submission] = {}
        current = self._documents.current(collection.id, [file.logical_path for file in source_files])
        for file in source_files:
            known = current.get(file.logical_path)
            if known is None or known.source_id is not None or known.size != file.size:
                continue
            try:
                same = self._is_same(known, file.opened)
            except OSError:  # whoever adds it says why it cannot be read
                continue
            if same:
                out[file.logical_path] = Submission(known.document_id, known.version_id, "unchanged")
        return out

    def add_source(self, collection: Collection, source_file: SourceFile, priority: int = 0) -> Iterator[Added]:
        """`add_all` for a file. Raises nothing that one file is to blame for: it comes as an `Added` with an error."""
        try:
            stream = source_file.path.open("rb")
        except OSError as error:
            yield Added(source_file.logical_path, error=_unopened(source_file, error))
            return
        with stream:
            yield from self.add_all(collection, source_file.logical_path, stream, priority)

    def add_all(
        self,
        collection: Collection,
        name: str,
        stream: BinaryIO,
        priority: int = 0,
        *,
        source: str | None = None,
        adopt: bool = False,
    ) -> Iterator[Added]:
        """Like `add_bytes`, and an archive becomes one document per member: `archive.zip/inner/name.pdf`.

        All documents under `archive.zip/` belong to that archive: those that it no longer holds are deleted, unless
        the archive as a whole was refused. The same archive again changes nothing. The work is done as the results
        are taken, one file at a time.

        Args:
            name, source, adopt: as in `add_bytes`. With a source, only its own documents are deleted.
        """
        try:
            path = logical_path(name)
            kind = archive_kind(stream, path)
            if kind is None:
                added = self.add_bytes(collection, path, stream, priority, source=source, adopt=adopt)
                yield Added(path, added)
                if extension_of(path) in ARCHIVE_EXTENSIONS:  # it may have been an archive before
                    yield from self._forget(collection, self._documents.under(collection.id, path), source)
                return
            self._check_size(path, stream.seek(0, os.SEEK_END), ARCHIVE_EXPANDS)
        except AliothError as error:
            yield Added(name, error=error)
            return
        yield from self._members(collection, path, stream, priority, source, adopt)

    def holds(self, collection: Collection, name: str) -> bool:
        """Whether a document has this name, or an archive of this name was added."""
        found = self._documents.find(collection.id, name) is not None
        return found or (extension_of(name) in ARCHIVE_EXTENSIONS and bool(self._documents.under(collection.id, name)))

    def _members(
        self, collection: Collection, path: str, stream: BinaryIO, priority: int, source: str | None, adopt: bool
    ) -> Iterator[Added]:
        member_bytes = self._settings.max_file_mb * 1_000_000
        seen: set[str] = set()
        taken = 0
        refused: list[str] = []  # archives inside that could not be opened: what came out of them before stays
        for member in unpack(stream, path, _is_readable, member_bytes, member_bytes * ARCHIVE_EXPANDS):
            if not isinstance(member, LeftOut):
                seen.add(member.path)
            if isinstance(member, LeftOut):
                yield Added(member.path)
            elif isinstance(member, Refused):
                yield Added(member.path, error=member.error)
                if member.whole:
                    refused.append(member.path)
            else:
                taken += 1
                rank = priority if taken <= FEW_MEMBERS else min(priority, Priority.BULK)
                try:
                    added = self.add_bytes(collection, member.path, member.file, rank, source=source, adopt=adopt)
                    yield Added(member.path, added)
                except AliothError as error:
                    yield Added(member.path, error=error)
        if path in refused:
            return
        if not seen:
            yield Added(path, error=_nothing_in(path))
            return
        before = self._documents.under(collection.id, path)
        old = self._documents.find(collection.id, path)  # a document of this name, from before it was an archive
        gone = {
            known: key
            for known, key in before.items()
            if known not in seen and not any(known.startswith(f"{archive}/") for archive in refused)
        }
        yield from self._forget(collection, gone | ({path: old.id} if old else {}), source)

    def _forget(self, collection: Collection, gone: dict[str, str], source: str | None) -> Iterator[Added]:
        for path, document_id in gone.items():
            with suppress(NotFoundError, ConflictError):  # deleted meanwhile; or another's, with a source
                self._documents.delete(document_id, source)
                yield Added(path, deleted=True)
        if gone:
            self._doorbell.ring()  # a worker cleans the indexes

    def _submit(
        self,
        collection: Collection,
        path: str,
        opened: Callable[[], BinaryIO],
        priority: int,
        source: str | None = None,
        adopt: bool = False,
    ) -> Submission:
        known = self._documents.current(collection.id, [path]).get(path)
        if known is not None and known.source_id == source and self._is_same(known, opened):
            return Submission(known.document_id, known.version_id, "unchanged")
        for attempt in range(1, PUTS + 1):
            content_hash, size = self._put(opened)
            try:
                submission = self._documents.submit(
                    collection.id,
                    path,
                    content_hash,
                    size,
                    priority,
                    source=source,
                    adopt=adopt,
                    is_kept=self._files.exists,
                )
                break
            except OriginalGoneError:  # a purge took it for unused just before it was submitted
                if attempt == PUTS:
                    raise
        if submission.outcome in ("new", "changed"):
            self._doorbell.ring([submission.version_id])
        return submission

    def _is_same(self, known: Current, opened: Callable[[], BinaryIO]) -> bool:
        """Whether the stream gives the bytes that answer now and are kept. Writes nothing."""
        with opened() as stream:
            if stream.seek(0, os.SEEK_END) != known.size:
                return False
            stream.seek(0)
            digest = hashlib.sha256()
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest() == known.content_hash and self._files.exists(known.content_hash)

    def _put(self, opened: Callable[[], BinaryIO]) -> tuple[str, int]:
        with opened() as stream:
            return self._files.put(stream)

    def _check_size(self, name: str, size: int, times: int = 1) -> None:
        limit = self._settings.max_file_mb * times
        if size > limit * 1_000_000:
            raise DocumentTooLargeError(
                f"Cannot ingest {name!r}: {size / 1e6:.0f} MB is over the {limit} MB limit.",
                "Raise ALIOTH_INGEST__MAX_FILE_MB or split the file.",
            )


def _is_readable(name: str) -> bool:
    """Whether a parser reads files that are called so."""
    return extension_of(name) in EXTENSIONS


def _unopened(source_file: SourceFile, error: OSError) -> InputError:
    return InputError(
        f"Cannot open {str(source_file.path)!r}: {error.strerror}.", "Check that it exists and its rights."
    )


def _nothing_in(path: str) -> EmptyDocumentError:
    return EmptyDocumentError(f"Cannot ingest {path!r}: the archive holds no document.", f"Alioth reads {supported()}.")


class _Unclosed:
    """A stream that its owner closes, used where a file of our own would be closed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> BinaryIO:
        return self._stream

    def __exit__(self, *exc: object) -> None:
        return None


def _files_of(path: Path, skipped: list[Path]) -> Iterator[tuple[Path, str]]:
    """(file, name) pairs of one argument."""
    if path.is_dir():
        for file in _walk(path):
            if _is_readable(file.name) or extension_of(file.name) in ARCHIVE_EXTENSIONS:
                yield file, readable_name(file.relative_to(path))
            else:
                skipped.append(file)
    elif path.is_file():
        yield path, readable_name(Path(path.name))
    else:
        raise InputError(f"There is no file or folder {str(path)!r}.", "Check the spelling and the working directory.")


def _walk(folder: Path) -> Iterator[Path]:
    """Regular files below a folder in a stable order; no links, no hidden files, no lock files of Office."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"Cannot read the folder {str(folder)!r}: {error.strerror}.", "Check its rights.") from error
    for entry in entries:
        if entry.name.startswith((".", "~$")) or entry.name.lower() in LEFT_OUT_NAMES or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
