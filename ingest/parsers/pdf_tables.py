"""Tables that a PDF page draws with lines: rows of cells with merged cells filled in."""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from core.types import Block, BlockKind
from ingest.clean import cell as one_line
from ingest.clean import join_lines
from ingest.parsers.pdf_page import Corners, Piece, Word, overlap, place, union

MAX_EDGES = 1200
"""Lines of one page up to which tables are looked for; a page with more is a drawing."""
_MAX_CROSSINGS = 10_000
"""Pairs of level and upright lines beyond which the search for cells takes seconds."""
_SNAP = 3.0
_Cell = tuple[float, float, float, float]


@dataclass(slots=True)
class _Grid:
    """xs, ys: where columns and rows begin and end. cells: corners, from pdfplumber's search."""

    xs: list[float]
    ys: list[float]
    cells: list[_Cell]


@dataclass(frozen=True, slots=True)
class _Span:
    row: int
    column: int
    rows: int
    columns: int
    text: str
    bold: bool


def take_tables(pieces: list[Piece], lines: Sequence[Corners], number: int) -> list[Piece]:
    """Pieces with those inside of ruled tables replaced by one piece that carries the TABLE block.

    Args:
        lines: drawn lines in the same frame as the pieces.
    """
    for grid in _grids(lines):
        inside = [piece for piece in pieces if piece.block is None and _within(piece, grid)]
        table = _table(grid, inside, number)
        if table is None:
            continue
        gone = {id(piece) for piece in inside}
        at = next(index for index, piece in enumerate(pieces) if id(piece) in gone)
        pieces = [*pieces[:at], table, *(piece for piece in pieces[at:] if id(piece) not in gone)]
    return pieces


def _grids(lines: Sequence[Corners]) -> list[_Grid]:
    if not 4 <= len(lines) <= MAX_EDGES:
        return []
    from pdfplumber.table import cells_to_tables, edges_to_intersections, intersections_to_cells, merge_edges

    edges = merge_edges([_edge(line) for line in lines], _SNAP, _SNAP, _SNAP, _SNAP)
    edges = [edge for edge in edges if edge["x1"] - edge["x0"] + edge["bottom"] - edge["top"] >= 8]
    level = sum(1 for edge in edges if edge["orientation"] == "h")
    if level * (len(edges) - level) > _MAX_CROSSINGS:
        return []
    cells = intersections_to_cells(edges_to_intersections(edges, _SNAP, _SNAP))
    grids = []
    for table in cells_to_tables(cells):
        xs = _marks([x for cell in table for x in (cell[0], cell[2])])
        ys = _marks([y for cell in table for y in (cell[1], cell[3])])
        if len(xs) > 2 and len(ys) > 2 and len(table) >= 4:
            grids.append(_Grid(xs, ys, table))
    return grids


def _edge(line: Corners) -> dict[str, object]:
    x0, y0, x1, y1 = line
    level = x1 - x0 >= y1 - y0
    middle = (y0 + y1) / 2 if level else (x0 + x1) / 2
    corners = (x0, middle, x1, middle) if level else (middle, y0, middle, y1)
    return {
        "x0": corners[0],
        "top": corners[1],
        "x1": corners[2],
        "bottom": corners[3],
        "width": corners[2] - corners[0],
        "height": corners[3] - corners[1],
        "orientation": "h" if level else "v",
        "object_type": "line",
    }


def _marks(values: Sequence[float]) -> list[float]:
    """Sorted positions, those within the snap distance made one."""
    out: list[float] = []
    for value in sorted(values):
        if not out or value - out[-1] > _SNAP:
            out.append(value)
    return out


def _box(grid: _Grid) -> Corners:
    return grid.xs[0], grid.ys[0], grid.xs[-1], grid.ys[-1]


def _within(piece: Piece, grid: _Grid) -> bool:
    x0, y0, x1, y1 = _box(grid)
    return y0 - 1 <= piece.middle <= y1 + 1 and min(piece.x1, x1) - max(piece.x0, x0) > 0.5 * (piece.x1 - piece.x0)


