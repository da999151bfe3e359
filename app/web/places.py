"""A locator in words, and how the place can be opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.web.messages import say
from core.types import Citation, Locator

if TYPE_CHECKING:
    from app.wiring import Alioth

DateText = str


def place_text(locator: Locator, language: str) -> str:
    """Such as `page 3 · 2 Scope › 2.1 Terms`, with the certainty of recognised text; empty when it says nothing."""
    parts = []
    if locator.page is not None:
        last = locator.page_end
        if last is not None and last != locator.page:
            parts.append(say("place.pages", language, first=locator.page, last=last))
        else:
            parts.append(say("place.page", language, page=locator.page))
    if locator.slide is not None:
        parts.append(say("place.slide", language, slide=locator.slide))
    if locator.sheet is not None:
        parts.append(say("place.sheet", language, sheet=locator.sheet))
    if locator.cells is not None:
        parts.append(locator.cells)
    if locator.heading:
        parts.append(" › ".join(locator.heading))
    if locator.lines is not None and locator.page is None:
        first, last = locator.lines
        key = "place.line" if first == last else "place.lines"
        parts.append(say(key, language, first=first, last=last))
    if locator.ocr is not None:
        parts.append(say("place.ocr", language, confidence=round(100 * locator.ocr)))
    return " · ".join(parts)


def date_texts(alioth: Alioth, citations: Sequence[Citation], language: str) -> dict[str, DateText]:
    """Version id to the document's own date, or when it was added where it has none, in words."""
    from app.tasks import citation_dates

    found = citation_dates(alioth, citations)
    return {
        version_id: say("source.dated" if date.kind == "document" else "source.added", language, day=date.day)
        for version_id, date in found.items()
    }


def has_page_image(citation: Citation) -> bool:
    """PDF pages can be drawn, and whatever else was read with boxes: pictures."""
    drawn = citation.document.lower().endswith(".pdf") or bool(citation.locator.boxes)
    return citation.locator.page is not None and drawn


def page_image_url(citation: Citation, message_id: str, page: int) -> str:
    """Address of the page image with the cited boxes."""
    return f"/files/{citation.version_id}/page/{page}.png?citation={message_id}:{citation.n}"


def view_url(citation: Citation) -> str:
    """Address of the document's text at the cited chunk."""
    return f"/files/{citation.document_id}/view?chunk={citation.chunk_id}#here"


def original_url(document_id: str) -> str:
    """Address of the original file."""
    return f"/files/{document_id}/original"
