"""One PDF page to lines in reading order: its letters, its tables, its pictures, what is hidden, OCR where needed."""

from __future__ import annotations

import logging
from typing import Any

from core.types import Block, BlockKind, HiddenText
from ingest.parsers.pdf_chars import PageLetters, affine, read_letters
from ingest.parsers.pdf_files import AttachedFile
from ingest.parsers.pdf_hidden import report, take_hidden
from ingest.parsers.pdf_notes import Note, read_notes
from ingest.parsers.pdf_objects import PageObjects, read_objects
from ingest.parsers.pdf_ocr import OcrBudget, agrees, inserted, is_scan, letters, on_row, read_pictures, read_whole_page
from ingest.parsers.pdf_order import in_reading_order, lines_of
from ingest.parsers.pdf_page import Frame, PageText, Piece, Word, place, union
from ingest.parsers.pdf_tables import take_tables
from ingest.parsers.text_quality import quality

logger = logging.getLogger(__name__)

_UNMAPPED = 0.5
"""Share of letters whose fonts do not say what they draw from which the text layer is not believed."""
_FEW = 12
"""Letters up to which a page is not judged garbled."""


def read_page(document: Any, page: Any, number: int, budget: OcrBudget) -> tuple[PageText, list[AttachedFile]]:
    """The page, and the files attached to it."""
    width, height = page.get_size()
    matrix = affine(page, width, height)
    textpage = page.get_textpage()
    try:
        found = read_letters(textpage, matrix, width, height)
    finally:
        textpage.close()
    objects = read_objects(page, matrix)
    notes = read_notes(document, page, matrix)
    text = PageText(number, Frame(width, height, found.turn))
    pieces = _visible(page, found, objects, text, budget)
    pieces = [piece for piece in pieces if piece.text]
    if text.garbled or is_scan(pieces, objects, text.frame) or not (pieces or _blank(objects)):
        _read_drawn(page, text, pieces, budget)
    else:
        _read_written(page, text, pieces, objects, budget, notes)
    _add_notes(text, notes)
    return text, [AttachedFile(note.text, note.data) for note in notes if note.kind == "file"]


def _blank(objects: PageObjects) -> bool:
    return not objects.pictures and not objects.paths


def _visible(page: Any, found: PageLetters, objects: PageObjects, text: PageText, budget: OcrBudget) -> list[Piece]:
    """Pieces of the page's main direction that count as its text; judges the invisible layer of scans."""
    main = found.pieces.get(found.turn, [])
    seen, layer, text.hidden = take_hidden(page, main, text.frame, objects, text.number)
    if layer and letters(seen) < 4 * letters(layer):
        if not quality(" ".join(piece.text for piece in layer)).good:
            text.garbled = True
        elif agrees(page, layer, text.frame, budget):
            return [piece for piece in main if piece in seen or piece in layer]
        else:
            text.hidden.extend(report([("invisible", piece) for piece in layer], text.number))
    words = " ".join(piece.text for piece in seen)
    if letters(seen) > _FEW or found.unmapped > _UNMAPPED:
        text.garbled = text.garbled or found.unmapped > _UNMAPPED or not quality(words).good
    return [*seen, *_turned_away(found, text, page, objects)] if not text.garbled else seen


def _turned_away(found: PageLetters, text: PageText, page: Any, objects: PageObjects) -> list[Piece]:
    """Text in other directions (labels of axes, stamps in the margin): a paragraph each, after the page's own."""
    out = []
    for turn, pieces in found.pieces.items():
        if turn == found.turn:
            continue
        frame = Frame(text.frame.width, text.frame.height, max(turn, 0))
        seen, _, hidden = take_hidden(page, pieces, frame, objects, text.number)
        text.hidden.extend(hidden)
        for group in _neighbours(seen):
            words = " ".join(piece.text for piece in group)
            box = text.frame.turned(frame.displayed(union([piece.box for piece in group])))
            block = Block(BlockKind.PARAGRAPH, words, place(text.number, box))
            out.append(Piece(words, *box, group[0].size, box[3], block=block))
    return out


def _neighbours(pieces: list[Piece]) -> list[list[Piece]]:
    groups: list[list[Piece]] = []
    for piece in pieces:
        last = groups[-1][-1] if groups else None
        if last is not None and abs(piece.y0 - last.y0) < 2 * last.size and abs(piece.x0 - last.x1) < 20 * last.size:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _read_written(
    page: Any, text: PageText, pieces: list[Piece], objects: PageObjects, budget: OcrBudget, notes: list[Note]
) -> None:
    frame = text.frame
    fields = [note for note in notes if note.kind == "field" and not note.hidden]
    pieces = _without_blanks(pieces)
    for note in fields:
        pieces = inserted(pieces, _field(note, frame, pieces))
    lines = [frame.turned(line) for line in objects.lines]
    pieces = take_tables(pieces, lines, text.number)
    pieces = read_pictures(page, text, pieces, objects, budget)
    text.lines = lines_of(in_reading_order(pieces), text.number)


def _read_drawn(page: Any, text: PageText, pieces: list[Piece], budget: OcrBudget) -> None:
    """A page whose letters are in its picture; what text it has besides stays, unless it is garbled."""
    keep = [] if text.garbled else pieces
    text.pictures = 1  # a scan is one picture, in however many strips it is stored
    if not read_whole_page(page, text, keep, budget):
        text.pictures_without_text = 1
        text.lines = lines_of(in_reading_order(keep), text.number)


def _field(note: Note, frame: Frame, pieces: list[Piece]) -> Piece:
    box = frame.turned(note.box)
    words = " ".join(note.text.split())
    usual = sorted(piece.size for piece in pieces)[len(pieces) // 2] if pieces else 10.0
    low = box[3] - 0.2 * (box[3] - box[1])
    base = min((p.base for p in pieces if on_row(p, box)), key=lambda value: abs(value - low), default=low)
    piece = Piece(words, *box, usual, base)
    piece.words = [Word(words, box[0], box[2])]
    return piece


def _without_blanks(pieces: list[Piece]) -> list[Piece]:
    """Rows of underscores are places to write on, not text."""
    out = []
    for piece in pieces:
        words = [word for word in piece.words if word.text.strip("_")]
        if words and len(words) < len(piece.words) and piece.words[-1].text.endswith("__"):
            piece.text = piece.text.rstrip("_ ")
            piece.x1 = words[-1].x1
            piece.words = words
        if piece.block is not None or words:
            out.append(piece)
    return out


def _add_notes(text: PageText, notes: list[Note]) -> None:
    for note in notes:
        if note.hidden and note.kind in ("field", "note"):
            text.hidden.append(HiddenText("invisible", len(note.text), note.text[:80], text.number))
        elif note.kind == "note":
            text.after.append(Block(BlockKind.PARAGRAPH, note.text, place(text.number, note.box)))
