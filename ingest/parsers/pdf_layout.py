"""From lines to blocks: paragraphs, headings, lists and captions, over the breaks of columns and pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from core.types import Block, BlockKind
from ingest.parsers.pdf_grid import code_block, code_rows, table_block, table_rows
from ingest.parsers.pdf_hyphens import Hyphens
from ingest.parsers.pdf_outline import Outline
from ingest.parsers.pdf_page import Line, PageText, as_displayed
from ingest.parsers.pdf_places import joined_place, lower_ocr, next_column, place_of
from ingest.parsers.plain import heading_level

_MARKS = "•●○■□▪◦‣·∙➢✓✔►❖◆◇★☆\uf0b7\uf0a7\uf06c\uf0d8\uf076\uf0a8\uf0fc–*-"
_BULLET = re.compile(
    rf"^(?:[{_MARKS}]\s*\S|\(?[0-9]{{1,3}}[.)、．](?![0-9])\s*\S|[（(][一二三四五六七八九十0-9a-z]{{1,3}}[)）]|[①-⑳])"
)
_BULLET_ALONE = re.compile(rf"^(?:[{_MARKS}]|\(?[0-9]{{1,2}}[.)])$")
_TERMINAL = re.compile(r"[。！？!?.:：;；…\"”』」]\s*[)）\]】]?(?:\s?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)?$")
_NO_HEADING_END = re.compile(r"[。；;,，、]$|[^.]\.$")
_HAN_OR_LOWER = re.compile(r"^[a-z\u3400-\u9fff]")
_CAPTION = re.compile(
    r"^(?:(?:table|fig(?:ure|\.)?|chart|exhibit|listing)\s*[A-Z]?\d+(?:[.\-–]\d+)*\s*(?:[:.|–—-](?!\d)\s*\S|\s+[A-Z(])"
    r"|[图表]\s*[0-9一二三四五六七八九十]+(?:[.\-–][0-9]+)*(?:\s*[:：、.]|\s)(?![0-9])\s*[^\s。，])",
    re.IGNORECASE,
)
_LEADERS = re.compile(r"\s*(?:[.·…]{4,}|(?:[.·…] ){3,}[.·…]?|_{4,}|-{6,})\s*")
_AROUND = 12
_NUMBERED = re.compile(r"^(\d{1,2}(?:\.\d{1,2}){0,4})\.?\s+\S")


@dataclass(frozen=True, slots=True)
class _Style:
    """What the whole document tells about its letters: the body's size and the level of each larger size."""

    body: float
    levels: dict[float, int]
    code: bool
    hyphens: Hyphens
    outline: Outline

    @property
    def depth(self) -> int:
        return len(set(self.levels.values()))


def blocks_of(pages: Sequence[PageText], outline: Outline | None = None) -> list[Block]:
    """Blocks of the whole document in order; a paragraph that runs over a page break becomes one block."""
    style = _style(pages, outline or Outline(()))
    blocks: list[Block] = []
    for page in pages:
        fresh = _page_blocks(page, style)
        if blocks and fresh and _continues(blocks[-1], fresh[0]):
            blocks[-1] = _joined(blocks[-1], fresh.pop(0), style.hyphens)
        blocks.extend(fresh)
        blocks.extend(page.after)
    return _headers_carried(blocks)


def _style(pages: Sequence[PageText], outline: Outline) -> _Style:
    lines = [line for page in pages for line in page.lines if line.block is None]
    body = _body_size(lines)
    letters = sum(len(line.text) for line in lines)
    mono = sum(len(line.text) for line in lines if line.mono)
    return _Style(
        body, _heading_sizes(lines, body), mono < 0.6 * letters, Hyphens(line.text for line in lines), outline
    )


def _body_size(lines: Iterable[Line]) -> float:
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[_rounded(line.size)] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 10.0


