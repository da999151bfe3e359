"""Text lines of a PDF page with their boxes, in points from the top left of the page as displayed."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass, field
from typing import Any

_MINI = 1.5
"""Points: smaller letters cannot be read by a person."""
_SCALE = 100
_COLUMN_GAP = 1.8
"""Times the letter height between two pieces of one line that makes them table cells."""


_HYPHEN = re.compile("[\x02\ufffe](?=[a-z])")
_BREAK = re.compile("[\x02\ufffe]")
_BOLD = re.compile(rb"bold|black|heavy|CMBX|-Medi", re.IGNORECASE)


@dataclass(slots=True)
class Line:
    """size: height of the letters' box in points. cells: pieces far apart on the line, when there are several."""

    text: str
    page: int
    x0: float
    y0: float
    x1: float
    y1: float
    size: float
    bold: bool = False
    cells: list[str] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)


@dataclass(slots=True)
class PageText:
    """hidden: texts that nobody sees on the page. garbled: the fonts do not say which letters they draw."""

    lines: list[Line]
    width: float
    height: float
    hidden: list[str] = field(default_factory=list)
    garbled: bool = False


def read_page(page: Any, number: int) -> PageText:
    """Lines of a page in the order of the file, which for nearly all programs is reading order."""
    width, height = page.get_size()
    textpage = page.get_textpage()
    try:
        text = textpage.get_text_range() if textpage.count_chars() else ""
        result = PageText([], width, height, garbled=_garbled(text))
        if not result.garbled:
            _read_lines(page, textpage, text, number, result)
    finally:
        textpage.close()
    return result


def _garbled(text: str) -> bool:
    letters = [ch for ch in text if not ch.isspace()]
    broken = sum(1 for ch in letters if ch == "\ufffd" or "\ue000" <= ch <= "\uf8ff" or ch < " ")
    return len(letters) > 20 and broken > 0.4 * len(letters)


def _read_lines(page: Any, textpage: Any, text: str, number: int, result: PageText) -> None:
    position = 0
    displayed = _Displayed(page, result.width, result.height)
    suspects: list[Line] = []
    for raw in re.split(r"(\r?\n|\r)", text):
        length = len(raw)
        if raw.strip():
            line, suspect = _line(textpage, displayed, raw, position, number)
            if line is None or not _on_page(line, result):
                result.hidden.append(" ".join(raw.split()))
            else:
                result.lines.append(line)
                if suspect:
                    suspects.append(line)
        position += length
    if suspects:
        _drop_invisible(page, suspects, result)


class _Displayed:
    """Page coordinates to displayed ones: rotation and crop box are PDFium's business."""

    def __init__(self, page: Any, width: float, height: float) -> None:
        import pypdfium2.raw as raw

        self._to_device = raw.FPDF_PageToDevice
        self._page = page.raw
        self._size = (round(width * _SCALE), round(height * _SCALE))

    def box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        x0, y0 = self._point(left, top)
        x1, y1 = self._point(right, bottom)
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    def _point(self, x: float, y: float) -> tuple[float, float]:
        out_x, out_y = ctypes.c_int(), ctypes.c_int()
        self._to_device(self._page, 0, 0, *self._size, 0, x, y, out_x, out_y)
        return out_x.value / _SCALE, out_y.value / _SCALE


