"""A folder as a source of documents: which files it holds, and their bytes, without ever leaving it."""

from __future__ import annotations

import io
import os
import stat
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from core.errors import AliothError, InputError
from ingest.archive_names import left_out
from ingest.logical_path import logical_path, readable_name

IGNORE_FILE = ".aliothignore"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a source. path: logical. size in bytes; modified_ns: when it last changed, ns since 1970.

    open: a seekable stream; it raises InputError when the file cannot be read, or changed since it was listed.
    """

    path: str
    size: int
    modified_ns: int
    open: Callable[[], BinaryIO]


@dataclass(slots=True)
class Listing:
    """What a source holds now.

    skipped: (path, reason) of what is no document. failed: what could not be looked at. unknown: paths, of files or
    folders, about which nothing is known; what came from there stays. identity: tells this place from another that
    was put over it, such as the empty folder below a network share.
    """

    files: list[RemoteFile] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, AliothError]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    identity: str = ""


class DocumentSource(Protocol):
    """A place of documents. Folders are the first kind; others need only this."""

    kind: str
    place: str

    def list(self) -> Listing:
        """Every file there is now; reads none. Raises InputError when the place itself cannot be looked at."""
        ...


class FolderSource:
    """The files below a folder under their relative paths.

    Hidden files and what systems leave behind are passed over. A link counts as the file or folder it leads to when
    that is inside the folder and was not met by its own name; each is taken once.

    Args:
        ignore: patterns as in .gitignore, after those in `.aliothignore` in the folder itself.

    Raises:
        InputError: no such folder.
    """

    kind = "folder"

    def __init__(self, root: Path, ignore: Sequence[str] = ()) -> None:
        self._root = Path(os.path.realpath(root))
        self._ignore = list(ignore)
        self.place = str(self._root)

    def list(self) -> Listing:
        """See DocumentSource. Raises InputError: the folder or its `.aliothignore` cannot be read."""
        try:
            root = self._root.stat()
        except OSError as error:
            raise _unreachable(self._root, error) from error
        if not stat.S_ISDIR(root.st_mode):
            raise InputError(f"{str(self._root)!r} is not a folder.", "Name the folder above it.")
        return _Walk(self._root, self._patterns()).run(str(root.st_ino))

    def _patterns(self) -> Any:
        from pathspec import GitIgnoreSpec

        lines = self._ignore
        own = self._root / IGNORE_FILE
        try:
            if own.is_file():
                lines = [*own.read_text("utf-8-sig").splitlines(), *lines]
            return GitIgnoreSpec.from_lines(lines) if lines else None
        except (OSError, ValueError) as error:
            raise InputError(
                f"Cannot use the ignore patterns of {str(self._root)!r}: {error}.",
                f"They are written as in .gitignore, in UTF-8; see {IGNORE_FILE} and --ignore.",
            ) from error


class _Walk:
    """One look at a folder."""

    def __init__(self, root: Path, patterns: Any) -> None:
        self._root = root
        self._patterns = patterns
        self._out = Listing()
        self._folders: set[tuple[int, int]] = set()
        self._taken: set[tuple[int, int]] = set()
        self._links: list[tuple[Path, str]] = []

    def run(self, identity: str) -> Listing:
        self._out.identity = identity
        self._folder(self._root, "")
        if self._out.unknown == [""]:
            raise self._out.failed[0][1]
        while self._links:  # after everything that has a name of its own; a linked folder may hold further links
            links, self._links = sorted(self._links, key=lambda link: link[1]), []
            for link, name in links:
                self._link(link, name)
        if _identity(self._root) != identity:  # unmounted or moved while we looked: what we missed is not gone
            raise _unreachable(self._root, OSError(0, "it went away while it was looked at"))
        self._out.files.sort(key=lambda file: file.path)
        return self._out

    def _folder(self, folder: Path, name: str) -> None:
        """Everything below one folder. name: its relative path, empty for the root."""
        waiting = [(folder, name)]
        while waiting:
            folder, name = waiting.pop()
            try:
                here = folder.stat()
                if (here.st_dev, here.st_ino) in self._folders:
                    continue
                self._folders.add((here.st_dev, here.st_ino))
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except FileNotFoundError:
                if not name:
                    raise _unreachable(folder, FileNotFoundError(2, "No such file or directory")) from None
                continue  # it went while we looked
            except OSError as error:
                self._unknown(name, _unreachable(folder, error))
                continue
            for entry in found:
                self._entry(entry, f"{name}/{entry.name}" if name else entry.name, waiting)

    def _entry(self, entry: os.DirEntry[str], name: str, waiting: list[tuple[Path, str]]) -> None:
        if left_out(entry.name):
            return
        if entry.is_symlink():
            if not self._ignored(name):
                self._links.append((Path(entry.path), name))
        elif entry.is_dir(follow_symlinks=False):
            if not self._ignored(name + "/"):
                waiting.append((Path(entry.path), name))
        elif not self._ignored(name):
            try:
                self._file(Path(entry.path), name, entry.stat(follow_symlinks=False))
            except FileNotFoundError:
                pass  # it went while we looked
            except OSError as error:
                self._unknown(name, _unreadable(name, error))

    def _file(self, place: Path, name: str, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            self._out.skipped.append((readable_name(Path(name)), "not a regular file"))
            return
        self._taken.add((found.st_dev, found.st_ino))
        try:
            path = logical_path(readable_name(Path(name)))
        except AliothError as error:
            self._out.failed.append((readable_name(Path(name)), error))
            return
        size, modified = found.st_size, _modified_ns(found)
        self._out.files.append(RemoteFile(path, size, modified, lambda: _open(self._root, place, path, size, modified)))

    def _link(self, link: Path, name: str) -> None:
        try:
            place = link.resolve(strict=True)
            found = place.stat()
        except (OSError, RuntimeError):  # a loop of links is a RuntimeError
            self._out.skipped.append((readable_name(Path(name)), "a link that leads nowhere"))
            return
        if not place.is_relative_to(self._root):
            self._out.skipped.append((readable_name(Path(name)), "a link that leads out of the folder"))
        elif stat.S_ISDIR(found.st_mode):
            if not self._ignored(name + "/"):
                self._folder(place, name)
        elif (found.st_dev, found.st_ino) not in self._taken:
            self._file(place, name, found)

    def _ignored(self, name: str) -> bool:
        return self._patterns is not None and bool(self._patterns.match_file(name))

    def _unknown(self, name: str, error: AliothError) -> None:
        shown = unicodedata.normalize("NFC", readable_name(Path(name))) if name else ""
        self._out.failed.append((shown or ".", error))
        self._out.unknown.append(shown)


def _open(root: Path, place: Path, path: str, size: int, modified_ns: int) -> BinaryIO:
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        file = _SteadyFile(descriptor, path, size, modified_ns)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        file.check()
        _check_inside(root, place, file.fileno(), path)
    except BaseException:
        file.close()
        raise
    return cast(BinaryIO, io.BufferedReader(file, 1 << 18))


def _check_inside(root: Path, place: Path, descriptor: int, path: str) -> None:
    """A folder on the way may have become a link since the listing: what was opened must lie inside the root."""
    try:
        real = place.resolve(strict=True)
        inside = real.is_relative_to(root) and os.path.samestat(os.fstat(descriptor), real.stat())
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        raise _changed(path)


class _SteadyFile(io.RawIOBase):
    """A file that must be at its end what it was when it was listed: half-written bytes are never taken."""

    def __init__(self, descriptor: int, path: str, size: int, modified_ns: int) -> None:
        self._file = io.FileIO(descriptor, "rb")
        self._path = path
        self._listed = (size, modified_ns)

    def check(self) -> None:
        found = os.fstat(self.fileno())
        if not stat.S_ISREG(found.st_mode) or (found.st_size, _modified_ns(found)) != self._listed:
            raise _changed(self._path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        try:
            count = self._file.readinto(buffer) or 0
        except OSError as error:
            raise _unreadable(self._path, error) from error
        if not count and len(memoryview(buffer)):
            self.check()
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _identity(folder: Path) -> str:
    try:
        return str(folder.stat().st_ino)
    except OSError:
        return ""


def _modified_ns(found: os.stat_result) -> int:
    """Also renaming counts: two files of one size and age that change places are not what they were."""
    return max(found.st_mtime_ns, found.st_ctime_ns)


def _unreachable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"Cannot look into the folder {str(folder)!r}: {error.strerror or error}.",
        "Check that it exists, is mounted and may be read. Nothing that came from it was deleted.",
    )


def _unreadable(path: str, error: OSError) -> InputError:
    return InputError(f"Cannot read {path!r}: {error.strerror or error}.", "Check that it is there and its rights.")


def _changed(path: str) -> InputError:
    return InputError(f"Cannot read {path!r}: it changed while it was read.", "The next sync takes it.")


def below(path: str, folders: Sequence[str]) -> bool:
    """Whether a path is one of `folders` or lies below one."""
    return any(path == folder or path.startswith(folder + "/") for folder in folders)
