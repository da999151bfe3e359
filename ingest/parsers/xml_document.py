"""XML that is a text for people (DocBook, TEI, JATS, DITA, Word's and ODF's flat XML): headings, paragraphs, tables."""

from __future__ import annotations

from typing import Any

from core.types import Block, BlockKind
from ingest.clean import collapse, tidy
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.xml_tree import name_of, words

MAX_DEPTH = 200
_PARAGRAPHS = frozenset({"p", "para", "simpara", "paragraph", "ab", "l", "shortdesc", "formalpara", "speech"})
_TITLES = frozenset({"title", "head", "heading", "h", "article-title", "bridgehead", "subtitle"})
_LISTS = frozenset({"itemizedlist", "orderedlist", "list", "ul", "ol", "simplelist", "variablelist", "steps"})
_ITEMS = frozenset({"listitem", "item", "li", "member", "step", "list-item", "varlistentry"})
_TABLES = frozenset({"table", "informaltable", "tbl", "simpletable"})
_ROWS = frozenset({"row", "tr", "strow", "sthead", "table-row"})
_CELLS = frozenset({"entry", "td", "th", "tc", "cell", "stentry", "table-cell"})
_CODE = frozenset({"programlisting", "screen", "code", "codeblock", "pre", "literallayout", "verbatim"})
_CAPTIONS = frozenset({"caption", "figDesc"})
_SECTIONS = frozenset(
    {"section", "sect1", "sect2", "sect3", "sect4", "sect5", "chapter", "part", "appendix", "preface", "div", "sec"}
    | {"topic", "article", "book", "div1", "div2", "div3", "simplesect", "body", "refsect1", "concept", "task"}
)
_LEFT_OUT = frozenset(
    {
        "styles",
        "automatic-styles",
        "master-styles",
        "settings",
        "scripts",
        "font-face-decls",
        "binData",
        "binaryData",
        "fldData",
    }
    | {"instrText", "sectPr", "pPr", "rPr", "tblPr", "trPr", "tcPr", "tblGrid", "bibliography-configuration", "fonts"}
    | {"docPr", "lists", "shapeDefaults", "ignoreSubtree", "DocumentProperties", "tracked-changes", "annotation", "del"}
)


def looks_like_document(root: Any) -> bool:
    """True for running text: paragraphs by a known name, or text with elements inside it."""
    paragraphs = mixed = leaves = 0
    for element in root.iter():
        name = name_of(element)
        if name in _PARAGRAPHS:
            paragraphs += 1
        has_text = bool(element.text and element.text.strip())
        if len(element) and (has_text or any(inner.tail and inner.tail.strip() for inner in element)):
            mixed += 1
        elif has_text:
            leaves += 1
    return paragraphs > 0 or mixed > 0.2 * leaves


