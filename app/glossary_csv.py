"""A glossary as CSV, as spreadsheets write and read it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping

from core.errors import InputError
from core.types import GlossaryTerm

COLUMNS = ("term", "others", "both_ways", "note")
_NAMES = {
    "term": ("term", "术语", "词条"),
    "others": ("others", "synonyms", "other words", "同义词", "其他说法"),
    "both_ways": ("both_ways", "both ways", "双向"),
    "note": ("note", "备注", "说明"),
}
_NO = frozenset({"no", "false", "0", "n", "否", "单向"})
_SEPARATOR = re.compile(r"[;；|\n]")
_FORMULA = re.compile(r"^[=+\-@\t\r]")


def read_terms(data: bytes, name: str) -> list[GlossaryTerm]:
    """The terms of a CSV file in UTF-8 or GB 18030, separated by commas, semicolons or tabs.

    The first line names the columns, in English or Chinese; without such a line they are term, others, both_ways,
    note. Other words of one term are separated by semicolons.

    Raises:
        InputError: no text, no term, or a line without a term; names the line.
    """
    text = _decoded(data, name)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))]
    places = _places(rows[0]) if rows else {}
    first = 1 if places else 0
    places = places or {column: number for number, column in enumerate(COLUMNS)}
    terms = [
        _term(row, places, f"'{name}', line {number}")
        for number, row in enumerate(rows[first:], first + 1)
        if any(cell.strip() for cell in row)
    ]
    if not terms:
        raise InputError(f"'{name}' holds no term.", "Each line is: term,other;words,yes,note")
    return terms


def write_terms(terms: Iterable[GlossaryTerm]) -> str:
    """CSV text with a line of column names."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for term in terms:
        cells = (term.term, "; ".join(term.others), "yes" if term.both_ways else "no", term.note)
        writer.writerow([f"'{cell}" if _FORMULA.match(cell) else cell for cell in cells])
    return out.getvalue()


def split_words(text: str) -> tuple[str, ...]:
    """Words separated by semicolons (Chinese ones too), bars or line breaks."""
    return tuple(word.strip() for word in _SEPARATOR.split(text) if word.strip())


def _decoded(data: bytes, name: str) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"Cannot read '{name}': it is neither UTF-8 nor GB 18030 text.", "Save it as CSV in UTF-8.")


def _delimiter(text: str) -> str:
    """The sign that separates the cells of the first line; semicolons also stand inside cells, so they come last."""
    line = text.split("\n", 1)[0]
    return next((sign for sign in (",", "\t", ";") if sign in line), ",")


def _places(row: list[str]) -> dict[str, int]:
    known = {word: column for column, words in _NAMES.items() for word in words}
    places = {known[cell.strip().lower()]: n for n, cell in enumerate(row) if cell.strip().lower() in known}
    return places if "term" in places and "others" in places else {}


def _term(row: list[str], places: Mapping[str, int], place: str) -> GlossaryTerm:
    def cell(column: str) -> str:
        number = places.get(column, len(row))
        text = row[number].strip() if number < len(row) else ""
        return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text

    if not cell("term"):
        raise InputError(f"{place} has no term.", "Give every line a term and other words for it.")
    return GlossaryTerm(cell("term"), split_words(cell("others")), cell("both_ways").lower() not in _NO, cell("note"))
