"""From lines to blocks: page furniture out, paragraphs, headings, lists and simple tables in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from core.types import Block, BlockKind, Box, Locator
from ingest.clean import cell, join_lines
from ingest.parsers.pdf_lines import Line, PageText
from ingest.parsers.plain import heading_level

_EDGE = 0.12
"""Share of the page's height, above and below, in which running headers and footers stand."""
_PAGE_NUMBER = re.compile(
    r"^[\s\-–—·|/]*(?:page|p\.|第|seite)?\s*[0-9０-９ivxlc]{1,5}\s*(?:页|頁)?(?:\s*(?:of|/|共|von|，|,)\s*(?:共)?\s*[0-9]{1,5}\s*(?:页|頁)?)?[\s\-–—·|]*$",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"[0-9０-９]+")
_BULLET = re.compile(
    r"^(?:[•●○■□▪◦‣·∙➢✓✔►\uf0b7\uf0a7\uf06c–*-]\s*\S|\(?[0-9]{1,3}[.)、．]\s*\S|[（(][一二三四五六七八九十0-9a-z]{1,3}[)）]|[①-⑳])"
)
_BULLET_ALONE = re.compile(r"^[•●○■□▪◦‣·∙➢✓✔►\uf0b7\uf0a7\uf06c–*-]$")
_TERMINAL = re.compile(r"[。！？!?.:：;；…\"”』」]\s*[)）\]】]?$")
_NO_HEADING_END = re.compile(r"[。；;,，、]$|[^.]\.$")
_HAN_OR_LOWER = re.compile(r"^[a-z\u3400-\u9fff]")


def without_furniture(pages: Sequence[PageText]) -> None:
    """Remove page numbers, and headers and footers that repeat on many pages, in place."""
    seen: Counter[str] = Counter()
    for page in pages:
        seen.update({_pattern(line) for line in page.lines if _edge(line, page)})
    needed = max(2, min(3, len(pages))) if len(pages) < 8 else max(3, len(pages) // 4)
    for page in pages:
        page.lines = [line for line in page.lines if not _is_furniture(line, page, seen, needed, len(pages))]


def _is_furniture(line: Line, page: PageText, seen: Counter[str], needed: int, pages: int) -> bool:
    if pages > 1 and _PAGE_NUMBER.match(line.text) and _outermost(line, page):
        return True
    if not _edge(line, page):
        return False
    return pages > 1 and seen[_pattern(line)] >= needed and len(line.text) < 200


def _edge(line: Line, page: PageText) -> bool:
    return line.y1 < _EDGE * page.height or line.y0 > (1 - _EDGE) * page.height


def _outermost(line: Line, page: PageText) -> bool:
    """True at the very top or bottom: no other line stands further out."""
    if not any(ch.isalnum() for ch in line.text):
        return False
    middle = (line.y0 + line.y1) / 2
    below = middle > 0.8 * page.height and not any(other.y0 > line.y1 for other in page.lines)
    return below or (middle < _EDGE * page.height and not any(other.y1 < line.y0 for other in page.lines))


def _pattern(line: Line) -> str:
    """The line with digits masked, and which edge it stands at within 10 points."""
    return f"{_DIGITS.sub('#', line.text)}@{round(line.y0 / 10)}"


def blocks_of(pages: Sequence[PageText]) -> list[Block]:
    """Blocks of the whole document in order; a paragraph that runs over a page break becomes one block."""
    body = _body_size(line for page in pages for line in page.lines)
    levels = _heading_sizes([line for page in pages for line in page.lines], body)
    blocks: list[Block] = []
    for page in pages:
        fresh = _page_blocks(page, body, levels)
        if blocks and fresh and _continues(blocks[-1], fresh[0]):
            blocks[-1] = _joined(blocks[-1], fresh.pop(0))
        blocks.extend(fresh)
    return blocks


def _body_size(lines: Iterable[Line]) -> float:
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(line.size * 2) / 2] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 10.0


def _heading_sizes(lines: Sequence[Line], body: float) -> dict[float, int]:
    """Level of each letter size clearly above the body's; at most four levels, the largest first."""
    sizes = sorted({_rounded(line.size) for line in lines if line.size >= body * 1.12 + 0.3}, reverse=True)
    return {size: min(level, 4) for level, size in enumerate(sizes, start=1)}


def _rounded(size: float) -> float:
    return round(size * 2) / 2


def _page_blocks(page: PageText, body: float, levels: dict[float, int]) -> list[Block]:
    blocks: list[Block] = []
    group: list[Line] = []
    lines = _merge_bullets(page.lines)
    right = max((line.x1 for line in lines), default=0.0)
    index = 0
    while index < len(lines):
        rows = _table_rows(lines, index)
        if rows > 1:
            blocks.extend(_paragraph(group, levels, body))
            group = []
            blocks.append(_table(lines[index : index + rows]))
            index += rows
            continue
        line = lines[index]
        if group and not _same_paragraph(group, line, right):
            blocks.extend(_paragraph(group, levels, body))
            group = []
        group.append(line)
        index += 1
    blocks.extend(_paragraph(group, levels, body))
    return _lists_joined(blocks)


def _merge_bullets(lines: Sequence[Line]) -> list[Line]:
    """A bullet that stands in a text object of its own belongs to the line beside it."""
    out: list[Line] = []
    for line in lines:
        before = out[-1] if out else None
        if before is not None and _BULLET_ALONE.match(before.text) and abs(before.y1 - line.y1) < line.size:
            out[-1] = replace(line, text="- " + line.text, x0=before.x0)
        else:
            out.append(line)
    return out


