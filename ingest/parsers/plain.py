"""Plain text: paragraphs with line ranges, and headings only where they are safe to tell."""

from __future__ import annotations

import re

from core.types import Block, BlockKind, Locator, ParsedDocument
from ingest.clean import unwrap
from ingest.decode import decode
from ingest.parsers.registry import Parser, Source, register

_NUMBER = "[一二三四五六七八九十百零〇两0-9０-９]+"
_HEADINGS: tuple[tuple[int, re.Pattern[str]], ...] = (
    (1, re.compile(rf"^第{_NUMBER}[编篇部卷](?:[\s　：:].*)?$")),
    (2, re.compile(rf"^第{_NUMBER}章(?:[\s　：:].*|[^，。；]*)$")),
    (3, re.compile(rf"^第{_NUMBER}节(?:[\s　：:].*|[^，。；]*)$")),
    (2, re.compile(r"^(?:CHAPTER|Chapter|PART|Part)\s+(?:[0-9]+|[IVXLC]+)\b[^.]{0,60}$")),
    (3, re.compile(r"^(?:SECTION|Section)\s+[0-9]+(?:\.[0-9]+)*\b[^.]{0,60}$")),
    (3, re.compile(r"^[一二三四五六七八九十]{1,3}、[^，。；,;]{1,24}$")),
)
_MARKED = re.compile(r"^(#{1,6}) [^#\s].{0,79}$")
"""Markdown headings in files that are not Markdown: text written by a language model and pasted."""
_UNDERLINE = re.compile(r"^(={3,}|-{3,})\s*$")
_SENTENCE_END = re.compile(r"[。！？!?；;，,.]$")


def parse(source: Source) -> ParsedDocument:
    """Blocks of a text file; `lines` of each locator are its first and last line."""
    decoded = decode(source.path.read_bytes())
    lines = decoded.text.split("\n")
    return ParsedDocument(
        blocks=tuple(_blocks(lines)),
        media_type="text/plain",
        problems=decoded.problems,
        metadata={"encoding": decoded.encoding},
    )


def heading_level(line: str) -> int:
    """Level of a chapter-like heading, or 0 for running text."""
    line = line.strip()
    marks = _MARKED.match(line)
    if marks:
        return len(marks.group(1))
    if not line or len(line) > 80 or _SENTENCE_END.search(line):
        return 0
    if line.startswith("第") and len(line) > 40:
        return 0
    return next((level for level, pattern in _HEADINGS if pattern.match(line)), 0)


def _blocks(lines: list[str]) -> list[Block]:
    blocks: list[Block] = []
    pending: list[str] = []
    first = 0

    def flush(end: int) -> None:
        if pending:
            place = Locator(lines=(first + 1, end))
            blocks.append(Block(BlockKind.PARAGRAPH, unwrap(pending), place))
            pending.clear()

    skip = False
    for number, line in enumerate(lines):
        if skip:
            skip = False
            continue
        below = lines[number + 1] if number + 1 < len(lines) else ""
        underlined = bool(_UNDERLINE.match(below)) and 0 < len(line.strip()) <= 80 and not pending
        level = (1 if below.startswith("=") else 2) if underlined else heading_level(line)
        if not line.strip() or level:
            flush(number)
        if level:
            blocks.append(Block(BlockKind.HEADING, line.strip(), Locator(lines=(number + 1, number + 1)), level))
            skip = underlined
        elif line.strip():
            if not pending:
                first = number
            pending.append(line)
    flush(len(lines))
    return _with_title(blocks)


def _with_title(blocks: list[Block]) -> list[Block]:
    """The first line alone, short and not a sentence, is the document's title."""
    if len(blocks) < 2 or blocks[0].kind is BlockKind.HEADING:
        return blocks
    text = blocks[0].text
    if "\n" in text or len(text) > 60 or _SENTENCE_END.search(text) or ":" in text or "：" in text:
        return blocks
    return [Block(BlockKind.HEADING, text, blocks[0].locator, 1), *blocks[1:]]


register(Parser("text", "plain text (txt)", ("txt", "text", "srt"), "text/plain", parse))
