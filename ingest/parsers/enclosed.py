"""Files inside a file, such as mail attachments: each read by its own parser, under limits for the whole document."""

from __future__ import annotations

import io
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.errors import DocumentError, EmptyDocumentError, UnsupportedTypeError
from core.types import Block, BlockKind, HiddenText, ParsedDocument, Problem, Reading
from ingest.archive import archive_kind
from ingest.parsers.old_office import ConversionNeededError
from ingest.parsers.registry import EXTENSIONS, PARSERS, Source

logger = logging.getLogger(__name__)

MAX_DEPTH = 3
"""Documents that may stand inside each other."""
LEAST_SECONDS = 60.0
OCR_TIMES = 1.4
"""Reading all enclosed files may take this many times the time for OCR, which is half of what the document has."""


@dataclass(slots=True)
class Gathered:
    """What several pieces of one document gave, in order. Not thread-safe."""

    blocks: list[Block] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    chars: int = 0

    def add(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self.blocks.append(block)
            self.chars += len(block.text) + len(block.header)

    def heading(self, text: str, level: int) -> None:
        self.add([Block(BlockKind.HEADING, text, level=min(6, level))])

    def absorb(self, parsed: ParsedDocument, below: int = 0, keep_places: bool = True) -> None:
        """Blocks of a part under a heading of level `below`; boxes are dropped, for they need the part's own file."""
        for block in parsed.blocks:
            place = replace(block.locator, boxes=()) if keep_places else replace(block.locator, boxes=(), lines=None)
            level = min(6, block.level + below) if block.level else 0
            self.add([replace(block, locator=place, level=level)])
        self.problems.extend(parsed.problems)
        self.readings.append(parsed.reading)

    def reading(self) -> Reading:
        """Everything that the parts met, as one."""
        hidden: list[HiddenText] = []
        for reading in self.readings:
            hidden.extend(reading.hidden)
        return Reading(
            ocr_pages=tuple(page for reading in self.readings for page in reading.ocr_pages),
            garbled_pages=tuple(page for reading in self.readings for page in reading.garbled_pages),
            pictures=sum(reading.pictures for reading in self.readings),
            pictures_without_text=sum(reading.pictures_without_text for reading in self.readings),
            hidden=tuple(hidden[:200]),
            left_out=sum(reading.left_out for reading in self.readings),
        )

    def picture_unread(self) -> None:
        self.readings.append(Reading(pictures=1, pictures_without_text=1))


class EnclosedReader:
    """Reads the files inside `source` into `gathered`; time, number and sizes are shared by all of them."""

    def __init__(self, source: Source, gathered: Gathered) -> None:
        self._source = source
        self._gathered = gathered
        if source.allowance.seconds is None:
            source.allowance.seconds = OCR_TIMES * source.limits.ocr_seconds or LEAST_SECONDS
        self._refused = 0

    def read(self, name: str, data: bytes, level: int, media_type: str = "") -> None:
        """The blocks of one file under a heading with its name; a Problem that names it where it cannot be read.

        The files of an archive are read one by one, each under its path in it.
        """
        if archive_kind(io.BytesIO(data), name) is not None:
            self._archive(name, data, level)
            return
        if not self._allowed(name, len(data)):
            return
        try:
            parsed = self._parse(name, data)
        except DocumentError as error:
            picture = media_type.startswith("image/") or extension_of(name) in PARSERS["picture"].extensions
            if picture and isinstance(error, (UnsupportedTypeError, EmptyDocumentError)):
                self._gathered.picture_unread()
            else:
                self._unread(name, error.message)
            return
        self._gathered.heading(name, level)
        self._gathered.absorb(_renamed(parsed, name), level)

    def _archive(self, name: str, data: bytes, level: int) -> None:
        from ingest.unpack import Member, Refused, unpack

        room = min(self._source.allowance.size, self._source.limits.max_expanded_bytes)
        for part in unpack(io.BytesIO(data), name, lambda path: extension_of(path) in EXTENSIONS, room, room, room):
            if isinstance(part, Member):
                self.read(part.path, part.file.read(), level)
            elif isinstance(part, Refused):
                self._unread(part.path, part.error.message)

    def into(self, gathered: Gathered) -> EnclosedReader:
        """Another reader of the same document, under the same limits, that puts what it reads elsewhere."""
        return EnclosedReader(self._source, gathered)

    def insert(self, name: str, data: bytes) -> None:
        """The blocks of a file that is shown as part of the text: without a heading."""
        if not self._allowed(name, len(data)):
            return
        try:
            self._gathered.absorb(_renamed(self._parse(name, data), name), keep_places=False)
        except DocumentError as error:
            self._unread(name, error.message)

    def page(self, data: bytes) -> ParsedDocument:
        """A piece of HTML through the parser of web pages."""
        with file_of(data) as path:
            return PARSERS["html"].parse(replace(self._source, path=path, depth=self._source.depth + 1))

    def finish(self) -> None:
        """Say what went beyond the limits."""
        if self._refused:
            message = f"{self._refused} attachments were not read: over the limit for one document. Add them as files."
            self._gathered.problems.append(Problem("attachment_unread", message))

    def _allowed(self, name: str, size: int) -> bool:
        allowance = self._source.allowance
        spent = (allowance.seconds or 0.0) <= 0 or self._gathered.chars > self._source.limits.max_chars
        if spent or allowance.files < 1 or allowance.size < size:
            self._refused += 1
            return False
        if self._source.depth >= MAX_DEPTH:
            self._unread(name, f"it stands inside more than {MAX_DEPTH} other files")
            return False
        allowance.files -= 1
        allowance.size -= size
        return True

    def _parse(self, name: str, data: bytes) -> ParsedDocument:
        from ingest.sniff import sniff

        allowance = self._source.allowance
        left = allowance.seconds or 0.0
        limits = replace(self._source.limits, ocr_seconds=min(self._source.limits.ocr_seconds, left))
        started, lent = time.monotonic(), allowance.lent
        with file_of(data) as path:
            inner = replace(self._source, path=path, name=name, limits=limits, depth=self._source.depth + 1)
            try:
                return sniff(path, name).parse(inner)
            except (DocumentError, MemoryError, ConversionNeededError):
                raise
            except Exception as error:  # a parser's fault in one attachment must not cost the mail around it
                logger.warning("parser fault in the attachment %r: %s", name, type(error).__name__)
                raise DocumentError(f"its parser failed ({type(error).__name__})") from error
            finally:
                # files inside this one are counted in it
                allowance.seconds = left + (allowance.lent - lent) - (time.monotonic() - started)

    def _unread(self, name: str, why: str) -> None:
        why = why.removeprefix(f"Cannot ingest {name!r}: ").removeprefix(f"Cannot read {name!r}: ")
        self._gathered.problems.append(
            Problem("attachment_unread", f"The attachment {name!r} was not read: {why.rstrip('.')}.")
        )


def own_title(title: str, blocks: Sequence[Block], gathered: Gathered, source: Source) -> str:
    """A title for a document with files in it, so that the heading of the first of them is not taken for one."""
    if title or not gathered.blocks or any(block.kind is BlockKind.HEADING for block in blocks):
        return title
    return source.stem


def extension_of(name: str) -> str:
    """Lower-case extension without the dot, empty when there is none."""
    return Path(name).suffix.lower().lstrip(".")


def _renamed(parsed: ParsedDocument, name: str) -> ParsedDocument:
    """Problems say in which attachment they stand; without text there is a problem to tell of."""
    problems = [replace(problem, message=f"{name}: {problem.message}") for problem in parsed.problems]
    if not any(block.text.strip() for block in parsed.blocks):
        problems.append(Problem("attachment_without_text", f"The attachment {name!r} holds no text."))
    return replace(parsed, problems=tuple(problems))


@contextmanager
def file_of(data: bytes) -> Iterator[Path]:
    """A temporary file with these bytes, gone afterwards."""
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile(prefix="part-") as file:
            file.write(data)
            file.flush()
            yield Path(file.name)
        return
    with os.fdopen(os.memfd_create("part"), "wb") as memory:  # a parser process may write no file
        memory.write(data)
        memory.flush()
        yield Path(f"/proc/self/fd/{memory.fileno()}")
