"""PDF through PDFium: paragraphs, tables and pictures with page and boxes; scanned and garbled pages by OCR."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from core.errors import EncryptedError, UnreadableError
from core.types import ParsedDocument, Problem, Reading
from ingest.parsers.enclosed import Gathered, own_title
from ingest.parsers.pdf_facts import metadata
from ingest.parsers.pdf_files import AttachedFile, attached_files, read_files
from ingest.parsers.pdf_furniture import without_furniture
from ingest.parsers.pdf_layout import blocks_of
from ingest.parsers.pdf_lines import read_page
from ingest.parsers.pdf_ocr import OcrBudget, time_up
from ingest.parsers.pdf_outline import Outline, read_outline
from ingest.parsers.pdf_page import Frame, PageText
from ingest.parsers.registry import Parser, Source, register

logger = logging.getLogger(__name__)

_PASSWORD = 4  # FPDF_ERR_PASSWORD


def parse(source: Source) -> ParsedDocument:
    """Blocks with `page` and boxes; `reading` and `problems` say what was recognised, hidden, garbled or left out."""
    import pypdfium2 as pdfium

    try:
        # a file inside another one is in memory: it has a path to open, but not one that pypdfium2 can resolve
        document = pdfium.PdfDocument(source.path.read_bytes() if source.depth else source.path)
        document.init_forms()
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
    total = len(document)
    if total == 0:
        raise _unreadable(source.name, None)
    budget = OcrBudget(source.limits.ocr_seconds, source.lend_ocr_time)
    problems: list[Problem] = []
    pages: list[PageText] = []
    files = attached_files(document)
    characters = 0
    for number in range(1, min(total, source.limits.max_pages) + 1):
        text, attached = _page(document, number, budget, problems)
        pages.append(text)
        source.page_done(number, total)
        files.extend(attached)
        characters += sum(len(line.text) for line in text.lines)
        if characters > source.limits.max_chars:
            break
    if len(pages) < total:
        problems.append(Problem("cut_off", f"Only the first {len(pages)} of {total} pages were read."))
    problems.extend(_page_problems(pages, budget))
    without_furniture(pages)
    outline = read_outline(document)
    facts = metadata(document)
    title = facts.pop("title", "")
    blocks = blocks_of(pages, outline if outline.found_in(pages) else Outline(()))
    gathered = Gathered(readings=[_reading(pages, budget)])
    read_files(source, files, gathered)
    return ParsedDocument(
        blocks=(*blocks, *gathered.blocks),
        media_type="application/pdf",
        title=own_title(title, blocks, gathered, source),
        pages=total,
        problems=(*problems, *gathered.problems),
        metadata=facts,
        reading=gathered.reading(),
    )


def _page(
    document: Any, number: int, budget: OcrBudget, problems: list[Problem]
) -> tuple[PageText, list[AttachedFile]]:
    import pypdfium2 as pdfium

    try:
        page = document[number - 1]
    except pdfium.PdfiumError:
        problems.append(Problem("unreadable_page", "The page is damaged and was left out.", number))
        return PageText(number, Frame(595, 842)), []
    try:
        return read_page(document, page, number, budget)
    except pdfium.PdfiumError as error:
        logger.info("page %d of a PDF cannot be read: %s", number, error)
        problems.append(Problem("unreadable_page", "The page is damaged and was left out.", number))
        return PageText(number, Frame(595, 842)), []
    finally:
        page.close()


def _page_problems(pages: Sequence[PageText], budget: OcrBudget) -> list[Problem]:
    """What a person should know, in the order of the pages."""
    unread = sorted(set(budget.unread))
    read = {number for number, _ in budget.pages}
    problems = list(budget.problems)
    for page in pages:
        for hidden in page.hidden:
            problems.append(
                Problem("hidden_text", f"Text that cannot be seen was left out: {hidden.sample!r}.", page.number)
            )
        if page.garbled and page.number not in read:
            problems.append(
                Problem("garbled_page", "The letters of the page cannot be read: its fonts are broken.", page.number)
            )
        if not page.lines and not page.after and page.number not in unread:
            problems.append(_without_text(page))
    problems.sort(key=lambda problem: problem.page or 0)
    problems.extend(_without_text(page) for page in pages if page.number in unread and not page.lines)
    return [*time_up(budget), *problems]


def _without_text(page: PageText) -> Problem:
    if page.pictures or page.garbled:
        return Problem("page_without_text", "The page is a picture in which no text was read.", page.number)
    return Problem("page_without_text", "The page has no text.", page.number)


def _reading(pages: Sequence[PageText], budget: OcrBudget) -> Reading:
    return Reading(
        ocr_pages=tuple(budget.pages),
        garbled_pages=tuple(page.number for page in pages if page.garbled),
        pictures=sum(page.pictures for page in pages),
        pictures_without_text=sum(page.pictures_without_text for page in pages),
        hidden=tuple(hidden for page in pages for hidden in page.hidden),
    )


register(Parser("pdf", "PDF", ("pdf",), "application/pdf", parse))
