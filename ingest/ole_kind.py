"""What an OLE container holds, told by the streams at its root: old Office files, mail, locked new Office files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
LOCKED: Final = "locked"
DAMAGED: Final = "damaged"
_FILEPASS: Final = 0x2F
_FIRST_RECORDS: Final = 4096
"""Bytes of a workbook in which FILEPASS stands: it comes right after the records that open it."""
_KINDS: Final = (
    ("__nameid_version1.0", "msg"),
    ("EncryptedPackage", LOCKED),
    ("\tDRMContent", LOCKED),
    ("WordDocument", "doc"),
    ("PowerPoint Document", "ppt"),
    ("Workbook", "xls"),
    ("Book", "xls"),
    ("MatOST", "wps"),
    ("CONTENTS", "wps"),
)


_UNREAD: Final = (
    ("VisioDocument", "a Visio drawing of the old kind (vsd)"),
    ("Quill", "a Publisher document"),
    ("HwpSummaryInformation", "a Hangul document (hwp)"),
    ("\x05HwpSummaryInformation", "a Hangul document (hwp)"),
    ("Props12", "a Microsoft Project plan"),
    ("Props14", "a Microsoft Project plan"),
    ("Props9", "a Microsoft Project plan"),
)


def unread_kind(path: Path) -> str:
    """What an OLE file is that Alioth does not read, in words for messages."""
    names = _root_names(path)
    return next((words for stream, words in _UNREAD if stream.lower() in names), "an old Office file")


def locked_workbook(path: Path) -> bool:
    """Whether an Excel workbook of the old kind is under a password: its first records say so (FILEPASS)."""
    import olefile

    try:
        with olefile.OleFileIO(path) as container:
            stream = next((name for name in ("Workbook", "Book") if container.exists(name)), "")
            data = container.openstream(stream).read(_FIRST_RECORDS) if stream else b""
    except (OSError, ValueError, IndexError, OverflowError):
        return False
    at = 0
    while at + 4 <= len(data):
        record, size = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")
        if record == _FILEPASS:
            return True
        at += 4 + size
    return False


def ole_kind(path: Path) -> str:
    """Kind of the parser for an OLE file, LOCKED when it is under a password or rights management, DAMAGED, or empty.

    Names are compared without regard to case, as the format asks. Quill is Publisher's, whose other names are Works'.
    """
    return kind_of_streams(_root_names(path))


def _root_names(path: Path) -> set[str]:
    """Lower-case names of the streams and storages at the root; of a damaged file also DAMAGED."""
    import olefile

    try:
        with olefile.OleFileIO(path) as container:
            return {entry[0].lower() for entry in container.listdir(streams=True, storages=True) if len(entry) == 1}
    except (OSError, ValueError, IndexError, OverflowError):
        # every known name that its bytes hold, embedded files' too
        data, names = path.read_bytes(), {DAMAGED}
        return names | {stream.lower() for stream, _ in _KINDS if stream.encode("utf-16-le") in data}


def kind_of_streams(names: Collection[str]) -> str:
    """As `ole_kind`, from the lower-case names of the streams and storages at the root."""
    unknown = DAMAGED if DAMAGED in names else ""
    return next((kind for stream, kind in _KINDS if stream.lower() in names and "quill" not in names), unknown)
