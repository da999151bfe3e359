"""Letters of a PDF page as PDFium gives them, put together to pieces of lines."""

from __future__ import annotations

import ctypes
import itertools
import math
import re
import statistics
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Any

from core.text import HAN
from ingest.parsers.pdf_page import Corners, Frame, Piece, Word
from ingest.parsers.text_quality import BULLETS

TINY = 1.5
"""Points: smaller letters cannot be read by a person."""
PIECE_GAP = 0.9
"""Times the letter height between two letters from which they belong to different pieces."""
SOFT_HYPHEN = "\u00ad"
"""Stands in a piece's text where the line was broken inside a word, or where the file says that it may be."""
_SPACE_GAP = 0.08
"""Times the letter height by which a gap exceeds the usual one of its run when it stands for a blank."""
_WORD_GAP = 0.12
_SCALE = 100
_PALE = 240
_BOLD = re.compile(rb"bold|black|heavy|CMBX|-Medi", re.IGNORECASE)
_MONO = re.compile(rb"mono|courier|consol|menlo|cmtt|typewriter|inconsolata", re.IGNORECASE)
_CJK = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")
_COMPATIBLE = re.compile(r"[\ufb00-\ufb06\u2e80-\u2fdf\uf900-\ufaff\U0001d400-\U0001d7ff]")
"""Ligatures, slanted letters of formulas and the doubles of Han characters that fonts name in place of the usual."""
_RAISED = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
_SLANTED = -1
_BLANKS = frozenset((9, 10, 13, 32, 160, 0x2002, 0x2003, 0x2009, 0x3000))


@dataclass(slots=True)
class _Style:
    """What all letters of one text object share. size: of the font as drawn; turn: quarter turns as displayed."""

    size: float
    base: tuple[float, float]
    turn: int
    bold: bool
    mono: bool
    hidden: str
    key: int


@dataclass(slots=True)
class Glyph:
    """A letter and what came before it. box: of its ink on the displayed page; room: what it takes up on its line."""

    char: str
    box: Corners
    room: Corners
    style: _Style
    spaced: bool


@dataclass(slots=True)
class PageLetters:
    """Pieces by direction (quarter turns; -1 slanted), each in its own frame, and the direction of most letters."""

    pieces: dict[int, list[Piece]]
    turn: int
    unmapped: float


def affine(page: Any, width: float, height: float) -> tuple[float, ...]:
    """Page coordinates to displayed points: rotation and crop box are PDFium's business."""
    import pypdfium2.raw as raw

    size = (round(width * _SCALE), round(height * _SCALE))

    def point(x: float, y: float) -> tuple[float, float]:
        out_x, out_y = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page.raw, 0, 0, *size, 0, x, y, out_x, out_y)
        return out_x.value / _SCALE, out_y.value / _SCALE

    (cx, cy), (ax, ay), (bx, by) = point(0, 0), point(1000, 0), point(0, 1000)
    return (ax - cx) / 1000, (bx - cx) / 1000, cx, (ay - cy) / 1000, (by - cy) / 1000, cy


def mapped(matrix: tuple[float, ...], box: Corners) -> Corners:
    """A box of page coordinates (any two corners) on the displayed page."""
    ax, bx, cx, ay, by, cy = matrix
    x0, y0 = ax * box[0] + bx * box[1] + cx, ay * box[0] + by * box[1] + cy
    x1, y1 = ax * box[2] + bx * box[3] + cx, ay * box[2] + by * box[3] + cy
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def read_letters(textpage: Any, matrix: tuple[float, ...], width: float, height: float) -> PageLetters:
    """All letters of a page as pieces."""
    glyphs, unmapped = _glyphs(textpage, matrix)
    groups: dict[int, list[Glyph]] = {}
    for glyph, turn in zip(glyphs, _turns(glyphs), strict=True):
        groups.setdefault(turn, []).append(glyph)
    pieces = {turn: _pieces(group, Frame(width, height, max(turn, 0))) for turn, group in groups.items()}
    counts = Counter({turn: len(group) for turn, group in groups.items() if turn != _SLANTED})
    turn = counts.most_common(1)[0][0] if counts else 0
    return PageLetters(pieces, turn, unmapped / len(glyphs) if glyphs else 0.0)


