"""Reading order of a page: the file's own where it makes sense, else columns found by the white between them."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Sequence

from ingest.parsers.pdf_chars import PIECE_GAP
from ingest.parsers.pdf_page import Line, Piece

CELL_GAP = 1.8
"""Times the letter height between two pieces of one line that makes them table cells."""
NUMBER_GAP = 0.8
"""The same between two numbers, which do not stand apart in running text."""
_NUMBER = re.compile(r"^[-+(（]?[$¥€£]?\s?[0-9][0-9.,]*\s?[%‰)）]?$")
_TOO_MANY = 1500
"""Pieces of one page beyond which columns are not looked for."""
_DISORDER = 0.15
"""Share of a page's letters that may stand against the order of the file before the order is taken from the page."""
_NARROW = 22
"""Letters per row (a Han character counts two) below which what looks like a column is one of a table."""


def in_reading_order(pieces: Sequence[Piece], trusted: bool = True) -> list[Piece]:
    """Pieces in the order a person reads them.

    Args:
        pieces: of one page, in one frame. trusted: their order means something (it comes from a file, not from OCR).
    """
    if not trusted:
        return _by_columns(list(pieces))
    stacks = _tables_joined(_stacks(pieces))
    total = sum(len(piece.text) for piece in pieces)
    if _against(stacks) > _DISORDER * total:
        return _by_columns(list(pieces))
    out: list[Piece] = []
    for stack in stacks:
        out.extend(_by_columns(stack) if _interlaced(stack) else _by_rows(stack))
    return out


def lines_of(pieces: Sequence[Piece], number: int) -> list[Line]:
    """Pieces that follow one another on one row as lines; those far apart are the line's cells."""
    lines: list[Line] = []
    base, longest = 0.0, 0
    for piece in pieces:
        if piece.block is not None:
            lines.append(Line(piece.text, number, *piece.box, piece.size, block=piece.block, ocr=piece.ocr))
            continue
        last = lines[-1] if lines else None
        if last is not None and last.block is None and _same_row(last, base, piece):
            _join(last, piece)
            if len(piece.text) > longest:
                last.size, longest = piece.size, len(piece.text)
        else:
            fresh = Line(piece.text, number, *piece.box, piece.size, piece.bold, mono=piece.mono, ocr=piece.ocr)
            fresh.cells, fresh.starts, fresh.parts = [piece.text], [piece.x0], [(piece.text, piece.x0)]
            lines.append(fresh)
            base, longest = piece.base, len(piece.text)
    for line in lines:
        if len(line.cells) < 2:
            line.cells, line.starts = [], []
    return lines


def _same_row(line: Line, base: float, piece: Piece) -> bool:
    size = max(line.size, piece.size)
    return abs(base - piece.base) < 0.4 * size and piece.x0 >= line.x1 - 0.4 * size


def _join(line: Line, piece: Piece) -> None:
    gap = piece.x0 - line.x1
    line.parts.append((piece.text, piece.x0))
    numbers = _NUMBER.match(line.cells[-1]) and _NUMBER.match(piece.text)
    if gap > (NUMBER_GAP if numbers else CELL_GAP) * min(line.size, piece.size):
        line.cells.append(piece.text)
        line.starts.append(piece.x0)
    else:
        line.cells[-1] += " " + piece.text
    glued = gap < 0.15 * piece.size and not (line.text[-1:].isascii() and piece.text[:1].isascii())
    line.text += piece.text if glued else " " + piece.text
    if len(piece.text) > len(line.text) / 2:
        line.bold = piece.bold and line.bold
    line.x1, line.y0, line.y1 = max(line.x1, piece.x1), min(line.y0, piece.y0), max(line.y1, piece.y1)
    line.mono = line.mono and piece.mono
    if line.ocr is not None and piece.ocr is not None:
        line.ocr = min(line.ocr, piece.ocr)


