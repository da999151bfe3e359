"""A mail message whatever file it came from, and how it becomes blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.errors import EncryptedError
from core.types import Block, BlockKind, Locator, ParsedDocument, Problem
from ingest.clean import unwrap
from ingest.parsers.enclosed import EnclosedReader, Gathered
from ingest.parsers.registry import Source

MAX_NESTED = 3
"""Messages inside messages that are read."""
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Attached:
    """A file in a message. inline: shown inside the text, such as a logo."""

    name: str
    data: bytes
    media_type: str = ""
    inline: bool = False


@dataclass(slots=True)
class Body:
    """A stretch of text in one or two forms that say the same. html is bytes because a page names its charset."""

    plain: list[str] = field(default_factory=list)
    html: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Letter:
    """bodies: in order. nested: forwarded messages. encrypted: the body cannot be read without a key."""

    subject: str = ""
    sender: str = ""
    to: str = ""
    cc: str = ""
    date: datetime | None = None
    date_text: str = ""
    bodies: list[Body] = field(default_factory=list)
    attached: list[Attached] = field(default_factory=list)
    nested: list[Letter] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    encrypted: bool = False

    @property
    def metadata(self) -> dict[str, str]:
        """author, created (ISO 8601) and to, where the message has them."""
        pairs = {"author": self.sender, "to": self.to, "cc": self.cc}
        pairs["created"] = self.date.isoformat() if self.date else self.date_text
        return {key: value[:1000] for key, value in pairs.items() if value}


def letter_document(letter: Letter, source: Source, media_type: str) -> ParsedDocument:
    """A file that is one message."""
    gathered = Gathered()
    read_letter(letter, source, gathered)
    return ParsedDocument(
        blocks=tuple(gathered.blocks),
        media_type=media_type,
        title=letter.subject,
        problems=tuple(gathered.problems),
        metadata=letter.metadata,
        reading=gathered.reading(),
    )


def encrypted(source: Source) -> EncryptedError:
    """The error for a message of which nothing can be read without a key."""
    return EncryptedError(
        f"Cannot ingest {source.name!r}: the message is encrypted.", "Save it decrypted and add that."
    )


def read_letter(letter: Letter, source: Source, gathered: Gathered, level: int = 1, depth: int = 0) -> None:
    """Subject as heading, the header lines, the body, forwarded messages, then the attachments."""
    reader = EnclosedReader(source, gathered)
    name = letter.subject or (f"From: {letter.sender}" if letter.sender and level > 1 else "")
    if name:
        gathered.heading(name, level)
    head = _header(letter)
    if head:
        gathered.add([Block(BlockKind.PARAGRAPH, head)])
    gathered.problems.extend(letter.problems)
    for body in letter.bodies:
        _body(body, reader, gathered, level)
    for inner in letter.nested:
        if depth >= MAX_NESTED:
            message = f"The forwarded message {inner.subject!r} was not read: over {MAX_NESTED} inside each other."
            gathered.problems.append(Problem("attachment_unread", message))
        else:
            read_letter(inner, source, gathered, level + 1, depth + 1)
    for part in letter.attached:
        if part.inline and part.media_type.startswith("image/"):
            gathered.picture_unread()
        else:
            reader.read(part.name, part.data, level + 1, part.media_type)
    reader.finish()


def paragraphs(text: str) -> list[Block]:
    """Blocks of plain text without places: paragraphs at blank lines, hard-wrapped lines joined."""
    blocks = []
    for part in re.split(r"\n[ \t]*\n", text):
        lines = [line for line in part.split("\n") if line.strip()]
        if lines:
            quoted = any(line.startswith(">") for line in lines)
            blocks.append(Block(BlockKind.PARAGRAPH, "\n".join(lines) if quoted else unwrap(lines)))
    return blocks


def placed(blocks: Sequence[Block], start: int, lines: tuple[int, int]) -> list[Block]:
    """The blocks from index `start` on that have no place of their own, with these lines."""
    from dataclasses import replace

    empty = Locator()
    return [
        replace(block, locator=Locator(lines=lines)) if index >= start and block.locator == empty else block
        for index, block in enumerate(blocks)
    ]


def _header(letter: Letter) -> str:
    date = letter.date.strftime("%Y-%m-%d %H:%M %z").strip() if letter.date else letter.date_text
    pairs = (("From", letter.sender), ("To", letter.to), ("Cc", letter.cc), ("Date", date), ("Subject", letter.subject))
    return "\n".join(f"{name}: {value}" for name, value in pairs if value)


def _body(body: Body, reader: EnclosedReader, gathered: Gathered, level: int) -> None:
    plain = [block for text in body.plain for block in paragraphs(text)]
    if not body.html:
        gathered.add(plain)
        return
    pages = [reader.page(data) for data in body.html]
    if plain and not _html_says_more(plain, pages):
        gathered.add(plain)
        return
    for page in pages:
        gathered.absorb(page, level, keep_places=False)


def _html_says_more(plain: Sequence[Block], pages: Sequence[ParsedDocument]) -> bool:
    """Many programs put a stub, or flattened tables, beside the HTML."""
    blocks = [block for page in pages for block in page.blocks]
    words = sum(len(_WORD.findall(block.text)) for block in plain)
    shown = sum(len(_WORD.findall(block.header + block.text)) for block in blocks)
    return shown > 1.4 * words or (shown > 0.7 * words and any(block.kind is BlockKind.TABLE for block in blocks))