def _glyphs(textpage: Any, matrix: tuple[float, ...]) -> tuple[list[Glyph], int]:
    import pypdfium2.raw as raw

    handle = textpage.raw
    values = [ctypes.c_double() for _ in range(4)]
    refs = [ctypes.byref(value) for value in values]
    rect = raw.FS_RECTF()
    styles: dict[int | None, _Style] = {}
    out: list[Glyph] = []
    spaced, unmapped, high = False, 0, 0
    get_char, get_box, get_object = raw.FPDFText_GetUnicode, raw.FPDFText_GetCharBox, raw.FPDFText_GetTextObject
    for index in range(textpage.count_chars()):
        code = get_char(handle, index)
        if code in _BLANKS:
            spaced = spaced or not raw.FPDFText_IsGenerated(handle, index)  # PDFium's guesses are made anew below
            continue
        if 0xD800 <= code < 0xDC00:  # first half of a character beyond 16 bits
            high = code
            continue
        if 0xDC00 <= code < 0xE000 and high:
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)
        high = 0
        key = ctypes.cast(get_object(handle, index), ctypes.c_void_p).value
        if code == 0 or not get_box(handle, index, *refs):
            continue
        style = styles.get(key)
        if style is None:
            style = styles[key] = _style(handle, index, matrix, len(styles))
        left, right, bottom, top = (value.value for value in values)
        box = room = mapped(matrix, (left, bottom, right, top))
        if raw.FPDFText_GetLooseCharBox(handle, index, rect):
            room = mapped(matrix, (rect.left, rect.bottom, rect.right, rect.top))
        if raw.FPDFText_HasUnicodeMapError(handle, index):
            unmapped += 1
        out.append(Glyph(_character(code), box, room, style, spaced))
        spaced = False
    return out, unmapped


def _character(code: int) -> str:
    if code in (0x02, 0xFFFE):  # PDFium's mark of a hyphen at the end of a line
        return SOFT_HYPHEN
    if 0xF000 <= code <= 0xF0FF and chr(code) in BULLETS:
        return "•"
    char = chr(code) if code < 0x110000 and not 0xD800 <= code <= 0xDFFF else "\ufffd"
    return unicodedata.normalize("NFKC", char) if _COMPATIBLE.match(char) else char


def _style(handle: Any, index: int, matrix: tuple[float, ...], key: int) -> _Style:
    import pypdfium2.raw as raw

    x, y = ctypes.c_double(), ctypes.c_double()
    ax, bx, cx, ay, by, cy = matrix
    raw.FPDFText_GetCharOrigin(handle, index, x, y)
    base = (ax * x.value + bx * y.value + cx, ay * x.value + by * y.value + cy)
    angle = -max(0.0, raw.FPDFText_GetCharAngle(handle, index))  # PDFium counts clockwise
    across = (ax * math.cos(angle) + bx * math.sin(angle), ay * math.cos(angle) + by * math.sin(angle))
    quarters = math.atan2(across[1], across[0]) / (math.pi / 2)
    turn = round(quarters) % 4 if abs(quarters - round(quarters)) < 0.12 else _SLANTED
    size, drawn = float(raw.FPDFText_GetFontSize(handle, index)), raw.FS_MATRIX()
    if raw.FPDFText_GetMatrix(handle, index, drawn):
        size *= math.hypot(drawn.c, drawn.d) * math.hypot(bx, by)
    name, flags = ctypes.create_string_buffer(200), ctypes.c_int()
    raw.FPDFText_GetFontInfo(handle, index, name, 200, flags)
    bold = raw.FPDFText_GetFontWeight(handle, index) >= 600 or bool(_BOLD.search(name.value))
    bold = bold or _mode(handle, index) == raw.FPDF_TEXTRENDERMODE_FILL_STROKE  # how programs make a font bolder
    return _Style(size, base, turn, bold, bool(_MONO.search(name.value)), _hidden(handle, index, size), key)


