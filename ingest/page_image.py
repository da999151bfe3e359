"""A PDF page or a picture with boxes drawn on it, for showing where a quotation stands."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import UnreadableError
from ingest.parsers.picture_file import frame, frame_count, opened, points_per_pixel

MAX_PIXELS = 20_000_000
_FILL = (255, 214, 0, 80)
_LINE = (224, 150, 0, 255)


def render(path: Path, page: int, scale: float, boxes: Sequence[tuple[float, float, float, float]]) -> bytes:
    """PNG of page `page` (from 1) of a PDF, or of a picture's frame, at `scale` pixels per point.

    Args:
        boxes: x0, y0, x1, y1 in points from the top left of the page as displayed; drawn translucent.

    Raises:
        UnreadableError: neither a PDF nor a picture, or no such page.
    """
    with path.open("rb") as file:
        is_pdf = b"%PDF-" in file.read(1024)
    image, scale = _pdf_page(path, page, scale) if is_pdf else _picture(path, page, scale)
    return _png(image, [tuple(value * scale for value in box) for box in boxes])


def _pdf_page(path: Path, page: int, scale: float) -> tuple[Any, float]:
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(path)
        document.init_forms()
    except pdfium.PdfiumError as error:
        raise UnreadableError(
            "Cannot show the page: the original is not a readable PDF.", "Open the original."
        ) from error
    try:
        _check(page, len(document))
        sheet = document[page - 1]
        width, height = sheet.get_size()
        scale = min(scale, (MAX_PIXELS / max(1.0, width * height)) ** 0.5)
        return sheet.render(scale=scale).to_pil().convert("RGB"), scale
    finally:
        document.close()


def _picture(path: Path, page: int, scale: float) -> tuple[Any, float]:
    from PIL import Image

    with opened(path, path.name) as file:
        _check(page, frame_count(file))
        image = frame(file, page, path.name)
    points = points_per_pixel(image.size)
    width, height = image.width * points, image.height * points
    scale = min(scale, (MAX_PIXELS / max(1.0, width * height)) ** 0.5)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return image.resize(size, Image.Resampling.LANCZOS), scale


def _check(page: int, pages: int) -> None:
    if not 1 <= page <= pages:
        raise UnreadableError(f"Cannot show page {page}: the document has {pages} pages.", "Ask for one of these.")


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