def _table(grid: _Grid, pieces: Sequence[Piece], number: int) -> Piece | None:
    words: dict[_Cell, list[tuple[Piece, Word]]] = {}
    for piece in pieces:
        for word in piece.words or [Word(piece.text, piece.x0, piece.x1)]:
            box = (word.x0, piece.y0, word.x1, piece.y1)
            words.setdefault(_home(grid.cells, box) or _open_cell(grid, box), []).append((piece, word))
    grid.cells.extend(cell for cell in words if cell not in grid.cells)
    filled = [cell for cell in grid.cells if cell in words]
    columns = {bisect.bisect(grid.xs, cell[0] + _SNAP) for cell in filled}
    rows = {bisect.bisect(grid.ys, cell[1] + _SNAP) for cell in filled}
    if len(columns) < 2 or len(rows) < 2 or len(filled) < 0.25 * len(grid.cells):
        return None
    spans = [_span(grid, cell, words.get(cell, [])) for cell in grid.cells]
    header, body = _rows(spans, len(grid.ys) - 1, len(grid.xs) - 1)
    if not body:
        return None
    box = union([_box(grid), *(piece.box for piece in pieces)])
    scores = [piece.ocr for piece in pieces if piece.ocr is not None]
    where = place(number, box, round(sum(scores) / len(scores), 3) if scores else None)
    block = Block(BlockKind.TABLE, "\n".join(body), where, header="\n".join(header))
    size = sorted(piece.size for piece in pieces)[len(pieces) // 2]
    return Piece(block.text, *box, size, box[3], block=block)


def _home(cells: Sequence[_Cell], box: Corners) -> _Cell | None:
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    for cell in cells:
        if cell[0] <= middle[0] <= cell[2] and cell[1] <= middle[1] <= cell[3]:
            return cell
    best = max(cells, key=lambda cell: overlap(cell, box))
    return best if overlap(best, box) > 0 else None


def _open_cell(grid: _Grid, box: Corners) -> _Cell:
    """The field of the grid that a word lies in where no lines close a cell: many tables are open at their sides."""
    column = min(max(bisect.bisect(grid.xs, (box[0] + box[2]) / 2), 1), len(grid.xs) - 1)
    row = min(max(bisect.bisect(grid.ys, (box[1] + box[3]) / 2), 1), len(grid.ys) - 1)
    return grid.xs[column - 1], grid.ys[row - 1], grid.xs[column], grid.ys[row]


def _span(grid: _Grid, cell: _Cell, words: Sequence[tuple[Piece, Word]]) -> _Span:
    row = bisect.bisect(grid.ys, cell[1] + _SNAP) - 1
    column = bisect.bisect(grid.xs, cell[0] + _SNAP) - 1
    rows = max(1, bisect.bisect(grid.ys, cell[3] + _SNAP) - 1 - row)
    columns = max(1, bisect.bisect(grid.xs, cell[2] + _SNAP) - 1 - column)
    bold = bool(words) and all(piece.bold for piece, _ in words)
    return _Span(row, column, rows, columns, one_line(_cell_text(words)), bold)


def _cell_text(words: Sequence[tuple[Piece, Word]]) -> str:
    """Words of one cell: rows from top to bottom, in a row from left to right."""
    lines: list[tuple[float, float, list[tuple[Piece, Word]]]] = []
    for piece, word in sorted(words, key=lambda entry: entry[0].base):
        if lines and abs(piece.base - lines[-1][0]) < 0.5 * max(piece.size, lines[-1][1]):
            lines[-1][2].append((piece, word))
        else:
            lines.append((piece.base, piece.size, [(piece, word)]))
    texts = []
    for _, size, line in lines:
        text = ""
        before: tuple[Piece, Word] | None = None
        for piece, word in sorted(line, key=lambda entry: entry[1].x0):
            text += (" " if before and _blank_between(before, piece, word, size) else "") + word.text
            before = (piece, word)
        texts.append(text)
    return join_lines(texts)


def _blank_between(before: tuple[Piece, Word], piece: Piece, word: Word, size: float) -> bool:
    if before[0] is piece:
        return word.spaced
    return word.x0 - before[1].x1 > 0.25 * size or (before[1].text[-1:].isascii() and word.text[:1].isascii())


def _rows(spans: Sequence[_Span], n_rows: int, n_columns: int) -> tuple[list[str], list[str]]:
    """Header rows and body rows as `cell | cell` lines; what spans rows stands in each of them."""
    table = [[""] * n_columns for _ in range(n_rows)]
    starts: dict[int, list[_Span]] = {}
    for span in spans:
        for row in range(span.row, min(span.row + span.rows, n_rows)):
            if span.column < n_columns:
                table[row][span.column] = table[row][span.column] or span.text
        starts.setdefault(span.row, []).append(span)
    if _irregular(starts, n_columns):
        loose = [" | ".join(span.text for span in starts.get(row, []) if span.text) for row in range(n_rows)]
        return [], [line for line in loose if line]
    count = _header_rows(table, starts)
    for row in range(count):  # a heading over several columns names each of them
        for span in starts.get(row, []):
            for column in range(span.column, min(span.column + span.columns, n_columns)):
                table[row][column] = table[row][column] or span.text
    used = [column for column in range(n_columns) if any(row[column] for row in table)]
    lines = [" | ".join(row[column] for column in used).rstrip(" |") for row in table]
    return [line for line in lines[:count] if line], [line for line in lines[count:] if line.strip(" |")]


def _names(wide: _Span, below: Sequence[_Span]) -> bool:
    """True when the cells below a heading over several columns are headings, too."""
    texts = [span.text for span in below if wide.column <= span.column < wide.column + wide.columns and span.rows == 1]
    return len(texts) > 1 and all(text and not text[0].isdigit() for text in texts)


def _irregular(starts: dict[int, list[_Span]], n_columns: int) -> bool:
    """True for forms: rows are divided each in its own way, and no column means one thing."""
    counts = [len(spans) for spans in starts.values()]
    return n_columns > 3 and len(counts) > 2 and n_columns > 1.6 * statistics.median(counts)


def _header_rows(table: Sequence[Sequence[str]], starts: dict[int, list[_Span]]) -> int:
    """How many rows name the columns."""
    from ingest.parsers.delimited import looks_like_header

    if len(table) < 2:
        return 0
    first = [span for span in starts.get(0, []) if span.text]
    deep = max((span.rows for span in first), default=1)
    wide = len(first) > 1 and any(span.columns > 1 and _names(span, starts.get(1, [])) for span in first)
    count = max(deep, 2 if wide else 1)
    if count >= len(table) or count > 3:
        count = 1
    rows = [list(row) for row in table]
    bold = all(span.bold for span in first) and not all(
        span.bold for row in range(count, len(table)) for span in starts.get(row, []) if span.text
    )
    full = sum(1 for value in rows[0] if value) > 1
    return count if full and (bold or deep > 1 or wide or looks_like_header(rows[0], rows[1:])) else 0
