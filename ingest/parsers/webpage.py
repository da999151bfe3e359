"""HTML: visible headings, paragraphs, lists, tables and code; scripts, navigation and hidden parts left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from core.text import HAN
from core.types import Block, BlockKind, HiddenText, ParsedDocument, Reading
from ingest.clean import collapse, join_lines, tidy
from ingest.decode import decode
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.picture_alt import picture_text
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.webpage_visibility import PageStyle

_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)|<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]+)""", re.I
)
_DROPPED = frozenset(
    {"script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "canvas", "nav", "head", "select"}
    | {"button", "input", "textarea", "datalist", "dialog", "audio", "video", "map"}
)
_BLOCK = frozenset(
    {"address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt", "fieldset"}
    | {"figcaption", "figure", "footer", "form", "header", "hr", "html", "main", "p", "section", "summary", "td", "th"}
    | {"tr", "tbody", "thead", "tfoot", "caption", "legend", "li", "ul", "ol", "menu", "table"}
)
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_LISTS = frozenset({"ul", "ol", "menu"})
_META = {"author": "author", "article:author": "author", "dc.creator": "author", "date": "created"} | dict.fromkeys(
    ("article:published_time", "dc.date", "dcterms.created", "pubdate"), "created"
)
_META |= dict.fromkeys(("article:modified_time", "last-modified", "dcterms.modified"), "modified")
_LEAST_ALT = 4
"""Characters of a picture's description from which on it says something; icons have `x` or `→`."""
_SCRIPT = re.compile(r"<(script|style|title|nav)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,2000}>")
_NAV_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "dialog"})


def parse(source: Source) -> ParsedDocument:
    """Blocks of the visible page, headings by h1–h6; a charset in the page is used when the bytes agree."""
    data = source.path.read_bytes()
    match = _CHARSET.search(data[:8192])
    decoded = decode(data, (match.group(1) or match.group(2)).decode("ascii", "replace") if match else "")
    root = _tree(decoded.text)
    problems = list(decoded.problems)
    if root is None:
        return ParsedDocument((), "text/html", problems=tuple(problems))
    walker = _Walker(PageStyle(root), drop_navigation=True)
    walker.walk(root)
    if not walker.blocks:
        walker.blocks = _without_tags(decoded.text)
    if sum(len(block.text) for block in walker.blocks) < 40:
        everything = _Walker(PageStyle(root), drop_navigation=False)
        everything.walk(root)
        walker = everything if len(everything.blocks) > len(walker.blocks) else walker
    title = root.find(".//title")
    return ParsedDocument(
        blocks=tuple(walker.blocks),
        media_type="text/html",
        title=_title(title),
        problems=tuple(problems),
        metadata={**_metadata(root), "encoding": decoded.encoding},
        reading=walker.reading(),
    )


def _metadata(root: Any) -> dict[str, str]:
    """Author and dates of meta elements, the first of each."""
    found: dict[str, str] = {}
    for meta in root.iter("meta"):
        name = _META.get((meta.get("name") or meta.get("property") or "").lower())
        words = collapse(meta.get("content") or "")
        if name and words:
            found.setdefault(name, words[:200])
    return found


def _title(element: Any) -> str:
    """Words of the title element, in which markup is plain text to a browser."""
    return "" if element is None else collapse(_TAG.sub(" ", _SCRIPT.sub(" ", str(element.text_content()))))


def read_markup(markup: str) -> tuple[list[Block], Reading]:
    """Blocks of a piece of HTML, e.g. inside Markdown, and what it hides. Locators are empty."""
    root = _tree(markup)
    if root is None:
        return [], Reading()
    walker = _Walker(PageStyle(root), drop_navigation=False)
    walker.walk(root)
    return walker.blocks, walker.reading()


def blocks_of_markup(markup: str) -> list[Block]:
    """As `read_markup`, the blocks alone."""
    return read_markup(markup)[0]


def _tree(text: str) -> Any:
    from lxml import etree, html

    parser = html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False)
    text = text.replace("\x00", "")
    try:
        return html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        return None


def _without_tags(text: str) -> list[Block]:
    """For markup nested deeper than libxml2 follows: the words between the tags."""
    import html

    text = _TAG.sub(" ", _SCRIPT.sub(" ", text))
    paragraphs = (collapse(html.unescape(part)) for part in text.split("\n\n"))
    return [Block(BlockKind.PARAGRAPH, part) for part in paragraphs if part]


