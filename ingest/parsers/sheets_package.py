"""What the zip of an xlsx file says beside its cells: formats, hidden rows, drawings, comments, core properties."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.types import Block
from ingest.clean import cell, collapse
from ingest.parsers.chart_xml import chart_blocks
from ingest.parsers.picture_alt import picture_text
from ingest.parsers.sheets_binary import WORKBOOK, sheet_relations
from ingest.parsers.sheets_format import BUILT_IN

_CELL = re.compile(rb"<(?:\w+:)?c ([^>]*?)/?>")
_PLACE = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')
_STYLE = re.compile(rb'\bs="([0-9]{1,6})"')
_ROW = re.compile(rb"<(?:\w+:)?row ([^>]*?)>")
_COLUMN = re.compile(rb"<(?:\w+:)?col ([^>]*?)/?>")
_HIDDEN = re.compile(rb'\bhidden="(?:1|true)"')
_COLOURED = re.compile(rb"<(?:\w+:)?(?:conditionalFormatting|tableParts|drawing|legacyDrawing|picture)\b")
_PIECE = 1 << 20
_CHART_ROWS = 50
"""Points above which a chart's figures are not repeated: they stand in cells."""
_EMBED = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}embed"
_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}t"
_PARAGRAPH = "{http://schemas.openxmlformats.org/drawingml/2006/main}p"


@dataclass(slots=True)
class SheetFacts:
    """Of one sheet. formats: by (row, column) from 0, the cells whose format matters. white: cells nobody sees.

    pictures: what each says by its author's words, and its part. files: parts of embedded files.
    readings: how texts in Han characters are read aloud (furigana), by text.
    """

    formats: dict[tuple[int, int], str] = field(default_factory=dict)
    white: set[tuple[int, int]] = field(default_factory=set)
    hidden_rows: int = 0
    hidden_columns: int = 0
    boxes: list[str] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    charts: list[Block] = field(default_factory=list)
    comments: list[tuple[str, str]] = field(default_factory=list)
    readings: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


