"""Word (docx): headings, paragraphs, lists with their numbers, tables and pictures, in document order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from core.errors import UnreadableError
from core.types import Block, BlockKind, HiddenText, ParsedDocument, Reading
from ingest.archive import check_expansion
from ingest.clean import collapse, tidy
from ingest.parsers.chart_xml import chart_blocks
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.office_metadata import core_metadata
from ingest.parsers.picture_alt import picture_text
from ingest.parsers.plain import heading_level
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.word_numbering import Numbering
from ingest.parsers.word_visibility import Visibility

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_ALTERNATE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_ANCHORED = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
_PICTURE = "{http://schemas.openxmlformats.org/drawingml/2006/picture}pic"
_VML_IMAGE = "{urn:schemas-microsoft-com:vml}imagedata"
_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_PAGE_OF = re.compile(r"\b(?:page|seite|of|von)\b|第|页|頁|共", re.IGNORECASE)
_LEAST_MARGIN = 2
"""Letters beside the words of page numbers from which on a header says something."""
_HEADING_NAME = re.compile(r"^(?:heading|标题|標題|überschrift|titre)\s*([1-9])$", re.IGNORECASE)


def parse(source: Source) -> ParsedDocument:
    """Blocks of the body without deleted and hidden text; notes, comments, and each header once, come last."""
    import docx

    check_expansion(source.path, source.name, source.limits.max_expanded_bytes)
    try:
        document = docx.Document(str(source.path))
        reader = _Reader(document)
        reader.read(document.element.body)
        reader.notes()
        reader.margins()
        title = str(document.core_properties.title or "")
        metadata = core_metadata(document.core_properties)
    except Exception as error:  # python-docx raises whatever its XML leads it to
        raise UnreadableError(
            f"Cannot read {source.name!r}: the Word file is damaged ({type(error).__name__}).",
            "Open it in Word or LibreOffice, save it again and add that.",
        ) from error
    return ParsedDocument(
        blocks=tuple(reader.blocks),
        media_type="application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        title=title,
        metadata=metadata,
        reading=Reading(
            pictures=reader.pictures,
            pictures_without_text=reader.pictures_without_text,
            hidden=reader.hidden_text(),
        ),
    )


class _Reader:
    def __init__(self, document: Any) -> None:
        self.document = document
        self.blocks: list[Block] = []
        self.items: list[str] = []
        self.hidden: dict[Any, tuple[str, str]] = {}  # by run: a table's cells are looked at more than once
        self.pictures = self.pictures_without_text = 0
        self.numbering = Numbering(document)
        self.visibility = Visibility(document)
        self.levels: dict[str, int] = {}

    def read(self, container: Any) -> None:
        for element in _content(container):
            if element.tag == W + "p":
                self._paragraph(element)
            else:
                self._flush()
                self._table(element)
        self._flush()

    def notes(self) -> None:
        """Footnotes, endnotes and comments as paragraphs at the end."""
        from lxml import etree

        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
        for relation in self.document.part.rels.values():
            kind = relation.reltype.rpartition("/")[2]
            if relation.is_external or kind not in ("footnotes", "endnotes", "comments"):
                continue
            for note in etree.fromstring(relation.target_part.blob, parser):
                text = tidy("\n".join(self._text(p) for p in note.iter(W + "p")))
                if text and note.get(W + "type") is None:
                    author = note.get(W + "author", "") if kind == "comments" else ""
                    self.blocks.append(Block(BlockKind.PARAGRAPH, f"{author}: {text}" if author else text))

    def margins(self) -> None:
        """What headers and footers say, each once, unless it is a page number or stands in the text."""
        said = {block.text for block in self.blocks}
        for relation in self.document.part.rels.values():
            if relation.is_external or relation.reltype.rpartition("/")[2] not in ("header", "footer"):
                continue
            root = relation.target_part.element
            text = collapse(" ".join(tidy(self._text(p)) for p in root.iter(W + "p")))
            if text and text not in said and sum(ch.isalpha() for ch in _PAGE_OF.sub("", text)) >= _LEAST_MARGIN:
                said.add(text)
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
            kind = BlockKind.CAPTION if self._is_caption(p) else BlockKind.PARAGRAPH
            self.blocks.append(Block(kind, text))
        self._pictures(p)
        for box in _text_boxes(p):
            self.read(box)

    def _pictures(self, p: Any) -> None:
        """The descriptions that the author gave to pictures of a paragraph, and the figures of its charts."""
        for words in map(picture_text, _descriptions(p)):
            self.pictures += 1
            if words:
                self._flush()
                self.blocks.append(Block(BlockKind.PICTURE, words))
            else:
                self.pictures_without_text += 1
        for chart in p.iter(_CHART):
            relation = self.document.part.rels.get(chart.get(_RELATION, ""))
            if relation is not None and not relation.is_external:
                self._flush()
                self.blocks.extend(chart_blocks(relation.target_part.blob))

    def _is_caption(self, p: Any) -> bool:
        style = p.find(f"./{W}pPr/{W}pStyle")
        found = self.document.styles.element.get_by_id(style.get(W + "val", "")) if style is not None else None
        return found is not None and (found.name_val or "").lower() in ("caption", "题注", "題註")

    def _text(self, p: Any) -> str:
        parts: list[str] = []
        for run in _runs(p):
            words = "".join(_run_text(run))
            hidden = self.visibility.hidden_kind(run, p) if words.strip() and run.tag == W + "r" else ""
            if hidden:
                self.hidden[run] = (hidden, words)
                continue
            parts.append(words)
        return "".join(parts)

    def hidden_text(self) -> tuple[HiddenText, ...]:
        """What was left out; runs of one kind in a row are one."""
        found: list[tuple[str, str]] = []
        for kind, words in self.hidden.values():
            words = found.pop()[1] + words if found and found[-1][0] == kind else words
            found.append((kind, words))
        return tuple(HiddenText(kind, len(collapse(words)), collapse(words)[:80]) for kind, words in found)

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
        if max((sum(map(_wide, _cells(tr))) for tr in _rows_of(table)), default=0) == 1:  # a frame around running text
            for cell in table.iter(W + "tc"):
                if cell.getparent().getparent() is table:
                    self.read(cell)
            return
        rows = self._rows(table)
        if not rows:
            return
        for tc in table.iter(W + "tc"):
            for p in tc.iterchildren(W + "p"):
                self._pictures(p)
        marked = self._header_rows(table)
        headed = marked or int(looks_like_header(rows[0], rows[1:]))
        headed = headed if headed < len(rows) else 0
        lines = [row_text(row) for row in rows]
        self.blocks.append(Block(BlockKind.TABLE, "\n".join(lines[headed:]), header="\n".join(lines[:headed])))

    def _header_rows(self, table: Any) -> int:
        """Rows at the top that Word repeats on every page; those without text are not counted."""
        count = 0
        for tr in _rows_of(table):
            mark = tr.find(f"./{W}trPr/{W}tblHeader")
            if mark is None or mark.get(W + "val") in ("0", "false", "off"):
                break
            count += any(self._text(p).strip() for p in tr.iter(W + "p"))
        return count

    def _cell_text(self, tc: Any) -> str:
        parts: list[str] = []
        for p in tc.iter(W + "p"):
            text = tidy(self._text(p)).replace("\n", " ")
            label = self.numbering.label(p)[0] if text else ""
            parts.append(_joined("" if label == "-" else label, text))
        return " ".join(part for part in parts if part).strip()

    def _rows(self, table: Any) -> list[list[str]]:
        """Cell texts; a vertically merged cell is repeated in each row, a horizontally merged one stands once."""
        rows: list[list[str]] = []
        above: dict[int, str] = {}
        for tr in _rows_of(table):
            values: list[str] = []
            for tc in _cells(tr):
                column = len(values)
                merge = tc.find(f"./{W}tcPr/{W}vMerge")
                text = self._cell_text(tc)
                if merge is not None and merge.get(W + "val", "continue") == "continue":
                    text = above.get(column, text)
                above[column] = text
                values.extend([text, *([""] * (_wide(tc) - 1))])
            if any(values):
                rows.append(values)
        return rows


def _joined(label: str, text: str) -> str:
    return f"{label} {text}" if label else text


def _wide(tc: Any) -> int:
    """Columns that a cell covers."""
    span = tc.find(f"./{W}tcPr/{W}gridSpan")
    value = span.get(W + "val", "1") if span is not None else "1"
    return min(100, int(value)) if value.isdecimal() and int(value) > 0 else 1


def _content(container: Any) -> Iterator[Any]:
    """Paragraphs and tables in order, also inside content controls and insertions."""
    for child in container.iterchildren():
        if child.tag in (W + "p", W + "tbl"):
            yield child
        elif child.tag in (W + "sdt", W + "sdtContent", W + "ins", W + "customXml", W + "smartTag"):
            yield from _content(child)


def _rows_of(table: Any) -> Iterator[Any]:
    """Rows in order, also inside content controls and insertions, without those that were deleted."""
    for child in table.iterchildren():
        if child.tag == W + "tr":
            if child.find(f"./{W}trPr/{W}del") is None:
                yield child
        elif child.tag in (W + "sdt", W + "sdtContent", W + "ins", W + "customXml"):
            yield from _rows_of(child)


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
        elif child.tag == W + "ruby":
            word, reading = _words(child.find(W + "rubyBase")), _words(child.find(W + "rt"))
            yield f"{word} ({reading})" if word and reading else word or reading


def _words(element: Any) -> str:
    return "" if element is None else "".join(node.text or "" for node in element.iter(W + "t"))


def _descriptions(p: Any) -> Iterator[str]:
    """The alternative text, perhaps empty, of each picture of a paragraph; text boxes' own pictures are theirs."""
    for shape in p.iter(_PICTURE, _VML_IMAGE):
        around = list(shape.iterancestors())
        if any(one.tag == _ALTERNATE + "Fallback" for one in around):
            continue
        if next((one for one in around if one.tag == W + "p"), None) is not p:
            continue
        if shape.tag == _VML_IMAGE:
            owner = shape.getparent()
            yield owner.get("alt", "") if owner is not None else ""
            continue
        holder = next((one for one in around if one.tag.startswith(_ANCHORED)), None)
        frame = holder.find(f"./{_ANCHORED}docPr") if holder is not None else None
        own = shape.find(".//{*}cNvPr")
        found = (one.get("descr", "") for one in (own, frame) if one is not None)
        yield next((words for words in found if words.strip()), "")


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
