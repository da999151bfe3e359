"""A PDF page as a picture with boxes drawn on it, for showing where a quotation stands."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from core.errors import UnreadableError

MAX_PIXELS = 20_000_000
_FILL = (255, 214, 0, 80)
_LINE = (224, 150, 0, 255)


def render(path: Path, page: int, scale: float, boxes: Sequence[tuple[float, float, float, float]]) -> bytes:
    """PNG of page `page` (from 1) at `scale` pixels per point.

    Args:
        boxes: x0, y0, x1, y1 in points from the top left of the page as displayed; drawn translucent.

    Raises:
        UnreadableError: not a PDF, or no such page.
    """
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        raise UnreadableError(
            "Cannot show the page: the original is not a readable PDF.", "Open the original."
        ) from error
    try:
        if not 1 <= page <= len(document):
            raise UnreadableError(
                f"Cannot show page {page}: the document has {len(document)} pages.", "Ask for one of these."
            )
        sheet = document[page - 1]
        width, height = sheet.get_size()
        scale = min(scale, (MAX_PIXELS / max(1.0, width * height)) ** 0.5)
        image = sheet.render(scale=scale).to_pil().convert("RGB")
    finally:
        document.close()
    return _png(image, [tuple(value * scale for value in box) for box in boxes])


def _png(image: object, boxes: Sequence[tuple[float, ...]]) -> bytes:
    from PIL import Image, ImageDraw

    assert isinstance(image, Image.Image)
    if boxes:
        draw = ImageDraw.Draw(image, "RGBA")
        for x0, y0, x1, y1 in boxes:
            draw.rectangle((x0 - 2, y0 - 2, x1 + 2, y1 + 2), fill=_FILL, outline=_LINE)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