class Package:
    """Reads parts of an xlsx on demand. A part that is damaged counts as absent: the cells are read without it."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._names = set(self._zip.namelist())
        self._sheets = self._sheet_paths()
        self._codes, self._white = self._styles()
        self._readings = self._phonetics()

    def close(self) -> None:
        self._zip.close()

    def metadata(self) -> dict[str, str]:
        """Title, author, created and modified, those that are set."""
        root = self._xml("docProps/core.xml")
        found: dict[str, str] = {}
        for name, tag in (("title", "title"), ("author", "creator"), ("created", "created"), ("modified", "modified")):
            element = root.find(f".//{{*}}{tag}") if root is not None else None
            if element is not None and element.text and element.text.strip():
                found[name] = element.text.strip()
        if found.get("author") == "openpyxl":
            del found["author"]
        return found

    def part(self, path: str) -> bytes:
        """Bytes of a part; empty for one that is absent or damaged."""
        try:
            return self._zip.read(path) if path in self._names else b""
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
            return b""

    def facts(self, sheet: str) -> SheetFacts:
        """Of the sheet of this name; empty ones for a sheet that is not found."""
        facts = SheetFacts(readings=self._readings)
        path = self._sheets.get(sheet, "")
        if path not in self._names:
            return facts
        if "/worksheets/" in path and path.endswith(".xml"):
            self._scan(path, facts)
        for kind, target in self._relations(path):
            if kind == "drawing":
                self._drawing(target, facts)
            elif kind in ("comments", "threadedComment"):
                self._comments(target, facts)
            elif kind in ("oleObject", "package"):
                facts.files.append(target)
        return facts

    def _sheet_paths(self) -> dict[str, str]:
        targets = {ident: target for ident, _, target in self._all_relations("xl/workbook.xml")}
        root = self._xml("xl/workbook.xml")
        if root is None:
            targets = {ident: target for ident, _, target in self._all_relations(WORKBOOK)}
            return {name: targets.get(ident, "") for name, ident in sheet_relations(self.part(WORKBOOK))}
        paths = {}
        for sheet in root.iter("{*}sheet"):
            ident = next((value for key, value in sheet.attrib.items() if key.endswith("}id")), "")
            paths[sheet.get("name", "")] = targets.get(ident, "")
        return paths

    def _styles(self) -> tuple[dict[int, str], set[int]]:
        """Format code by style number, of those that matter, and the styles that are white on white."""
        root = self._xml("xl/styles.xml")
        if root is None:
            return {}, set()
        own = {fmt.get("numFmtId", ""): fmt.get("formatCode", "") for fmt in root.iter("{*}numFmt")}
        fonts = [_white_font(font) for font in root.iterfind("./{*}fonts/{*}font")]
        fills = [_no_fill(fill) for fill in root.iterfind("./{*}fills/{*}fill")]
        codes: dict[int, str] = {}
        white: set[int] = set()
        for number, style in enumerate(root.iterfind("./{*}cellXfs/{*}xf")):
            ident = style.get("numFmtId", "0")
            code = own.get(ident, BUILT_IN.get(int(ident), "") if ident.isdecimal() else "")
            if code and code.lower() not in ("general", "@"):
                codes[number] = code
            if _at(fonts, style.get("fontId", "0")) and _at(fills, style.get("fillId", "0")):
                white.add(number)
        return codes, white

    def _phonetics(self) -> dict[str, str]:
        """Readings that Japanese Excel keeps beside texts; people search for names by them."""
        strings = "xl/sharedStrings.xml"
        if strings not in self._names or not self._mentions(strings, b"rPh"):
            return {}
        root = self._xml(strings)
        found: dict[str, str] = {}
        for one in root.iter("{*}si") if root is not None else ():
            reading, end = "", "0"
            for part in one.iterfind("./{*}rPh"):
                apart = " " if reading and part.get("sb") != end else ""
                reading, end = reading + apart + collapse("".join(part.itertext())), part.get("eb", "")
            text = "".join(node.text or "" for node in one.iterfind("./{*}t"))
            text += "".join(node.text or "" for node in one.iterfind("./{*}r/{*}t"))
            if reading and text:
                found.setdefault(cell(text), reading)
        return found

    def _mentions(self, path: str, word: bytes) -> bool:
        """Whether a part holds these bytes; read in pieces, for the list of texts may be large."""
        try:
            with self._zip.open(path) as file:
                tail = b""
                while piece := file.read(_PIECE):
                    if word in tail + piece:
                        return True
                    tail = piece[-len(word) :]
        except (zipfile.BadZipFile, OSError):
            return False
        return False

    def _scan(self, path: str, facts: SheetFacts) -> None:
        """One pass over the sheet's XML as bytes, in pieces: a sheet may have a million cells."""
        uncertain = False
        with self._zip.open(path) as file:
            tail = b""
            while piece := file.read(_PIECE):
                data = tail + piece
                end = data.rfind(b"<")
                data, tail = (data[:end], data[end:]) if end > 0 else (data, b"")
                if self._codes or self._white:
                    self._cells(data, facts)
                facts.hidden_rows += sum(1 for row in _ROW.findall(data) if _HIDDEN.search(row))
                facts.hidden_columns += sum(_columns(column) for column in _COLUMN.findall(data))
                uncertain = uncertain or bool(_COLOURED.search(data))
            uncertain = uncertain or bool(_COLOURED.search(tail))
        if uncertain:  # a table's style, a rule or a picture may put colour behind white letters
            facts.white.clear()

    def _cells(self, data: bytes, facts: SheetFacts) -> None:
        for attributes in _CELL.findall(data):
            styled = _STYLE.search(attributes)
            if styled is None:
                continue
            style = int(styled.group(1))
            code = self._codes.get(style)
            if code is None and style not in self._white:
                continue
            place = _PLACE.search(attributes)
            if place is None:
                continue
            spot = (int(place.group(2)) - 1, _column_index(place.group(1)))
            if code is not None:
                facts.formats[spot] = code
            if style in self._white:
                facts.white.add(spot)

    def _drawing(self, path: str, facts: SheetFacts) -> None:
        root = self._xml(path)
        targets = {ident: target for ident, _, target in self._all_relations(path)}
        for shape in root.iter("{*}sp", "{*}pic") if root is not None else ():
            if shape.tag.endswith("}pic"):
                properties, blip = shape.find(".//{*}cNvPr"), shape.find(".//{*}blip")
                words = picture_text(properties.get("descr", "") if properties is not None else "")
                facts.pictures.append((words, targets.get(blip.get(_EMBED, "") if blip is not None else "", "")))
                continue
            lines = ("".join(node.text or "" for node in p.iter(_TEXT)) for p in shape.iter(_PARAGRAPH))
            words = "\n".join(line for line in map(collapse, lines) if line)
            if words:
                facts.boxes.append(words)
        for kind, target in self._relations(path):
            if kind == "chart":
                facts.charts.extend(self._chart(target))
            elif kind == "diagramData":
                diagram = self._xml(target)
                found = [collapse(node.text or "") for node in diagram.iter(_TEXT)] if diagram is not None else []
                facts.boxes.extend(["\n".join(filter(None, found))] if any(found) else [])

    def _chart(self, path: str) -> list[Block]:
        from lxml import etree

        try:
            blocks = chart_blocks(self._zip.read(path)) if path in self._names else []
        except (etree.XMLSyntaxError, zipfile.BadZipFile, OSError):
            return []
        return [block for block in blocks if block.text.count("\n") < _CHART_ROWS]

    def _comments(self, path: str, facts: SheetFacts) -> None:
        root = self._xml(path)
        for one in root.iter("{*}comment", "{*}threadedComment") if root is not None else ():
            words = collapse("".join(node.text or "" for node in one.iter("{*}t", "{*}text") if not len(node)))
            if words and not words.startswith("[Threaded comment]"):
                facts.comments.append((one.get("ref", ""), words))

    def _relations(self, path: str) -> Iterator[tuple[str, str]]:
        for _, kind, target in self._all_relations(path):
            yield kind, target

    def _all_relations(self, path: str) -> Iterator[tuple[str, str, str]]:
        """(id, kind, path of the part) of each relation of a part to another in the package."""
        folder, name = posixpath.split(path)
        root = self._xml(f"{folder}/_rels/{name}.rels")
        for relation in root if root is not None else ():
            if relation.get("TargetMode") == "External":
                continue
            target = relation.get("Target", "")
            whole = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
            yield relation.get("Id", ""), relation.get("Type", "").rpartition("/")[2], whole

    def _xml(self, path: str) -> Any:
        from lxml import etree

        if path not in self._names:
            return None
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
        try:
            return etree.fromstring(self._zip.read(path), parser)
        except (etree.XMLSyntaxError, zipfile.BadZipFile, OSError, ValueError):
            return None


