"""What an RTF file says, put together: paragraphs, headings, lists and table rows in order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from core.types import Block, BlockKind
from ingest.clean import collapse, tidy
from ingest.parsers.delimited import looks_like_header, row_text

_BULLET = re.compile(r"^[^\w(（]*$")


@dataclass(slots=True)
class Frame:
    """A stretch of text by itself: the body, a footnote or a text box. `later`: blocks to follow the paragraph."""

    blocks: list[Block] = field(default_factory=list)
    later: list[Block] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    marker: str = ""
    merged_down: list[bool] = field(default_factory=list)

    def paragraph(self, level: int = 0, depth: int = 0) -> None:
        """The text so far is a paragraph, a heading of `level`, or an item of a list when it has a marker."""
        text, marker = _joined(self.parts), self.marker
        self.parts.clear()
        self.marker = ""
        if text:
            self._end_table()
            if marker and not level:
                lead = "- " if _BULLET.match(marker) else f"{marker} "
                self.items.append("  " * min(8, depth) + lead + text.replace("\n", " "))
            else:
                self._end_list()
                text = f"{marker} {text}" if marker and not _BULLET.match(marker) else text
                kind = BlockKind.HEADING if level else BlockKind.PARAGRAPH
                self.blocks.append(Block(kind, collapse(text) if level else text, level=level))
        if self.later:
            self._end_list()
            self.blocks += self.later
            self.later.clear()

    def cell(self) -> None:
        """The text so far is a cell of the row that is open."""
        text = _joined(self.parts).replace("\n", " ")
        self.cells.append(f"{self.marker} {text}" if self.marker and not _BULLET.match(self.marker) else text)
        self.parts.clear()
        self.marker = ""

    def row(self) -> None:
        """The cells so far are a row; a cell merged with the one above repeats its words."""
        if self.parts and _joined(self.parts):
            self.cell()
        above = self.rows[-1] if self.rows else []
        for index, down in enumerate(self.merged_down):
            if down and index < min(len(self.cells), len(above)) and not self.cells[index]:
                self.cells[index] = above[index]
        if any(self.cells):
            self._end_list()
            self.rows.append(self.cells)
        self.cells = []

    def finish(self) -> list[Block]:
        if self.cells:
            self.row()
        self.paragraph()
        self._end_table()
        self._end_list()
        return self.blocks

    def _end_list(self) -> None:
        if self.items:
            self.blocks.append(Block(BlockKind.LIST, "\n".join(self.items)))
            self.items = []

    def _end_table(self) -> None:
        rows, self.rows = self.rows, []
        if not rows:
            return
        if all(len(row) == 1 for row in rows):  # a frame around text
            self.blocks += [Block(BlockKind.PARAGRAPH, row[0]) for row in rows]
            return
        headed = looks_like_header(rows[0], rows[1:])
        lines = [row_text(row) for row in rows]
        header = lines[0] if headed else ""
        self.blocks.append(Block(BlockKind.TABLE, "\n".join(lines[1:] if headed else lines), header=header))


def _joined(parts: list[str]) -> str:
    text = "".join(parts)
    if any("\ud800" <= ch <= "\udfff" for ch in text):  # two escapes of one character
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return tidy(text)
