"""Zip containers and archives: what a file is one of, and whether it is safe to unpack."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, Final

from core.errors import DocumentTooLargeError, UnreadableError

MAX_MEMBERS = 10_000
MAX_RATIO = 250
"""Expanded over packed size. Real Office files stay under 100; a bomb is near 1,000."""
RATIO_FROM = 20_000_000
"""Bytes below which the ratio does not matter."""
MAX_DIRECTORY = 16_000_000
"""Bytes of a zip's list of members, which is read into memory whole: room for 10,000 long names."""

ARCHIVE_EXTENSIONS: Final = frozenset({"zip", "tar", "tgz", "gz", "tbz", "tbz2", "bz2", "txz", "xz"})
"""What archives are called; content decides what is one."""
_ZIP_DOCUMENTS: Final = frozenset(
    {"docx", "docm", "dotx", "dotm", "pptx", "pptm", "ppsx", "potx", "xlsx", "xlsm", "xltx", "xlsb", "vsdx", "xps"}
    | {"odt", "ott", "odp", "otp", "ods", "ots", "odg", "epub", "pages", "numbers", "key", "oxps", "ofd"}
    | {"potm", "ppsm", "xltm", "vsdm", "vstx", "vssx", "wps", "et", "dps"}
)
"""Documents that are zip containers inside."""
_AGAIN: Final = "Open it in its own program, save it again and add that, or copy it again."
_PART_FOLDERS: Final = ("word/", "ppt/", "xl/", "docprops/", "_rels/", "visio/", "meta-inf/", "oebps/", "doc_0/")
_TOLD_BY_NAME: Final = 4_000_000
"""Bytes of a zip's list of members above which its name alone says whether it is a document: listing them takes memory
in whatever process asks, and documents have short lists."""
_BLOCK: Final = 512
_ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGED: Final = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError)


def member_names(path: Path) -> list[str]:
    """Names inside the archive, or an empty list when the file is not a readable zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except _DAMAGED:
        return []


def archive_kind(file: BinaryIO, name: str) -> str | None:
    """`zip`, `tar`, `gz`, `bz2` or `xz` by content, None when it is none of them. The stream is at its start after.

    Office files, EPUB and the like are zips too and give None. name: decides only for a zip that is too damaged to
    tell: under a document's extension it is a damaged document.
    """
    file.seek(0)
    head = file.read(_BLOCK)
    file.seek(0)
    if head.startswith(_ZIP_MAGIC):
        kind = None if _is_document(file, name) else "zip"
        file.seek(0)
        return kind
    if head.startswith(b"\x1f\x8b\x08"):
        return "gz"
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        return "bz2"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    return "tar" if is_tar_block(head) else None


def is_tar_block(head: bytes) -> bool:
    """Whether 512 bytes are the header of a tar member, also of the old kind without a magic: its checksum holds."""
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, IndexError):
        return False
    return True


def _is_document(file: BinaryIO, name: str) -> bool:
    extension = Path(name.replace("\\", "/")).suffix.lower().lstrip(".").rstrip("_")
    if directory_bytes(file) > _TOLD_BY_NAME:
        return extension in _ZIP_DOCUMENTS
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            return holds_document(names) or (extension in _ZIP_DOCUMENTS and looks_like_document(names))
    except _DAMAGED:
        return extension in _ZIP_DOCUMENTS


def holds_document(names: Collection[str]) -> bool:
    """Whether the members of a zip are the parts of one document: Office, OpenDocument, EPUB, XPS, OFD or iWork."""
    marks = ("[Content_Types].xml", "mimetype", "META-INF/container.xml", "OFD.xml")
    return any(mark in names for mark in marks) or is_iwork(names)


def looks_like_document(names: Collection[str]) -> bool:
    """Whether members have names that only the parts of a document have; some of them may be missing."""
    return any(name.lower().startswith(_PART_FOLDERS) for name in names)


def is_iwork(names: Collection[str]) -> bool:
    """Whether the members of a zip are the parts of an Apple Pages, Numbers or Keynote document, new or of 2009."""
    if "Index.zip" in names or "index.apxl" in names or any(name.endswith(".iwa") for name in names):
        return True
    return "index.xml" in names and "buildVersionHistory.plist" in names


def is_locked_iwork(path: Path, names: Collection[str]) -> bool:
    """Whether an Apple document is under a password: it keeps a check of it, or packs its XML in its own way."""
    if any(name.rpartition("/")[2] in (".iwph", ".iwpv", ".iwpv2") for name in names):
        return True
    body = next((name for name in ("index.xml", "index.apxl") if name in names), "")
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(body) and archive.getinfo(body).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    except _DAMAGED:
        return False


def directory_bytes(file: BinaryIO) -> int:
    """Size of a zip's list of members by its end record, 0 when there is none; told without reading the list."""
    end = file.seek(0, 2)
    file.seek(max(0, end - 65_557))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        return 0
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    wide = tail.rfind(b"PK\x06\x06", 0, at)
    if size == 0xFFFFFFFF and 0 <= wide <= len(tail) - 56:
        return int.from_bytes(tail[wide + 40 : wide + 48], "little")
    return size


def check_expansion(path: Path, name: str, max_bytes: int) -> None:
    """Refuse an archive that would unpack to too much.

    Raises:
        DocumentTooLargeError: too many members, too large, or compressed beyond what documents reach.
        UnreadableError: not a zip archive after all.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DAMAGED as error:
        raise UnreadableError(f"Cannot read {name!r}: its zip container is damaged.", _AGAIN) from error
    check_sizes(name, len(members), sum(member.file_size for member in members), path.stat().st_size, max_bytes)


def check_sizes(name: str, members: int, expanded: int, packed: int, max_bytes: int) -> None:
    """Refuse too many members, too many bytes, or more bytes out of few than documents ever are.

    Raises:
        DocumentTooLargeError: names the limit.
    """
    if members > MAX_MEMBERS:
        _refuse(name, f"it holds {members} parts, over the limit of {MAX_MEMBERS}")
    if expanded > max_bytes:
        _refuse(name, f"it unpacks to {expanded // 1_000_000} MB, over the limit of {max_bytes // 1_000_000} MB")
    packed = max(1, packed)
    if expanded > RATIO_FROM and expanded > MAX_RATIO * packed:
        _refuse(name, f"it unpacks to {expanded // packed} times its size, over the limit of {MAX_RATIO} times")


def _refuse(name: str, why: str) -> None:
    raise DocumentTooLargeError(
        f"Cannot ingest {name!r}: {why}.", "Save it again in its own program, or split it; such files can fill a disk."
    )