def open_package(path: Path) -> Package | None:
    """The package of an xlsx or xlsb file; None for other spreadsheets and for a zip that cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not {"xl/workbook.xml", WORKBOOK} & set(archive.namelist()):
                return None
        return Package(path)
    except (zipfile.BadZipFile, OSError, ValueError):
        return None


def _white_font(font: Any) -> bool:
    color = font.find("./{*}color")
    if color is None:
        return False
    if color.get("rgb"):
        return str(color.get("rgb"))[-6:].upper() == "FFFFFF"
    return color.get("theme") == "0" and float(color.get("tint", "0")) >= 0


def _no_fill(fill: Any) -> bool:
    pattern = fill.find("./{*}patternFill")
    return pattern is not None and pattern.get("patternType", "none") == "none"


def _at(flags: list[bool], index: str) -> bool:
    return index.isdecimal() and int(index) < len(flags) and flags[int(index)]


def _columns(attributes: bytes) -> int:
    """Columns that a hidden `col` covers; one that reaches to the sheet's end counts once."""
    if not _HIDDEN.search(attributes):
        return 0
    first, last = (re.search(rb'\b%s="([0-9]{1,5})"' % name, attributes) for name in (b"min", b"max"))
    count = int(last.group(1)) - int(first.group(1)) + 1 if first and last else 1
    return count if 0 < count < 1000 else 1


def _column_index(letters: bytes) -> int:
    value = 0
    for letter in letters:
        value = value * 26 + letter - ord("A") + 1
    return value - 1
