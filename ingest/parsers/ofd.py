"""OFD (GB/T 33190), the page format of Chinese offices and e-invoices: text with its places, tables, scanned pages."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

from core.types import Block, BlockKind, ParsedDocument
from ingest.clean import collapse
from ingest.parsers.fixed_pages import (
    Container,
    FixedPage,
    Matrix,
    advance,
    around,
    beside,
    document_of,
    matrix_of,
    numbers,
    open_container,
    piece,
    point_at,
    times,
)
from ingest.parsers.pdf_page import Corners, Piece
from ingest.parsers.registry import Parser, Source, register

MEDIA_TYPE = "application/ofd"
_POINTS = 72 / 25.4
"""Points of a millimetre, the unit of the format."""
_DEEPEST = 20
_FACTS = {"title": "Title", "author": "Author", "subject": "Subject", "created": "CreationDate", "modified": "ModDate"}


def parse(source: Source) -> ParsedDocument:
    """Blocks with `page` and boxes. Texts of templates (forms) and annotations (stamps) stand on their pages.

    Raises:
        UnreadableError: damaged, or without a page that can be read (such as an encrypted one).
    """
    with open_container(source) as archive:
        container = Container(archive, source.name)
        root = container.xml("OFD.xml")
        bodies = list(root.iter("{*}DocBody")) if root is not None else []
        documents = [_Document(container, beside("OFD.xml", _said(body, "DocRoot"))) for body in bodies]
        total = sum(len(document.pages) for document in documents)
        if not total:
            raise container.damaged()
        facts = {key: words for key, tag in _FACTS.items() if bodies and (words := _said(bodies[0], tag))}
        pages = itertools.chain.from_iterable(document.read() for document in documents)
        return document_of(itertools.islice(pages, source.limits.max_pages), total, source, MEDIA_TYPE, facts)


class _Document:
    """One document of the file; most files have one."""

    def __init__(self, container: Container, path: str) -> None:
        self._container = container
        self._path = path
        root = container.xml(path)
        self.pages = root.findall("./{*}Pages/{*}Page") if root is not None else []
        self._root = root
        self._box = numbers(_said(root, "PhysicalBox")) if root is not None else []
        self._templates = (
            {one.get("ID", ""): one.get("BaseLoc", "") for one in root.iter("{*}TemplatePage")}
            if root is not None
            else {}
        )

    def read(self) -> Iterator[FixedPage]:
        for page in self.pages:
            location = beside(self._path, page.get("BaseLoc", ""))
            yield self._page(self._container.xml(location), page.get("ID", ""))

    def _page(self, root: Any, ident: str) -> FixedPage:
        box = (numbers(_said(root, "PhysicalBox")) if root is not None else []) or self._box
        x, y, width, height = box if len(box) == 4 else (0.0, 0.0, 210.0, 297.0)
        page = FixedPage(width * _POINTS, height * _POINTS)
        start: Matrix = (_POINTS, 0, 0, _POINTS, -x * _POINTS, -y * _POINTS)
        if root is None:
            return page
        for template in root.findall("./{*}Template"):
            form = self._container.xml(beside(self._path, self._templates.get(template.get("TemplateID", ""), "-")))
            if form is not None:
                self._content(form, page, start)
        self._content(root, page, start)
        for appearance in self._annotations.get(ident, ()):
            corner = numbers(appearance.get("Boundary"))
            moved = times((1, 0, 0, 1, corner[0], corner[1]), start) if len(corner) == 4 else start
            self._objects(appearance, page, moved, 0)
        return page

    def _content(self, root: Any, page: FixedPage, matrix: Matrix) -> None:
        for layer in root.findall("./{*}Content/{*}Layer"):
            self._objects(layer, page, matrix, 0)

    def _objects(self, parent: Any, page: FixedPage, matrix: Matrix, depth: int) -> None:
        if depth > _DEEPEST:
            return
        for one in parent:
            kind = one.tag.rpartition("}")[2] if isinstance(one.tag, str) else ""
            if kind == "TextObject":
                _text(one, page, matrix)
            elif kind == "PathObject":
                page.rules.extend(_rules(one, matrix))
            elif kind == "ImageObject":
                box = _corners(one, matrix)
                picture = self._media.get(one.get("ResourceID", ""))
                if box is not None and picture:
                    page.pictures.append((box, functools.partial(self._container.read, picture)))
            elif kind in ("PageBlock", "Layer"):
                self._objects(one, page, matrix, depth + 1)

    @functools.cached_property
    def _media(self) -> dict[str, str]:
        """Part of each picture by the number under which pages name it."""
        found: dict[str, str] = {}
        for tag in ("PublicRes", "DocumentRes"):
            for place_ in self._root.iter(f"{{*}}{tag}"):
                path = beside(self._path, (place_.text or "").strip())
                resources = self._container.xml(path)
                if resources is None:
                    continue
                base = resources.get("BaseLoc", "")
                for media in resources.iter("{*}MultiMedia"):
                    file = beside(path, f"{base}/{_said(media, 'MediaFile')}" if base else _said(media, "MediaFile"))
                    found[media.get("ID", "")] = file
        return found

    @functools.cached_property
    def _annotations(self) -> dict[str, list[Any]]:
        """Appearances of annotations that are shown, by page."""
        found: dict[str, list[Any]] = {}
        listed = beside(self._path, _said(self._root, "Annotations")) if self._root is not None else ""
        root = self._container.xml(listed) if listed else None
        for page in root.iter("{*}Page") if root is not None else ():
            notes = self._container.xml(beside(listed, _said(page, "FileLoc")))
            for note in notes.iter("{*}Annot") if notes is not None else ():
                if note.get("Visible", "true") != "false":
                    found.setdefault(page.get("PageID", ""), []).extend(note.iter("{*}Appearance"))
        return found


def _text(one: Any, page: FixedPage, outer: Matrix) -> None:
    corner = numbers(one.get("Boundary"))
    codes = [code for code in one.iter("{*}TextCode") if code.text and code.text.strip()]
    if len(corner) != 4 or not codes:
        return
    if one.get("Visible") == "false" or one.get("Alpha") == "0":
        page.hidden.append(collapse(" ".join(code.text for code in codes)))
        return
    own = numbers(one.get("CTM"))
    shift: Matrix = (1, 0, 0, 1, corner[0], corner[1])
    matrix = times(times(matrix_of(own), shift), outer)
    size = (numbers(one.get("Size")) or [3.5])[0]
    for code in codes:
        page.pieces.extend(_piece(code, size, matrix, corner[2]))


def _piece(code: Any, size: float, matrix: Matrix, room: float) -> Iterator[Piece]:
    text = code.text.strip("\r\n")
    at = (numbers(code.get("X")) or [0.0])[0], (numbers(code.get("Y")) or [0.0])[0]
    across, down = _deltas(code.get("DeltaX")), _deltas(code.get("DeltaY"))
    steps = max(0, len(text) - 1)
    width = sum(across[:steps]) if across else (0.0 if down else advance(text[:-1]) * size)
    height = sum(down[:steps])
    a, b, c, d, _, _ = matrix
    if abs(height) > abs(width) or abs(b) > abs(a):  # letters below one another, or turned
        corners = [(at[0], at[1] - size), (at[0] + width + size, at[1] + max(height, 0.0))]
        points = [point_at(corner, matrix) for corner in corners]
        box = around(points)
        words = collapse(text)
        yield Piece(words, *box, size * _POINTS, box[3], block=Block(BlockKind.PARAGRAPH, words))
        return
    last = room if len(text) == 1 and room < 1.2 * size else advance(text[-1:]) * size  # a letter by itself has its box
    start, end = point_at(at, matrix), point_at((at[0] + width + last, at[1]), matrix)
    scale = math.hypot(c, d)
    yield piece(text, min(start[0], end[0]), start[1], size * scale, abs(end[0] - start[0]))


def _deltas(text: str | None) -> list[float]:
    """Steps between letters; `g 3 2.5` stands for three of 2.5."""
    out: list[float] = []
    parts = iter((text or "").split())
    try:
        for part in parts:
            if part == "g":
                count, step = int(next(parts)), float(next(parts))
                out.extend([step] * min(max(count, 0), 10_000))
            else:
                out.append(float(part))
    except (StopIteration, ValueError):
        return []
    return out


def _rules(one: Any, outer: Matrix) -> Iterator[Corners]:
    """Level and upright strokes of a drawn path."""
    corner = numbers(one.get("Boundary"))
    own = numbers(one.get("CTM"))
    if len(corner) != 4:
        return
    shift: Matrix = (1, 0, 0, 1, corner[0], corner[1])
    matrix = times(times(matrix_of(own), shift), outer)
    last = first = (0.0, 0.0)
    tokens = iter(_said(one, "AbbreviatedData").split())
    try:
        for token in tokens:
            if token in "SM":
                last = first = (float(next(tokens)), float(next(tokens)))
            elif token in "LC":
                end = (float(next(tokens)), float(next(tokens))) if token == "L" else first
                box = around([point_at(last, matrix), point_at(end, matrix)])
                if min(box[2] - box[0], box[3] - box[1]) < 1 < max(box[2] - box[0], box[3] - box[1]):
                    yield box
                last = end
            else:  # curves are no rules
                last = first
    except (StopIteration, ValueError):
        return


def _corners(one: Any, outer: Matrix) -> Corners | None:
    corner = numbers(one.get("Boundary"))
    if len(corner) != 4:
        return None
    x, y, width, height = corner
    return around([point_at((x, y), outer), point_at((x + width, y + height), outer)])


def _said(element: Any, tag: str) -> str:
    found = element.find(f".//{{*}}{tag}")
    return found.text.strip() if found is not None and found.text else ""


register(Parser("ofd", "OFD", ("ofd",), MEDIA_TYPE, parse))
