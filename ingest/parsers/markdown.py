"""Markdown: headings, paragraphs, lists, tables, code and front matter, with line ranges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from core.types import Block, BlockKind, HiddenText, Locator, ParsedDocument, Reading
from ingest.clean import collapse, tidy
from ingest.decode import decode
from ingest.parsers.delimited import row_text
from ingest.parsers.picture_alt import picture_text
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.webpage_visibility import PageStyle

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TOML_MATTER = re.compile(r"\A\+\+\+[ \t]*\n(.*?)\n\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
_PAIR = re.compile(r"^([A-Za-z_][\w-]*)\s*[:=]\s*(.+?)\s*$", re.MULTILINE)
_SHORTCODE = re.compile(r"\{\{[<%].*?[%>]\}\}", re.DOTALL)
_ATTRIBUTES = re.compile(r"\s*\{[:#.][^}]*\}\s*$")
_TAG = re.compile(r"<(?:[A-Za-z][^<>]{0,500}|/[A-Za-z][^<>]{0,80}|!--.{0,5000}?--)>", re.DOTALL)
_STYLED = re.compile(r"<([A-Za-z][\w-]{0,20})\b[^<>]*\b(?:style|hidden|color)\b[^<>]*>", re.IGNORECASE)
_WORDS = ("text", "code_inline")
_HIDDEN = re.compile(r"<(script|style|iframe)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL | re.IGNORECASE)


def parse(source: Source) -> ParsedDocument:
    """Blocks with `lines`; links and pictures give their text, HTML its visible words."""
    decoded = decode(source.path.read_bytes())
    text, metadata, skipped = _front_matter(decoded.text)
    reader = _read(text, skipped)
    dates = {"created": metadata["date"]} if "date" in metadata else {}
    return ParsedDocument(
        blocks=tuple(reader.blocks),
        media_type="text/markdown",
        title=metadata.get("title", ""),
        problems=decoded.problems,
        metadata={**metadata, **dates, "encoding": decoded.encoding},
        reading=Reading(
            pictures=reader.pictures, pictures_without_text=reader.silent_pictures, hidden=tuple(reader.hidden)
        ),
    )


def parse_text(text: str, skipped_lines: int = 0) -> list[Block]:
    """Blocks of Markdown text; `skipped_lines` is added to every line number."""
    return _read(text, skipped_lines).blocks


def _read(text: str, skipped_lines: int) -> _Reader:
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"maxNesting": 40}).enable(["table", "strikethrough"]).parse(text)
    reader = _Reader(skipped_lines)
    reader.read(tokens)
    return reader


def _front_matter(text: str) -> tuple[str, dict[str, str], int]:
    match = _FRONT_MATTER.match(text) or _TOML_MATTER.match(text)
    if not match:
        return text, {}, 0
    pairs = {key.lower(): value.strip("\"'") for key, value in _PAIR.findall(match.group(1))}
    return text[match.end() :], pairs, text[: match.end()].count("\n")


class _Reader:
    """Walks markdown-it's flat token list; nested lists become one block with indented items."""

    def __init__(self, skipped: int) -> None:
        self.blocks: list[Block] = []
        self.skipped = skipped
        self.pictures = self.silent_pictures = 0
        self.hidden: list[HiddenText] = []

    def read(self, tokens: Sequence[Any]) -> None:
        index = 0
        while index < len(tokens):
            token = tokens[index]
            end = _closing(tokens, index)
            if token.type == "heading_open":
                self._add(BlockKind.HEADING, _plain(self._inline(tokens[index + 1])), token, int(token.tag[1]))
            elif token.type == "paragraph_open":
                self._add(BlockKind.PARAGRAPH, tidy(self._inline(tokens[index + 1])), token)
            elif token.type in ("bullet_list_open", "ordered_list_open"):
                self._list(tokens[index : end + 1], token)
            elif token.type == "table_open":
                self._table(tokens[index : end + 1], token)
            elif token.type in ("fence", "code_block"):
                self._add(BlockKind.CODE, token.content.rstrip("\n"), token)
            elif token.type == "html_block":
                self._html(token)
            elif token.type == "blockquote_open":
                self.read(tokens[index + 1 : end])
            index = end + 1

    def _add(self, kind: BlockKind, text: str, token: Any, level: int = 0, header: str = "") -> None:
        if not text.strip():
            return
        start, end = token.map or (0, 0)
        place = Locator(lines=(start + 1 + self.skipped, max(start + 1, end) + self.skipped))
        self.blocks.append(Block(kind, text, place, level, header))

    def _list(self, tokens: Sequence[Any], opening: Any) -> None:
        lines: list[str] = []
        depth = 0
        markers: list[str] = []
        for token in tokens:
            if token.type.endswith("list_open"):
                depth += 1
            elif token.type.endswith("list_close"):
                depth -= 1
            elif token.type == "list_item_open":
                markers.append(f"{token.info}{token.markup} " if token.info else "- ")
            elif token.type == "inline":
                text = _plain(self._inline(token))
                lead = markers.pop() if markers else "  "
                markers.clear()
                if text:
                    lines.append("  " * (depth - 1) + lead + text)
            elif token.type in ("fence", "code_block"):
                lines.extend("  " * depth + line for line in token.content.rstrip("\n").split("\n"))
        self._add(BlockKind.LIST, "\n".join(lines), opening)

    def _table(self, tokens: Sequence[Any], opening: Any) -> None:
        rows: list[list[str]] = []
        for token in tokens:
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline" and rows:
                rows[-1].append(_plain(self._inline(token)))
        header = row_text(rows[0]) if rows else ""
        body = "\n".join(text for text in map(row_text, rows[1:]) if text)
        self._add(BlockKind.TABLE, body or header, opening, header=header if body else "")

    def _html(self, token: Any) -> None:
        markup = _HIDDEN.sub(" ", _SHORTCODE.sub(" ", token.content))
        if not _TAG.search(markup):
            self._add(BlockKind.PARAGRAPH, tidy(markup), token)
            return
        from ingest.parsers.webpage import read_markup

        blocks, reading = read_markup(markup)
        for block in blocks:
            self._add(block.kind, block.text, token, block.level, block.header)
        self.pictures += reading.pictures
        self.silent_pictures += reading.pictures_without_text
        self.hidden.extend(reading.hidden)

    def _inline(self, token: Any) -> str:
        """Words of an inline token: link text, picture descriptions, code; no addresses, no tags, nothing hidden."""
        parts: list[str] = []
        children = token.children or ()
        at = 0
        while at < len(children):
            child = children[at]
            at += 1
            if child.type == "html_inline" and _STYLED.match(child.content):
                end = _closing_tag(children, at)
                kind = self._hides(child.content)
                if kind:
                    words = collapse(" ".join(one.content for one in children[at:end] if one.type in _WORDS))
                    if words:
                        self.hidden.append(HiddenText(kind, len(words), words[:80]))
                    at = end
            elif child.type == "image":
                words = picture_text(child.content)
                self.pictures += 1
                self.silent_pictures += not words
                parts.append(words)
            elif child.type in _WORDS:
                parts.append(child.content)
            elif child.type in ("softbreak", "hardbreak") or child.content.lower().startswith("<br"):
                parts.append("\n")
        return _ATTRIBUTES.sub("", _SHORTCODE.sub("", "".join(parts)))

    def _hides(self, tag: str) -> str:
        """How an opening tag hides what follows it; empty when it does not."""
        from lxml import etree, html

        try:
            element = html.fragment_fromstring(tag)
        except (etree.ParserError, etree.XMLSyntaxError):
            return ""
        return PageStyle(element).hidden_kind(element)


def _closing(tokens: Sequence[Any], index: int) -> int:
    """Index of the token that closes the one at `index` (itself when it does not nest)."""
    if tokens[index].nesting != 1:
        return index
    depth = 0
    for position in range(index, len(tokens)):
        depth += tokens[position].nesting
        if depth == 0:
            return position
    return len(tokens) - 1


def _closing_tag(children: Sequence[Any], at: int) -> int:
    """Place after the tag that closes the one before `at`; the end when it is never closed."""
    name = _STYLED.match(children[at - 1].content)
    depth = 1
    for place in range(at, len(children)):
        content = children[place].content.lower() if children[place].type == "html_inline" else ""
        if name and content.startswith(f"</{name.group(1).lower()}"):
            depth -= 1
            if not depth:
                return place + 1
        elif name and re.match(rf"<{name.group(1).lower()}\b[^>]*(?<!/)>", content):
            depth += 1
    return len(children)


def _plain(text: str) -> str:
    return collapse(text)


register(Parser("markdown", "Markdown (md)", ("md", "markdown", "mdown", "mkd"), "text/markdown", parse))
