"""One file to a parsed document: sniff, parse, clean, cap, title. Runs inside a parser child."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from core.errors import DocumentTooLargeError, EmptyDocumentError
from core.types import Block, BlockKind, ParsedDocument, Problem
from ingest.clean import clean, collapse, hides_text, holds_blob
from ingest.parsers import Limits, Source
from ingest.sniff import sniff

MAX_TITLE = 200
MAX_PROBLEMS = 200
_MARKS = re.compile(r"^#{1,6} ")
_POOR_TITLE = re.compile(
    r"^(?:untitled.*|无标题.*|未命名.*|powerpoint presentation|powerpoint 演示文稿|word document|document\d*|文档\d*|"
    r"presentation\d*|microsoft (?:word|powerpoint|excel)\b.*|"
    r".*\.(?:docx?|pptx?|xlsx?|pdf|indd|tex|dvi|wps|html?|qxd|ai|cdr)|"
    r"slide \d+|幻灯片 \d+|[\W\d_]*)$",
    re.IGNORECASE,
)


def parse_file(path: Path, name: str, limits: Limits, max_bytes: int) -> ParsedDocument:
    """The blocks of a file.

    Raises:
        DocumentError: of the fitting kind; the message names the file.
    """
    size = path.stat().st_size
    if size > max_bytes:
        raise DocumentTooLargeError(
            f"Cannot ingest {name!r}: {size / 1e6:.0f} MB is over the {max_bytes / 1e6:.0f} MB limit.",
            "Raise ALIOTH_INGEST__MAX_FILE_MB or split the file.",
        )
    parsed = sniff(path, name).parse(Source(path, name, limits))
    return finish(parsed, Source(path, name, limits))


def finish(parsed: ParsedDocument, source: Source) -> ParsedDocument:
    """Clean every block, drop empty ones, cap the text, choose the title.

    Raises:
        EmptyDocumentError: nothing is left.
    """
    problems = list(parsed.problems)
    blocks = _capped(_cleaned(parsed.blocks, problems), source.limits.max_chars, problems)
    if not any(any(ch.isalnum() for ch in block.text + block.header) for block in blocks):
        raise _empty(source.name, problems)
    title = choose_title(parsed.title, blocks, source)
    if len(problems) > MAX_PROBLEMS:
        more = len(problems) - MAX_PROBLEMS
        problems = [*problems[:MAX_PROBLEMS], Problem("more_problems", f"{more} further problems are not listed.")]
    return replace(parsed, blocks=tuple(blocks), title=title, problems=tuple(problems))


def _cleaned(blocks: tuple[Block, ...], problems: list[Problem]) -> list[Block]:
    out: list[Block] = []
    hidden = blob = False
    for block in blocks:
        hidden = hidden or hides_text(block.text)
        blob = blob or holds_blob(block.text)
        text, header = clean(block.text).strip("\n"), clean(block.header)
        if text.strip():
            if block.kind is BlockKind.HEADING:
                text = _MARKS.sub("", text)
            changed = text is not block.text or header is not block.header
            out.append(replace(block, text=text, header=header) if changed else block)
    if hidden:
        problems.append(Problem("hidden_text", "A message in invisible characters was left out."))
    if blob:
        problems.append(Problem("binary_left_out", "Long runs of encoded data were left out."))
    return out


def _capped(blocks: list[Block], max_chars: int, problems: list[Problem]) -> list[Block]:
    total = 0
    for index, block in enumerate(blocks):
        total += len(block.text)
        if total > max_chars:
            problems.append(Problem("cut_off", f"Only the first {max_chars:,} characters were read. Split the file."))
            kept = block.text[: max(0, len(block.text) - (total - max_chars))]
            return [*blocks[:index], *([replace(block, text=kept)] if kept.strip() else [])]
    return blocks


def _empty(name: str, problems: list[Problem]) -> EmptyDocumentError:
    scanned = any(problem.code == "page_without_text" for problem in problems)
    if scanned:
        return EmptyDocumentError(
            f"Cannot ingest {name!r}: no page has text, and OCR found none.",
            "If the pages are scanned, scan them again at 300 dpi or run them through an OCR program first.",
        )
    return EmptyDocumentError(
        f"Cannot ingest {name!r}: it holds no text.", "Check that it was saved or exported whole."
    )


def choose_title(own: str, blocks: list[Block], source: Source) -> str:
    """The file's own title unless a program made it up, else the first heading near the start, else the file's name."""
    own = collapse(clean(own))
    if own and not _POOR_TITLE.match(own):
        return own[:MAX_TITLE]
    for block in blocks[:10]:
        if block.kind is BlockKind.HEADING and not block.locator.sheet and any(ch.isalpha() for ch in block.text):
            return collapse(block.text)[:MAX_TITLE]
    return clean(source.stem)[:MAX_TITLE]


def document_text(parsed: ParsedDocument) -> str:
    """The text that `chars` of chunks count in: blocks in order, tables under their header, blank lines between."""
    return "\n\n".join(block_text(block) for block in parsed.blocks)


def block_text(block: Block) -> str:
    """A block's text; a table's header rows stand above."""
    return f"{block.header}\n{block.text}" if block.header else block.text