class DocumentWalker:
    """Walks a tree of bounded depth; elements it does not know are containers, and leaves are paragraphs."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def walk(self, element: Any, level: int = 1, depth: int = 0) -> None:
        name = name_of(element)
        if not name or name in _LEFT_OUT:
            return
        if depth > MAX_DEPTH:
            self._add(BlockKind.PARAGRAPH, words(element))
        elif name in _TITLES:
            self._add(BlockKind.HEADING, words(element), _outline(element) or level)
        elif name in _PARAGRAPHS:
            self._paragraph(element, level, depth)
        elif name in _CODE and "\n" in "".join(element.itertext()):
            self._add(BlockKind.CODE, "".join(str(part) for part in element.itertext()).strip("\n"))
        elif name in _TABLES and any(name_of(inner) in _ROWS for inner in element.iter()):
            self._table(element)
        elif name in _LISTS and any(name_of(inner) in _ITEMS for inner in element):
            self._list(element, level, depth)
        elif name in _CAPTIONS:
            self._add(BlockKind.CAPTION, words(element))
        else:
            self._container(element, name, level, depth)

    def _container(self, element: Any, name: str, level: int, depth: int) -> None:
        inner_level = level + 1 if name in _SECTIONS and _titled(element) and depth else level
        blocky = any(len(inner) or name_of(inner) in _PARAGRAPHS | _TITLES for inner in element)
        own = (element.text or "").strip() or any((inner.tail or "").strip() for inner in element)
        if not len(element) or (own and not blocky):
            self._add(BlockKind.PARAGRAPH, words(element))
            return
        self._add(BlockKind.PARAGRAPH, collapse(element.text or ""))
        for inner in element:
            self.walk(inner, inner_level, depth + 1)
            self._add(BlockKind.PARAGRAPH, collapse(inner.tail or ""))

    def _paragraph(self, element: Any, level: int, depth: int) -> None:
        if any(name_of(inner) in _TABLES | _LISTS | _PARAGRAPHS | _CODE for inner in element.iterdescendants()):
            self._add(BlockKind.PARAGRAPH, collapse(element.text or ""))
            for inner in element:
                self.walk(inner, level, depth + 1)
                self._add(BlockKind.PARAGRAPH, collapse(inner.tail or ""))
            return
        heading = _office_heading(element)
        text = "".join(_pieces(element))
        self._add(BlockKind.HEADING if heading else BlockKind.PARAGRAPH, tidy(text), heading)

    def _list(self, element: Any, level: int, depth: int) -> None:
        items = []
        for item in element:
            if name_of(item) in _ITEMS:
                text = words(item)
                if text:
                    items.append(f"- {text}")
            else:
                self.walk(item, level, depth + 1)
        self._add(BlockKind.LIST, "\n".join(items))

    def _table(self, table: Any) -> None:
        for inner in table:
            if name_of(inner) in _TITLES | _CAPTIONS:
                self._add(BlockKind.CAPTION, words(inner))
        rows = []
        for row in (element for element in table.iter() if name_of(element) in _ROWS):
            cells = [collapse(" ".join(_pieces(inner))) for inner in row if name_of(inner) in _CELLS]
            if any(cells):
                rows.append(cells)
        if not rows:
            return
        marked = any(name_of(element) in ("thead", "sthead", "table-header-rows") for element in table.iter())
        headed = len(rows) > 1 and (marked or looks_like_header(rows[0], rows[1:]))
        lines = [row_text(row) for row in rows]
        text = "\n".join(lines[1:] if headed else lines)
        self.blocks.append(Block(BlockKind.TABLE, text, header=lines[0] if headed else ""))

    def _add(self, kind: BlockKind, text: str, level: int = 0) -> None:
        if text.strip():
            self.blocks.append(Block(kind, text, level=min(6, level)))


def _pieces(element: Any) -> list[str]:
    """Text of a paragraph; line breaks and tabs that the format writes as elements become characters."""
    out: list[str] = []
    skipped: Any = None
    for event, inner in _walked(element):
        name = name_of(inner)
        if event == "start":
            if skipped is None and name in _LEFT_OUT:
                skipped = inner
            if skipped is None:
                if name in ("br", "lb", "line-break"):
                    out.append("\n")
                elif name in ("tab", "s"):
                    out.append(" ")
                out.append(inner.text or "" if name else "")
        else:
            if skipped is inner:
                skipped = None
            if skipped is None and inner is not element:
                out.append(inner.tail or "")
    return out


def _walked(element: Any) -> Any:
    from lxml import etree

    return etree.iterwalk(element, events=("start", "end"))


def _titled(element: Any) -> bool:
    return any(
        name_of(inner) in _TITLES or (name_of(inner) in ("info", "front") and _titled(inner)) for inner in element
    )


def _outline(element: Any) -> int:
    """Level that flat ODF writes on its headings."""
    value = next((value for key, value in element.attrib.items() if key.endswith("outline-level")), "")
    return min(6, int(value)) if value.isdecimal() and len(value) < 3 else 0


def _office_heading(element: Any) -> int:
    """Level of a WordprocessingML paragraph by its style's name, or 0."""
    for style in element.iter():
        if name_of(style) == "pStyle":
            value = next(iter(style.attrib.values()), "").lower().replace(" ", "")
            if value.startswith("heading") and value[7:8].isdigit():
                return max(1, min(6, int(value[7])))
            return 1 if value == "title" else 0
        if name_of(style) in ("r", "t"):
            break
    return 0
