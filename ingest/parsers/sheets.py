"""Spreadsheets (xlsx, and xls, xlsb, ods): sheets, header rows, rows as `cell | cell`, cell ranges."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from core.errors import EncryptedError, UnreadableError
from core.types import Block, BlockKind, HiddenText, Locator, ParsedDocument, Problem, Reading
from ingest.archive import check_expansion
from ingest.clean import cell, tidy
from ingest.ole_kind import locked_workbook
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.embedded import unwrapped
from ingest.parsers.enclosed import EnclosedReader, Gathered, own_title
from ingest.parsers.macros import macro_blocks
from ingest.parsers.picture_ocr import PictureLetters
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.sheets_format import hides, shown
from ingest.parsers.sheets_package import SheetFacts, open_package
from ingest.parsers.sheets_sparse import is_sparse, sparse_sheets

ROWS_PER_BLOCK = 200
_GENERIC = ("sheet", "工作表", "tabelle", "feuil")

Row = tuple[int, list[str]]
"""Row number from 1, and its cells from column A."""


def parse(source: Source) -> ParsedDocument:
    """Blocks with `sheet` and `cells`. Formulas give the value that was saved; nothing is calculated or fetched.

    Hidden sheets, rows and columns are read and reported. Numbers are written as the sheet shows them; cells that
    show nothing (white on white, format `;;;`) are left out and reported.
    """
    import python_calamine as calamine

    with source.path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        check_expansion(source.path, source.name, source.limits.max_expanded_bytes)
    elif locked_workbook(source.path):
        raise _locked(source)
    reader = _Reader(source)
    try:
        reader.read()
    except calamine.PasswordError as error:
        raise _locked(source) from error
    except (calamine.CalamineError, ValueError, OSError, SyntaxError) as error:
        raise _unread(source) from error
    except BaseException as error:  # calamine panics on some files, and its panic is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise _unread(source) from error
    finally:
        reader.close()
    return reader.parsed()


def _unread(source: Source) -> UnreadableError:
    return UnreadableError(
        f"Cannot read {source.name!r}: the spreadsheet is damaged, or of a kind that is not understood.",
        "Open it in Excel or LibreOffice, save it again and add that.",
    )


def _locked(source: Source) -> EncryptedError:
    return EncryptedError(
        f"Cannot ingest {source.name!r}: it is protected by a password.", "Remove the password and add it again."
    )


class _Reader:
    """Goes through the sheets of one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._package = open_package(source.path)
        self._blocks: list[Block] = []
        self._problems: list[Problem] = []
        self._hidden: list[HiddenText] = []
        self._pictures: list[bool] = []
        self._letters = PictureLetters(source)
        self._gathered = Gathered()
        self._enclosed = EnclosedReader(source, self._gathered)
        self._sheets = 0
        self._metadata = self._package.metadata() if self._package is not None else {}

    def close(self) -> None:
        if self._package is not None:
            self._package.close()

    def read(self) -> None:
        """Every sheet in order, until one of the limits is reached."""
        characters = 0
        for name, hidden, rows, facts in self._each():
            self._sheets += 1
            if hidden:
                self._problem("hidden_sheet", f"The sheet {name!r} is hidden in the file; its text was read.")
            for block in _blocks(name, rows):
                self._blocks.append(block)
                characters += len(block.text)
            self._beside(name, facts)
            self._source.page_done(self._sheets, self._sheets)
            if characters > self._source.limits.max_chars or self._sheets >= self._source.limits.max_pages:
                break

    def parsed(self) -> ParsedDocument:
        metadata = dict(self._metadata)
        self._enclosed.finish()
        self._gathered.add(macro_blocks(self._source.path))
        self._gathered.readings.append(
            Reading(
                pictures=len(self._pictures),
                pictures_without_text=self._pictures.count(False),
                hidden=tuple(self._hidden),
            )
        )
        return ParsedDocument(
            blocks=(*self._blocks, *self._gathered.blocks),
            media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            title=own_title(metadata.pop("title", ""), self._blocks, self._gathered, self._source),
            pages=max(1, self._sheets),
            problems=(*self._letters.problems(), *self._problems, *self._gathered.problems),
            metadata=metadata,
            reading=self._gathered.reading(),
        )

    def _each(self) -> Iterator[tuple[str, bool, Iterator[Row], SheetFacts]]:
        """(name, hidden, rows, facts) of each sheet; a chart sheet has no rows."""
        import python_calamine as calamine

        if is_sparse(self._source.path):
            for name, hidden, rows in sparse_sheets(self._source.path):
                yield name, hidden, rows, SheetFacts()
            return
        book = calamine.CalamineWorkbook.from_path(str(self._source.path))
        for info in book.sheets_metadata:
            if info.typ not in (calamine.SheetTypeEnum.WorkSheet, calamine.SheetTypeEnum.ChartSheet):
                continue
            facts = self._package.facts(info.name) if self._package is not None else SheetFacts()
            hidden = info.visible != calamine.SheetVisibleEnum.Visible
            if info.typ == calamine.SheetTypeEnum.ChartSheet:
                yield info.name, hidden, iter(()), facts
            else:
                yield info.name, hidden, self._rows(book.get_sheet_by_name(info.name), facts), facts

    def _rows(self, sheet: Any, facts: SheetFacts) -> Iterator[Row]:
        """Rows with text; a cell merged over rows is repeated in each."""
        repeats: dict[tuple[int, int], tuple[int, int]] = {}
        for (top, left), (bottom, _) in getattr(sheet, "merged_cell_ranges", None) or []:
            for row in range(top + 1, min(bottom, top + 1000) + 1):
                repeats[(row, left)] = (top, left)
        held: dict[tuple[int, int], str] = {}
        first_row, first_column = sheet.start or (0, 0)
        special = bool(facts.formats or facts.white)
        for index, values in enumerate(sheet.to_python(skip_empty_area=True)):
            row = first_row + index
            if special:
                cells = enumerate(values, start=first_column)
                texts = [""] * first_column + [self._cell(value, (row, column), facts) for column, value in cells]
            else:
                texts = [""] * first_column + [_written(value) for value in values]
            if facts.readings:
                texts = [f"{text} {facts.readings[text]}" if text in facts.readings else text for text in texts]
            if repeats:
                for column, text in enumerate(texts):
                    if text:
                        held[(row, column)] = text
                    elif (row, column) in repeats:
                        texts[column] = held.get(repeats[(row, column)], "")
            if any(texts):
                yield row + 1, texts

    def _cell(self, value: Any, place: tuple[int, int], facts: SheetFacts) -> str:
        """The cell as shown; what shows nothing is noted as hidden."""
        text = _written(value)
        if not text:
            return ""
        code = facts.formats.get(place, "")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        written = shown(value, code) if code and number else None
        if place in facts.white or written == "" or (code and hides(code)):
            kind = "white" if place in facts.white else "invisible"
            self._hidden.append(HiddenText(kind, len(text), text[:80], max(1, self._sheets + 1)))
            return ""
        return cell(written) if written is not None else text

    def _beside(self, sheet: str, facts: SheetFacts) -> None:
        """What lies over the cells: text boxes, pictures, comments; and how much of the sheet is hidden."""
        place = Locator(sheet=sheet)
        self._blocks.extend(Block(BlockKind.PARAGRAPH, words, place) for words in facts.boxes)
        for words, part in facts.pictures:
            self._picture(words, part, place)
        self._blocks.extend(replace(block, locator=place) for block in facts.charts)
        for part in facts.files:
            for name, data in unwrapped(part.rpartition("/")[2], self._part(part)):
                self._enclosed.read(name, data, 3)
        for reference, words in facts.comments:
            cells = f"{reference}:{reference}" if reference else None
            self._blocks.append(Block(BlockKind.PARAGRAPH, words, Locator(sheet=sheet, cells=cells)))
        parts = ((facts.hidden_rows, "row"), (facts.hidden_columns, "column"))
        hidden = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in parts if count]
        if hidden:
            self._problem("hidden_cells", f"The sheet {sheet!r} hides {' and '.join(hidden)}; their text was read.")

    def _part(self, path: str) -> bytes:
        return self._package.part(path) if self._package is not None and path else b""

    def _picture(self, words: str, part: str, place: Locator) -> None:
        """What a picture says, by its author's words and by its letters."""
        read = self._letters.read(self._part(part), place)
        if words:
            self._blocks.append(Block(BlockKind.PICTURE, words, place))
        if read is not None:
            self._blocks.append(read)
        self._pictures.append(bool(words or read))

    def _problem(self, code: str, message: str) -> None:
        self._problems.append(Problem(code, message, self._sheets))


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
register(Parser("xlsx", "Excel (xlsx)", ("xlsx", "xlsm", "xltx", "xltm"), _XLSX, parse))
register(
    Parser(
        "xls",
        "other spreadsheets (xls, xlsb, ods, et)",
        ("xls", "xlsb", "ods", "ots", "et", "ett"),
        "application/vnd.ms-excel",
        parse,
    )
)
