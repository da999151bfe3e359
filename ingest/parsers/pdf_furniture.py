"""Running headers, footers and page numbers of a PDF: found by their repetition, taken out of the pages."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from ingest.parsers.pdf_page import Line, PageText

_EDGE = 0.12
"""Share of the page's height, above and below, in which running headers and footers stand."""
_PAGE_NUMBER = re.compile(
    r"^[\s\-–—·|/]*(?:page|p\.|第|seite)?\s*(?:[A-Z]?-?[0-9０-９]{1,5}|[ivxlc]{1,7})\s*(?:页|頁)?"
    r"(?:\s*(?:of|/|共|von|，|,)\s*(?:共)?\s*[0-9]{1,5}\s*(?:页|頁)?)?[\s\-–—·|]*$",
    re.IGNORECASE,
)
_CHANGING = re.compile(
    r"[0-9０-９]+|\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?|mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\b|[一二三四五六七八九十]+(?=[月日页頁章])",
    re.IGNORECASE,
)
_TAG = re.compile(r"[^\w#]+")
_LONGEST = 200
_RUN = 3
"""Pages on which an outermost line must repeat at one height to be a running header of a chapter."""
_LOOSE = 12.0
"""Points within which a header may move between pages."""


def without_furniture(pages: Sequence[PageText]) -> None:
    """Remove page numbers, and headers and footers that repeat on many pages, in place.

    A document of nothing else, such as one label over and over, keeps them: they are what it says.
    """
    seen = _repeated(pages)
    kept: list[list[Line]] = []
    for page in pages:
        found = [line for line in page.lines if _is_furniture(line, page, seen, len(pages))]
        while True:  # a line that stays holds the one it runs on from
            apart = [line for line in found if _apart(line, found, page)]
            if len(apart) == len(found):
                break
            found = apart
        gone = {id(line) for line in found}
        kept.append([line for line in page.lines if id(line) not in gone])
    if any(line.block is not None or any(ch.isalnum() for ch in line.text) for lines in kept for line in lines):
        for page, lines in zip(pages, kept, strict=True):
            page.lines = lines


def _repeated(pages: Sequence[PageText]) -> dict[str, list[tuple[int, float]]]:
    """Page and height of every line at an edge, by its words with numbers and dates masked."""
    seen: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for page in pages:
        for line in page.lines:
            if _edge(line, page) and len(line.text) < _LONGEST:
                seen[_pattern(line, page)].append((page.number, _height(line, page)))
    return seen


def _is_furniture(line: Line, page: PageText, seen: dict[str, list[tuple[int, float]]], pages: int) -> bool:
    if pages < 2:
        return False
    if line.block is None and _PAGE_NUMBER.match(line.text) and _outermost(line, page):
        return True
    if not _edge(line, page) or len(line.text) >= _LONGEST:
        return False
    here = _height(line, page)
    places = [(number, height) for number, height in seen.get(_pattern(line, page), ()) if abs(height - here) < _LOOSE]
    count = len({number for number, _ in places})
    worded = _enough_words(line)
    if worded and count >= _needed(pages):
        return True
    tight = {number for number, height in places if abs(height - here) < 2.5}
    needed = _RUN if worded and pages >= 6 else _needed(pages)
    return len(tight) >= needed and _outer_rows(line, page)


def _apart(line: Line, found: Sequence[Line], page: PageText) -> bool:
    """False for a line that runs on into the page's text: sentences repeat, too."""
    upper = (line.y0 + line.y1) / 2 < page.height / 2
    for other in page.lines:
        if any(other is entry for entry in found) or other.x0 > line.x1 or other.x1 < line.x0:
            continue
        gap = other.y0 - line.y1 if upper else line.y0 - other.y1
        alike = abs(other.size - line.size) < 0.08 * line.size and other.bold == line.bold
        if alike and -line.size < gap < 0.6 * line.size and other.block is None and line.block is None:
            return False
    return True


def _needed(pages: int) -> int:
    return max(2, min(3, pages)) if pages < 8 else max(3, pages // 4)


def _height(line: Line, page: PageText) -> float:
    """Distance from the nearer edge: pages may differ in size."""
    middle = (line.y0 + line.y1) / 2
    return middle if middle < page.height / 2 else page.height - middle


def _edge(line: Line, page: PageText) -> bool:
    return line.y1 < _EDGE * page.height or line.y0 > (1 - _EDGE) * page.height


def _outermost(line: Line, page: PageText) -> bool:
    """True at the very top or bottom: no other line stands further out."""
    if not any(ch.isalnum() for ch in line.text):
        return False
    middle = (line.y0 + line.y1) / 2
    below = middle > 0.8 * page.height and not any(other.y0 > line.y1 for other in page.lines)
    return below or (middle < _EDGE * page.height and not any(other.y1 < line.y0 for other in page.lines))


def _outer_rows(line: Line, page: PageText) -> bool:
    """True when at most one row of the page stands further out."""
    middle = (line.y0 + line.y1) / 2
    if middle < page.height / 2:
        outer = [other for other in page.lines if other.y1 < line.y0 + 1]
    else:
        outer = [other for other in page.lines if other.y0 > line.y1 - 1]
    return len({round(other.y0 / 6) for other in outer}) <= 1


def _enough_words(line: Line) -> bool:
    """A masked table row such as `# #` repeats by chance."""
    return sum(1 + (ch > "\u2e80") for ch in _CHANGING.sub("", line.text) if ch.isalpha()) >= 4


def _pattern(line: Line, page: PageText) -> str:
    """The line's words in alphabetical order with what changes masked: headers swap sides on left and right pages."""
    masked = _CHANGING.sub("#", line.text.lower())
    words = Counter(word for word in _TAG.split(masked) if word)
    words.pop("#", None)
    upper = (line.y0 + line.y1) / 2 < page.height / 2
    return f"{'top' if upper else 'bottom'} {' '.join(sorted(words))}"
