"""Members of zip, tar and single-file archives as one kind of entry, read with bounded memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, BinaryIO, Final, Protocol, cast

from core.errors import AliothError, DocumentTooLargeError, EncryptedError, UnreadableError, UnsupportedTypeError
from ingest.archive import MAX_DIRECTORY, MAX_MEMBERS, check_sizes, directory_bytes, is_tar_block
from ingest.archive_names import tar_name, zip_names

DAMAGED: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    IndexError,
    KeyError,
    OverflowError,
    RecursionError,
    MemoryError,
    RuntimeError,
)
"""What the readers of the standard library raise on damaged archives; the last two also on forged sizes."""
_BLOCK: Final = 1 << 16
_MAX_READ: Final = 4 << 20
"""Bytes that one read may ask for: a forged tar header asks for gigabytes."""
_XZ_MEMORY: Final = 128 << 20
_ENCRYPTED: Final = 0x1
_READ_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_METHODS: Final = {1: "shrink", 6: "implode", 9: "deflate64", 93: "zstandard", 95: "xz", 97: "wavpack", 98: "ppmd"}
_TAR_OVERHEAD: Final = 64_000_000
"""Bytes of headers and padding that a tar may have beside its members."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member. name: decoded, unchecked. size: bytes unpacked. fault: why it cannot be read. open: its bytes."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    regular: bool = True
    fault: AliothError | None = None


class Reader(Protocol):
    """An open archive. Entries are opened one after another in the order they are listed."""

    def entries(self) -> list[Entry]: ...

    def close(self) -> None: ...


