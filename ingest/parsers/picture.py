"""Pictures (PNG, JPEG, TIFF, WebP, BMP, GIF) as documents: their letters by OCR, one page per frame."""

from __future__ import annotations

from typing import Any

from core.errors import EmptyDocumentError
from core.types import ParsedDocument, Problem, Reading
from ingest.parsers.pdf_layout import blocks_of
from ingest.parsers.pdf_ocr import OcrBudget, fill, time_up
from ingest.parsers.pdf_page import Frame, PageText
from ingest.parsers.picture_file import FAULTS, frame, frame_count, opened, points_per_pixel
from ingest.parsers.registry import Parser, Source, register

_MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "GIF": "image/gif",
}
_EXIF_TIME, _EXIF_ARTIST = 306, 315


def parse(source: Source) -> ParsedDocument:
    """Blocks with `page` (the frame) and boxes in points of the page that the picture is shown as.

    Raises:
        EmptyDocumentError: no text was recognised in any frame.
    """
    budget = OcrBudget(source.limits.ocr_seconds, source.lend_ocr_time)
    pages: list[PageText] = []
    with opened(source.path, source.name) as image:
        total = frame_count(image)
        media_type = _MEDIA_TYPES.get(image.format, "image/*")
        facts = _facts(image)
        for number in range(1, min(total, source.limits.max_pages) + 1):
            pages.append(_read(frame(image, number, source.name), number, budget))
            source.page_done(number, total)
    problems = _problems(pages, total, budget)
    blocks = tuple(blocks_of(pages))
    if not any(ch.isalnum() for block in blocks for ch in block.text + block.header):
        raise _no_text(source.name, bool(budget.unread))
    return ParsedDocument(
        blocks=blocks,
        media_type=media_type,
        pages=total,
        problems=tuple(problems),
        metadata=facts,
        reading=Reading(
            ocr_pages=tuple(budget.pages),
            pictures=len(pages),
            pictures_without_text=sum(page.pictures_without_text for page in pages),
        ),
    )


def _read(upright: Any, number: int, budget: OcrBudget) -> PageText:
    import numpy as np

    scale = points_per_pixel(upright.size)
    text = PageText(number, Frame(upright.width * scale, upright.height * scale), pictures=1)
    found = budget.recognise(np.asarray(upright)[:, :, ::-1], number)
    if found is None or not fill(text, found, 1 / scale * found.scale, (), budget):
        text.pictures_without_text = 1
    return text


def _problems(pages: list[PageText], total: int, budget: OcrBudget) -> list[Problem]:
    problems = list(budget.problems)
    problems.extend(
        Problem("page_without_text", "No text was recognised in the picture.", page.number)
        for page in pages
        if not page.lines and page.number not in budget.unread
    )
    if len(pages) < total:
        problems.append(Problem("cut_off", f"Only the first {len(pages)} of {total} pages were read."))
    return [*time_up(budget), *sorted(problems, key=lambda problem: problem.page or 0)]


def _no_text(name: str, unread: bool) -> EmptyDocumentError:
    if unread:
        return EmptyDocumentError(
            f"Cannot ingest {name!r}: there was no time to recognise text in the picture.",
            "Raise ALIOTH_INGEST__OCR_PAGE_S or ALIOTH_INGEST__OCR_MAX_S.",
        )
    return EmptyDocumentError(
        f"Cannot ingest {name!r}: no text was recognised in the picture.",
        "If it holds text, photograph or scan it again, upright, sharp and at 300 dpi.",
    )


def _facts(image: Any) -> dict[str, str]:
    """Author and time as the camera wrote them."""
    try:
        exif = image.getexif()
        taken, artist = str(exif.get(_EXIF_TIME, "")).strip("\x00 "), exif.get(_EXIF_ARTIST, "")
    except FAULTS:  # the frames say what is damaged
        return {}
    facts = {}
    if len(taken) == 19 and taken[4] == taken[7] == ":":
        facts["created"] = f"{taken[:4]}-{taken[5:7]}-{taken[8:10]}T{taken[11:]}"
    if isinstance(artist, str) and artist.strip("\x00 "):
        facts["author"] = artist.strip("\x00 ")
    return facts


register(
    Parser(
        "picture",
        "pictures (png, jpg, tiff, webp, bmp, gif)",
        ("png", "jpg", "jpeg", "jfif", "tif", "tiff", "webp", "bmp", "gif"),
        "image/*",
        parse,
    )
)
