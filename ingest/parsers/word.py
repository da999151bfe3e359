"""Word (docx): headings, paragraphs, lists with their numbers, and tables, in document order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from core.errors import UnreadableError
from core.types import Block, BlockKind, ParsedDocument, Problem
from ingest.archive import check_expansion
from ingest.clean import tidy
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.plain import heading_level
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.word_numbering import Numbering

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_ALTERNATE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_HEADING_NAME = re.compile(r"^(?:heading|标题|標題|überschrift|titre)\s*([1-9])$", re.IGNORECASE)


def parse(source: Source) -> ParsedDocument:
    """Blocks of the body; headers, footers, deleted and hidden text are left out, footnotes come last."""
    import docx

    check_expansion(source.path, source.name, source.limits.max_expanded_bytes)
    try:
        document = docx.Document(str(source.path))
        reader = _Reader(document)
        reader.read(document.element.body)
        reader.footnotes()
        title = str(document.core_properties.title or "")
    except Exception as error:  # python-docx raises whatever its XML leads it to
        raise UnreadableError(
            f"Cannot read {source.name!r}: the Word file is damaged ({type(error).__name__}).",
            "Open it in Word or LibreOffice, save it again and add that.",
        ) from error
    problems = []
    if reader.hidden:
        problems.append(Problem("hidden_text", f"Hidden text was left out: {reader.hidden[0][:80]!r}."))
    return ParsedDocument(
        blocks=tuple(reader.blocks),
        media_type="application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        title=title,
        problems=tuple(problems),
    )


class _Reader:
    def __init__(self, document: Any) -> None:
        self.document = document
        self.blocks: list[Block] = []
        self.items: list[str] = []
        self.hidden: list[str] = []
        self.numbering = Numbering(document)
        self.levels: dict[str, int] = {}

    def read(self, container: Any) -> None:
        for element in _content(container):
            if element.tag == W + "p":
                self._paragraph(element)
            else:
                self._flush()
                self._table(element)
        self._flush()

    def footnotes(self) -> None:
        """Footnotes and endnotes as paragraphs at the end."""
        from lxml import etree

        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
        for relation in self.document.part.rels.values():
            if relation.is_external or not relation.reltype.endswith(("/footnotes", "/endnotes")):
                continue
            for note in etree.fromstring(relation.target_part.blob, parser):
                text = tidy("\n".join(self._text(p) for p in note.iter(W + "p")))
                if text and note.get(W + "type") is None:
                    self.blocks.append(Block(BlockKind.PARAGRAPH, text))

    def _flush(self) -> None:
        if self.items:
            self.blocks.append(Block(BlockKind.LIST, "\n".join(self.items)))
            self.items = []

    def _paragraph(self, p: Any) -> None:
        text = tidy(self._text(p))
        level = self._level(p) or heading_level(text)
        label, depth = self.numbering.label(p) if text else ("", 0)
        if text and level:
            self._flush()
            self.blocks.append(Block(BlockKind.HEADING, _joined(label, text.replace("\n", " ")), level=level))
        elif text and label:
            self.items.append("  " * min(depth, 6) + _joined(label, text.replace("\n", " ")))
        elif text:
            self._flush()
            self.blocks.append(Block(BlockKind.PARAGRAPH, text))
        for box in _text_boxes(p):
            self.read(box)

    def _text(self, p: Any) -> str:
        parts: list[str] = []
        for run in _runs(p):
            words = "".join(_run_text(run))
            vanish = run.find(f"./{W}rPr/{W}vanish")
            if vanish is not None and vanish.get(W + "val") not in ("0", "false"):
                if words.strip():
                    self.hidden.append(words.strip())
                continue
            parts.append(words)
        return "".join(parts)

    def _level(self, p: Any) -> int:
        """1–6 for headings, by outline level or style; 0 for the rest."""
        outline = p.find(f"./{W}pPr/{W}outlineLvl")
        if outline is not None:
            value = int(outline.get(W + "val", "9"))
            return value + 1 if value < 6 else 0
        style = p.find(f"./{W}pPr/{W}pStyle")
        return self._style_level(style.get(W + "val", "")) if style is not None else 0

    def _style_level(self, style_id: str) -> int:
        if style_id not in self.levels:
            self.levels[style_id] = self._find_level(style_id)
        return self.levels[style_id]

    def _find_level(self, style_id: str) -> int:
        seen: set[str] = set()
        while style_id and style_id not in seen:
            seen.add(style_id)
            style = self.document.styles.element.get_by_id(style_id)
            if style is None:
                return 0
            name = style.name_val or ""
            match = _HEADING_NAME.match(name)
            if match:
                return min(6, int(match.group(1)))
            if name.lower() in ("title", "标题", "標題"):
                return 1
            outline = style.find(f"./{W}pPr/{W}outlineLvl")
            if outline is not None:
                value = int(outline.get(W + "val", "9"))
                return value + 1 if value < 6 else 0
            based = style.find(f"./{W}basedOn")
            style_id = based.get(W + "val", "") if based is not None else ""
        return 0

    def _table(self, table: Any) -> None:
        rows = self._rows(table)
        if not rows:
            return
        if max(len(row) for row in rows) == 1:  # a frame around running text
            for cell in table.iter(W + "tc"):
                if cell.getparent().getparent() is table:
                    self.read(cell)
            return
        first = next(iter(table.iterchildren(W + "tr")))
        marked = first.find(f"./{W}trPr/{W}tblHeader") is not None
        headed = len(rows) > 1 and (marked or looks_like_header(rows[0], rows[1:]))
        lines = [row_text(row) for row in rows]
        header = lines[0] if headed else ""
        self.blocks.append(Block(BlockKind.TABLE, "\n".join(lines[1:] if header else lines), header=header))

    def _rows(self, table: Any) -> list[list[str]]:
        """Cell texts; a vertically merged cell is repeated in each row, a horizontally merged one stands once."""
        rows: list[list[str]] = []
        above: dict[int, str] = {}
        for tr in table.iterchildren(W + "tr"):
            values: list[str] = []
            for tc in _cells(tr):
                column = len(values)
                merge = tc.find(f"./{W}tcPr/{W}vMerge")
                text = " ".join(tidy(self._text(p)).replace("\n", " ") for p in tc.iter(W + "p")).strip()
                if merge is not None and merge.get(W + "val", "continue") == "continue":
                    text = above.get(column, text)
                above[column] = text
                span = tc.find(f"./{W}tcPr/{W}gridSpan")
                wide = int(span.get(W + "val", "1")) if span is not None else 1
                values.extend([text, *([""] * (min(wide, 100) - 1))])
            if any(values):
                rows.append(values)
        return rows


def _joined(label: str, text: str) -> str:
    return f"{label} {text}" if label else text


def _content(container: Any) -> Iterator[Any]:
    """Paragraphs and tables in order, also inside content controls and insertions."""
    for child in container.iterchildren():
        if child.tag in (W + "p", W + "tbl"):
            yield child
        elif child.tag in (W + "sdt", W + "sdtContent", W + "ins", W + "customXml", W + "smartTag"):
            yield from _content(child)


def _cells(tr: Any) -> Iterator[Any]:
    for child in tr.iterchildren():
        if child.tag == W + "tc":
            yield child
        elif child.tag in (W + "sdt", W + "sdtContent"):
            yield from _cells(child)


def _runs(p: Any) -> Iterator[Any]:
    """Runs of a paragraph and its links, in order, without deleted ones."""
    for child in p.iterchildren():
        if child.tag == W + "r":
            yield child
        elif child.tag in (W + "del", W + "moveFrom", W + "pPr"):
            continue
        elif isinstance(child.tag, str):
            if child.tag.startswith("{http://schemas.openxmlformats.org/officeDocument/2006/math}"):
                yield child
            else:
                yield from _runs(child)


def _run_text(run: Any) -> Iterator[str]:
    if run.tag != W + "r":
        yield from (node.text or "" for node in run.iter(_MATH))
        return
    for child in run.iterchildren():
        if child.tag == W + "t":
            yield child.text or ""
        elif child.tag in (W + "tab", W + "ptab"):
            yield "\t"
        elif child.tag in (W + "br", W + "cr"):
            yield "\n"
        elif child.tag == W + "noBreakHyphen":
            yield "-"
        elif child.tag == W + "sym":
            yield " "


def _text_boxes(p: Any) -> Iterator[Any]:
    """Contents of text boxes anchored in a paragraph; the fallback copy for old programs is skipped."""
    for box in p.iter(W + "txbxContent"):
        ancestors = {ancestor.tag for ancestor in box.iterancestors()}
        if _ALTERNATE + "Fallback" not in ancestors:
            outer = next(box.iterancestors(W + "p"))
            if outer is p:
                yield box


register(
    Parser(
        "docx",
        "Word (docx)",
        ("docx", "docm", "dotx", "dotm"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        parse,
    )
)