def _same_paragraph(group: Sequence[Line], line: Line, right: float) -> bool:
    last = group[-1]
    size = max(last.size, line.size)
    if abs(last.size - line.size) > 0.12 * size or (last.bold != line.bold and len(group) == 1 and _short(last, right)):
        return False
    if last.y0 - 0.3 * size <= line.y0 <= last.y0 + 0.3 * size:
        return line.x0 >= last.x1 - size  # further right on the same line
    gap = line.y0 - last.y1
    if gap > 0.9 * size or line.y0 < last.y0:
        return False
    if line.x0 > last.x1 or line.x1 < last.x0 or _BULLET.match(line.text) or heading_level(line.text):
        return False
    if heading_level(last.text) and len(group) == 1:
        return False
    if _BULLET.match(group[0].text) and line.x0 > group[0].x0 + 0.3 * size:
        return True  # hanging indent of a list item
    indented = line.x0 - min(entry.x0 for entry in group) > 0.8 * size
    if _TERMINAL.search(last.text) and (indented or _short(last, right)):
        return False
    return not (indented and len(group) > 1 and not _BULLET.match(group[0].text))


def _short(line: Line, right: float) -> bool:
    return line.x1 < right - 0.12 * max(1.0, right - line.x0) - line.size


def _table_rows(lines: Sequence[Line], start: int) -> int:
    """How many lines from `start` on are rows of one table: two or more cells whose columns begin alike."""
    first = lines[start]
    if len(first.cells) < 2:
        return 0
    count = 1
    while start + count < len(lines):
        line = lines[start + count]
        near = sum(1 for x in line.starts if any(abs(x - y) < 2 * first.size for y in first.starts))
        if len(line.cells) < 2 or near < 2 or line.y0 <= lines[start + count - 1].y0:
            break
        count += 1
    return count if count > 2 or (count == 2 and len(first.cells) > 2) else 0


def _table(lines: Sequence[Line]) -> Block:
    from ingest.parsers.delimited import looks_like_header

    rows = [[cell(value) for value in line.cells] for line in lines]
    texts = [" | ".join(row) for row in rows]
    headed = looks_like_header(rows[0], rows[1:]) and len(rows[0]) >= max(len(row) for row in rows[1:])
    return Block(
        BlockKind.TABLE, "\n".join(texts[1:] if headed else texts), _place(lines), header=texts[0] if headed else ""
    )


def _paragraph(lines: Sequence[Line], levels: dict[float, int], body: float) -> list[Block]:
    if not lines:
        return []
    text = join_lines([line.text for line in lines])
    level = _level(lines, text, levels, body)
    if level:
        return [Block(BlockKind.HEADING, text, _place(lines), level)]
    kind = BlockKind.LIST if _BULLET.match(text) else BlockKind.PARAGRAPH
    return [Block(kind, text, _place(lines))]


def _level(lines: Sequence[Line], text: str, levels: dict[float, int], body: float) -> int:
    if len(text) > 120 or len(lines) > 3 or not any(ch.isalpha() for ch in text):
        return 0
    size = levels.get(_rounded(lines[0].size), 0)
    if size and not _NO_HEADING_END.search(text):
        return size
    named = heading_level(text)
    if named:
        return min(6, len(set(levels.values())) + named) if levels else named
    bold = len(lines) == 1 and lines[0].bold and lines[0].size >= body - 0.6
    if bold and len(text) <= 80 and not _NO_HEADING_END.search(text) and not _TERMINAL.search(text):
        return min(6, len(set(levels.values())) + 1)
    return 0


def _lists_joined(blocks: list[Block]) -> list[Block]:
    """Items that follow one another become one list."""
    out: list[Block] = []
    for block in blocks:
        if out and block.kind is BlockKind.LIST and out[-1].kind is BlockKind.LIST:
            merged = _union(out[-1].locator, block.locator)
            out[-1] = replace(out[-1], text=f"{out[-1].text}\n{block.text}", locator=merged)
        else:
            out.append(block)
    return out


def _place(lines: Sequence[Line]) -> Locator:
    page = lines[0].page
    box = Box(
        page,
        min(line.x0 for line in lines),
        min(line.y0 for line in lines),
        max(line.x1 for line in lines),
        max(line.y1 for line in lines),
    )
    return Locator(page=page, page_end=page, boxes=(box,))


def _union(first: Locator, second: Locator) -> Locator:
    boxes = first.boxes + second.boxes
    if len(boxes) == 2 and boxes[0].page == boxes[1].page:
        a, b = boxes
        boxes = (Box(a.page, min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1)),)
    return replace(first, page_end=second.page_end, boxes=boxes)


def _continues(before: Block, after: Block) -> bool:
    if before.kind is not BlockKind.PARAGRAPH or after.kind is not BlockKind.PARAGRAPH:
        return False
    return not _TERMINAL.search(before.text) and bool(_HAN_OR_LOWER.match(after.text)) and len(before.text) > 20


def _joined(before: Block, after: Block) -> Block:
    place = replace(before.locator, page_end=after.locator.page_end, boxes=before.locator.boxes + after.locator.boxes)
    return replace(before, text=join_lines([before.text, after.text]), locator=place)
