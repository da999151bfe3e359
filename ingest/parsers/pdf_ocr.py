"""Scanned PDF pages: the letters in the picture, by RapidOCR (Chinese and English, offline)."""

from __future__ import annotations

import functools
import logging
import time
from typing import Any

from core.types import Problem
from ingest.parsers.pdf_lines import Line, PageText

logger = logging.getLogger(__name__)

DPI = 150
MIN_CONFIDENCE = 0.6
MAX_PIXELS = 12_000_000


class ScannedPages:
    """Reads pages by OCR until the time for one document is used up.

    Args:
        seconds: OCR time for one document; 0 turns it off.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def read(self, page: Any, number: int, text: PageText) -> Problem:
        """Fill `text.lines` of a page without text; the Problem says what was done."""
        if not text.garbled and not _shows_picture(page):
            return Problem("page_without_text", "The page has no text.", number)
        if self._left <= 0:
            return Problem(
                "page_without_text", "The page is a picture and was not read: time for OCR is used up.", number
            )
        started = time.monotonic()
        lines = _recognise(page, number, text)
        self._left -= time.monotonic() - started
        if not lines:
            return Problem("page_without_text", "The page is a picture in which no text was found.", number)
        text.lines = lines
        return Problem("ocr", "The page is a picture; its text was read by OCR and may have errors.", number)


def _shows_picture(page: Any) -> bool:
    import pypdfium2.raw as raw

    kinds = (raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_PATH)
    return any(True for _ in page.get_objects(filter=kinds, max_depth=4))


@functools.cache
def _engine() -> Any:
    from rapidocr import RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.WARNING)
    return RapidOCR(params={"Global.log_level": "warning", "EngineConfig.onnxruntime.intra_op_num_threads": 1})


def _recognise(page: Any, number: int, text: PageText) -> list[Line]:
    scale = min(DPI / 72, (MAX_PIXELS / max(1.0, text.width * text.height)) ** 0.5)
    image = page.render(scale=scale).to_numpy()
    if image.ndim == 3 and image.shape[2] == 4:
        image = image[:, :, :3]
    found = _engine()(image)
    if found.boxes is None or found.txts is None or found.scores is None:
        return []
    lines = []
    for corners, words, score in zip(found.boxes, found.txts, found.scores, strict=True):
        if score < MIN_CONFIDENCE or not words.strip():
            continue
        xs = [float(corner[0]) / scale for corner in corners]
        ys = [float(corner[1]) / scale for corner in corners]
        height = max(ys) - min(ys)
        lines.append(
            Line(
                words.strip(),
                number,
                round(min(xs), 1),
                round(min(ys), 1),
                round(max(xs), 1),
                round(max(ys), 1),
                height,
            )
        )
    lines.sort(key=lambda line: (round(line.y0 / 8), line.x0))
    _even_sizes(lines)
    return lines


def _even_sizes(lines: list[Line]) -> None:
    """Heights of recognised boxes vary by letters; without this, half of the lines would look like headings."""
    if not lines:
        return
    usual = sorted(line.size for line in lines)[len(lines) // 2]
    for line in lines:
        if line.size < 1.6 * usual:
            line.size = usual