class _Walker:
    """One pass over the tree without recursion; a buffer of inline text is flushed at every block border."""

    def __init__(self, style: PageStyle, drop_navigation: bool) -> None:
        self.style = style
        self.blocks: list[Block] = []
        self.hidden: list[HiddenText] = []
        self.pictures: list[str] = []
        self.waiting: list[str] = []
        self.drop_navigation = drop_navigation
        self.parts: list[str] = []
        self.items: list[str] = []
        self.depth = 0
        self.heading = 0
        self.marker = ""
        self.caption = False

    def walk(self, root: Any) -> None:
        from lxml import etree

        walker = etree.iterwalk(root, events=("start", "end"))
        for event, element in walker:
            tag = element.tag if isinstance(element.tag, str) else ""
            if event == "start":
                if not tag or self._dropped(element, tag) or self._whole(element, tag):
                    walker.skip_subtree()
                    continue
                self._open(element, tag)
                self.parts.append(element.text or "")
            else:
                self._close(element, tag)
                if element is not root:
                    self.parts.append(element.tail or "")
        self._flush()
        self._flush_list()

    def _dropped(self, element: Any, tag: str) -> bool:
        if tag in _DROPPED and (tag != "nav" or self.drop_navigation):
            return True
        if self.drop_navigation:
            if element.get("role", "") in _NAV_ROLES:
                return True
            if tag == "footer" and element.getparent() is not None and element.getparent().tag == "body":
                return True
        kind = self.style.hidden_kind(element)
        if kind:
            words = collapse(element.text_content())
            if words:
                self.hidden.append(HiddenText(kind, len(words), words[:80]))
            return True
        return False

    def reading(self) -> Reading:
        """Pictures and hidden text of the page."""
        silent = sum(1 for words in self.pictures if not words)
        return Reading(pictures=len(self.pictures), pictures_without_text=silent, hidden=tuple(self.hidden))

    def _picture(self, element: Any) -> None:
        """A picture's description follows the paragraph it stands in; the same one is read once."""
        if any(_span_of(element.get(name)) in (0, 1) for name in ("width", "height")):
            return  # a pixel that counts visits
        words = picture_text(element.get("alt") or "")
        words = words if len(words) >= _LEAST_ALT or HAN.search(words) else ""
        if words and words not in self.pictures:
            self.waiting.append(words)
        self.pictures.append(words)

    def _whole(self, element: Any, tag: str) -> bool:
        """Elements handled with everything inside them."""
        if tag == "pre":
            self._flush()
            text = element.text_content().strip("\n")
            if text.strip():
                self.blocks.append(Block(BlockKind.CODE, text))
            return True
        if tag == "table" and not self._is_layout(element):
            self._flush()
            self._flush_list()
            self._table(element)
            return True
        return False

    @staticmethod
    def _is_layout(table: Any) -> bool:
        if table.find(".//table") is not None or any(table.find(f".//{tag}") is not None for tag in _HEADINGS):
            return True
        return max((len(row.findall("./td") + row.findall("./th")) for row in table.iter("tr")), default=0) < 2

    def _table(self, table: Any) -> None:
        caption = table.find("./caption")
        if caption is not None and collapse(caption.text_content()):
            self.blocks.append(Block(BlockKind.CAPTION, collapse(caption.text_content())))
        rows: list[list[str]] = []
        headed = False
        spans: dict[int, tuple[int, str]] = {}
        for row in table.iter("tr"):
            cells = [child for child in row if child.tag in ("td", "th")]
            if not rows and cells and (all(child.tag == "th" for child in cells) or row.getparent().tag == "thead"):
                headed = True
            values = _row(cells, spans, self._cell)
            if any(values):
                rows.append(values)
        if not rows:
            return
        headed = headed or looks_like_header(rows[0], rows[1:])
        lines = [row_text(row) for row in rows]
        header = lines[0] if headed and len(lines) > 1 else ""
        self.blocks.append(Block(BlockKind.TABLE, "\n".join(lines[1:] if header else lines), header=header))

    def _cell(self, element: Any) -> str:
        """Words of a table cell without what it hides; descriptions of its pictures stand among them."""
        from lxml import etree

        parts: list[str] = []
        walker = etree.iterwalk(element, events=("start", "end"))
        for event, inner in walker:
            tag = inner.tag if isinstance(inner.tag, str) else ""
            if event == "start":
                if not tag or (inner is not element and self._dropped(inner, tag)):
                    walker.skip_subtree()
                    continue
                if tag == "img":
                    self._picture(inner)
                    parts.extend(f" {words} " for words in self.waiting)
                    self.waiting.clear()
                parts.append(" " if tag == "br" or (tag in _BLOCK and inner is not element) else "")
                parts.append(inner.text or "")
            elif inner is not element:
                parts.append(" " if tag in _BLOCK else "")
                parts.append(inner.tail or "")
        return collapse("".join(parts))

    def _open(self, element: Any, tag: str) -> None:
        if tag in _HEADINGS:
            self._flush()
            self._flush_list()
            self.heading = _HEADINGS[tag]
        elif tag in _LISTS:
            self._flush()
            self.depth += 1
        elif tag == "li":
            self._flush()
            self.marker = _marker(element)
        elif tag == "br":
            self.parts.append("\x00")
        elif tag == "img":
            self._picture(element)
        elif tag in _BLOCK:
            self._flush()
            self.caption = tag == "figcaption"

    def _close(self, element: Any, tag: str) -> None:
        if tag in _HEADINGS:
            text = collapse("".join(self.parts).replace("\x00", " "))
            self.parts.clear()
            if text:
                self.blocks.append(Block(BlockKind.HEADING, text, level=self.heading))
            self.heading = 0
        elif tag in _LISTS:
            self._flush()
            self.depth = max(0, self.depth - 1)
            if not self.depth:
                self._flush_list()
        elif tag in _BLOCK:
            self._flush()
            self.caption = False

    def _flush(self) -> None:
        """The buffer becomes a paragraph, or an item of the list that is open. \\x00 stands for <br>."""
        if self.heading:
            return
        lines = "".join(self.parts).split("\x00")
        self.parts.clear()
        text = tidy("\n".join(join_lines(line.split("\n")) for line in lines))
        if text:
            self._text(text)
        if self.waiting and not self.depth:
            self.blocks.extend(Block(BlockKind.PICTURE, words) for words in self.waiting)
            self.waiting.clear()

    def _text(self, text: str) -> None:
        if self.depth:
            lead = "  " * (self.depth - 1)
            self.items.append(lead + (self.marker or "  ") + text.replace("\n", " "))
            self.marker = ""
        else:
            kind = BlockKind.CAPTION if self.caption else BlockKind.PARAGRAPH
            self.blocks.append(Block(kind, text))

    def _flush_list(self) -> None:
        if self.items:
            self.blocks.append(Block(BlockKind.LIST, "\n".join(self.items)))
            self.items = []


