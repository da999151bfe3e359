"""Office files are zip archives: what is in one, and whether it is safe to unpack."""

from __future__ import annotations

import zipfile
from pathlib import Path

from core.errors import DocumentTooLargeError, UnreadableError

MAX_MEMBERS = 10_000
MAX_RATIO = 250
"""Expanded over packed size. Real Office files stay under 100; a bomb is near 1,000."""
RATIO_FROM = 20_000_000
"""Bytes below which the ratio does not matter."""


def member_names(path: Path) -> list[str]:
    """Names inside the archive, or an empty list when the file is not a readable zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def check_expansion(path: Path, name: str, max_bytes: int) -> None:
    """Refuse an archive that would unpack to too much.

    Raises:
        DocumentTooLargeError: too many members, too large, or compressed beyond what documents reach.
        UnreadableError: not a zip archive after all.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UnreadableError(f"Cannot read {name!r}: its zip container is damaged.", "Save the file again.") from error
    expanded = sum(member.file_size for member in members)
    packed = max(1, path.stat().st_size)
    if len(members) > MAX_MEMBERS:
        _refuse(name, f"it holds {len(members)} parts, over the limit of {MAX_MEMBERS}")
    if expanded > max_bytes:
        _refuse(name, f"it unpacks to {expanded // 1_000_000} MB, over the limit of {max_bytes // 1_000_000} MB")
    if expanded > RATIO_FROM and expanded > MAX_RATIO * packed:
        _refuse(name, f"it unpacks to {expanded // packed} times its size, over the limit of {MAX_RATIO} times")


def _refuse(name: str, why: str) -> None:
    raise DocumentTooLargeError(f"Cannot ingest {name!r}: {why}.", "Split the file, or export it again.")
