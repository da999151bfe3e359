"""Documents of pages on which every letter has its place (OFD, XPS): their pieces of text to paragraphs and tables."""

from __future__ import annotations

import io
import posixpath
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import DocumentError, UnreadableError
from core.types import HiddenText, ParsedDocument, Problem, Reading
from ingest.parsers.pdf_furniture import without_furniture
from ingest.parsers.pdf_layout import blocks_of
from ingest.parsers.pdf_ocr import SCAN, OcrBudget, fill, letters, time_up
from ingest.parsers.pdf_order import in_reading_order, lines_of
from ingest.parsers.pdf_page import Corners, Frame, PageText, Piece, Word, area, place
from ingest.parsers.pdf_tables import take_tables
from ingest.parsers.registry import Source

Matrix = tuple[float, float, float, float, float, float]
"""a, b, c, d, e, f: puts the point (x, y) at (a x + c y + e, b x + d y + f)."""

_GLUED = 0.2
"""Times the letter height between two pieces that belong to one word."""
_SAME_LINE = 0.9
"""The same for two words of one piece."""
_LITTLE = 60
"""Letters of text over a scan up to which the scan is read too."""
_LONGEST_PART = 50_000_000
_WIDTHS = {
    **dict.fromkeys("ijl.,;:'|!I", 0.25),
    **dict.fromkeys("ftr()[]{}-/ ", 0.31),
    **dict.fromkeys("mwMW@%", 0.86),
}


@dataclass(slots=True)
class FixedPage:
    """A page in points. rules: drawn lines. pictures: where each stands, and its bytes on demand."""

    width: float
    height: float
    pieces: list[Piece] = field(default_factory=list)
    rules: list[Corners] = field(default_factory=list)
    pictures: list[tuple[Corners, Callable[[], bytes]]] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def piece(text: str, x0: float, base: float, size: float, width: float | None = None) -> Piece:
    """Letters on one line from `x0` on the line `base`; without a width it is guessed from the letters."""
    x1 = x0 + (width if width is not None else advance(text) * size)
    found = Piece(text, x0, base - 0.85 * size, x1, base + 0.15 * size, size, base)
    at = x0
    share = (x1 - x0) / max(advance(text), 0.1)
    for word in text.split(" "):
        end = at + advance(word) * share
        if word:
            found.words.append(Word(word, at, end))
        at = end + 0.5 * share
    return found


def advance(text: str) -> float:
    """About how wide letters are in times their size: a Han character has one, Latin ones as in common fonts."""
    return sum(1.0 if unicodedata.east_asian_width(ch) in "WF" else _WIDTHS.get(ch, _width(ch)) for ch in text)


