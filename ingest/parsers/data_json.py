"""JSON and JSON Lines: keys as lines and headings, like records as tables, long texts as paragraphs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from core.errors import DocumentTooLargeError
from core.types import Block, BlockKind, Locator, ParsedDocument, Problem
from ingest.decode import decode
from ingest.parsers.delimited import ROWS_PER_BLOCK
from ingest.parsers.records import RecordWriter, is_table, label
from ingest.parsers.registry import Parser, Source, register

MAX_VALUE = 60_000_000
"""Characters of one value; JSON Lines may be longer as a whole."""
MAX_BLOCKS = 200_000
MAX_BAD_LINES = 100
_BLANK = re.compile(r"[\s\ufeff\x1e,]*")
_TITLES = ("title", "name", "标题", "名称")


def parse(source: Source) -> ParsedDocument:
    """Blocks of one value, or of several after each other, which carry the lines they stand on.

    Numbers keep the digits of the file. What is not JSON is read as text, with a Problem that says from where.

    Raises:
        DocumentTooLargeError: one value is over MAX_VALUE characters.
    """
    decoded = decode(source.path.read_bytes())
    reader = _Reader(decoded.text, source)
    reader.read()
    return ParsedDocument(
        blocks=tuple(reader.blocks),
        media_type="application/x-ndjson" if reader.values > 1 else "application/json",
        title=reader.title,
        problems=(*decoded.problems, *reader.problems),
        metadata={"encoding": decoded.encoding},
    )


class _Reader:
    """Values one by one; runs of like records become tables."""

    def __init__(self, text: str, source: Source) -> None:
        self.blocks: list[Block] = []
        self.problems: list[Problem] = []
        self.values = 0
        self.title = ""
        self._text = text
        self._source = source
        self._chars = 0
        self._waiting: list[tuple[dict[str, Any], Locator]] = []
        self._writer = RecordWriter(self._emit)
        self._decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)

    def read(self) -> None:
        values = self._values()
        first = next(values, None)
        second = next(values, None)
        if first is not None and second is None:
            self.values = 1
            value = first[0]
            if isinstance(value, dict):
                self.title = next((str(value[key]) for key in _TITLES if isinstance(value.get(key), str)), "")
            self._writer.write(value)
            self._rest_problem()
            return
        for item in (first, second):
            if item is not None:
                self._record(*item)
        for value, place in values:
            self._record(value, place)
            if len(self.blocks) > MAX_BLOCKS or self._chars > self._source.limits.max_chars:
                self.problems.append(
                    Problem("cut_off", f"Only the first {self.values:,} values were read. Split the file.")
                )
                break
        self._flush()
        self.title = self._source.stem  # no single record speaks for the file
        self._rest_problem()

    def _record(self, value: Any, place: Locator) -> None:
        """One of several values: held back while it may be a row of a table."""
        self.values += 1
        if isinstance(value, dict) and is_table([value, value]):
            alike = not self._waiting or set(self._waiting[0][0]) == set(value)
            if not alike or len(self._waiting) >= ROWS_PER_BLOCK:
                self._flush()
            self._waiting.append((value, place))
            return
        self._flush()
        self._single(value, place)

    def _single(self, value: Any, place: Locator) -> None:
        number = place.lines[0] if place.lines else self.values
        if isinstance(value, (dict, list)):
            self._emit(Block(BlockKind.HEADING, label(value)[:200] or f"#{number}", place, 1))
        self._writer.write(value, 2, place)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if len(waiting) > 1:
            self._writer.table([value for value, _ in waiting], [place for _, place in waiting])
        elif waiting:
            self._single(*waiting[0])

    def _emit(self, block: Block) -> None:
        self.blocks.append(block)
        self._chars += len(block.text)

    def _values(self) -> Iterator[tuple[Any, Locator]]:
        text, position, line, counted = self._text, 0, 1, 0
        self._bad: list[int] = []
        self._rest = 0
        while True:
            blank = _BLANK.match(text, position)
            position = blank.end() if blank else position
            if position >= len(text):
                return
            line += text.count("\n", counted, position)
            counted = position
            try:
                value, end = self._decoder.raw_decode(text, position)
                broken = end < len(text) and not text[end].isspace() and text[end] not in ",{[\x1e"
            except (ValueError, RecursionError) as error:
                value, end, broken = None, position, True
                self._why = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
            if end - position > MAX_VALUE:
                raise DocumentTooLargeError(
                    f"Cannot ingest {self._source.name!r}: one JSON value has {end - position:,} characters, over the "
                    f"limit of {MAX_VALUE:,}.",
                    "Split it, or export it as JSON Lines.",
                )
            if broken:
                stop = text.find("\n", position)
                by_line = bool(self._bad or self.values or counted) or self._source.name.lower().endswith("l")
                self._bad.append(line)
                if stop < 0 or not by_line or len(self._bad) > MAX_BAD_LINES:
                    self._rest = position or 1
                    return
                yield text[position:stop].strip(), Locator(lines=(line, line))
                position = stop
                continue
            last = line + text.count("\n", position, end)
            yield value, Locator(lines=(line, last))
            position = end

    def _rest_problem(self) -> None:
        """What could not be read as JSON goes in as text, and the reader is told."""
        if not self._bad:
            return
        if self._rest:
            start = self._rest if self._rest > 1 else 0
            rest = self._text[start:]
            line = self._bad[-1]
            for offset, part in _paragraphs(rest):
                self._emit(Block(BlockKind.PARAGRAPH, part, Locator(lines=(line + offset, line + offset))))
        numbers = ", ".join(str(number) for number in self._bad[:5]) + (", …" if len(self._bad) > 5 else "")
        how = f" ({self._why})" if hasattr(self, "_why") else ""
        what = "From line" if self._rest else "Line"
        self.problems.append(
            Problem("read_as_text", f"{what} {numbers} is not valid JSON{how} and was read as plain text.")
        )


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(lines from the start, text) of pieces of at most 50 lines and 5,000 characters."""
    lines = text.split("\n")
    for start in range(0, len(lines), 50):
        part = "\n".join(lines[start : start + 50])
        for at in range(0, len(part), 5000):
            if part[at : at + 5000].strip():
                yield start, part[at : at + 5000].strip()


register(Parser("json", "JSON", ("json", "jsonl", "ndjson", "geojson", "jsonld"), "application/json", parse))
