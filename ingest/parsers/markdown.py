"""Markdown: headings, paragraphs, lists, tables, code and front matter, with line ranges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from core.types import Block, BlockKind, Locator, ParsedDocument
from ingest.clean import collapse, tidy
from ingest.decode import decode
from ingest.parsers.delimited import row_text
from ingest.parsers.registry import Parser, Source, register

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TOML_MATTER = re.compile(r"\A\+\+\+[ \t]*\n(.*?)\n\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
_PAIR = re.compile(r"^([A-Za-z_][\w-]*)\s*[:=]\s*(.+?)\s*$", re.MULTILINE)
_SHORTCODE = re.compile(r"\{\{[<%].*?[%>]\}\}", re.DOTALL)
_ATTRIBUTES = re.compile(r"\s*\{[:#.][^}]*\}\s*$")
_TAG = re.compile(r"<(?:[A-Za-z][^<>]{0,500}|/[A-Za-z][^<>]{0,80}|!--.{0,5000}?--)>", re.DOTALL)
_HIDDEN = re.compile(r"<(script|style|iframe)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL | re.IGNORECASE)


def parse(source: Source) -> ParsedDocument:
    """Blocks with `lines`; links and pictures give their text, HTML its visible words."""
    decoded = decode(source.path.read_bytes())
    text, metadata, skipped = _front_matter(decoded.text)
    blocks = parse_text(text, skipped)
    return ParsedDocument(
        blocks=tuple(blocks),
        media_type="text/markdown",
        title=metadata.get("title", ""),
        problems=decoded.problems,
        metadata={**metadata, "encoding": decoded.encoding},
    )


def parse_text(text: str, skipped_lines: int = 0) -> list[Block]:
    """Blocks of Markdown text; `skipped_lines` is added to every line number."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"maxNesting": 40}).enable(["table", "strikethrough"]).parse(text)
    reader = _Reader(skipped_lines)
    reader.read(tokens)
    return reader.blocks


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

    def read(self, tokens: Sequence[Any]) -> None:
        index = 0
        while index < len(tokens):
            token = tokens[index]
            end = _closing(tokens, index)
            if token.type == "heading_open":
                self._add(BlockKind.HEADING, _plain(_inline(tokens[index + 1])), token, int(token.tag[1]))
            elif token.type == "paragraph_open":
                self._add(BlockKind.PARAGRAPH, tidy(_inline(tokens[index + 1])), token)
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
                text = _plain(_inline(token))
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
                rows[-1].append(_plain(_inline(token)))
        header = row_text(rows[0]) if rows else ""
        body = "\n".join(text for text in map(row_text, rows[1:]) if text)
        self._add(BlockKind.TABLE, body or header, opening, header=header if body else "")

    def _html(self, token: Any) -> None:
        markup = _HIDDEN.sub(" ", token.content)
        if "<table" in markup.lower() or "<li" in markup.lower() or "<h" in markup.lower():
            from ingest.parsers.webpage import blocks_of_markup

            for block in blocks_of_markup(markup):
                self._add(block.kind, block.text, token, block.level, block.header)
            return
        import html

        self._add(BlockKind.PARAGRAPH, tidy(html.unescape(_TAG.sub(" ", _SHORTCODE.sub(" ", markup)))), token)


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


def _inline(token: Any) -> str:
    """Words of an inline token: link text, picture descriptions, code; no addresses, no tags."""
    parts: list[str] = []
    for child in token.children or ():
        if child.type in ("text", "code_inline", "image"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak") or child.content.lower().startswith("<br"):
            parts.append("\n")
    return _ATTRIBUTES.sub("", _SHORTCODE.sub("", "".join(parts)))


def _plain(text: str) -> str:
    return collapse(text)


register(Parser("markdown", "Markdown (md)", ("md", "markdown", "mdown", "mkd"), "text/markdown", parse))
