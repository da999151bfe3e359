"""XML: documents by their structure, feeds by entry, Excel's XML, drawings by their labels, the rest as records."""

from __future__ import annotations

from typing import Any

from core.errors import EmptyDocumentError, UnreadableError
from core.types import Block, BlockKind, Locator, ParsedDocument, Problem
from ingest.clean import tidy
from ingest.parsers.delimited import ROWS_PER_BLOCK, looks_like_header, row_text
from ingest.parsers.records import RecordWriter
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.webpage import blocks_of_markup
from ingest.parsers.xml_document import DocumentWalker, looks_like_document
from ingest.parsers.xml_tree import child, first, name_of, namespace_of, tree_of, words

MAX_DEPTH = 60
MAX_ATTRIBUTES = 500
"""Attributes of one element that are read."""
_SHEETS = "urn:schemas-microsoft-com:office:spreadsheet"
_FEEDS = frozenset({"rss", "feed", "RDF", "channel"})
_ENTRIES = frozenset({"item", "entry"})
_LABELS = frozenset({"text", "desc", "title", "p", "div"})
_BODIES = ("encoded", "content", "description", "summary")


def parse(source: Source) -> ParsedDocument:
    """Blocks without places, except sheet and cells of a workbook; title, author and date where the kind has them.

    Raises:
        UnreadableError: not XML at all. EmptyDocumentError: a drawing without words.
    """
    problems: list[Problem] = []
    root = tree_of(source.path.read_bytes(), problems)
    if root is None:
        raise UnreadableError(
            f"Cannot read {source.name!r}: it is not well-formed XML.",
            "Export it again from the program it comes from.",
        )
    blocks, media_type = _blocks(root, source)
    author, created = first(root, "creator", "author"), first(root, "pubDate", "published", "created")
    metadata = {"author": author if len(author) <= 100 else "", "created": created if len(created) <= 40 else ""}
    return ParsedDocument(
        blocks=tuple(blocks),
        media_type=media_type,
        title=_title(root),
        problems=tuple(problems),
        metadata={key: value for key, value in metadata.items() if value},
    )


def _blocks(root: Any, source: Source) -> tuple[list[Block], str]:
    kind = name_of(root)
    if kind == "svg":
        return _drawing(root, source), "image/svg+xml"
    if kind == "Workbook" and namespace_of(root) == _SHEETS:
        return _workbook(root), "application/xml"
    if kind in _FEEDS and any(name_of(element) in _ENTRIES for element in root.iter()):
        return _feed(root), "application/xml"
    if looks_like_document(root):
        walker = DocumentWalker()
        walker.walk(root)
        if walker.blocks:
            return walker.blocks, "application/xml"
    blocks: list[Block] = []
    RecordWriter(blocks.append).write(_value(root, 0))
    return blocks, "application/xml"


def _title(root: Any) -> str:
    """The document's own title; a record's title is not the file's."""
    channel = root if name_of(root) == "feed" else child(root, "channel")
    holder = channel if channel is not None else root
    found = child(holder, "title")
    if found is None:
        head = child(root, "info", "articleinfo", "bookinfo", "teiHeader", "front", "prolog", "DocumentProperties")
        return first(head, "title", "article-title", "Title") if head is not None else ""
    return words(found)


def _value(element: Any, depth: int) -> Any:
    """An element as nested data: attributes and children by name, like children as a list, a leaf as its text."""
    if depth > MAX_DEPTH:
        return words(element)
    children = [inner for inner in element if name_of(inner)]
    names = element.keys()[:MAX_ATTRIBUTES]  # each value costs a search through all of them
    out: dict[str, Any] = {name.rsplit("}", 1)[-1]: element.get(name) for name in names if element.get(name).strip()}
    for key in [name for name in out if name in ("schemaLocation", "noNamespaceSchemaLocation", "space", "base")]:
        del out[key]
    own = tidy("".join([element.text or "", *(inner.tail or "" for inner in element)]))
    if not children and not out:
        return own
    if own:
        out["text" if children or out else ""] = own
    for inner in children:
        name, value = name_of(inner), _value(inner, depth + 1)
        if name not in out:
            out[name] = value
        elif isinstance(out[name], _Many):
            out[name].append(value)
        else:
            out[name] = _Many([out[name], value])
    return out


class _Many(list[Any]):
    """Children of one name, told apart from a list that is a value."""


