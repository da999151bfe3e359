"""Files and streams into the queue: name them, keep the original, submit."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from core.errors import AliothError, DocumentTooLargeError, OriginalGoneError
from core.settings import IngestSettings
from core.types import Collection
from ingest.archive import ARCHIVE_EXTENSIONS, archive_kind
from ingest.archive_intake import Added, ArchiveIntake, Brought
from ingest.logical_path import logical_path
from ingest.sniff import extension_of
from ingest.source_files import Scan, SourceFile, opened, survey
from ingest.unpack_apart import EXPANDS
from storage.document_rows import Current
from storage.documents import DocumentStore, Submission
from storage.files import FileStore

__all__ = ["Added", "Intake", "Scan", "SourceFile"]

logger = logging.getLogger(__name__)

PUTS = 5
"""Times a file is put anew when a purge of the same bytes comes in between each time."""


class Bell(Protocol):
    """What Intake needs of a doorbell."""

    def ring(self, version_ids: Sequence[str] = ()) -> None: ...


class Intake:
    """Puts documents into the queue. Thread-safe when its parts are."""

    def __init__(self, settings: IngestSettings, documents: DocumentStore, files: FileStore, doorbell: Bell) -> None:
        self._settings = settings
        self._documents = documents
        self._files = files
        self._doorbell = doorbell
        self._archives = ArchiveIntake(settings, documents, files, self._member, doorbell.ring)

    def scan(self, paths: Sequence[Path], prefix: str = "") -> list[SourceFile]:
        """`survey` without the skipped files."""
        return self.survey(paths, prefix).files

    def survey(self, paths: Sequence[Path], prefix: str = "") -> Scan:
        """The files to ingest, see `source_files.survey`."""
        return survey(paths, prefix)

    def add(self, collection: Collection, source_file: SourceFile, priority: int = 0) -> Submission:
        """Keep a file's bytes and queue it, unless they are what the document holds already.

        Raises:
            DocumentTooLargeError: over max_file_mb; nothing was kept.
            InputError: the file cannot be opened.
        """
        self._check_size(source_file.logical_path, source_file.size)
        brought = Brought(collection, source_file.logical_path, priority)
        return self._submit(brought, source_file.logical_path, lambda: opened(source_file), priority)[0]

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
        return self._member(Brought(collection, name, priority, source, adopt), name, stream, priority)[0]

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
            stream = opened(source_file)
        except AliothError as error:
            yield Added(source_file.logical_path, error=error)
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
        the archive as a whole was refused. The same archive again changes nothing, and is not unpacked again. The
        work is done as the results are taken, one file at a time; archives are unpacked in a locked process.

        Args:
            name, source, adopt: as in `add_bytes`. With a source, only its own documents are deleted.
        """
        try:
            path = logical_path(name)
            brought = Brought(collection, path, priority, source, adopt)
            kind = archive_kind(stream, path)
            if kind is None:
                yield Added(path, self._member(brought, path, stream, priority)[0])
                if extension_of(path) in ARCHIVE_EXTENSIONS:  # it may have been an archive before
                    yield from self._archives.forget(brought, self._documents.under(collection.id, path))
                return
            self._check_size(path, stream.seek(0, os.SEEK_END), EXPANDS)
        except AliothError as error:
            yield Added(name, error=error)
            return
        yield from self._archives.members(brought, stream)

    def holds(self, collection: Collection, name: str) -> bool:
        """Whether a document has this name, or an archive of this name was added."""
        found = self._documents.find(collection.id, name) is not None
        return found or (extension_of(name) in ARCHIVE_EXTENSIONS and bool(self._documents.under(collection.id, name)))

    def _member(self, brought: Brought, name: str, stream: BinaryIO, priority: int) -> tuple[Submission, str]:
        path = logical_path(name)
        self._check_size(path, stream.seek(0, os.SEEK_END))

        def from_start() -> BinaryIO:
            stream.seek(0)
            return cast(BinaryIO, _Unclosed(stream))

        return self._submit(brought, path, from_start, priority)

    def _submit(
        self, brought: Brought, path: str, opened: Callable[[], BinaryIO], priority: int
    ) -> tuple[Submission, str]:
        """What became of the bytes, and their hash."""
        collection_id, source = brought.collection.id, brought.source
        known = self._documents.current(collection_id, [path]).get(path)
        if known is not None and known.source_id == source and self._is_same(known, opened):
            return Submission(known.document_id, known.version_id, "unchanged"), known.content_hash
        for attempt in range(1, PUTS + 1):
            content_hash, size = self._put(opened)
            try:
                submission = self._documents.submit(
                    collection_id,
                    path,
                    content_hash,
                    size,
                    priority,
                    source=source,
                    adopt=brought.adopt,
                    is_kept=self._files.exists,
                )
                break
            except OriginalGoneError:  # a purge took it for unused just before it was submitted
                if attempt == PUTS:
                    raise
        if submission.outcome in ("new", "changed"):
            self._doorbell.ring([submission.version_id])
        return submission, content_hash

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


class _Unclosed:
    """A stream that its owner closes, used where a file of our own would be closed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> BinaryIO:
        return self._stream

    def __exit__(self, *exc: object) -> None:
        return None
