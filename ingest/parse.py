"""One file to a parsed document: sniff, parse, clean, cap, title. Runs inside a parser child."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from core.errors import DocumentTooLargeError, EmptyDocumentError
from core.types import Block, BlockKind, HiddenText, ParsedDocument, Problem
from ingest.clean import clean, collapse, holds_blob, tag_message, zero_width
from ingest.parsers import Limits, Source
from ingest.parsers.stopwatch import OCR_TIME
from ingest.sniff import sniff

MAX_TITLE = 200
MAX_PROBLEMS = 200
MAX_HIDDEN = 1000
MANY_ZERO_WIDTH = 32
"""Zero-width characters on one page from which on they may carry a message (eight bits a letter)."""
_MACHINE_MADE = re.compile(
    r"(?<![0-9a-zA-Z])(?:(?=[0-9]*[a-fA-F])(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}|[0-9]{12,})(?![0-9a-zA-Z])"
)
"""A hash, UUID or serial number in a file's name: as a title it would only blur what the chunks are about."""
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
    recognising = OCR_TIME.seconds
    parsed = sniff(path, name).parse(Source(path, name, limits))
    spent = OCR_TIME.seconds - recognising
    if spent:
        parsed = replace(parsed, reading=replace(parsed.reading, ocr_seconds=spent))
    return finish(parsed, Source(path, name, limits))


def finish(parsed: ParsedDocument, source: Source) -> ParsedDocument:
    """Clean every block, drop empty ones, cap the text, choose the title, and say what was hidden.

    Raises:
        EmptyDocumentError: nothing is left.
    """
    problems = list(parsed.problems)
    hidden = [*parsed.reading.hidden, *_invisible(parsed.blocks)]
    blocks = _cleaned(parsed.blocks, problems)
    blocks, left_out = _capped(blocks, source.limits.max_chars, problems)
    problems.extend(_hidden_problems(hidden, problems))
    if not any(map(_says_something, (block.text + block.header for block in blocks))):
        raise _empty(source.name, problems)
    title = choose_title(parsed.title, blocks, source)
    if len(problems) > MAX_PROBLEMS:
        more = len(problems) - MAX_PROBLEMS
        problems = [*problems[:MAX_PROBLEMS], Problem("more_problems", f"{more} further problems are not listed.")]
    reading = replace(parsed.reading, hidden=tuple(hidden[:MAX_HIDDEN]), left_out=parsed.reading.left_out + left_out)
    return replace(parsed, blocks=tuple(blocks), title=title, problems=tuple(problems), reading=reading)


def _says_something(text: str) -> bool:
    """Whether a text has a letter, a digit or a pictograph; dashes and dots alone say nothing."""
    return any(ch.isalnum() or unicodedata.category(ch) == "So" for ch in text)


def _invisible(blocks: tuple[Block, ...]) -> list[HiddenText]:
    """Tag and zero-width characters by page; they are cleaned away with every other invisible character."""
    tags: dict[int | None, list[str]] = {}
    widths: dict[int | None, int] = {}
    for block in blocks:
        page = block.locator.page or block.locator.slide
        for text in (block.text, block.header):
            if message := tag_message(text):
                tags.setdefault(page, []).append(message)
            if count := zero_width(text):
                widths[page] = widths.get(page, 0) + count
    found = [HiddenText("tag", sum(map(len, parts)), " ".join(parts)[:80], page) for page, parts in tags.items()]
    return found + [HiddenText("zero_width", count, "", page) for page, count in widths.items()]


def _hidden_problems(hidden: list[HiddenText], known: list[Problem]) -> Iterator[Problem]:
    """One remark for each page and kind; a few zero-width characters, which word processors leave, are no message."""
    said = {(problem.page, problem.code) for problem in known}
    groups: dict[tuple[int | None, str], list[HiddenText]] = {}
    for one in hidden:
        if one.kind != "zero_width" or one.characters >= MANY_ZERO_WIDTH:
            groups.setdefault((one.page, one.kind), []).append(one)
    for (page, kind), found in groups.items():
        if (page, "hidden_text") in said:
            continue
        characters = sum(one.characters for one in found)
        sample = next((one.sample for one in found if one.sample), "")
        words = f"{characters} characters of hidden text ({kind.replace('_', ' ')}) were left out"
        yield Problem("hidden_text", f"{words}: {sample!r}." if sample else f"{words}.", page)


