"""CSV and TSV: delimiter and encoding found, first row as header, rows as `cell | cell`."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from core.types import Block, BlockKind, Locator, ParsedDocument, Problem
from ingest.clean import cell
from ingest.decode import decode
from ingest.parsers.registry import Parser, Source, register

ROWS_PER_BLOCK = 200
"""Rows of one table block; the chunker cuts finer and repeats the header."""

_DELIMITERS = ",\t;|"
_YEAR = re.compile(r"(?:19|20)\d\d")


def parse(source: Source) -> ParsedDocument:
    """Blocks of at most ROWS_PER_BLOCK rows; `lines` count the file's rows from 1."""
    decoded = decode(source.path.read_bytes())
    csv.field_size_limit(1_000_000)
    problems = list(decoded.problems)
    rows: list[tuple[int, list[str]]] = []
    try:
        reader = csv.reader(decoded.text.split("\n"), delimiter=_delimiter(decoded.text), strict=False)
        for row in reader:
            rows.append((reader.line_num, row))
    except csv.Error as error:
        problems.append(Problem("cut_off", f"Reading stopped after {len(rows)} rows: {error}."))
    return ParsedDocument(
        blocks=tuple(_blocks(rows)),
        media_type="text/csv",
        problems=tuple(problems),
        metadata={"encoding": decoded.encoding},
    )


def row_text(values: Iterable[str]) -> str:
    """`cell | cell`, empty cells at the end dropped; empty for an empty row."""
    cells = [cell(value) for value in values]
    while cells and not cells[-1]:
        cells.pop()
    return " | ".join(cells)


def looks_like_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """True when the first row names the columns: filled, distinct, and without numbers but years in order."""
    names = [value.strip() for value in first]
    filled = [name for name in names if name]
    if not rest or len(filled) < 2 or len(set(filled)) < len(filled) or len(filled) < 0.6 * len(names):
        return False
    if any(len(name) > 60 for name in filled):
        return False
    numbers = [place for place, name in enumerate(names) if _number(name)]
    return not numbers or (_years([names[place] for place in numbers]) and not _all_years(rest, numbers))


def _years(names: Sequence[str]) -> bool:
    """Two or more years, each later than the one before, or each earlier."""
    if len(names) < 2 or not all(_YEAR.fullmatch(name) for name in names):
        return False
    return list(names) in (sorted(names), sorted(names, reverse=True))


def _all_years(rows: Sequence[Sequence[str]], places: Sequence[int]) -> bool:
    """True for columns of years, which are not named by years."""
    below = [row[place].strip() for row in rows for place in places if place < len(row) and row[place].strip()]
    return all(_YEAR.fullmatch(value) for value in below)


def _number(value: str) -> bool:
    try:
        float(value.replace(",", "").rstrip("%").lstrip("¥$€"))
    except ValueError:
        return False
    return True


def _delimiter(text: str) -> str:
    """The delimiter that splits the first lines most evenly."""
    lines = [line for line in itertools.islice(text.split("\n"), 50) if line.strip()]
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        counts = [line.count(delimiter) for line in lines]
        if not any(counts):
            continue
        usual = max(set(counts), key=counts.count)
        score = usual * counts.count(usual) / len(counts)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _blocks(rows: list[tuple[int, list[str]]]) -> Iterator[Block]:
    filled = [(line, row) for line, row in rows if any(value.strip() for value in row)]
    header = ""
    if filled and looks_like_header(filled[0][1], [row for _, row in filled[1:]]):
        header = row_text(filled[0][1])
        filled = filled[1:]
    for group in _batches(filled):
        text = "\n".join(row_text(row) for _, row in group)
        yield Block(BlockKind.TABLE, text, Locator(lines=(group[0][0], group[-1][0])), header=header)


def _batches(rows: list[tuple[int, list[str]]]) -> Iterator[list[tuple[int, list[str]]]]:
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        yield rows[start : start + ROWS_PER_BLOCK]


register(Parser("csv", "CSV/TSV", ("csv", "tsv", "tab"), "text/csv", parse))
