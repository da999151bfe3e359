"""Pictures, drawn lines and filled areas of a PDF page, within bounds that no page can make slow."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ingest.parsers.pdf_chars import mapped
from ingest.parsers.pdf_page import Corners, area

MAX_OBJECTS = 20_000
"""Objects of one page that are looked at; drawings such as maps have a hundred thousand."""
MAX_SEGMENTS = 40_000
_DEPTH = 4
_THIN = 2.5
"""Points: a filled area thinner than this is a drawn line."""
_SHORTEST = 6.0
_IDENTITY = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
_Matrix = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Picture:
    """box: on the displayed page. pixels: width times height of the picture itself. order: place in the file."""

    box: Corners
    pixels: int
    order: int


@dataclass(slots=True)
class PageObjects:
    """Boxes are on the displayed page. lines: (x0, y0, x1, y1) of straight lines along the page's sides.

    fills: areas painted over what came before, with their place in the file. first_text: place of the first text, -1
    without one. paths: how many drawings; cut: the page has more than was looked at.
    """

    pictures: list[Picture] = field(default_factory=list)
    lines: list[Corners] = field(default_factory=list)
    fills: list[tuple[int, Corners]] = field(default_factory=list)
    first_text: int = -1
    paths: int = 0
    cut: bool = False


def read_objects(page: Any, matrix: tuple[float, ...]) -> PageObjects:
    """What is drawn on a page besides letters."""
    import pypdfium2.raw as raw

    out = PageObjects()
    segments = MAX_SEGMENTS
    for order, (handle, inner) in enumerate(_walk(page, out)):
        kind = raw.FPDFPageObj_GetType(handle)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            out.first_text = order if out.first_text < 0 else out.first_text
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            box = _bounds(handle, inner, matrix)
            width, height = ctypes.c_uint(), ctypes.c_uint()
            raw.FPDFImageObj_GetImagePixelSize(handle, width, height)
            if box is not None:
                out.pictures.append(Picture(box, width.value * height.value, order))
        elif kind == raw.FPDF_PAGEOBJ_PATH:
            out.paths += 1
            if segments > 0:
                segments -= _read_path(handle, inner, matrix, order, out)
    out.cut = out.cut or segments <= 0
    return out


def _walk(page: Any, out: PageObjects) -> Iterator[tuple[Any, _Matrix]]:
    """Every object, those inside of forms with the form's matrix."""
    import pypdfium2.raw as raw

    left = MAX_OBJECTS

    def inside(form: Any, matrix: _Matrix, depth: int) -> Iterator[tuple[Any, _Matrix]]:
        nonlocal left
        count = raw.FPDFPage_CountObjects(form) if depth == 0 else raw.FPDFFormObj_CountObjects(form)
        for index in range(count):
            if left <= 0:
                out.cut = True
                return
            left -= 1
            handle = raw.FPDFPage_GetObject(form, index) if depth == 0 else raw.FPDFFormObj_GetObject(form, index)
            if raw.FPDFPageObj_GetType(handle) == raw.FPDF_PAGEOBJ_FORM:
                if depth < _DEPTH:
                    yield from inside(handle, _times(_matrix(handle), matrix), depth + 1)
            else:
                yield handle, matrix

    yield from inside(page.raw, _IDENTITY, 0)


def _matrix(handle: Any) -> _Matrix:
    import pypdfium2.raw as raw

    m = raw.FS_MATRIX()
    return (m.a, m.b, m.c, m.d, m.e, m.f) if raw.FPDFPageObj_GetMatrix(handle, m) else _IDENTITY


def _times(first: _Matrix, then: _Matrix) -> _Matrix:
    a, b, c, d, e, f = first
    p, q, r, s, t, u = then
    return a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u


def _apply(m: _Matrix, x: float, y: float) -> tuple[float, float]:
    return m[0] * x + m[2] * y + m[4], m[1] * x + m[3] * y + m[5]


def _bounds(handle: Any, inner: _Matrix, matrix: tuple[float, ...]) -> Corners | None:
    import pypdfium2.raw as raw

    values = [ctypes.c_float() for _ in range(4)]
    if not raw.FPDFPageObj_GetBounds(handle, *values):
        return None
    left, bottom, right, top = (value.value for value in values)
    x0, y0 = _apply(inner, left, bottom)
    x1, y1 = _apply(inner, right, top)
    return mapped(matrix, (x0, y0, x1, y1))


def _read_path(handle: Any, inner: _Matrix, matrix: tuple[float, ...], order: int, out: PageObjects) -> int:
    """Lines and fills of one path; the number of its segments that were looked at."""
    import pypdfium2.raw as raw

    fill, stroke = ctypes.c_int(), ctypes.c_int()
    if not raw.FPDFPath_GetDrawMode(handle, fill, stroke) or not (fill.value or stroke.value):
        return 1
    box = _bounds(handle, inner, matrix)
    if box is None:
        return 1
    width, height = box[2] - box[0], box[3] - box[1]
    if min(width, height) < _THIN:
        if max(width, height) >= _SHORTEST:
            out.lines.append(box)
        return 1
    count = int(raw.FPDFPath_CountSegments(handle))
    if fill.value and area(box) > 30 and count <= 6:
        out.fills.append((order, box))
    if stroke.value or count <= 6:
        own = _times(_matrix(handle), inner)
        _straight(handle, min(count, 2000), own, matrix, out)
    return min(count, 2000) + 1


def _straight(handle: Any, count: int, own: _Matrix, matrix: tuple[float, ...], out: PageObjects) -> None:
    """Straight segments along the sides of the page."""
    import pypdfium2.raw as raw

    x, y = ctypes.c_float(), ctypes.c_float()
    start = last = (0.0, 0.0)
    for index in range(count):
        segment = raw.FPDFPath_GetPathSegment(handle, index)
        if not raw.FPDFPathSegment_GetPoint(segment, x, y):
            continue
        point = _apply(own, x.value, y.value)
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            start = point
        elif kind == raw.FPDF_SEGMENT_LINETO:
            _add_line(last, point, matrix, out)
        if raw.FPDFPathSegment_GetClose(segment):
            _add_line(point, start, matrix, out)
        last = point


def _add_line(a: tuple[float, float], b: tuple[float, float], matrix: tuple[float, ...], out: PageObjects) -> None:
    box = mapped(matrix, (*a, *b))
    width, height = box[2] - box[0], box[3] - box[1]
    if min(width, height) < 1.0 and max(width, height) >= _SHORTEST:
        out.lines.append(box)
