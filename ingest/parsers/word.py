"""Word (docx): headings, paragraphs, lists with their numbers, tables and pictures, in document order."""

from __future__ import annotations

import re
from typing import Any

from core.errors import DocumentError, UnreadableError
from core.types import Block, BlockKind, HiddenText, Locator, ParsedDocument, Reading
from ingest.archive import check_expansion
from ingest.clean import collapse, tidy
from ingest.parsers.chart_xml import chart_blocks
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.embedded import embedded_files
from ingest.parsers.enclosed import EnclosedReader, Gathered, own_title
from ingest.parsers.macros import macro_blocks
from ingest.parsers.office_metadata import core_metadata
from ingest.parsers.office_open import open_word
from ingest.parsers.old_office import ConversionNeededError
from ingest.parsers.picture_alt import picture_text
from ingest.parsers.picture_ocr import PictureLetters
from ingest.parsers.plain import heading_level
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.word_content import (
    W,
    cells_of,
    content,
    pictures,
    rows_of,
    run_text,
    runs,
    shape_words,
    text_boxes,
    width_of,
)
from ingest.parsers.word_numbering import Numbering
from ingest.parsers.word_visibility import Visibility

_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_PAGE_OF = re.compile(r"\b(?:page|seite|of|von)\b|第|页|頁|共", re.IGNORECASE)
_LEAST_MARGIN = 2
"""Letters beside the words of page numbers from which on a header says something."""
_HEADING_NAME = re.compile(r"^(?:heading|标题|標題|überschrift|titre)\s*([1-9])$", re.IGNORECASE)


def parse(source: Source) -> ParsedDocument:
    """Blocks of the body without deleted and hidden text; notes, comments, headers and the files in it come last."""
    check_expansion(source.path, source.name, source.limits.max_expanded_bytes)
    try:
        document = open_word(source.path)
        reader = _Reader(document, source)
        reader.read(document.element.body)
        reader.notes()
        reader.margins()
        title = str(document.core_properties.title or "")
        metadata = core_metadata(document.core_properties)
        reader.files()
        reader.gathered.add(macro_blocks(source.path))
    except (DocumentError, ConversionNeededError, MemoryError):
        raise
    except Exception as error:  # python-docx raises whatever its XML leads it to
        raise UnreadableError(
            f"Cannot read {source.name!r}: the Word file is damaged.",
            "Open it in Word or LibreOffice, save it again and add that.",
        ) from error
    reader.gathered.readings.append(reader.reading())
    return ParsedDocument(
        blocks=(*reader.blocks, *reader.gathered.blocks),
        media_type="application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        title=own_title(title, reader.blocks, reader.gathered, source),
        metadata=metadata,
        problems=(*reader.letters.problems(), *reader.gathered.problems),
        reading=reader.gathered.reading(),
    )


class _Reader:
    def __init__(self, document: Any, source: Source) -> None:
        self.document = document
        self.letters = PictureLetters(source)
        self.gathered = Gathered()
        self.enclosed = EnclosedReader(source, self.gathered)
        self.blocks: list[Block] = []
        self.items: list[str] = []
        self.hidden: dict[Any, tuple[str, str]] = {}  # by run: a table's cells are looked at more than once
        self.pictures = self.pictures_without_text = 0
        self.numbering = Numbering(document)
        self.visibility = Visibility(document)
        self.levels: dict[str, int] = {}

    def read(self, container: Any) -> None:
        for element in content(container):
            if element.tag == W + "p":
                self._paragraph(element)
            elif element.tag == W + "altChunk":
                self._flush()
                self._foreign(element)
            else:
                self._flush()
                self._table(element)
        self._flush()

    def files(self) -> None:
        """Files embedded in the document, each under a heading with its name."""
        for name, data in embedded_files([self.document.part]):
            self.enclosed.read(name, data, 2)
        self.enclosed.finish()

    def _foreign(self, chunk: Any) -> None:
        """A web page, RTF or other file that Word shows at this place as if it were its own text."""
        relation = self.document.part.rels.get(chunk.get(_RELATION, ""))
        if relation is not None and not relation.is_external:
            part = relation.target_part
            inline = Gathered()
            self.enclosed.into(inline).insert(str(part.partname).rpartition("/")[2], part.blob)
            self.blocks.extend(inline.blocks)
            self.gathered.problems.extend(inline.problems)
            self.gathered.readings.extend(inline.readings)

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
        for box in text_boxes(p):
            self.read(box)

    def _pictures(self, p: Any) -> None:
        """What the pictures of a paragraph say, by their author's words and by their letters; the figures of charts."""
        for description, relation in pictures(p):
            self.pictures += 1
            said = [Block(BlockKind.PICTURE, words)] if (words := picture_text(description)) else []
            if (read := self._letters(relation)) is not None:
                said.append(read)
            if said:
                self._flush()
            self.blocks.extend(said)
            self.pictures_without_text += not said
        for words in filter(None, map(picture_text, shape_words(p))):
            self._flush()
            self.blocks.append(Block(BlockKind.PICTURE, words))
        for chart in p.iter(_CHART):
            relation = self.document.part.rels.get(chart.get(_RELATION, ""))
            if relation is not None and not relation.is_external:
                self._flush()
                self.blocks.extend(chart_blocks(relation.target_part.blob))

    def _letters(self, relation_id: str) -> Block | None:
        relation = self.document.part.rels.get(relation_id)
        if relation is None or relation.is_external:
            return None
        return self.letters.read(relation.target_part.blob, Locator())

    def _is_caption(self, p: Any) -> bool:
        style = p.find(f"./{W}pPr/{W}pStyle")
        found = self.document.styles.element.get_by_id(style.get(W + "val", "")) if style is not None else None
        return found is not None and (found.name_val or "").lower() in ("caption", "题注", "題註")

    def _text(self, p: Any) -> str:
        parts: list[str] = []
        for run in runs(p):
            words = "".join(run_text(run))
            hidden = self.visibility.hidden_kind(run, p) if words.strip() and run.tag == W + "r" else ""
            if hidden:
                self.hidden[run] = (hidden, words)
                continue
            parts.append(words)
        return "".join(parts)

    def reading(self) -> Reading:
        """What was met in the document itself."""
        return Reading(
            pictures=self.pictures, pictures_without_text=self.pictures_without_text, hidden=self._hidden_text()
        )

    def _hidden_text(self) -> tuple[HiddenText, ...]:
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
        if (
            max((sum(map(width_of, cells_of(tr))) for tr in rows_of(table)), default=0) == 1
        ):  # a frame around running text
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
        for tr in rows_of(table):
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
        for tr in rows_of(table):
            values: list[str] = []
            for tc in cells_of(tr):
                column = len(values)
                merge = tc.find(f"./{W}tcPr/{W}vMerge")
                text = self._cell_text(tc)
                if merge is not None and merge.get(W + "val", "continue") == "continue":
                    text = above.get(column, text)
                above[column] = text
                values.extend([text, *([""] * (width_of(tc) - 1))])
            if any(values):
                rows.append(values)
        return rows


def _joined(label: str, text: str) -> str:
    return f"{label} {text}" if label else text


register(
    Parser(
        "docx",
        "Word (docx)",
        ("docx", "docm", "dotx", "dotm"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        parse,
    )
)