def _cleaned(blocks: tuple[Block, ...], problems: list[Problem]) -> list[Block]:
    out: list[Block] = []
    blob = False
    for block in blocks:
        blob = blob or holds_blob(block.text)
        text, header = clean(block.text).strip("\n"), clean(block.header)
        if text.strip():
            if block.kind is BlockKind.HEADING:
                text = _MARKS.sub("", text)
            changed = text is not block.text or header is not block.header
            out.append(replace(block, text=text, header=header) if changed else block)
    if blob:
        problems.append(Problem("binary_left_out", "Long runs of encoded data were left out."))
    return out


def _capped(blocks: list[Block], max_chars: int, problems: list[Problem]) -> tuple[list[Block], int]:
    """The blocks up to the limit, and how many characters lie beyond it."""
    total = sum(len(block.text) for block in blocks)
    if total <= max_chars:
        return blocks, 0
    over = total - max_chars
    problems.append(
        Problem(
            "cut_off",
            f"Only the first {max_chars:,} of {total:,} characters were read; {over:,} were left out. Split the file.",
        )
    )
    kept: list[Block] = []
    room = max_chars
    for block in blocks:
        if len(block.text) > room:
            text = block.text[:room]
            return ([*kept, replace(block, text=text)] if text.strip() else kept), over
        kept.append(block)
        room -= len(block.text)
    return kept, over


def _empty(name: str, problems: list[Problem]) -> EmptyDocumentError:
    if any(problem.code == "ocr_time_up" for problem in problems):
        return EmptyDocumentError(
            f"Cannot ingest {name!r}: its pages are pictures, and there was no time to recognise their text.",
            "Raise ALIOTH_INGEST__OCR_PAGE_S or ALIOTH_INGEST__OCR_MAX_S.",
        )
    scanned = any(problem.code == "page_without_text" for problem in problems)
    if scanned:
        return EmptyDocumentError(
            f"Cannot ingest {name!r}: no page has text, and OCR found none.",
            "If the pages are scanned, scan them again at 300 dpi or run them through an OCR program first.",
        )
    if any(problem.code == "entities_left_out" for problem in problems):
        return EmptyDocumentError(
            f"Cannot ingest {name!r}: it holds nothing but entities that it defines itself, which are never resolved.",
            "Save it again with the text written out.",
        )
    if any(problem.code == "binary_left_out" for problem in problems):
        return EmptyDocumentError(
            f"Cannot ingest {name!r}: it holds nothing but encoded data, a run of letters without words.",
            "If it is a packed or encrypted file, unpack it and add what is in it.",
        )
    return EmptyDocumentError(
        f"Cannot ingest {name!r}: it holds no text.", "Check that it was saved or exported whole."
    )


def choose_title(own: str, blocks: list[Block], source: Source) -> str:
    """The file's own title unless a program made it up, else the first heading near the start, else the file's name.

    Empty when that name is machine-made, too.
    """
    own = collapse(clean(own))
    if own and not _POOR_TITLE.match(own):
        return own[:MAX_TITLE]
    for block in blocks[:10]:
        if block.kind is BlockKind.HEADING and not block.locator.sheet and any(ch.isalpha() for ch in block.text):
            return collapse(block.text)[:MAX_TITLE]
    return "" if _MACHINE_MADE.search(source.stem) else clean(source.stem)[:MAX_TITLE]


def document_text(parsed: ParsedDocument) -> str:
    """The text that `chars` of chunks count in: blocks in order, tables under their header, blank lines between."""
    return "\n\n".join(block_text(block) for block in parsed.blocks)


def block_text(block: Block) -> str:
    """A block's text; a table's header rows stand above."""
    return f"{block.header}\n{block.text}" if block.header else block.text
