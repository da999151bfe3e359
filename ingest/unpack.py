"""Archives to their members, one at a time, in bounded memory and disk space, however the archive was forged."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Final, cast

from core.errors import AliothError, ConflictError, DocumentTooLargeError, InputError, StorageError
from ingest.archive import ARCHIVE_EXTENSIONS, archive_kind, check_sizes
from ingest.archive_names import left_out, member_path, shown_path
from ingest.archive_readers import DAMAGED, Entry, damaged, open_reader

MAX_DEPTH = 3
"""Archives inside archives, the outermost counted."""
IN_MEMORY = 4_000_000
"""Bytes of a member kept in memory; larger ones wait in a temporary file without a name."""
_BLOCK: Final = 1 << 20
_HEAD: Final = 4096


@dataclass(frozen=True, slots=True)
class Member:
    """A file out of an archive. path: `archive.zip/inner/a.pdf`. file: its bytes, closed when the next is asked for."""

    path: str
    file: BinaryIO
    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A member, or an archive with all that is in it, that cannot be taken. whole: it is an archive."""

    path: str
    error: AliothError
    whole: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A member that is no document: of a type that Alioth does not read, a link or a device."""

    path: str


Unpacked = Member | Refused | LeftOut


@dataclass(slots=True)
class _Budget:
    """What may still come out of the outermost archive, those inside it counted."""

    takes: Callable[[str], bool]
    max_member: int
    max_bytes: int
    packed: int
    spooled: Callable[[], AbstractContextManager[BinaryIO]]
    members: int = 0
    expanded: int = 0


def unpack(
    file: BinaryIO,
    name: str,
    takes: Callable[[str], bool],
    max_member_bytes: int,
    max_bytes: int,
    in_memory: int = IN_MEMORY,
    spooled: Callable[[], AbstractContextManager[BinaryIO]] | None = None,
) -> Iterator[Unpacked]:
    """Every member of an archive, archives in it unpacked too.

    An archive over a limit, or damaged, is refused as a whole before its first member. Hidden files and what systems
    leave behind are passed over.

    Args:
        file: seekable. name: its logical path. takes: whether a name's extension is one that Alioth reads.
        max_member_bytes: of one member. max_bytes: of all members together.
        in_memory: bytes of a member from which on it waits in a temporary file.
        spooled: makes the file in which a member waits, in place of that.
    """

    def temporary() -> AbstractContextManager[BinaryIO]:
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(in_memory))

    packed = file.seek(0, 2)
    yield from _walk(file, name, _Budget(takes, max_member_bytes, max_bytes, packed, spooled or temporary), 1)


def _walk(file: BinaryIO, path: str, budget: _Budget, depth: int) -> Iterator[Unpacked]:
    kind = archive_kind(file, path)
    if kind is None:
        yield Refused(path, damaged(path), whole=True)
        return
    try:
        reader = open_reader(kind, file, path, budget.max_bytes - budget.expanded)
        try:
            entries = reader.entries()
        except DAMAGED as error:
            raise damaged(path) from error
        members = budget.members + len(entries)
        expanded = budget.expanded + sum(entry.size for entry in entries)
        check_sizes(path, members, expanded, budget.packed, budget.max_bytes)
    except AliothError as error:
        yield Refused(path, error, whole=True)
        return
    budget.members, budget.expanded = members, expanded
    try:
        yield from _members(entries, path, budget, depth)
    finally:
        reader.close()


def _members(entries: list[Entry], archive: str, budget: _Budget, depth: int) -> Iterator[Unpacked]:
    last = {_path_or_none(archive, entry.name): index for index, entry in enumerate(entries)}
    for index, entry in enumerate(entries):
        if left_out(entry.name):
            continue
        try:
            path = member_path(archive, entry.name)
        except InputError as error:
            yield Refused(shown_path(archive, entry.name), error)
            continue
        if not entry.regular or not _by_name(path, budget):
            yield LeftOut(path)
        elif last[path] != index:
            yield Refused(path, _twice(path))
        elif entry.fault is not None:
            yield Refused(path, entry.fault)
        elif entry.size > budget.max_member:
            yield Refused(path, _too_large(path, entry.size, budget.max_member))
        else:
            yield from _member(entry, path, budget, depth)


def _member(entry: Entry, path: str, budget: _Budget, depth: int) -> Iterator[Unpacked]:
    with budget.spooled() as file:
        try:
            size = _copy(entry, file, path)
        except AliothError as error:
            yield Refused(path, error)
            return
        if archive_kind(file, path) is not None:
            if depth < MAX_DEPTH:
                yield from _walk(file, path, budget, depth + 1)
            else:
                yield Refused(path, _too_deep(path), whole=True)
        elif _extension(path) or _reads_as_document(file):
            file.seek(0)
            yield Member(path, file, size)
        else:
            yield LeftOut(path)


def _copy(entry: Entry, target: BinaryIO, path: str) -> int:
    """Bytes copied, never more than the archive said."""
    size = 0
    try:
        source = entry.open()
    except DAMAGED as error:
        raise damaged(path) from error
    with source:
        while True:
            try:
                block = source.read(min(_BLOCK, entry.size + 1 - size))
            except DAMAGED as error:
                raise damaged(path) from error
            size += len(block)
            if not block or size > entry.size:
                break
            try:
                target.write(block)
            except OSError as error:
                raise StorageError(
                    f"Cannot unpack {path!r}: {error.strerror or error}.", "Free space in the temporary folder."
                ) from error
    if size != entry.size:
        raise damaged(path)
    return size


def _by_name(path: str, budget: _Budget) -> bool:
    """Whether a member may be a document or an archive, as far as its name tells."""
    extension = _extension(path)
    return not extension or extension in ARCHIVE_EXTENSIONS or budget.takes(path)


def _reads_as_document(file: BinaryIO) -> bool:
    """For names without an extension, such as README: text, PDF or an Office file by its first bytes."""
    file.seek(0)
    head = file.read(_HEAD)
    known = (b"%PDF-", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"{\\rtf", b"\x89PNG", b"\xff\xd8\xff")
    return head.startswith(known) or (
        bool(head) and not any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head)
    )


def _extension(path: str) -> str:
    return PurePosixPath(path).suffix.lower().lstrip(".").rstrip("_")


def _path_or_none(archive: str, name: str) -> str | None:
    try:
        return member_path(archive, name)
    except InputError:
        return None


def _twice(path: str) -> ConflictError:
    return ConflictError(
        f"Cannot ingest one of the members called {path!r}: the archive holds two of this name, and the last one was "
        "taken.",
        "Rename one of them in the archive.",
    )


def _too_large(path: str, size: int, limit: int) -> DocumentTooLargeError:
    return DocumentTooLargeError(
        f"Cannot ingest {path!r}: {size / 1e6:.0f} MB is over the {limit / 1e6:.0f} MB limit.",
        "Raise ALIOTH_INGEST__MAX_FILE_MB or split the file.",
    )


def _too_deep(path: str) -> DocumentTooLargeError:
    return DocumentTooLargeError(
        f"Cannot unpack {path!r}: it is an archive inside {MAX_DEPTH} others, over the limit of {MAX_DEPTH} levels.",
        "Unpack the outer archives and add what is in them.",
    )
