"""Which PDF pages and pictures are read by OCR, within the time that one document has for it."""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.types import Block, BlockKind, Problem
from ingest.clean import join_lines
from ingest.parsers.ocr import DPI, MAX_PIXELS, POOR, Recognition, read_line, recognise
from ingest.parsers.pdf_objects import PageObjects, Picture
from ingest.parsers.pdf_order import in_reading_order, lines_of
from ingest.parsers.pdf_page import Corners, Frame, Line, PageText, Piece, Word, area, overlap, place
from ingest.parsers.pdf_tables import take_tables

logger = logging.getLogger(__name__)

SCAN = 0.55
"""Share of the page under pictures from which a page with little text is a scan."""
_LITTLE = 150
"""Letters of text over a scan (stamps, headers) up to which the scan is read too."""
_EDGE = 0.12
_PICTURE = 0.008
"""Share of the page from which a picture may hold text worth reading."""
_PICTURE_PIXELS = 6000
_COUNTED = 24.0
"""Points: pictures with a shorter side are bullets and rules."""
_AGREES = 0.55
"""Likeness of a text layer with what OCR reads there from which the layer is believed; mere chance gives 0.4."""
_LISTED = 40
"""Page numbers that a message names at most."""


@dataclass(slots=True)
class OcrBudget:
    """Seconds left for one document, and what came of it. unread: pages left unread for want of time.

    lend: gives more seconds, asked once for each page with something to recognise.
    """

    seconds: float
    lend: Callable[[], float] = field(default=float, repr=False)
    begun: set[int] = field(default_factory=set)
    pages: list[tuple[int, float]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)
    seen: dict[tuple[int, ...], bool] = field(default_factory=dict)

    def recognise(self, image: Any, number: int) -> Recognition | None:
        """None when the time is used up."""
        if number not in self.begun:
            self.begun.add(number)
            self.seconds += self.lend()
        if self.seconds <= 0:
            self.unread.append(number)
            return None
        started = time.monotonic()
        found = recognise(image, self.seconds)
        self.seconds -= time.monotonic() - started
        if found.cut:
            self.unread.append(number)
        return found


def time_up(budget: OcrBudget) -> list[Problem]:
    """Names the pages whose pictures were not read for want of time."""
    unread = sorted(set(budget.unread))
    if not unread:
        return []
    more = f" and {len(unread) - _LISTED} more" if len(unread) > _LISTED else ""
    names = ", ".join(map(str, unread[:_LISTED])) + more
    message = f"The time for OCR was used up; pictures on these pages were not read: {names}."
    return [Problem("ocr_time_up", message, unread[0])]


def cover(objects: PageObjects, page: Corners) -> float:
    """Share of the page under pictures; scans are often stored in strips."""
    return min(1.0, sum(overlap(picture.box, page) for picture in objects.pictures) / max(1.0, area(page)))


def is_scan(pieces: Sequence[Piece], objects: PageObjects, frame: Frame) -> bool:
    """True when the page's text can only be a header, a footer or a stamp over the picture of a page."""
    if cover(objects, (0, 0, frame.width, frame.height)) < SCAN:
        return False
    _, height = frame.size
    inner = [piece for piece in pieces if _EDGE * height < piece.middle < (1 - _EDGE) * height]
    return letters(pieces) < _LITTLE or letters(inner) < _LITTLE / 5


def letters(pieces: Sequence[Piece]) -> int:
    return sum(sum(map(str.isalnum, piece.text)) for piece in pieces)


def draw(page: Any, frame: Frame) -> tuple[Any, float]:
    """The page as (height, width, 3) uint8, blue first, and its pixels per point."""
    scale = min(DPI / 72, (MAX_PIXELS / max(1.0, frame.width * frame.height)) ** 0.5)
    image = page.render(scale=scale).to_numpy()
    if image.ndim == 2:
        image = image[:, :, None].repeat(3, axis=2)
    return image[:, :, :3], scale