def _line(textpage: Any, displayed: _Displayed, raw_text: str, start: int, number: int) -> tuple[Line | None, bool]:
    """The line, and whether its colour is nearly white; None when its letters are too small to see."""
    import pypdfium2.raw as raw

    handle = textpage.raw
    lead = len(raw_text) - len(raw_text.lstrip())
    first = raw.FPDFText_GetCharIndexFromTextIndex(handle, start + lead)
    last = raw.FPDFText_GetCharIndexFromTextIndex(handle, start + len(raw_text.rstrip()) - 1)
    first, last = (first if first >= 0 else start + lead), (last if last >= 0 else start + len(raw_text) - 1)
    boxes = []
    values = [ctypes.c_double() for _ in range(4)]
    for index in range(raw.FPDFText_CountRects(handle, first, last - first + 1)):
        if raw.FPDFText_GetRect(handle, index, *values):
            boxes.append(displayed.box(*(value.value for value in values)))
    rect = raw.FS_RECTF()
    size = 0.0
    if raw.FPDFText_GetLooseCharBox(handle, first, rect):
        box = displayed.box(rect.left, rect.top, rect.right, rect.bottom)
        size = box[3] - box[1]
        boxes = [(b[0], min(b[1], box[1]), b[2], max(b[3], box[3])) for b in boxes[:1]] + boxes[1:]
    if not boxes or (0 < size < _MINI):
        return None, False
    text = _HYPHEN.sub("", raw_text).replace("\x02", "-").replace("\ufffe", "-").strip()
    line = Line(
        text,
        number,
        round(min(b[0] for b in boxes), 1),
        round(min(b[1] for b in boxes), 1),
        round(max(b[2] for b in boxes), 1),
        round(max(b[3] for b in boxes), 1),
        size or max(b[3] - b[1] for b in boxes),
        bold=_is_bold(handle, first),
    )
    if len(boxes) > 1 and not _BREAK.search(raw_text):
        _split_cells(textpage, displayed, line, first, last)
    return line, _pale(handle, first)


def _split_cells(textpage: Any, displayed: _Displayed, line: Line, first: int, last: int) -> None:
    """Fill `cells` when pieces of the line stand so far apart that they are columns."""
    import pypdfium2.raw as raw

    handle = textpage.raw
    values = [ctypes.c_double() for _ in range(4)]
    cells: list[str] = []
    starts: list[float] = []
    end: float | None = None
    for index in range(first, last + 1):
        char = chr(raw.FPDFText_GetUnicode(handle, index) or 32)
        if char.isspace() or char in "\x02\ufffe":
            if cells and cells[-1] and not cells[-1].endswith(" "):
                cells[-1] += " "
            continue
        if not raw.FPDFText_GetCharBox(handle, index, values[0], values[1], values[2], values[3]):
            continue
        left, right, bottom, top = (value.value for value in values)
        x0, _, x1, _ = displayed.box(left, top, right, bottom)
        if end is None or x0 - end > _COLUMN_GAP * line.size or x0 < end - 4 * line.size:
            cells.append("")
            starts.append(x0)
        cells[-1] += char
        end = x1
    if len(cells) > 1:
        line.cells = [" ".join(cell.split()) for cell in cells]
        line.starts = starts


def _is_bold(handle: Any, index: int) -> bool:
    import pypdfium2.raw as raw

    if raw.FPDFText_GetFontWeight(handle, index) >= 600:
        return True
    name, flags = ctypes.create_string_buffer(200), ctypes.c_int()
    raw.FPDFText_GetFontInfo(handle, index, name, 200, flags)
    return bool(_BOLD.search(name.value))


def _pale(handle: Any, index: int) -> bool:
    import pypdfium2.raw as raw

    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    if not raw.FPDFText_GetFillColor(handle, index, red, green, blue, alpha):
        return False
    return bool(min(red.value, green.value, blue.value) >= 245 or alpha.value < 10)


def _on_page(line: Line, page: PageText) -> bool:
    return line.x1 > 0 and line.y1 > 0 and line.x0 < page.width and line.y0 < page.height


def _drop_invisible(page: Any, suspects: list[Line], result: PageText) -> None:
    """Pale letters are legible on a dark ground: only lines whose rendered box is uniform are hidden."""
    image = page.render(scale=1, grayscale=True).to_pil()
    for line in suspects:
        area = image.crop(
            (int(line.x0), int(line.y0), max(int(line.x0) + 1, int(line.x1)), max(int(line.y0) + 1, int(line.y1)))
        )
        low, high = area.getextrema()
        if high - low < 12:
            result.hidden.append(line.text)
            result.lines.remove(line)