def open_reader(kind: str, file: BinaryIO, name: str, max_bytes: int) -> Reader:
    """A reader of the archive in `file`. kind: as `archive_kind` says. max_bytes: of all members together.

    Raises:
        DocumentTooLargeError: over a limit. UnreadableError: damaged.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        if kind == "zip":
            return ZipReader(file, name, size, max_bytes)
        if kind == "tar":
            return TarReader(file, name, size, max_bytes)
        stream = _Metered(_OPENERS[kind](file), name, size, max_bytes)
        if is_tar_block(stream.read(512)):
            stream.seek(0)
            return TarReader(cast(BinaryIO, stream), name, size, max_bytes)
        return SingleReader(stream, name)
    except DAMAGED as error:
        raise damaged(name) from error


def damaged(name: str) -> UnreadableError:
    """The error for an archive or member that cannot be unpacked."""
    return UnreadableError(
        f"Cannot unpack {name!r}: it is damaged or incomplete.", "Make the archive again and add that."
    )


class ZipReader:
    """Members of a zip."""

    def __init__(self, file: BinaryIO, name: str, size: int, max_bytes: int) -> None:
        if directory_bytes(file) > MAX_DIRECTORY:
            raise DocumentTooLargeError(
                f"Cannot ingest {name!r}: its list of members alone is over the limit of {MAX_DIRECTORY // 1_000_000} "
                "MB.",
                "Split the archive.",
            )
        self._name = name
        self._zip = zipfile.ZipFile(file)
        members = self._zip.infolist()
        check_sizes(name, len(members), sum(member.file_size for member in members), size, max_bytes)

    def entries(self) -> list[Entry]:
        members = self._zip.infolist()
        pairs = zip(members, zip_names(members), strict=True)
        return [self._entry(member, name) for member, name in pairs if not name.endswith(("/", "\\"))]

    def _entry(self, member: zipfile.ZipInfo, name: str) -> Entry:
        mode = member.external_attr >> 16
        regular = stat.S_ISREG(mode) or not stat.S_IFMT(mode)
        return Entry(name, member.file_size, lambda: self._zip.open(member), regular, self._fault(member, name))

    def _fault(self, member: zipfile.ZipInfo, name: str) -> AliothError | None:
        if member.flag_bits & _ENCRYPTED:
            return EncryptedError(
                f"Cannot ingest {name!r} out of {self._name!r}: it is protected by a password.",
                "Unpack the archive and add the files.",
            )
        if member.compress_type not in _READ_METHODS:
            method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
            return UnsupportedTypeError(
                f"Cannot ingest {name!r} out of {self._name!r}: it is packed with {method!r}, which Alioth does not "
                "read.",
                "Make an ordinary ZIP archive (deflate).",
            )
        return None

    def close(self) -> None:
        self._zip.close()


class TarReader:
    """Members of a tar, packed as a whole or not. All headers are read once before the first member."""

    def __init__(self, file: BinaryIO, name: str, size: int, max_bytes: int) -> None:
        stream = file if isinstance(file, _Metered) else _Metered(file, name, size, size)
        self._tar = tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:", encoding="utf-8")  # noqa: SIM115
        self._members: list[tarfile.TarInfo] = []
        total = 0
        for member in self._tar:
            self._members.append(member)
            total += member.size if member.isreg() else 0
            if len(self._members) > MAX_MEMBERS or total > max_bytes:
                break
        check_sizes(name, len(self._members), total, size, max_bytes)

    def entries(self) -> list[Entry]:
        return [self._entry(member) for member in self._members if not member.isdir()]

    def _entry(self, member: tarfile.TarInfo) -> Entry:
        def opened() -> IO[bytes]:
            stream = self._tar.extractfile(member)
            if stream is None:
                raise tarfile.ReadError("not a regular file")
            return stream

        return Entry(tar_name(member.name), member.size, opened, member.isreg())

    def close(self) -> None:
        self._tar.close()


class SingleReader:
    """One file packed by gzip, bzip2 or xz; it is called as the archive without its last extension."""

    def __init__(self, stream: _Metered, name: str) -> None:
        self._stream = stream
        own = PurePosixPath(name).name
        self._name = PurePosixPath(own).stem if own.lower().endswith((".gz", ".bz2", ".xz")) else own
        stream.seek(0)
        while stream.read(_BLOCK):
            pass
        self._size = stream.tell()

    def entries(self) -> list[Entry]:
        def opened() -> IO[bytes]:
            self._stream.seek(0)
            return cast(IO[bytes], _Kept(self._stream))

        return [Entry(self._name, self._size, opened)]

    def close(self) -> None:
        self._stream.close()


class _Metered:
    """A stream that refuses to give more than `limit` bytes, or far more than went in, however it is read."""

    def __init__(self, stream: BinaryIO, name: str, packed: int, limit: int) -> None:
        self._stream, self._name, self._packed, self._limit = stream, name, packed, limit

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _MAX_READ:
            raise tarfile.ReadError("a header asks for too much")
        data = self._stream.read(size)
        self._check()
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Forward in steps, so that a forged size cannot unpack more than the limit before it is noticed."""
        if whence:
            raise tarfile.ReadError("only offsets from the start")
        at = self._stream.tell()
        while at < offset:
            step = min(offset, at + _MAX_READ)
            if self._stream.seek(step) < step:
                break
            at = step
            self._check()
        return self._stream.seek(offset) if self._stream.tell() != offset else offset

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()

    def _check(self) -> None:
        at = self._stream.tell()
        check_sizes(self._name, 1, at, self._packed, self._limit if at > self._limit + _TAR_OVERHEAD else at)


class _Kept(AbstractContextManager["_Kept"]):
    """A stream that its owner closes."""

    def __init__(self, stream: _Metered) -> None:
        self.read = stream.read

    def __exit__(self, *exc: object) -> None:
        return None


class _Xz(io.RawIOBase):
    """What lzma.open gives, with a limit of memory: the dictionary's size is the file's own claim."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(0)
        self._at = 0
        self._unpacker = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._some(len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _some(self, size: int) -> bytes:
        while size:
            if self._unpacker.eof:
                rest = self._unpacker.unused_data or self._file.read(_BLOCK)
                rest = rest.lstrip(b"\x00")  # padding between streams
                if not rest:
                    return b""
                self._unpacker = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
                raw = rest
            else:
                raw = self._file.read(_BLOCK) if self._unpacker.needs_input else b""
                if not raw and self._unpacker.needs_input:
                    raise EOFError("the file ends in the middle")
            if data := self._unpacker.decompress(raw, size):
                return data
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence:
            raise ValueError("only offsets from the start")
        if offset < self._at:
            self._rewind()
        while self._at < offset and self.read(min(_BLOCK, offset - self._at)):
            pass
        return self._at


_OPENERS: Final[dict[str, Callable[[BinaryIO], BinaryIO]]] = {
    "gz": lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb")),
    "bz2": lambda file: cast(BinaryIO, bz2.BZ2File(file, "rb")),
    "xz": lambda file: cast(BinaryIO, io.BufferedReader(_Xz(file), _BLOCK)),
}