def read_whole_page(page: Any, text: PageText, keep: Sequence[Piece], budget: OcrBudget) -> bool:
    """Fill `text` from the picture of the page; says whether letters were found.

    Args:
        keep: pieces of the text layer that stay, in the frame of `text`.
    """
    image, scale = draw(page, text.frame)
    found = budget.recognise(image, text.number)
    return found is not None and fill(text, found, scale * found.scale, keep, budget)


def fill(text: PageText, found: Recognition, scale: float, keep: Sequence[Piece], budget: OcrBudget) -> bool:
    """Lines of `text` from what was recognised at `scale` pixels per point; says whether there are any."""
    if not found.lines:
        return False
    frame = Frame(text.frame.width, text.frame.height, found.turn, found.skew)
    kept = [_reframed(piece, text.frame, frame) for piece in keep]
    pieces = [piece for piece in _pieces(found, scale) if not _stands(piece, kept)]
    if not pieces:
        return False
    rules = [(x0 / scale, y0 / scale, x1 / scale, y1 / scale) for x0, y0, x1, y1 in found.rules]
    text.frame = frame
    ordered = in_reading_order(take_tables([*kept, *pieces], rules, text.number), trusted=False)
    text.lines = lines_of(ordered, text.number)
    _even_sizes(text)
    budget.pages.append((text.number, round(found.confidence, 3)))
    budget.problems.append(
        Problem("ocr", "The page is a picture; its text was read by OCR and may have errors.", text.number)
    )
    if found.confidence < POOR or found.doubtful > len(found.lines) / 2:
        share = f"{found.confidence:.0%}"
        budget.problems.append(
            Problem("ocr_poor", f"The page is hard to read: OCR is {share} sure of its letters. Check it.", text.number)
        )
    return True


def agrees(page: Any, layer: Sequence[Piece], frame: Frame, budget: OcrBudget) -> bool:
    """True when some lines of a scan's invisible text say about what OCR reads at the same places."""
    if budget.seconds <= 0:
        return True
    started = time.monotonic()
    image, scale = draw(page, frame)
    ratios = []
    for piece in sorted(layer, key=lambda piece: abs(len(piece.text) - 40))[:4]:
        x0, y0, x1, y1 = (value * scale for value in frame.displayed(piece.box))
        margin = 0.15 * (y1 - y0)
        crop = image[max(0, int(y0 - margin)) : int(y1 + margin) + 1, max(0, int(x0 - margin)) : int(x1 + margin) + 1]
        if frame.turn or min(crop.shape[:2]) < 6:
            continue
        said, _ = read_line(crop.copy())
        ratios.append(difflib.SequenceMatcher(None, _plain(piece.text), _plain(said), autojunk=False).ratio())
    budget.seconds -= time.monotonic() - started
    return not ratios or max(ratios) >= _AGREES


def read_pictures(
    page: Any, text: PageText, pieces: list[Piece], objects: PageObjects, budget: OcrBudget
) -> list[Piece]:
    """Pieces with the text of pictures put where they stand; counts pictures with and without text."""
    whole = (0.0, 0.0, text.frame.width, text.frame.height)
    image: Any = None
    scale = 1.0
    for picture in objects.pictures:
        box = _inside(picture.box, whole)
        if min(box[2] - box[0], box[3] - box[1]) < _COUNTED:
            continue
        text.pictures += 1
        if _overlaid(box, pieces, text.frame):
            continue
        key = (*(round(value) for value in box), picture.pixels)
        if not _worth(picture, box, whole) or key in budget.seen:
            text.pictures_without_text += not budget.seen.get(key, False)
            continue
        if image is None:
            image, scale = draw(page, text.frame)
        x0, y0, x1, y1 = (round(value * scale) for value in box)
        found = budget.recognise(image[y0:y1, x0:x1].copy(), text.number)
        block = _picture_block(found, box, scale * found.scale, text) if found and found.lines else None
        budget.seen[key] = block is not None
        if block is None:
            text.pictures_without_text += 1
            continue
        pieces = inserted(pieces, block)
    return pieces