def _mode(handle: Any, index: int) -> int:
    import pypdfium2.raw as raw

    return int(raw.FPDFTextObj_GetTextRenderMode(raw.FPDFText_GetTextObject(handle, index)))


def _hidden(handle: Any, index: int, size: float) -> str:
    import pypdfium2.raw as raw

    if 0 < size < TINY:
        return "tiny"
    if _mode(handle, index) == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
        return "invisible"
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    if not raw.FPDFText_GetFillColor(handle, index, red, green, blue, alpha):
        return ""
    return "white" if min(red.value, green.value, blue.value) >= _PALE or alpha.value < 15 else ""


def _turns(glyphs: list[Glyph]) -> list[int]:
    """Quarter turns of each letter; Chinese columns, read from top to bottom, count as turned by one."""
    turns = [glyph.style.turn for glyph in glyphs]
    start = 0
    for index in range(1, len(glyphs) + 1):
        if index < len(glyphs) and _stands_below(glyphs[index - 1], glyphs[index]):
            continue
        if index - start >= 4:
            turns[start:index] = [1] * (index - start)
        start = index
    return turns


def _stands_below(upper: Glyph, lower: Glyph) -> bool:
    if upper.style.turn or lower.style.turn or not (_CJK.match(upper.char) and _CJK.match(lower.char)):
        return False
    size = max(upper.style.size, 1.0)
    across = abs((upper.box[0] + upper.box[2]) - (lower.box[0] + lower.box[2])) / 2
    down = ((lower.box[1] + lower.box[3]) - (upper.box[1] + upper.box[3])) / 2
    return across < 0.35 * size and 0.55 * size < down < 1.3 * size


def _pieces(glyphs: list[Glyph], frame: Frame) -> list[Piece]:
    out: list[Piece] = []
    usual = _usual_gaps(glyphs, frame)
    style: _Style | None = None
    base = end = 0.0
    for glyph in glyphs:
        box = frame.turned(glyph.box)
        if style is None or glyph.style.key != style.key or frame.turn:
            style = glyph.style
            base = frame.turned((*style.base, *style.base))[1]
            if style.turn == 0 and frame.turn == 1:  # a Chinese column: letters stand on its left edge
                base = box[3]
        room = frame.turned(glyph.room)
        gap = room[0] - end
        if not (out and _append(out[-1], glyph, box, base, gap, usual.get(_row(glyph, frame), 0.0))):
            out.append(_piece(glyph, box, base))
        end = room[2]
    for piece in out:
        piece.size = max(piece.sizes, key=piece.sizes.__getitem__, default=piece.size)
    return [piece for piece in out if piece.text.strip(SOFT_HYPHEN + " ")]


def _usual_gaps(glyphs: list[Glyph], frame: Frame) -> dict[tuple[int, int], float]:
    """By row the usual gap between its letters in letter heights: some texts are set with wide gaps."""
    gaps: dict[tuple[int, int], list[float]] = {}
    for before, after in itertools.pairwise(glyphs):
        row = _row(after, frame)
        gap = frame.turned(after.room)[0] - frame.turned(before.room)[2]
        size = max(after.style.size, 0.1)
        if not after.spaced and _row(before, frame) == row and -0.5 * size < gap < PIECE_GAP * size:
            gaps.setdefault(row, []).append(gap / size)
    return {row: max(0.0, statistics.median(values)) for row, values in gaps.items() if len(values) > 2}


def _row(glyph: Glyph, frame: Frame) -> tuple[int, int]:
    base = frame.turned((*glyph.style.base, *glyph.style.base))[1]
    return round(base), round(glyph.style.size)


