"""Files and streams into the queue: find them, name them, keep the original, submit."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from core.errors import DocumentTooLargeError, InputError
from core.settings import IngestSettings
from core.types import Collection
from ingest.logical_path import logical_path, readable_name, with_prefix
from ingest.parsers import EXTENSIONS
from ingest.sniff import extension_of, supported
from storage.documents import DocumentStore, Submission
from storage.files import FileStore

logger = logging.getLogger(__name__)

_LEFT_OUT_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


class Bell(Protocol):
    """What Intake needs of a doorbell."""

    def ring(self, version_ids: Sequence[str] = ()) -> None: ...


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to ingest. logical_path: the document's name in its collection. size: bytes."""

    path: Path
    logical_path: str
    size: int


@dataclass(frozen=True, slots=True)
class Scan:
    """files: in order of logical path. skipped: files inside folders whose type Alioth does not read."""

    files: list[SourceFile]
    skipped: list[Path]


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
                raise InputError(
                    f"Cannot open {str(source_file.path)!r}: {error.strerror}.", "Check that it exists and its rights."
                ) from error

        return self._submit(collection, source_file.logical_path, opened, priority)

    def add_bytes(self, collection: Collection, name: str, stream: BinaryIO, priority: int = 0) -> Submission:
        """Like `add` for an open, seekable stream, such as an upload. `name` becomes the logical path.

        Raises:
            InputError: the name could leave its place (see `logical_path`). DocumentTooLargeError: over max_file_mb.
        """
        path = logical_path(name)
        size = stream.seek(0, os.SEEK_END)
        self._check_size(path, size)

        def opened() -> BinaryIO:
            stream.seek(0)
            return cast(BinaryIO, _Unclosed(stream))

        return self._submit(collection, path, opened, priority)

    def _submit(self, collection: Collection, path: str, opened: Callable[[], BinaryIO], priority: int) -> Submission:
        content_hash, size = self._put(opened)
        submission = self._documents.submit(collection.id, path, content_hash, size, priority)
        if not self._files.exists(content_hash):  # a purge took it for unused just before it was submitted
            self._put(opened)
        if submission.outcome in ("new", "changed"):
            self._doorbell.ring([submission.version_id])
        return submission

    def _put(self, opened: Callable[[], BinaryIO]) -> tuple[str, int]:
        with opened() as stream:
            return self._files.put(stream)

    def _check_size(self, name: str, size: int) -> None:
        limit = self._settings.max_file_mb
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


def _files_of(path: Path, skipped: list[Path]) -> Iterator[tuple[Path, str]]:
    """(file, name) pairs of one argument."""
    if path.is_dir():
        for file in _walk(path):
            if extension_of(file.name) in EXTENSIONS:
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
        if entry.name.startswith((".", "~$")) or entry.name.lower() in _LEFT_OUT_NAMES or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
