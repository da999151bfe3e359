"""XPS and OpenXPS: the print format of Windows, a zip of pages in XML; text with its places, tables, scanned pages."""

from __future__ import annotations

import functools
import itertools
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
from ingest.parsers.pdf_page import Piece
from ingest.parsers.registry import Parser, Source, register

MEDIA_TYPE = "application/vnd.ms-xpsdocument"
_POINTS = 0.75
"""Points of the unit of the format, 1/96 inch."""
_DEEPEST = 50


def parse(source: Source) -> ParsedDocument:
    """Blocks with `page` and boxes.

    Raises:
        UnreadableError: damaged, or without a page.
    """
    with open_container(source) as archive:
        container = Container(archive, source.name)
        pages = _page_paths(container)
        if not pages:
            raise container.damaged()
        kept = itertools.islice(pages, source.limits.max_pages)
        read = (_page(container, path) for path in kept)
        return document_of(read, len(pages), source, MEDIA_TYPE, container.facts())


def _page_paths(container: Container) -> list[str]:
    """Parts of the pages in order, over all documents of the sequence."""
    sequence = container.find(".fdseq")
    root = container.xml(sequence) if sequence else None
    out: list[str] = []
    for one in root.iter("{*}DocumentReference") if root is not None else ():
        path = beside(sequence, one.get("Source", ""))
        document = container.xml(path)
        if document is not None:
            out.extend(beside(path, page.get("Source", "")) for page in document.iter("{*}PageContent"))
    return [path for path in out if path in container]


def _page(container: Container, path: str) -> FixedPage:
    root = container.xml(path)
    width, height = (numbers(root.get(name) if root is not None else "") for name in ("Width", "Height"))
    page = FixedPage((width or [794.0])[0] * _POINTS, (height or [1123.0])[0] * _POINTS)
    if root is not None:
        _Walk(container, path, page).children(root, (_POINTS, 0, 0, _POINTS, 0, 0), 0)
    return page


class _Walk:
    """Goes through the elements of one page."""

    def __init__(self, container: Container, path: str, page: FixedPage) -> None:
        self._container = container
        self._path = path
        self._page = page

    def children(self, parent: Any, matrix: Matrix, depth: int) -> None:
        if depth > _DEEPEST:
            return
        for one in parent:
            kind = one.tag.rpartition("}")[2] if isinstance(one.tag, str) else ""
            if kind not in ("Canvas", "Glyphs", "Path"):
                continue
            inner = times(_transform(one), matrix)
            if kind == "Canvas":
                if one.get("Opacity") != "0":
                    self.children(one, inner, depth + 1)
            elif kind == "Glyphs":
                self._glyphs(one, inner)
            else:
                self._picture(one, inner)

    def _glyphs(self, one: Any, matrix: Matrix) -> None:
        text = one.get("UnicodeString", "").removeprefix("{}")
        size = (numbers(one.get("FontRenderingEmSize")) or [0.0])[0]
        at = [(numbers(one.get(name)) or [0.0])[0] for name in ("OriginX", "OriginY")]
        if not text or size <= 0:
            return
        clear = len(one.get("Fill", "")) == 9 and one.get("Fill", "").startswith("#00")
        if one.get("Opacity") == "0" or clear:
            self._page.hidden.extend(filter(None, [collapse(text)]))
            return
        self._page.pieces.append(_piece(text, at, size, _width(one.get("Indices", ""), text), matrix))

    def _picture(self, one: Any, matrix: Matrix) -> None:
        for brush in one.iter("{*}ImageBrush"):
            box = numbers(brush.get("Viewport"))
            source = brush.get("ImageSource", "")
            if len(box) == 4 and source and not source.startswith("{"):
                inner = times(matrix_of(numbers(brush.get("Transform"))), matrix)
                corners = [point_at(at, inner) for at in ((box[0], box[1]), (box[0] + box[2], box[1] + box[3]))]
                part = beside(self._path, source)
                self._page.pictures.append((around(corners), functools.partial(self._container.read, part)))


def _piece(text: str, at: list[float], size: float, width: float, matrix: Matrix) -> Piece:
    start, end = point_at((at[0], at[1]), matrix), point_at((at[0] + width * size, at[1]), matrix)
    top = point_at((at[0], at[1] - size), matrix)
    points = abs(top[1] - start[1])
    if points < 0.5 * max(abs(top[0] - start[0]), 0.1):  # turned text: a paragraph of its own
        box = around([start, end, top])
        words = collapse(text)
        return Piece(words, *box, abs(top[0] - start[0]), box[3], block=Block(BlockKind.PARAGRAPH, words))
    return piece(text, min(start[0], end[0]), start[1], points, abs(end[0] - start[0]))


def _width(indices: str, text: str) -> float:
    """Width of a run in times its size: by the advances that it gives, in hundredths, else guessed from the letters."""
    total = 0.0
    given = indices.split(";")
    for at, letter in enumerate(text):
        entry = given[at].split(",") if at < len(given) else []
        value = numbers(entry[1]) if len(entry) > 1 else []
        total += value[0] / 100 if value else advance(letter)
    return total


def _transform(one: Any) -> Matrix:
    """Of an element: as an attribute, or as an element inside it."""
    own = numbers(one.get("RenderTransform"))
    if not own:
        name = one.tag.rpartition("}")[2]
        inside = one.find(f"./{{*}}{name}.RenderTransform/{{*}}MatrixTransform")
        own = numbers(inside.get("Matrix")) if inside is not None else []
    return matrix_of(own)


register(Parser("xps", "XPS (xps, oxps)", ("xps", "oxps"), MEDIA_TYPE, parse))
