"""The smallest pieces a chunk is made of: sentences, list items, table rows, lines of code, headings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.text import split_sentences
from core.types import Block, BlockKind, ParsedDocument
from ingest.parse import block_text
from models.protocols import Tokenizer

SEPARATORS = ("\n\n", "\n", *"。！？；", ". ", "! ", "? ", "; ", *"，、：", ", ", ": ", " | ", " ", "\u3000", "")
"""Where one over-long sentence may be cut, best first."""


@dataclass(slots=True)
class Unit:
    """A piece of the document text, never cut again. tokens: without special tokens.

    start, end: offsets in the document text. block: index of its block. row: a row of a table with a header. head:
    not the rest of something over-long that was cut.
    """

    start: int
    end: int
    block: int
    tokens: int = 0
    row: bool = False
    head: bool = True


def block_starts(parsed: ParsedDocument) -> list[int]:
    """Offset of each block in the document text (`ingest.parse.document_text`)."""
    starts, position = [], 0
    for block in parsed.blocks:
        starts.append(position)
        position += len(block_text(block)) + 2
    return starts


def units_of(parsed: ParsedDocument, text: str, tokenizer: Tokenizer, special: int, limit: int) -> list[list[Unit]]:
    """Units of every block, in order; none is over `limit` tokens. Tokens are counted in one batch."""
    units = [
        Unit(start + first, start + last, index, row=row)
        for index, (block, start) in enumerate(zip(parsed.blocks, block_starts(parsed), strict=True))
        for first, last, row in _spans(block)
    ]
    for unit, count in zip(units, tokenizer.counts([text[unit.start : unit.end] for unit in units]), strict=True):
        unit.tokens = count - special
    grouped: list[list[Unit]] = [[] for _ in parsed.blocks]
    for unit in units:
        if unit.tokens <= limit:
            grouped[unit.block].append(unit)
            continue
        by_sentence = parsed.blocks[unit.block].kind is BlockKind.LIST
        parts = _sentences(unit, text, tokenizer, special) if by_sentence else [unit]
        pieces = [
            piece
            for part in parts
            for piece in ([part] if part.tokens <= limit else cut(part, text, tokenizer, special, limit))
        ]
        for piece in pieces[1:]:
            piece.head = False
        grouped[unit.block].extend(pieces)
    return grouped


def _sentences(unit: Unit, text: str, tokenizer: Tokenizer, special: int) -> list[Unit]:
    """An over-long list item by its sentences."""
    spans = split_sentences(text[unit.start : unit.end])
    counts = tokenizer.counts([text[unit.start + first : unit.start + last] for first, last in spans])
    return [
        Unit(unit.start + first, unit.start + last, unit.block, count - special)
        for (first, last), count in zip(spans, counts, strict=True)
    ]


def _spans(block: Block) -> Iterator[tuple[int, int, bool]]:
    """(start, end, is a row under a header) of the units inside a block's text."""
    if block.kind is BlockKind.HEADING:
        yield 0, len(block.text), False
    elif block.kind in (BlockKind.TABLE, BlockKind.CODE):
        position = 0
        if block.header:  # the header goes with the first row
            first = block.text.find("\n")
            position = len(block.header) + 1 + (len(block.text) if first < 0 else first + 1)
            yield 0, position, False
        for start, end in _lines(block_text(block), position):
            yield start, end, bool(block.header)
    elif block.kind is BlockKind.LIST:
        for start, end in _lines(block.text, 0):
            yield start, end, False
    else:
        for start, end in split_sentences(block.text):
            yield start, end, False


def _lines(text: str, position: int) -> Iterator[tuple[int, int]]:
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end + 1
        if text[position:end].strip():
            yield position, end
        position = end


def cut(unit: Unit, text: str, tokenizer: Tokenizer, special: int, limit: int) -> list[Unit]:
    """An over-long unit in pieces of at most `limit` tokens, cut at clause marks, blanks, else anywhere."""
    length = unit.end - unit.start
    size = max(1, int(length * limit / max(1, unit.tokens) * 0.9))
    pieces = _pieces(text[unit.start : unit.end], size)
    out: list[Unit] = []
    position = unit.start
    for piece, count in zip(pieces, tokenizer.counts(pieces), strict=True):
        part = Unit(position, position + len(piece), unit.block, count - special, unit.row)
        position = part.end
        out.extend([part] if part.tokens <= limit or len(piece) < 2 else cut(part, text, tokenizer, special, limit))
    return out


def _pieces(text: str, size: int) -> Sequence[str]:
    """Pieces of at most `size` characters that joined give the text."""
    if size >= len(text):
        size = max(1, len(text) // 2)
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        separators=list(SEPARATORS), chunk_size=size, chunk_overlap=0, keep_separator="end", strip_whitespace=False
    )
    pieces = splitter.split_text(text)
    if "".join(pieces) == text and len(pieces) > 1:
        return pieces
    return [text[start : start + size] for start in range(0, len(text), size)]