def _marker(item: Any) -> str:
    parent = item.getparent()
    if parent is None or parent.tag != "ol":
        return "- "
    number = 1 + sum(1 for sibling in item.itersiblings("li", preceding=True))
    return f"{number}. "


def _row(cells: list[Any], spans: dict[int, tuple[int, str]], text_of: Callable[[Any], str]) -> list[str]:
    """Values of a row; a cell that spans rows is repeated in each, one that spans columns stands once."""
    values: list[str] = []
    waiting = list(cells)
    while waiting or len(values) in spans:
        column = len(values)
        if column in spans:
            left, text = spans.pop(column)
            if left > 1:
                spans[column] = (left - 1, text)
            values.append(text)
            continue
        child = waiting.pop(0)
        text = text_of(child)
        wide, tall = _span(child.get("colspan")), _span(child.get("rowspan"))
        if tall > 1:
            spans[column] = (tall - 1, text)
        values.extend([text, *([""] * (wide - 1))])
    return values


def _span_of(value: str | None) -> int | None:
    """A width in pixels, None where it says none."""
    return int(value) if value and value.strip().isdecimal() else None


def _span(value: str | None) -> int:
    return min(100, int(value)) if value and value.strip().isdecimal() and int(value) > 0 else 1


register(Parser("html", "HTML", ("html", "htm", "xhtml"), "text/html", parse))
