"""Tables without rules and code, told by how the lines of a page stand under one another."""

from __future__ import annotations

from collections.abc import Sequence

from core.types import Block, BlockKind
from ingest.clean import cell
from ingest.parsers.delimited import looks_like_header
from ingest.parsers.pdf_hyphens import Hyphens
from ingest.parsers.pdf_page import Line
from ingest.parsers.pdf_places import place_of


def table_rows(lines: Sequence[Line], start: int) -> int:
    """How many lines from `start` on are rows of one table: two or more cells whose columns begin alike."""
    first = lines[start]
    if len(first.cells) < 2 or first.block:
        return 0
    count = rows = 1
    while start + count < len(lines):
        line = lines[start + count]
        last = lines[start + count - 1]
        if line.block or line.y0 <= last.y0 or line.y0 - last.y1 > 3 * first.size:
            break
        near = sum(1 for x in line.starts if any(abs(x - y) < 2 * first.size for y in first.starts))
        wrapped = len(line.cells) < 2 and _wraps(line, last, first)
        if not wrapped and (len(line.cells) < 2 or near < 2):
            break
        rows += not wrapped
        count += 1
    while count > 1 and len(lines[start + count - 1].cells) < 2:
        count -= 1
    return count if rows > 2 or (rows == 2 and len(first.cells) > 2) else 0


def _wraps(line: Line, last: Line, first: Line) -> bool:
    """A line of one cell that goes on with a cell of the row above, not with its first one."""
    close = line.y0 - last.y1 < 0.5 * first.size
    return close and any(abs(line.x0 - x) < first.size for x in first.starts[1:])


def table_block(lines: Sequence[Line], hyphens: Hyphens) -> Block:
    """The lines as a table, each cell in the column whose beginning is nearest."""
    starts = max((line.starts for line in lines), key=len)
    rows: list[list[list[str]]] = []
    for line in lines:
        if len(line.cells) < 2 and rows:
            rows[-1][_column(line.x0, starts)].append(line.text)
            continue
        row: list[list[str]] = [[] for _ in starts]
        for value, x in line.parts:
            row[_column(x, starts)].append(value)
        rows.append(row)
    table = [[cell(hyphens.join(parts)) for parts in row] for row in rows]
    texts = [" | ".join(row).rstrip(" |") for row in table]
    bold = lines[0].bold and not all(line.bold for line in lines[1:])
    headed = bold or looks_like_header(table[0], table[1:])
    text = "\n".join(texts[1:] if headed else texts)
    return Block(BlockKind.TABLE, text, place_of(lines), header=texts[0] if headed else "")


def _column(x: float, starts: Sequence[float]) -> int:
    return min(range(len(starts)), key=lambda index: abs(starts[index] - x))


def code_rows(lines: Sequence[Line], start: int) -> int:
    """How many lines from `start` on are code: letters of one width, at least two lines."""
    count = 0
    while start + count < len(lines) and lines[start + count].mono and not lines[start + count].block:
        if count and lines[start + count].y0 < lines[start + count - 1].y0 - 1:
            break
        count += 1
    return count if count > 1 else 0


def code_block(lines: Sequence[Line]) -> Block:
    """The lines as they stand, indented by their places."""
    left = min(line.x0 for line in lines)
    texts = []
    for line in lines:
        indent = round((line.x0 - left) / max(0.5 * line.size, 1.0))
        texts.append(" " * min(indent, 40) + line.text)
    return Block(BlockKind.CODE, "\n".join(texts), place_of(lines))
