"""A document's name inside its collection: POSIX, NFC, case kept, never a way out of anything."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from core.errors import InputError
from ingest.decode import decode

MAX_CHARS = 1000
_FORBIDDEN = re.compile("[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_RESERVED = re.compile(r"^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)
_DRIVE = re.compile(r"^[A-Za-z]:")


def logical_path(name: str) -> str:
    """The path a document is known by, from a relative path or an upload's name.

    Raises:
        InputError: absolute, with `..`, a drive, a backslash, control or direction characters, a name that Windows
            reserves, empty, or over 1,000 characters.
    """
    path = unicodedata.normalize("NFC", name).strip()
    why = _fault(path)
    if why:
        raise InputError(
            f"Cannot use {_shown(name)!r} as a document's name: it {why}.", "Rename the file and add it again."
        )
    return path


def _fault(path: str) -> str:
    if not path or path in (".", "/"):
        return "is empty"
    if len(path) > MAX_CHARS:
        return f"has {len(path)} characters, over the limit of {MAX_CHARS}"
    if _FORBIDDEN.search(path):
        return "holds control characters or characters that change the direction of text"
    if path.startswith("/") or _DRIVE.match(path):
        return "is an absolute path"
    if "\\" in path:
        return "holds a backslash"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return f"holds the part {part!r}"
        if _RESERVED.match(part):
            return f"holds {part!r}, a name that Windows reserves"
    return ""


def _shown(name: str) -> str:
    return _FORBIDDEN.sub("\ufffd", name)[:120]


def with_prefix(prefix: str, path: str) -> str:
    """`prefix/path`; the prefix may be empty or have slashes around it. Raises InputError."""
    prefix = prefix.strip("/")
    return logical_path(f"{prefix}/{path}" if prefix else path)


def readable_name(path: Path) -> str:
    """A path from the file system as text; names in an old Chinese encoding are decoded as such."""
    text = path.as_posix()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # bytes that are not UTF-8 came in as surrogates
        return decode(text.encode("utf-8", "surrogateescape")).text
    return text