def _stacks(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Runs of the file in which each piece stands right of or just below the one before."""
    stacks: list[list[Piece]] = []
    box = (0.0, 0.0, 0.0, 0.0)
    for piece in pieces:
        if stacks and piece.block is None and stacks[-1][-1].block is None and _goes_on(stacks[-1][-1], box, piece):
            stacks[-1].append(piece)
            box = (min(box[0], piece.x0), min(box[1], piece.y0), max(box[2], piece.x1), max(box[3], piece.y1))
        else:
            stacks.append([piece])
            box = piece.box
    return stacks


def _tables_joined(stacks: list[list[Piece]]) -> list[list[Piece]]:
    """Columns of one table that the file gives one after the other, as one stack."""
    out: list[list[Piece]] = []
    for stack in stacks:
        if out and _beside_in_table(out[-1], stack):
            out[-1] = [*out[-1], *stack]
        else:
            out.append(stack)
    return out


def _beside_in_table(before: Sequence[Piece], after: Sequence[Piece]) -> bool:
    if before[0].block or after[0].block or len(after) < 3 or _bounds(after)[0] < _bounds(before)[2]:
        return False
    size = max(before[0].size, after[0].size)
    left, right = _side_rows(before, size), _side_rows(after, size)
    if len(right) < 3 or not 0.5 < len(left) / len(right) < 2:
        return False
    aligned = sum(any(abs(base - other) < 0.2 * size for other, _ in left) for base, _ in right)
    letters = statistics.median(count for _, count in right)
    return aligned >= 0.7 * len(right) and letters < _NARROW


def _goes_on(last: Piece, box: tuple[float, float, float, float], piece: Piece) -> bool:
    size = max(last.size, piece.size)
    if abs(last.base - piece.base) < 0.4 * size:
        return piece.x0 >= last.x1 - 0.5 * size
    down = piece.y0 - box[3]
    if -3 * size < down < 0:  # a row whose parts the file does not give in order
        return piece.x0 >= box[0] - 1 and piece.x1 <= box[2] + 1
    return -0.5 * size < down < 1.3 * size and piece.x0 < box[2] and piece.x1 > box[0]


def _against(stacks: Sequence[Sequence[Piece]]) -> int:
    """Letters in stacks that stand above or left of what the file put before them."""
    letters = 0
    for before, after in itertools.pairwise(stacks):
        a, b = _bounds(before), _bounds(after)
        tolerance = 0.6 * after[0].size
        below = b[1] >= a[3] - tolerance
        right = b[0] >= a[2] - tolerance
        if not (below or right):
            letters += min(sum(len(piece.text) for piece in stack) for stack in (before, after))
    return letters


def _bounds(pieces: Sequence[Piece]) -> tuple[float, float, float, float]:
    return (
        min(piece.x0 for piece in pieces),
        min(piece.y0 for piece in pieces),
        max(piece.x1 for piece in pieces),
        max(piece.y1 for piece in pieces),
    )


def _interlaced(stack: Sequence[Piece]) -> bool:
    """True when many rows of the stack have several pieces: it may be columns written row by row."""
    rows = sum(1 for a, b in itertools.pairwise(stack) if abs(a.base - b.base) < 0.4 * max(a.size, b.size))
    return rows >= 4


# ---------------------------------------------------------------- columns


def _by_columns(pieces: list[Piece]) -> list[Piece]:
    gutter = _gutter(pieces)
    if gutter is None:
        return _by_rows(pieces)
    crossing = sorted((p for p in pieces if p.x0 < gutter < p.x1), key=lambda p: p.middle)
    sides = [p for p in pieces if not p.x0 < gutter < p.x1]
    out: list[Piece] = []
    for row in [*_by_rows(crossing), None]:
        mates = [p for p in sides if row is not None and _level(p, row)]
        sides = [p for p in sides if not any(p is mate for mate in mates)]
        above = [p for p in sides if row is None or p.middle < row.middle]
        sides = [p for p in sides if row is not None and p.middle >= row.middle]
        out.extend(_by_columns([p for p in above if p.x1 <= gutter]))
        out.extend(_by_columns([p for p in above if p.x0 >= gutter]))
        if row is not None:
            out.extend(sorted([row, *mates], key=lambda p: p.x0))
    return out


def _level(piece: Piece, row: Piece) -> bool:
    """True when the piece stands on the row of one that crosses the gutter."""
    return row.block is None and piece.block is None and abs(piece.base - row.base) < 0.3 * max(piece.size, row.size)


def _by_rows(pieces: Sequence[Piece]) -> list[Piece]:
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: (p.base, p.x0)):
        tall = piece.block is not None
        if rows and not tall and abs(piece.base - rows[-1][0].base) < 0.4 * max(piece.size, rows[-1][0].size):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    rows.sort(key=lambda row: row[0].y0 if row[0].block else row[0].base - row[0].size)
    return [piece for row in rows for piece in sorted(row, key=lambda p: p.x0)]


def _gutter(pieces: Sequence[Piece]) -> float | None:
    """Where the white between two columns is, or None for a single column or a table."""
    if not 6 <= len(pieces) <= _TOO_MANY:
        return None
    left, _, right, _ = _bounds(pieces)
    wide = right - left
    size = statistics.median(piece.size for piece in pieces)
    needed = max(0.7 * PIECE_GAP * size, 5.0)
    best: tuple[int, float] | None = None
    chosen = None
    for x in sorted({round(piece.x1, 1) for piece in pieces}):
        if not left + 0.1 * wide < x < right - 0.1 * wide:
            continue
        x += 0.5
        crossing = [p for p in pieces if p.x0 < x < p.x1]
        after = [p.x0 for p in pieces if p.x0 >= x]
        if not after or len(crossing) > 0.35 * len(pieces):
            continue
        gap = min(after) - x + 0.5
        key = (len(crossing), -gap)
        if gap >= needed and (best is None or key < best) and _two_columns(pieces, x, size):
            best, chosen = key, x + min(gap, 400) / 2 - 0.5
    return chosen


def _two_columns(pieces: Sequence[Piece], x: float, size: float) -> bool:
    left = _side_rows([p for p in pieces if p.x1 <= x], size)
    right = _side_rows([p for p in pieces if p.x0 >= x], size)
    if min(len(left), len(right)) < 3:
        return False
    shared = [base for base, _ in right if left[0][0] - size < base < left[-1][0] + size]
    if len(shared) < 3:
        return False
    few, many = sorted((left, right), key=len)
    aligned = sum(1 for base, _ in few if any(abs(base - other) < 0.35 * size for other, _ in many)) / len(few)
    letters = min(statistics.median(count for _, count in side) for side in (left, right))
    return not (aligned >= 0.6 and letters < _NARROW)


def _side_rows(pieces: Sequence[Piece], size: float) -> list[tuple[float, int]]:
    """Base and number of letters of each row."""
    rows: list[tuple[float, int]] = []
    for piece in sorted(pieces, key=lambda p: p.base):
        count = len(piece.text) + sum(1 for ch in piece.text if "\u2e80" <= ch <= "\uffef")
        if rows and piece.base - rows[-1][0] < 0.4 * size:
            rows[-1] = (rows[-1][0], rows[-1][1] + count)
        else:
            rows.append((piece.base, count))
    return rows