def _heading_sizes(lines: Sequence[Line], body: float) -> dict[float, int]:
    """Level of each letter size clearly above the body's; at most four levels, the largest first."""
    sizes = sorted({_rounded(line.size) for line in lines if line.size >= body * 1.12 + 0.3}, reverse=True)
    levels: dict[float, int] = {}
    level, last = 0, 0.0
    for size in sizes:
        if not last or size < 0.94 * last:  # sizes that differ by a hair are one level
            level, last = level + 1, size
        levels[size] = min(level, 4)
    return levels


def _rounded(size: float) -> float:
    return round(size * 2) / 2


def _page_blocks(page: PageText, style: _Style) -> list[Block]:
    blocks: list[Block] = []
    group: list[Line] = []
    lines = _merge_bullets(page.lines)
    rights = _right_edges(lines)
    index = 0

    def flush() -> None:
        blocks.extend(_paragraph(group, style))
        group.clear()

    while index < len(lines):
        line = lines[index]
        rows = 0 if line.block else table_rows(lines, index)
        code = code_rows(lines, index) if style.code and not line.block and not rows else 0
        if line.block or rows or code:
            flush()
            if line.block:
                blocks.append(line.block)
            else:
                taken = lines[index : index + (rows or code)]
                blocks.append(table_block(taken, style.hyphens) if rows else code_block(taken))
            index += rows or code or 1
            continue
        if group and not _same_paragraph(group, line, rights[index - 1]):
            flush()
        group.append(line)
        index += 1
    flush()
    return [as_displayed(block, page.frame) for block in _lists_joined(blocks)]


def _right_edges(lines: Sequence[Line]) -> list[float]:
    """For each line where its column ends: the furthest end of the lines around it that begin where it does."""
    out = []
    for index, line in enumerate(lines):
        near = lines[max(0, index - _AROUND) : index + _AROUND + 1]
        left = min((other.x0 for other in near if abs(other.x0 - line.x0) < 3 * line.size), default=line.x0)
        alike = [other.x1 for other in near if abs(other.x0 - left) < line.size and other.block is None]
        out.append(max([line.x1, *alike]))
    return out


def _merge_bullets(lines: Sequence[Line]) -> list[Line]:
    """A bullet that stands in a text object of its own belongs to the line beside it."""
    out: list[Line] = []
    for line in lines:
        before = out[-1] if out else None
        if line.cells and _BULLET_ALONE.match(line.cells[0].strip()) and len(line.cells) == 2:
            line = replace(line, cells=[], starts=[])
        alone = before is not None and before.block is None and _BULLET_ALONE.match(before.text)
        if before is not None and alone and line.block is None and abs(before.y1 - line.y1) < line.size:
            mark = before.text if before.text[0].isalnum() or before.text[0] == "(" else "-"
            out[-1] = replace(line, text=f"{mark} {line.text}", x0=before.x0)
        else:
            out.append(line)
    return out


def _same_paragraph(group: Sequence[Line], line: Line, right: float) -> bool:
    last = group[-1]
    size = max(last.size, line.size)
    if abs(last.size - line.size) > 0.12 * size:
        return False
    if last.bold != line.bold and ((len(group) == 1 and _short(last, right)) or _TERMINAL.search(last.text)):
        return False
    if last.y0 - 0.3 * size <= line.y0 <= last.y0 + 0.3 * size:
        return line.x0 >= last.x1 - size  # further right on the same line
    if next_column(last, line):
        return _goes_on(" ".join(entry.text for entry in group[-2:]), line.text)
    gap = line.y0 - last.y1
    if gap > 0.9 * size or line.y0 < last.y0:
        return False
    if line.x0 > last.x1 or line.x1 < last.x0 or _BULLET.match(line.text) or heading_level(line.text):
        return False
    ended = bool(_TERMINAL.search(last.text)) or _short(last, right)
    if (heading_level(last.text) and len(group) == 1) or (ended and _CAPTION.match(line.text)):
        return False
    if _BULLET.match(group[0].text) and line.x0 > group[0].x0 + 0.3 * size:
        return True  # hanging indent of a list item
    indented = line.x0 - min(entry.x0 for entry in group) > 0.8 * size
    if _TERMINAL.search(last.text) and (indented or _short(last, right)):
        return False
    return not (indented and len(group) > 1 and not _BULLET.match(group[0].text))


