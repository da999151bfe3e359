"""PDF through PDFium: paragraphs with page and box, running headers out, scanned pages read by OCR."""

from __future__ import annotations

import logging
from typing import Any

from core.errors import EncryptedError, UnreadableError
from core.types import ParsedDocument, Problem
from ingest.parsers.pdf_layout import blocks_of, without_furniture
from ingest.parsers.pdf_lines import PageText, read_page
from ingest.parsers.registry import Parser, Source, register

logger = logging.getLogger(__name__)

_PASSWORD = 4  # FPDF_ERR_PASSWORD


def parse(source: Source) -> ParsedDocument:
    """Blocks with `page` and boxes. A page without text is read by OCR when it shows a picture, else reported."""
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(source.path)
    except pdfium.PdfiumError as error:
        raise _unreadable(source.name, error) from error
    try:
        return _read(document, source)
    finally:
        document.close()


def _unreadable(name: str, error: Any) -> Exception:
    if getattr(error, "err_code", None) == _PASSWORD or "password" in str(error).lower():
        return EncryptedError(
            f"Cannot ingest {name!r}: it is protected by a password.", "Remove the password and add it again."
        )
    return UnreadableError(
        f"Cannot read {name!r}: the PDF is damaged.", "Open it in a PDF reader, print it to a new PDF and add that."
    )


def _read(document: Any, source: Source) -> ParsedDocument:
    from ingest.parsers.pdf_ocr import ScannedPages

    total = len(document)
    problems: list[Problem] = []
    pages: list[PageText] = []
    scanned = ScannedPages(source.limits.ocr_seconds)
    characters = 0
    for number in range(1, min(total, source.limits.max_pages) + 1):
        text = _page(document, number, scanned, problems)
        pages.append(text)
        characters += sum(len(line.text) for line in text.lines)
        if characters > source.limits.max_chars:
            break
    if len(pages) < total:
        problems.append(Problem("cut_off", f"Only the first {len(pages)} of {total} pages were read."))
    without_furniture(pages)
    metadata = document.get_metadata_dict(skip_empty=True)
    return ParsedDocument(
        blocks=tuple(blocks_of(pages)),
        media_type="application/pdf",
        title=str(metadata.get("Title", "")),
        pages=total,
        problems=tuple(problems),
        metadata={key.lower(): str(metadata[key]) for key in ("Author", "CreationDate") if key in metadata},
    )


def _page(document: Any, number: int, scanned: Any, problems: list[Problem]) -> PageText:
    import pypdfium2 as pdfium

    try:
        page = document[number - 1]
    except pdfium.PdfiumError:
        problems.append(Problem("unreadable_page", "The page is damaged and was left out.", number))
        return PageText([], 595, 842)
    try:
        text = read_page(page, number)
        if text.hidden:
            words = text.hidden[0][:80]
            problems.append(
                Problem("hidden_text", f"Text that cannot be seen on the page was left out: {words!r}.", number)
            )
        if not text.lines:
            problems.append(scanned.read(page, number, text))
        return text
    finally:
        page.close()


register(Parser("pdf", "PDF", ("pdf",), "application/pdf", parse))
