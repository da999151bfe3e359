"""Files and folders that a person names, as the documents they would become."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.errors import InputError
from ingest.archive import ARCHIVE_EXTENSIONS
from ingest.archive_names import LEFT_OUT_NAMES
from ingest.logical_path import readable_name, with_prefix
from ingest.parsers import EXTENSIONS
from ingest.sniff import extension_of, supported


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


def survey(paths: Sequence[Path], prefix: str = "") -> Scan:
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


def opened(source_file: SourceFile) -> BinaryIO:
    """Its bytes, from the start. Raises InputError when it cannot be opened."""
    try:
        return source_file.opened()
    except OSError as error:
        raise InputError(
            f"Cannot open {str(source_file.path)!r}: {error.strerror}.", "Check that it exists and its rights."
        ) from error


def _files_of(path: Path, skipped: list[Path]) -> Iterator[tuple[Path, str]]:
    """(file, name) pairs of one argument."""
    if path.is_dir():
        for file in _walk(path):
            if extension_of(file.name) in EXTENSIONS or extension_of(file.name) in ARCHIVE_EXTENSIONS:
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
