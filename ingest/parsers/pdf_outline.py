"""A PDF's bookmarks: which lines are headings, and of which level."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ingest.parsers.pdf_page import PageText

logger = logging.getLogger(__name__)

_MAX_ENTRIES = 5000
_NUMBER = re.compile(r"^\s*(?:[a-z]?\d+(?:\.\d+)*|[ivxlc]+(?=[.\s]))[.、\s]+", re.IGNORECASE)
_NEAR = 1
"""Pages by which a bookmark may miss its heading."""


class Outline:
    """Levels of headings by their words and page.

    Args:
        entries: level (from 1), title and page (from 1) of each bookmark.
    """

    def __init__(self, entries: Iterable[tuple[int, str, int]]) -> None:
        self._pages: dict[str, dict[int, int]] = defaultdict(dict)
        self.depth = 0
        for level, title, page in entries:
            key = _key(title)
            if key:
                self._pages[key].setdefault(page, min(level, 6))
                self.depth = max(self.depth, min(level, 6))
        self.pages = frozenset(page for places in self._pages.values() for page in places)

    def level(self, text: str, page: int) -> int:
        """Level of the heading `text` on `page`, 0 when no bookmark names it."""
        if len(text) > 200 or not self._pages:
            return 0
        places = self._pages.get(_key(text), {})
        near = [places[at] for at in range(page - _NEAR, page + _NEAR + 1) if at in places]
        return places.get(page, near[0] if near else 0)

    def found_in(self, pages: Iterable[PageText]) -> bool:
        """True when the pages hold at least a third of the titles: bookmarks of another document lead astray."""
        texts = {_key(line.text) for page in pages for line in page.lines}
        return sum(1 for key in self._pages if key in texts) >= max(1, len(self._pages) // 3)


def read_outline(document: Any) -> Outline:
    """The bookmarks of an open document."""
    import pypdfium2 as pdfium

    entries: list[tuple[int, str, int]] = []
    try:
        for mark in document.get_toc(max_depth=6):
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            if index is not None:
                entries.append((mark.level + 1, mark.get_title(), index + 1))
            if len(entries) >= _MAX_ENTRIES:
                break
    except (pdfium.PdfiumError, UnicodeError):
        logger.info("bookmarks of a PDF cannot be read")
    return Outline(entries)


def _key(title: str) -> str:
    """Letters and digits without the number before them: bookmarks often leave it out."""
    plain = unicodedata.normalize("NFKC", title).lower()
    return "".join(ch for ch in _NUMBER.sub("", plain) if ch.isalnum())
