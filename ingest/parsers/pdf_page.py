"""What the steps of PDF reading hand on: pieces of text on a page, lines, and the direction in which they run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from core.types import Block, Box, HiddenText, Locator

Corners = tuple[float, float, float, float]
"""x0, y0, x1, y1 in points, y growing downwards."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A page turned so that its text runs from left to right.

    width, height: of the page as displayed. turn: clockwise quarter turns of the text on the displayed page.
    skew: degrees by which the lines of a scan fall to the right once it is turned.
    """

    width: float
    height: float
    turn: int = 0
    skew: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the turned page."""
        return (self.width, self.height) if self.turn % 2 == 0 else (self.height, self.width)

    def turned(self, box: Corners) -> Corners:
        """A box of the displayed page in this frame."""
        x0, y0, x1, y1 = box
        if self.turn == 1:
            return y0, self.width - x1, y1, self.width - x0
        if self.turn == 2:
            return self.width - x1, self.height - y1, self.width - x0, self.height - y0
        if self.turn == 3:
            return self.height - y1, x0, self.height - y0, x1
        return box

    def displayed(self, box: Corners) -> Corners:
        """Inverse of `turned`; of a skewed scan the box around the leaning one."""
        x0, y0, x1, y1 = self._leaning(box) if self.skew else box
        if self.turn == 1:
            return self.width - y1, x0, self.width - y0, x1
        if self.turn == 2:
            return self.width - x1, self.height - y1, self.width - x0, self.height - y0
        if self.turn == 3:
            return y0, self.height - x1, y1, self.height - x0
        return x0, y0, x1, y1

    def _leaning(self, box: Corners) -> Corners:
        sine, cosine = math.sin(math.radians(self.skew)), math.cos(math.radians(self.skew))
        cx, cy = self.size[0] / 2, self.size[1] / 2
        x0, y0, x1, y1 = (box[0] - cx, box[1] - cy, box[2] - cx, box[3] - cy)
        middle = (y0 + y1) / 2
        ends = [(x * cosine - middle * sine + cx, x * sine + middle * cosine + cy) for x in (x0, x1)]
        half = (y1 - y0) / 2
        return ends[0][0], min(y for _, y in ends) - half, ends[1][0], max(y for _, y in ends) + half


@dataclass(slots=True)
class Word:
    """A run of letters without a blank. last: where its last letter begins. spaced: a blank is before it."""

    text: str
    x0: float
    x1: float
    last: float = 0.0
    spaced: bool = False


@dataclass(slots=True)
class Piece:
    """Letters that stand together on one line, in the order of the file.

    size: of the font in points; base: where they stand. hidden: why they may not be seen (white, tiny, invisible,
    off_page, covered), empty for plain text. sizes: how many letters have which size. block: a finished block (a
    table, a picture's text) that takes this place in the flow. ocr: confidence of recognised letters.
    """

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    size: float
    base: float
    bold: bool = False
    mono: bool = False
    hidden: str = ""
    words: list[Word] = field(default_factory=list)
    sizes: dict[float, int] = field(default_factory=dict)
    block: Block | None = None
    ocr: float | None = None

    @property
    def box(self) -> Corners:
        return self.x0, self.y0, self.x1, self.y1

    @property
    def middle(self) -> float:
        return (self.y0 + self.y1) / 2


@dataclass(slots=True)
class Line:
    """size: of the font in points. cells: pieces far apart on the line, when there are several.

    parts: text and beginning of every piece on the line.
    """

    text: str
    page: int
    x0: float
    y0: float
    x1: float
    y1: float
    size: float
    bold: bool = False
    cells: list[str] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    parts: list[tuple[str, float]] = field(default_factory=list)
    mono: bool = False
    block: Block | None = None
    ocr: float | None = None


@dataclass(slots=True)
class PageText:
    """One page read. lines: in reading order, in the frame. after: blocks that follow the page's own (notes)."""

    number: int
    frame: Frame
    lines: list[Line] = field(default_factory=list)
    after: list[Block] = field(default_factory=list)
    hidden: list[HiddenText] = field(default_factory=list)
    garbled: bool = False
    pictures: int = 0
    pictures_without_text: int = 0

    @property
    def width(self) -> float:
        return self.frame.size[0]

    @property
    def height(self) -> float:
        return self.frame.size[1]


def union(boxes: Sequence[Corners]) -> Corners:
    """The smallest box around all; at least one."""
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


def overlap(a: Corners, b: Corners) -> float:
    """Area that two boxes share, in square points."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def area(box: Corners) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def place(number: int, box: Corners, ocr: float | None = None) -> Locator:
    """The locator of one box on one page."""
    corners = tuple(round(value, 1) for value in box)
    return Locator(page=number, page_end=number, boxes=(Box(number, *corners),), ocr=ocr)


def as_displayed(block: Block, frame: Frame) -> Block:
    """The block with its boxes turned back to the page as displayed."""
    if frame.turn == 0 and not frame.skew:
        return block
    boxes = tuple(
        Box(box.page, *(round(value, 1) for value in frame.displayed((box.x0, box.y0, box.x1, box.y1))))
        for box in block.locator.boxes
    )
    return replace(block, locator=replace(block.locator, boxes=boxes))