def _goes_on(before: str, after: str) -> bool:
    """True when a sentence runs on from one place to the next."""
    return len(before) > 20 and not _TERMINAL.search(before) and bool(_HAN_OR_LOWER.match(after))


def _short(line: Line, right: float) -> bool:
    return line.x1 < right - 0.12 * max(1.0, right - line.x0) - line.size


# ---------------------------------------------------------------- paragraphs and headings


def _paragraph(lines: Sequence[Line], style: _Style) -> list[Block]:
    if not lines:
        return []
    text = _LEADERS.sub(" … ", style.hyphens.join([line.text for line in lines])).strip(" …")
    if not text:
        return []
    level = _level(lines, text, style)
    if level:
        return [Block(BlockKind.HEADING, text, place_of(lines), level)]
    if _CAPTION.match(text) and len(text) < 400:
        return [Block(BlockKind.CAPTION, text, place_of(lines))]
    kind = BlockKind.LIST if _BULLET.match(text) else BlockKind.PARAGRAPH
    return [Block(kind, text, place_of(lines))]


def _level(lines: Sequence[Line], text: str, style: _Style) -> int:
    listed = style.outline.level(text, lines[0].page)
    if listed:
        return listed
    if len(text) > 120 or len(lines) > 3 or not any(ch.isalpha() for ch in text):
        return 0
    deeper = style.outline.depth
    size = style.levels.get(_rounded(lines[0].size), 0)
    if size and not _NO_HEADING_END.search(text):
        return min(6, size + deeper) if deeper and size < 6 and lines[0].page in style.outline.pages else size
    named = heading_level(text)
    if named:
        return min(6, style.depth + named)
    bold = len(lines) <= 2 and all(line.bold for line in lines) and lines[0].size >= style.body - 0.6
    if bold and len(text) <= 80 and not _NO_HEADING_END.search(text) and not _TERMINAL.search(text):
        numbers = _NUMBERED.match(text)
        return min(6, style.depth + (numbers.group(1).count(".") + 1 if numbers else 1))
    return 0


def _lists_joined(blocks: list[Block]) -> list[Block]:
    """Items that follow one another become one list."""
    out: list[Block] = []
    for block in blocks:
        if out and block.kind is BlockKind.LIST and out[-1].kind is BlockKind.LIST:
            merged = joined_place(out[-1].locator, block.locator)
            out[-1] = replace(out[-1], text=f"{out[-1].text}\n{block.text}", locator=merged)
        else:
            out.append(block)
    return out


def _headers_carried(blocks: list[Block]) -> list[Block]:
    """A table that goes on over the page keeps the header of its beginning; a repeated one is taken as such."""
    out: list[Block] = []
    for block in blocks:
        before = out[-1] if out else None
        if before is not None and _table_goes_on(before, block):
            rows = block.text.split("\n")
            if rows and rows[0] == before.header and len(rows) > 1:
                block = replace(block, text="\n".join(rows[1:]))
            block = replace(block, header=before.header)
        out.append(block)
    return out


def _table_goes_on(before: Block, block: Block) -> bool:
    if before.kind is not BlockKind.TABLE or block.kind is not BlockKind.TABLE or not before.header or block.header:
        return False
    next_page = (block.locator.page or 0) == (before.locator.page_end or before.locator.page or 0) + 1
    columns = before.header.split("\n")[-1].count("|")
    return next_page and columns == max(row.count("|") for row in block.text.split("\n"))


def _continues(before: Block, after: Block) -> bool:
    if before.kind is not BlockKind.PARAGRAPH or after.kind is not BlockKind.PARAGRAPH:
        return False
    return _goes_on(before.text, after.text)


def _joined(before: Block, after: Block, hyphens: Hyphens) -> Block:
    locator = replace(
        before.locator,
        page_end=after.locator.page_end,
        boxes=before.locator.boxes + after.locator.boxes,
        ocr=lower_ocr(before.locator.ocr, after.locator.ocr),
    )
    return replace(before, text=hyphens.join([before.text, after.text]), locator=locator)
