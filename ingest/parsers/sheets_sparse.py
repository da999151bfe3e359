"""Excel sheets whose few cells lie far apart: read cell by cell instead of as a full rectangle."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_AREA = 20_000_000
"""Cells of the rectangle around a sheet's content above which it is not unfolded."""

_CELL = re.compile(rb'<(?:\w+:)?c [^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"')
_SHEET = re.compile(r"xl/worksheets/sheet[0-9]+\.xml$")
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})$")
_PIECE = 1 << 20


def is_sparse(path: Path) -> bool:
    """True for an xlsx with a sheet whose rectangle would be larger than MAX_AREA."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(_area(archive, name) > MAX_AREA for name in archive.namelist() if _SHEET.search(name))


def _area(archive: zipfile.ZipFile, name: str) -> int:
    rows: list[int] = []
    columns: list[int] = []
    with archive.open(name) as file:
        tail = b""
        while piece := file.read(_PIECE):
            found = {(letters, int(row)) for letters, row in _CELL.findall(tail + piece)}
            if found:
                rows += [min(row for _, row in found), max(row for _, row in found)]
                columns += [column_index(letters.decode()) for letters in {letters for letters, _ in found}]
            tail = piece[-200:]
    return (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1) if rows else 0


def column_index(letters: str) -> int:
    """0 for A, 26 for AA."""
    value = 0
    for letter in letters:
        value = value * 26 + ord(letter) - ord("A") + 1
    return value - 1


def sparse_sheets(path: Path) -> Iterator[tuple[str, bool, Iterator[tuple[int, list[str]]]]]:
    """(name, hidden, rows); a row holds only its filled cells, side by side, so columns are not aligned."""
    with zipfile.ZipFile(path) as archive:
        shared = _shared_strings(archive)
        for name in sorted(filter(_SHEET.search, archive.namelist())):
            yield Path(name).stem, False, iter(list(_rows(archive, name, shared)))


def _parse(archive: zipfile.ZipFile, name: str, tags: tuple[str, ...]) -> Iterator[Any]:
    from lxml import etree

    with archive.open(name) as file:
        wanted = [f"{{*}}{tag}" for tag in tags]
        for _, element in etree.iterparse(file, tag=wanted, resolve_entities=False, no_network=True, huge_tree=False):
            yield element
            element.clear()


def _shared_strings(archive: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    return ["".join(item.itertext()) for item in _parse(archive, "xl/sharedStrings.xml", ("si",))]


def _rows(archive: zipfile.ZipFile, name: str, shared: list[str]) -> Iterator[tuple[int, list[str]]]:
    for row in _parse(archive, name, ("row",)):
        values: list[str] = []
        number = int(row.get("r", "1"))
        for cell in row:
            match = _REFERENCE.match(cell.get("r", ""))
            number = int(match.group(2)) if match else number
            text = _value(cell, shared).strip()
            if text:
                values.append(" ".join(text.replace("|", "/").split()))
        if values:
            yield number, values


def _value(cell: Any, shared: list[str]) -> str:
    if cell.get("t") == "inlineStr":
        return "".join(cell.itertext())
    value = next((child.text or "" for child in cell if child.tag.endswith("}v")), "")
    if cell.get("t") == "s" and value.isdecimal() and int(value) < len(shared):
        return shared[int(value)]
    return value