def inserted(pieces: list[Piece], new: Piece) -> list[Piece]:
    """`new` put after the piece left of it on its row, else after the nearest one above it."""
    best, at = None, 0
    for index, piece in enumerate(pieces):
        same_row = on_row(piece, new.box) and piece.x0 < new.x0
        above = piece.y1 <= new.y0 + 2 and piece.x0 < new.x1 and piece.x1 > new.x0
        if not (same_row or above):
            continue
        distance = (0 if same_row else 1, new.x0 - piece.x1 if same_row else new.y0 - piece.y1)
        if best is None or distance < best:
            best, at = distance, index + 1
    return [*pieces[:at], new, *pieces[at:]]


def on_row(piece: Piece, box: Corners) -> bool:
    """True when the piece stands at the height of the box."""
    shared = min(piece.y1, box[3]) - max(piece.y0, box[1])
    return piece.block is None and shared > 0.4 * (piece.y1 - piece.y0)


def _picture_block(found: Recognition, box: Corners, scale: float, text: PageText) -> Piece | None:
    pieces = _pieces(found, scale)
    if letters(pieces) < 2:
        return None
    lines = lines_of(in_reading_order(pieces, trusted=False), text.number)
    block = Block(
        BlockKind.PICTURE, _text(lines), place(text.number, text.frame.turned(box), round(found.confidence, 3))
    )
    corners = text.frame.turned(box)
    return Piece(block.text, *corners, 10.0, corners[3], block=block, ocr=found.confidence)


def picture_text(found: Recognition) -> str:
    """What was read in a picture by itself, in reading order; empty when nothing was."""
    pieces = _pieces(found, 1.0)
    return _text(lines_of(in_reading_order(pieces, trusted=False), 1)) if pieces else ""


def _text(lines: Sequence[Line]) -> str:
    """Lines of a picture: labels stay apart, those of running text are one paragraph."""
    full = max(line.x1 - line.x0 for line in lines)
    running = len(lines) > 2 and sum(line.x1 - line.x0 > 0.75 * full for line in lines) > 0.6 * len(lines)
    texts = [line.block.text if line.block else line.text for line in lines]
    return join_lines(texts) if running else "\n".join(texts)


def _pieces(found: Recognition, scale: float) -> list[Piece]:
    out = []
    for line in found.lines:
        x0, y0, x1, y1 = (value / scale for value in (line.x0, line.y0, line.x1, line.y1))
        piece = Piece(line.text, x0, y0, x1, y1, y1 - y0, y1 - 0.15 * (y1 - y0), ocr=line.confidence)
        piece.words = [Word(line.text, x0, x1)]
        out.append(piece)
    return out


def _stands(piece: Piece, kept: Sequence[Piece]) -> bool:
    return any(overlap(piece.box, other.box) > 0.5 * min(area(piece.box), area(other.box)) for other in kept)


def _reframed(piece: Piece, before: Frame, after: Frame) -> Piece:
    if before == after:
        return piece
    x0, y0, x1, y1 = after.turned(before.displayed(piece.box))
    return Piece(piece.text, x0, y0, x1, y1, min(x1 - x0, y1 - y0), y1, piece.bold, words=[Word(piece.text, x0, x1)])


def _worth(picture: Picture, box: Corners, page: Corners) -> bool:
    return area(box) >= _PICTURE * area(page) and picture.pixels >= _PICTURE_PIXELS


def _overlaid(box: Corners, pieces: Sequence[Piece], frame: Frame) -> bool:
    """True when the page's own text stands over the picture: labels that need no recognition."""
    turned = frame.turned(box)
    inside = [piece for piece in pieces if overlap(piece.box, turned) > 0.5 * area(piece.box)]
    return letters(inside) >= 10


def _inside(box: Corners, page: Corners) -> Corners:
    return max(box[0], page[0]), max(box[1], page[1]), min(box[2], page[2]), min(box[3], page[3])


def _plain(text: str) -> str:
    return "".join(ch for ch in text.lower() if ch.isalnum())


def _even_sizes(text: PageText) -> None:
    """Heights of recognised boxes vary by letters; without this, half of the lines would look like headings."""
    lines = [line for line in text.lines if line.block is None]
    if not lines:
        return
    usual = sorted(line.size for line in lines)[len(lines) // 2]
    for line in lines:
        line.size = usual if line.size < 1.5 * usual else round(line.size / usual * 2) / 2 * usual