def _feed(root: Any) -> list[Block]:
    """News feeds: each entry under its title, the HTML of its body read as a page."""
    blocks: list[Block] = []
    channel = root if name_of(root) == "feed" else child(root, "channel")
    channel = root if channel is None else channel
    heading = child(channel, "title")
    if heading is not None and words(heading):
        blocks.append(Block(BlockKind.HEADING, words(heading), level=1))
    about = child(channel, "description", "subtitle")
    if about is not None and words(about):
        blocks += blocks_of_markup(_body(about))
    for entry in (element for element in root.iter() if name_of(element) in _ENTRIES):
        title = child(entry, "title")
        if title is not None and words(title):
            blocks.append(Block(BlockKind.HEADING, words(title), level=2))
        about_it = [f"{label}: {words(found)}" for label, found in _entry_facts(entry) if words(found)]
        if about_it:
            blocks.append(Block(BlockKind.PARAGRAPH, "\n".join(about_it)))
        body = next((found for found in (child(entry, name) for name in _BODIES) if found is not None), None)
        if body is not None and (words(body) or len(body)):
            blocks += blocks_of_markup(_body(body))
    return blocks


def _entry_facts(entry: Any) -> list[tuple[str, Any]]:
    wanted = (("Author", ("creator", "author")), ("Date", ("pubDate", "published", "date", "updated")))
    found = [(label, child(entry, *names)) for label, names in wanted]
    return [(label, element) for label, element in found if element is not None]


def _body(element: Any) -> str:
    """Markup of a body, whether it stands there escaped or as elements."""
    from lxml import etree

    if len(element):
        return str(etree.tostring(element, encoding="unicode", with_tail=False))
    return f"<div>{element.text or ''}</div>"


def _drawing(root: Any, source: Source) -> list[Block]:
    """The words in a drawing; its shapes say nothing to a reader of text."""
    blocks = []
    for element in root.iter():
        name = name_of(element)
        if name == "title" and name_of(element.getparent()) == "svg" and words(element):
            blocks.append(Block(BlockKind.HEADING, words(element), level=1))
        elif name in _LABELS and not any(name_of(above) in _LABELS for above in element.iterancestors()):
            blocks.append(Block(BlockKind.PICTURE, words(element)))
    blocks = [block for block in blocks if block.text]
    if not blocks:
        raise EmptyDocumentError(
            f"Cannot ingest {source.name!r}: the SVG drawing holds no words.", "Save it as PNG or PDF to have it read."
        )
    return blocks


def _workbook(root: Any) -> list[Block]:
    """Excel's XML of 2003, which many programs export under the name of an .xls file."""
    blocks: list[Block] = []
    for sheet in (element for element in root.iter() if name_of(element) == "Worksheet"):
        name = next((value for key, value in sheet.attrib.items() if key.endswith("Name")), "")
        rows = _rows(sheet)
        filled = [(number, row) for number, row in rows if any(row)]
        if not filled:
            continue
        blocks.append(Block(BlockKind.HEADING, name, Locator(sheet=name), 1))
        headed = looks_like_header(filled[0][1], [row for _, row in filled[1:]])
        header = row_text(filled[0][1]) if headed else ""
        filled = filled[1:] if headed else filled
        for start in range(0, len(filled), ROWS_PER_BLOCK):
            group = filled[start : start + ROWS_PER_BLOCK]
            last = _column(max(len(row) for _, row in group))
            place = Locator(sheet=name, cells=f"A{group[0][0]}:{last}{group[-1][0]}")
            blocks.append(Block(BlockKind.TABLE, "\n".join(row_text(row) for _, row in group), place, header=header))
    return blocks


def _rows(sheet: Any) -> list[tuple[int, list[str]]]:
    rows: list[tuple[int, list[str]]] = []
    number = 0
    for row in (element for element in sheet.iter() if name_of(element) == "Row"):
        number = _index(row) or number + 1
        values: list[str] = []
        for cell in (inner for inner in row if name_of(inner) == "Cell"):
            at = _index(cell) or len(values) + 1
            values += [""] * min(1000, at - 1 - len(values))
            data = child(cell, "Data")
            values.append(words(data) if data is not None else "")
        rows.append((number, values))
    return rows


def _index(element: Any) -> int:
    value = element.get(f"{{{_SHEETS}}}Index") or ""
    return int(value) if value.isdecimal() and len(value) < 8 else 0


def _column(number: int) -> str:
    name = ""
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(65 + rest) + name
    return name or "A"


register(Parser("xml", "XML", ("xml", "svg", "rss", "atom", "dita", "dbk", "fodt"), "application/xml", parse))
