"""Text that nobody sees on a PDF page: found by how it is drawn and by looking at the picture of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.types import HiddenText
from ingest.parsers.pdf_objects import PageObjects
from ingest.parsers.pdf_page import Corners, Frame, Piece, area, overlap

_MAX_PIXELS = 4_000_000
_EVEN = 12
"""Grey levels (of 255) within which an area has no letters that a person could read."""
_SAMPLE = 80
LAYER = 0.5
"""Share of a page's area under pictures from which invisible text is the scanner's own reading of them."""


def take_hidden(
    page: Any, pieces: Sequence[Piece], frame: Frame, objects: PageObjects, number: int
) -> tuple[list[Piece], list[Piece], list[HiddenText]]:
    """Pieces that can be seen, pieces of the invisible layer of a scan, and a report of what is hidden.

    Args:
        pieces: in `frame`.
    """
    seen: list[Piece] = []
    layer: list[Piece] = []
    hidden: list[tuple[str, Piece]] = []
    suspects: list[Piece] = []
    for piece in pieces:
        box = frame.displayed(piece.box)
        if not _on_page(box, frame):
            hidden.append(("off_page", piece))
        elif piece.hidden == "tiny":
            hidden.append(("tiny", piece))
        elif piece.hidden == "invisible":
            if _over_picture(box, objects):
                layer.append(piece)
            else:
                hidden.append(("invisible", piece))
        else:
            if piece.hidden == "white" or _painted_over(box, objects):
                suspects.append(piece)
            seen.append(piece)
    unseen = _even_areas(page, suspects, frame)
    hidden.extend(("white" if piece.hidden else "covered", piece) for piece in unseen)
    gone = {id(piece) for piece in unseen}
    return [piece for piece in seen if id(piece) not in gone], layer, report(hidden, number)


def report(hidden: Sequence[tuple[str, Piece]], number: int) -> list[HiddenText]:
    """One entry per kind, with the beginning of its text."""
    texts: dict[str, list[str]] = {}
    for kind, piece in hidden:
        texts.setdefault(kind, []).append(piece.text)
    return [
        HiddenText(kind, sum(len(text) for text in parts), " ".join(parts)[:_SAMPLE], number)
        for kind, parts in texts.items()
        if any(ch.isalnum() for ch in "".join(parts))
    ]


def _on_page(box: Corners, frame: Frame) -> bool:
    return box[2] > 0 and box[3] > 0 and box[0] < frame.width and box[1] < frame.height


def _over_picture(box: Corners, objects: PageObjects) -> bool:
    return any(overlap(box, picture.box) > LAYER * area(box) for picture in objects.pictures)


def _painted_over(box: Corners, objects: PageObjects) -> bool:
    """True when an area painted after the page's first text covers the box; the picture of the page decides."""
    if objects.first_text < 0:
        return False
    return any(order > objects.first_text and overlap(box, fill) > 0.9 * area(box) for order, fill in objects.fills)


def _even_areas(page: Any, suspects: Sequence[Piece], frame: Frame) -> list[Piece]:
    """Pale letters are legible on a dark ground: only those whose rendered box is even are hidden."""
    if not suspects:
        return []
    scale = min(1.0, (_MAX_PIXELS / max(1.0, frame.width * frame.height)) ** 0.5)
    image = page.render(scale=scale, grayscale=True).to_pil()
    found = []
    for piece in suspects:
        x0, y0, x1, y1 = (value * scale for value in frame.displayed(piece.box))
        x0, y0 = max(0, int(x0)), max(0, int(y0))
        crop = image.crop((x0, y0, max(x0 + 1, min(image.width, int(x1))), max(y0 + 1, min(image.height, int(y1)))))
        low, high = crop.getextrema()
        if high - low < _EVEN:
            found.append(piece)
    return found