def _width(letter: str) -> float:
    return 0.68 if letter.isupper() else 0.54


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces that follow one another closely on one line as one: files often give single letters."""
    out: list[Piece] = []
    for new in pieces:
        last = out[-1] if out else None
        size = max(new.size, last.size) if last is not None else new.size
        if last is None or last.block or new.block or abs(last.base - new.base) > 0.1 * size:
            out.append(new)
            continue
        gap = new.x0 - last.x1
        if new.text.isspace() and abs(gap) < size:
            last.text, last.x1 = last.text.rstrip() + " ", max(last.x1, new.x1)
            continue
        if not -0.3 * size < gap < _SAME_LINE * size or abs(last.size - new.size) > 0.15 * size:
            out.append(new)
            continue
        glued = gap < _GLUED * size or last.text.endswith(" ") or new.text.startswith(" ")
        last.text += new.text if glued else " " + new.text
        last.x1, last.y0, last.y1 = max(last.x1, new.x1), min(last.y0, new.y0), max(last.y1, new.y1)
        last.words.extend(new.words)
    out = [one for one in out if one.text.strip()]
    for one in out:
        one.text = one.text.rstrip()
    return out


def document_of(
    pages: Iterable[FixedPage], total: int, source: Source, media_type: str, facts: dict[str, str]
) -> ParsedDocument:
    """Blocks with page and boxes; scanned pages by OCR. facts: metadata, the title among it."""
    budget = OcrBudget(source.limits.ocr_seconds, source.lend_ocr_time)
    texts: list[PageText] = []
    problems: list[Problem] = []
    for number, page in enumerate(pages, start=1):
        texts.append(_page_text(page, number, budget))
        source.page_done(number, total)
    if len(texts) < total:
        problems.append(Problem("cut_off", f"Only the first {len(texts)} of {total} pages were read."))
    for text in texts:
        if not text.lines and text.number not in budget.unread:
            problems.append(Problem("page_without_text", "The page has no text.", text.number))
    without_furniture(texts)
    facts = dict(facts)
    return ParsedDocument(
        blocks=tuple(blocks_of(texts)),
        media_type=media_type,
        title=facts.pop("title", ""),
        pages=max(1, total),
        problems=(*time_up(budget), *sorted([*budget.problems, *problems], key=lambda problem: problem.page or 0)),
        metadata=facts,
        reading=Reading(
            ocr_pages=tuple(budget.pages),
            pictures=sum(text.pictures for text in texts),
            pictures_without_text=sum(text.pictures_without_text for text in texts),
            hidden=tuple(hidden for text in texts for hidden in text.hidden),
        ),
    )


def _page_text(page: FixedPage, number: int, budget: OcrBudget) -> PageText:
    text = PageText(number, Frame(page.width, page.height), pictures=len(page.pictures))
    text.hidden = [HiddenText("invisible", len(words), words[:80], number) for words in page.hidden]
    pieces = merged(page.pieces)
    for one in pieces:
        if one.block is not None:
            one.block = replace(one.block, locator=place(number, one.box))
    whole = page.width * page.height
    largest = max(page.pictures, key=lambda one: area(one[0]), default=None)
    text.pictures_without_text = len(page.pictures)
    scanned = largest is not None and area(largest[0]) > SCAN * whole and letters(pieces) < _LITTLE
    if largest is not None and scanned and _read_scan(text, largest, pieces, budget):
        text.pictures_without_text -= 1
        return text
    text.lines = lines_of(in_reading_order(take_tables(pieces, page.rules, number)), number)
    return text


def _read_scan(
    text: PageText, picture: tuple[Corners, Callable[[], bytes]], keep: list[Piece], budget: OcrBudget
) -> bool:
    import numpy as np

    from ingest.parsers.enclosed import file_of
    from ingest.parsers.picture_file import FAULTS, frame, opened

    (x0, y0, x1, _), data = picture
    try:
        with file_of(data()) as path, opened(path, "picture") as image:
            upright = frame(image, 1, "picture")
    except (*FAULTS, DocumentError):
        return False
    found = budget.recognise(np.asarray(upright)[:, :, ::-1], text.number)
    if found is None:
        return False
    scale = upright.width / max(1.0, x1 - x0) * found.scale
    if not found.turn:  # the picture need not begin at the corner of the page
        moved = tuple(
            replace(
                line, x0=line.x0 + x0 * scale, x1=line.x1 + x0 * scale, y0=line.y0 + y0 * scale, y1=line.y1 + y0 * scale
            )
            for line in found.lines
        )
        found = replace(found, lines=moved, rules=())
    return fill(text, found, scale, keep, budget)


class Container:
    """The zip of such a document: parts by name, without regard to case."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self._name = name
        self._names = {entry.lower(): entry for entry in archive.namelist()}

    def __contains__(self, path: str) -> bool:
        return path.lower().lstrip("/") in self._names

    def find(self, ending: str) -> str:
        """The first part whose name ends so, or empty."""
        return next((name for lower, name in self._names.items() if lower.endswith(ending)), "")

    def read(self, path: str) -> bytes:
        """Bytes of a part; empty where there is none."""
        entry = self._names.get(path.lower().lstrip("/"))
        if entry is None or self._archive.getinfo(entry).file_size > _LONGEST_PART:
            return b""
        try:
            return self._archive.read(entry)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, ValueError) as error:
            raise self.damaged() from error

    def xml(self, path: str) -> Any:
        """Root element of a part; None where there is none or it is no XML."""
        from lxml import etree

        data = self.read(path)
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, recover=True)
        try:
            return etree.fromstring(data, parser) if data else None
        except (etree.XMLSyntaxError, ValueError):
            return None

    def facts(self) -> dict[str, str]:
        """Title, author and dates of a package (docProps/core.xml), those that are set."""
        root = self.xml("docProps/core.xml")
        found: dict[str, str] = {}
        for key, tag in (("title", "title"), ("author", "creator"), ("created", "created"), ("modified", "modified")):
            element = root.find(f".//{{*}}{tag}") if root is not None else None
            if element is not None and element.text and element.text.strip():
                found[key] = element.text.strip()
        return found

    def damaged(self) -> UnreadableError:
        return UnreadableError(
            f"Cannot read {self._name!r}: the file is damaged or incomplete.",
            "Open it in its own program, print it to a PDF and add that.",
        )


def open_container(source: Source) -> zipfile.ZipFile:
    """The zip of the document, checked against bombs.

    Raises:
        UnreadableError, DocumentTooLargeError.
    """
    from ingest.archive import check_expansion

    check_expansion(source.path, source.name, source.limits.max_expanded_bytes)
    data = source.path.read_bytes() if source.depth else None
    return zipfile.ZipFile(io.BytesIO(data) if data is not None else source.path)


def beside(path: str, target: str) -> str:
    """The part that `target` names, seen from the part `path`."""
    if target.startswith("/"):
        return posixpath.normpath(target).lstrip("/")
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target)).lstrip("/")


def numbers(text: str | None) -> list[float]:
    """Numbers apart by blanks or commas; empty where one is none."""
    try:
        return [float(part) for part in (text or "").replace(",", " ").split()]
    except ValueError:
        return []


def around(points: list[tuple[float, float]]) -> Corners:
    """The smallest box that holds these points."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def matrix_of(values: list[float]) -> Matrix:
    """Six numbers as a matrix; the one that changes nothing where there are not six."""
    if len(values) != 6:
        return 1, 0, 0, 1, 0, 0
    a, b, c, d, e, f = values
    return a, b, c, d, e, f


def times(first: Matrix, second: Matrix) -> Matrix:
    """The matrix that does `first`, then `second`."""
    a, b, c, d, e, f = first
    g, h, i, j, k, m = second
    return a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m


def point_at(at: tuple[float, float], matrix: Matrix) -> tuple[float, float]:
    """Where the matrix puts a point."""
    a, b, c, d, e, f = matrix
    return at[0] * a + at[1] * c + e, at[0] * b + at[1] * d + f
