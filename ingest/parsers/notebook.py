"""Jupyter notebooks: text cells as Markdown, code cells as code, printed results below them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from core.types import Block, BlockKind, Locator, ParsedDocument, Reading
from ingest.decode import decode
from ingest.parsers import data_json
from ingest.parsers.markdown import parse_text
from ingest.parsers.registry import Parser, Source, register

MAX_RESULT = 4000
"""Characters that are kept of one printed result."""


def parse(source: Source) -> ParsedDocument:
    """Blocks cell by cell, without places; pictures in results are counted. A damaged notebook is read as JSON."""
    decoded = decode(source.path.read_bytes())
    try:
        book = json.loads(decoded.text)
        cells = _cells(book)
    except (ValueError, RecursionError, AttributeError, TypeError):
        return data_json.parse(source)
    blocks: list[Block] = []
    pictures = left_out = 0
    for cell in cells:
        kind, text = cell.get("cell_type"), _joined(cell.get("source", cell.get("input", "")))
        if kind == "code":
            blocks.append(Block(BlockKind.CODE, text))
            shown, drawn, lost = _results(cell)
            blocks += shown
            pictures += drawn
            left_out += lost
        elif kind == "heading":
            blocks.append(Block(BlockKind.HEADING, text, level=max(1, min(6, int(cell.get("level", 1))))))
        else:
            blocks += [replace(block, locator=Locator()) for block in parse_text(text)]
    metadata = book.get("metadata", {}) if isinstance(book.get("metadata"), dict) else {}
    authors = [str(a.get("name", "")) for a in metadata.get("authors", []) if isinstance(a, dict)]
    return ParsedDocument(
        blocks=tuple(block for block in blocks if block.text.strip()),
        media_type="application/x-ipynb+json",
        title=str(metadata.get("title", "")),
        problems=decoded.problems,
        metadata={"author": ", ".join(authors)} if authors else {},
        reading=Reading(pictures=pictures, pictures_without_text=pictures, left_out=left_out),
    )


def _cells(book: Any) -> list[dict[str, Any]]:
    """The cells of a notebook of any version. Raises ValueError when it has none."""
    sheets = book.get("worksheets") or [book]
    cells = [cell for sheet in sheets for cell in sheet.get("cells", []) if isinstance(cell, dict)]
    if not cells:
        raise ValueError("no cells")
    return cells


def _joined(value: Any) -> str:
    return "".join(str(part) for part in value) if isinstance(value, list) else str(value or "")


def _results(cell: dict[str, Any]) -> tuple[list[Block], int, int]:
    """(blocks, pictures, characters left out) of what a cell printed."""
    blocks: list[Block] = []
    pictures = left_out = 0
    for output in cell.get("outputs", []):
        if not isinstance(output, dict):
            continue
        inner = output.get("data")
        data: dict[str, Any] = inner if isinstance(inner, dict) else output
        pictures += sum(str(key).startswith("image/") or str(key) in ("png", "jpeg", "svg") for key in data)
        text = _joined(data.get("text/plain", data.get("text", ""))).rstrip()
        left_out += max(0, len(text) - MAX_RESULT)
        if text.strip():
            blocks.append(Block(BlockKind.CODE, text[:MAX_RESULT]))
    return blocks, pictures, left_out


register(Parser("ipynb", "Jupyter notebooks", ("ipynb",), "application/x-ipynb+json", parse))
