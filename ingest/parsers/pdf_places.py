"""Where the blocks of a page stand: one box for each column that their lines are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.types import Box, Locator
from ingest.parsers.pdf_page import Corners, Line, place, union


def next_column(last: Line, line: Line) -> bool:
    """Whether a line stands at the top of the column right of the one before it."""
    return line.y1 < last.y0 and line.x0 > last.x1 - last.size


def place_of(lines: Sequence[Line]) -> Locator:
    """One box per column that the lines stand in."""
    boxes: list[list[Corners]] = [[]]
    for before, line in zip([None, *lines], lines, strict=False):
        if before is not None and next_column(before, line):
            boxes.append([])
        boxes[-1].append((line.x0, line.y0, line.x1, line.y1))
    scores = [line.ocr for line in lines if line.ocr is not None]
    first = place(lines[0].page, union(boxes[0]), round(sum(scores) / len(scores), 3) if scores else None)
    more = tuple(box for group in boxes[1:] for box in place(lines[0].page, union(group)).boxes)
    return replace(first, boxes=first.boxes + more)


def joined_place(first: Locator, second: Locator) -> Locator:
    """The place of two blocks of a page that became one."""
    boxes = first.boxes + second.boxes
    if len(boxes) == 2 and boxes[0].page == boxes[1].page:
        a, b = boxes
        boxes = (Box(a.page, min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1)),)
    return replace(first, page_end=second.page_end, boxes=boxes, ocr=lower_ocr(first.ocr, second.ocr))


def lower_ocr(first: float | None, second: float | None) -> float | None:
    """The lesser confidence of two texts; None when neither was recognised."""
    scores = [score for score in (first, second) if score is not None]
    return min(scores) if scores else None