def _piece(glyph: Glyph, box: Corners, base: float) -> Piece:
    style = glyph.style
    top, bottom = min(box[1], base - 0.7 * style.size), max(box[3], base)
    return Piece(
        glyph.char,
        box[0],
        top if style.size >= TINY else box[1],
        box[2],
        bottom,
        style.size,
        base,
        style.bold,
        style.mono,
        style.hidden,
        [Word(glyph.char, box[0], box[2], box[0])],
        sizes={style.size: 1},
    )


def _append(piece: Piece, glyph: Glyph, box: Corners, base: float, gap: float, usual: float) -> bool:
    """Add the letter when it goes on with the piece; says whether it did."""
    style, char = glyph.style, glyph.char
    size = max(piece.size, style.size, 0.1)
    if style.hidden != piece.hidden:
        return False
    if abs(box[0] - piece.words[-1].last) < 0.01 and abs(box[2] - piece.x1) < 0.01 and not glyph.spaced:
        gap = 0.0  # one drawn sign that stands for several letters, such as a ligature
    elif unicodedata.bidirectional(char[0]) in ("R", "AL", "NSM"):
        gap = max(gap, -size) if gap > 0 else min(0.0, max(piece.x0 - box[2], 0.0))
    if not -0.6 * size <= gap <= PIECE_GAP * size:
        return False
    raised = piece.base - base
    if abs(raised) > 0.2 * size:
        if style.size < 0.88 * piece.size and -0.45 * size < raised < 0.75 * size:
            _write(piece, glyph, _small(piece.text, char, raised, glyph.spaced), box, gap, size)
            return True
        if piece.size < 0.88 * style.size and 0.15 * size < -raised < 0.75 * size and len(piece.text) <= 3:
            piece.size, piece.base, piece.bold = style.size, base, style.bold  # a note's mark stands before its text
            _write(piece, glyph, " " + char, box, gap, size)
            return True
        return False
    spaced = glyph.spaced and gap > 0.02 * size and not (gap < 0.3 * size and _between_cjk(piece.text, char))
    wide = gap > (usual + _SPACE_GAP) * size and not _between_cjk(piece.text, char)
    _write(piece, glyph, (" " if spaced or wide else "") + char, box, gap, size)
    return True


def _write(piece: Piece, glyph: Glyph, text: str, box: Corners, gap: float, size: float) -> None:
    if text.startswith(" ") or gap > _WORD_GAP * size:
        piece.words.append(Word(text.lstrip(), box[0], box[2], box[0], text.startswith(" ")))
    else:
        piece.words[-1].text += text
        piece.words[-1].x1 = max(piece.words[-1].x1, box[2])
        piece.words[-1].last = box[0]
    piece.text += text
    piece.sizes[glyph.style.size] = piece.sizes.get(glyph.style.size, 0) + 1
    piece.x0, piece.x1 = min(piece.x0, box[0]), max(piece.x1, box[2])
    piece.y0, piece.y1 = min(piece.y0, box[1]), max(piece.y1, box[3])
    piece.bold = piece.bold and glyph.style.bold


def _between_cjk(before: str, char: str) -> bool:
    return bool(_CJK.match(before[-1:]) and _CJK.match(char))


def _small(before: str, char: str, raised: float, spaced: bool) -> str:
    """Small letters above the line: a power stays one, a note's mark does not glue itself to a number."""
    if raised < 0 or char.translate(_RAISED) == char:
        return (" " if spaced else "") + char
    mark = char.translate(_RAISED)
    if before[-1:] in "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻" or re.search(r"(?:^|[^A-Za-z])[A-Za-z]{1,2}$", before):
        return mark
    if re.search(r"(?:^|[^\d.,])10$", before):
        return mark
    return " " + mark if before[-1:].isalnum() and not HAN.match(before[-1:]) else mark
