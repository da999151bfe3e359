"""Spreadsheets (xlsx, and xls, xlsb, ods): sheets, header rows, rows as `cell | cell`, cell ranges."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from core.errors import EncryptedError, UnreadableError
from core.types import Block, BlockKind, Locator, ParsedDocument, Problem
from ingest.archive import check_expansion
from ingest.clean import cell, tidy
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.sheets_sparse import is_sparse, sparse_sheets

ROWS_PER_BLOCK = 200
_GENERIC = ("sheet", "工作表", "tabelle", "feuil")

Row = tuple[int, list[str]]
"""Row number from 1, and its cells from column A."""


def parse(source: Source) -> ParsedDocument:
    """Blocks with `sheet` and `cells`. Formulas give the value that was saved; nothing is calculated or fetched."""
    import python_calamine as calamine

    with source.path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        check_expansion(source.path, source.name, source.limits.max_expanded_bytes)
    blocks: list[Block] = []
    problems: list[Problem] = []
    sheets = 0
    characters = 0
    try:
        for name, hidden, rows in _sheets(source):
            sheets += 1
            if hidden:
                problems.append(
                    Problem("hidden_sheet", f"The sheet {name!r} is hidden in the file; its text was read.")
                )
            for block in _blocks(name, rows):
                blocks.append(block)
                characters += len(block.text)
            if characters > source.limits.max_chars or sheets >= source.limits.max_pages:
                break
    except calamine.PasswordError as error:
        raise EncryptedError(
            f"Cannot ingest {source.name!r}: it is protected by a password.", "Remove the password and add it again."
        ) from error
    except (calamine.CalamineError, ValueError, OSError, SyntaxError) as error:
        raise UnreadableError(
            f"Cannot read {source.name!r}: the spreadsheet is damaged ({type(error).__name__}).",
            "Open it in Excel or LibreOffice, save it again and add that.",
        ) from error
    return ParsedDocument(
        blocks=tuple(blocks),
        media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        pages=max(1, sheets),
        problems=tuple(problems),
    )


def _sheets(source: Source) -> Iterator[tuple[str, bool, Iterator[Row]]]:
    """(name, hidden, rows) of each sheet in order; chart sheets are left out."""
    import python_calamine as calamine

    if is_sparse(source.path):
        yield from sparse_sheets(source.path)
        return
    book = calamine.CalamineWorkbook.from_path(str(source.path))
    for info in book.sheets_metadata:
        if info.typ != calamine.SheetTypeEnum.WorkSheet:
            continue
        sheet = book.get_sheet_by_name(info.name)
        merged = getattr(sheet, "merged_cell_ranges", None) or []
        yield info.name, info.visible != calamine.SheetVisibleEnum.Visible, _rows(sheet, merged)


def _rows(sheet: Any, merged: Sequence[Any]) -> Iterator[Row]:
    """Rows with text; a cell merged over rows is repeated in each."""
    repeats: dict[tuple[int, int], tuple[int, int]] = {}
    for (top, left), (bottom, _) in merged:
        for row in range(top + 1, min(bottom, top + 1000) + 1):
            repeats[(row, left)] = (top, left)
    held: dict[tuple[int, int], str] = {}
    first_row, first_column = sheet.start or (0, 0)
    for index, values in enumerate(sheet.to_python(skip_empty_area=True)):
        row = first_row + index
        texts = [""] * first_column + [_written(value) for value in values]
        if repeats:
            for column, text in enumerate(texts):
                if text:
                    held[(row, column)] = text
                elif (row, column) in repeats:
                    texts[column] = held.get(repeats[(row, column)], "")
        if any(texts):
            yield row + 1, texts


def _written(value: Any) -> str:
    if isinstance(value, str):
        return cell(value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.12g}"
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d" if value.time() == datetime.time() else "%Y-%m-%d %H:%M")
    return str(value)


def _blocks(sheet: str, rows: Iterator[Row]) -> Iterator[Block]:
    """The sheet's name, lines above the table, then tables of at most ROWS_PER_BLOCK rows."""
    group: list[Row] = []
    header: Row | None = None
    started = False
    for row in rows:
        if not started:
            started = True
            if not sheet.lower().startswith(_GENERIC):
                yield Block(BlockKind.HEADING, sheet, Locator(sheet=sheet), 2)
        if header is None and group and row[0] > group[-1][0] + 1:
            yield from _group(sheet, group, None)
            group = []
        group.append(row)
        if len(group) == 1 + ROWS_PER_BLOCK:
            header, body = _split_header(group) if header is None else (header, group)
            yield from _group(sheet, body, header)
            group = []
    if group:
        if header is None:
            header, group = _split_header(group)
        yield from _group(sheet, group, header)


def _split_header(group: list[Row]) -> tuple[Row | None, list[Row]]:
    if looks_like_header(_used(group[0][1]), [row[1] for row in group[1:]]):
        return group[0], group[1:]
    return None, group


def _used(values: list[str]) -> list[str]:
    start = next((at for at, value in enumerate(values) if value), 0)
    while values and not values[-1]:
        values = values[:-1]
    return values[start:]


def _group(sheet: str, rows: list[Row], header: Row | None) -> Iterator[Block]:
    if not rows:
        return
    if header is None and len(rows) > 1:
        found, rest = _split_header(rows)
        if found:
            header, rows = found, rest
    columns = [at for _, values in rows for at, value in enumerate(values) if value]
    left, right = min(columns), max(columns)
    place = Locator(sheet=sheet, cells=f"{column_name(left)}{rows[0][0]}:{column_name(right)}{rows[-1][0]}")
    if left == right:  # one column of text is prose, not a table
        text = "\n".join(tidy(values[left]) for _, values in rows)
        head = header[1][left] if header and left < len(header[1]) else ""
        yield Block(BlockKind.PARAGRAPH, f"{head}\n{text}" if head else text, place)
        return
    lines = (row_text(values[left:]) for _, values in rows)
    title = row_text(header[1][left:]) if header else ""
    yield Block(BlockKind.TABLE, "\n".join(line for line in lines if line), place, header=title)


def column_name(index: int) -> str:
    """A, B, …, Z, AA, … of a column index from 0."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
register(Parser("xlsx", "Excel (xlsx)", ("xlsx", "xlsm", "xltx"), _XLSX, parse))
register(
    Parser(
        "xls", "other spreadsheets (xls, xlsb, ods)", ("xls", "xlsb", "ods", "et"), "application/vnd.ms-excel", parse
    )
)
