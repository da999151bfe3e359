"""Names of the sheets in a binary workbook (xlsb), whose drawings are XML like those of xlsx ([MS-XLSB] 2.1.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

WORKBOOK: Final = "xl/workbook.bin"
_SHEET: Final = 156
"""Number of the record BrtBundleSh."""
_MAX_NAME: Final = 255


def sheet_relations(data: bytes) -> Iterator[tuple[str, str]]:
    """(name, id of the relation to its part) of each sheet; ends where the bytes make no sense."""
    for number, record in _records(data):
        if number == _SHEET:
            relation, at = _string(record, 8)
            name, _ = _string(record, at)
            if relation and name:
                yield name, relation


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        number, at = _number(data, at, 2)
        size, at = _number(data, at, 4)
        yield number, data[at : at + size]
        at += size


def _number(data: bytes, at: int, most: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for place in range(most):
        byte = data[at] if at < len(data) else 0
        value |= (byte & 0x7F) << (7 * place)
        at += 1
        if not byte & 0x80:
            break
    return value, at


def _string(record: bytes, at: int) -> tuple[str, int]:
    """Text with its length in front, and where it ends; empty for one that is too long to be a name."""
    length = int.from_bytes(record[at : at + 4], "little")
    end = at + 4 + 2 * length
    if length > _MAX_NAME or end > len(record):
        return "", len(record)
    return record[at + 4 : end].decode("utf-16-le", "replace"), end
