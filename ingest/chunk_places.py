"""Where a chunk stands: the union of the places of the blocks it is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from core.types import Block, Box, Locator
from ingest.parse import block_text

MAX_BOXES = 40
_CELLS = re.compile(r"([A-Z]+)([0-9]+):([A-Z]+)([0-9]+)$")


def part_of(block: Block, start: int, end: int) -> Locator:
    """The place of characters start–end of a block: its lines or rows are narrowed where that is exact."""
    place = block.locator
    if place.lines is None and place.cells is None:
        return place
    text = block_text(block)
    if start <= 0 and end >= len(text.rstrip()):
        return place
    skipped = 1 if block.header and start > 0 else 0
    first = text.count("\n", 0, start) - skipped
    last = text.count("\n", 0, max(start, len(text[:end].rstrip()))) - (1 if block.header else 0)
    total = block.text.count("\n") + 1
    match = _CELLS.match(place.cells or "")
    if match and int(match[4]) - int(match[2]) + 1 == total:
        top = int(match[2])
        return Locator(sheet=place.sheet, cells=f"{match[1]}{top + max(0, first)}:{match[3]}{top + max(0, last)}")
    if place.lines and place.lines[1] - place.lines[0] + 1 == total:
        return Locator(lines=(place.lines[0] + max(0, first), place.lines[0] + max(0, last)))
    return place


def union(places: Sequence[Locator], heading: tuple[str, ...], chars: tuple[int, int]) -> Locator:
    """One locator over all; slide and sheet are those of the first; ocr is the least certain one's."""
    pages = [page for place in places for page in (place.page, place.page_end) if page is not None]
    lines = [place.lines for place in places if place.lines is not None]
    sheet = next((place.sheet for place in places if place.sheet is not None), None)
    return Locator(
        page=min(pages) if pages else None,
        page_end=max(pages) if pages else None,
        boxes=_boxes(places),
        heading=heading,
        slide=next((place.slide for place in places if place.slide is not None), None),
        sheet=sheet,
        cells=_cells(place.cells for place in places if place.sheet == sheet),
        lines=(min(pair[0] for pair in lines), max(pair[1] for pair in lines)) if lines else None,
        chars=chars,
        ocr=min((place.ocr for place in places if place.ocr is not None), default=None),
    )


def _boxes(places: Sequence[Locator]) -> tuple[Box, ...]:
    boxes = tuple(dict.fromkeys(box for place in places for box in place.boxes))
    if len(boxes) <= MAX_BOXES:
        return boxes
    pages: dict[int, Box] = {}
    for box in boxes:
        old = pages.get(box.page, box)
        pages[box.page] = Box(
            box.page, min(old.x0, box.x0), min(old.y0, box.y0), max(old.x1, box.x1), max(old.y1, box.y1)
        )
    return tuple(pages.values())


def _cells(ranges: Iterable[str | None]) -> str | None:
    """The rectangle around several ranges such as `A2:D9`."""
    found = [match for match in (_CELLS.match(cells or "") for cells in ranges) if match]
    if not found:
        return None
    left = min((match[1] for match in found), key=lambda name: (len(name), name))
    right = max((match[3] for match in found), key=lambda name: (len(name), name))
    return f"{left}{min(int(match[2]) for match in found)}:{right}{max(int(match[4]) for match in found)}"
