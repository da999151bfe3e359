"""Tables as a passage has them: rows of cells under the names of their columns, and a row told with those names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.text import present, split_sentences

LONGEST_NAME = 60
LONGEST_CELL = 240
_LINE = re.compile(r"[^\n]*\S[^\n]*")
_RULE = re.compile(r"\s*\|?(?:\s*:?-{2,}:?\s*\|)+(?:\s*:?-{2,}:?)?\s*")
_FIGURE = re.compile(r"[-+(]?[¥￥$€£]?\s*\d[\d.,]*")
_PART_OF_FIGURE = re.compile(r"\d+(?:[.,]\d+)+")
_COUNT = re.compile(r"\d{1,4}[.)、]?")
_YEAR = re.compile(r"(?:19|20)\d\d(?!\d)")


@dataclass(frozen=True, slots=True)
class Row:
    """start, end: offsets in the text, without the line's end. columns: names, as many as cells; empty: none known.

    header, table: offsets of the lines with the names, and of the whole table. doubtful: it may as well be what names
    the two columns of its table.
    """

    start: int
    end: int
    cells: tuple[str, ...]
    columns: tuple[str, ...]
    header: tuple[int, int]
    table: tuple[int, int]
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """start, end: offsets of the lines that are its header and rows."""

    start: int
    end: int
    rows: tuple[Row, ...]


def tables_of(text: str) -> list[Table]:
    """Runs of at least two lines of `cell | cell`, in order. A header of one or more lines is no row."""
    return [_table(lines) for lines in _runs(text) if len(lines) > 1]


def told(rows: Sequence[Row], tokens: Sequence[str]) -> list[str]:
    """Rows of one table, each as `column: cell | column: cell`, once where two say the same.

    Of columns with names those that the search tokens ask for, the first (but a running number), those with a token
    in a cell, and what tells these rows apart; all filled ones where none is asked for. Two cells without names are
    told as `first: second`, more of them as they stand.
    """
    asked = set().union(*(_asked(row, tokens) for row in rows))
    name = next((at for at, cell in enumerate(rows[0].cells) if cell and not _COUNT.fullmatch(cell)), 0)
    kept = {name} | {at for row in rows for at, cell in enumerate(row.cells) if words_of([cell], tokens)}
    while asked and (other := _telling_apart(rows, kept - asked)) is not None:
        kept.add(other)
    shown = kept | asked if asked else set(range(max(len(row.cells) for row in rows)))
    return list(dict.fromkeys(_line(row, shown, tokens) for row in rows))


def words_of(cells: Sequence[str], tokens: Sequence[str]) -> set[str]:
    """The search tokens in cells; the digits around a decimal point or a comma are no words of their own."""
    whole = [_PART_OF_FIGURE.sub(lambda m: m.group() if m.group() in tokens else " ", cell) for cell in cells]
    return present(" | ".join(whole), tokens)


def _line(row: Row, shown: set[int], tokens: Sequence[str]) -> str:
    cells = [_short(cell, tokens) for cell in row.cells]
    if not row.columns:
        return (": " if len(cells) == 2 else " | ").join(cell for cell in cells if cell)
    pairs = [(row.columns[at], cell) for at, cell in enumerate(cells) if cell and at in shown]
    return " | ".join(f"{name}: {cell}" if name else cell for name, cell in pairs)


def _short(cell: str, tokens: Sequence[str]) -> str:
    """Of a cell with a long text the sentence with most of the tokens."""
    if len(cell) <= LONGEST_CELL:
        return cell
    sentences = [cell[start:end].strip() for start, end in split_sentences(cell)]
    return max(sentences, key=lambda one: len(present(one, tokens)))


def _telling_apart(rows: Sequence[Row], kept: set[int]) -> int | None:
    """The first other column of words in which rows differ that are alike in the kept ones."""
    for one, other in itertools.combinations(rows, 2):
        pairs = list(enumerate(zip(one.cells, other.cells, strict=False)))
        if all(a == b for at, (a, b) in pairs if at in kept):
            for at, (a, b) in pairs:
                if at not in kept and a != b and not _is_figure(a):
                    return at
    return None


def _asked(row: Row, tokens: Sequence[str]) -> set[int]:
    """Filled columns after the first that have tokens in their names which no better one has, nor the row itself."""
    own = words_of(row.cells, tokens)
    open_tokens = [token for token in tokens if token not in own]
    hits = {at: present(row.columns[at], open_tokens) for at in range(1, len(row.columns)) if row.cells[at]}
    taken: set[int] = set()
    covered: set[str] = set()
    for at in sorted(hits, key=lambda at: (-len(hits[at]), at)):
        if hits[at] - covered or any(hits[at] == hits[other] for other in taken if hits[at]):
            taken.add(at)
            covered |= hits[at]
    return taken


def _runs(text: str) -> Iterator[list[tuple[int, int, tuple[str, ...]]]]:
    """(start, end, cells) of lines that stand together and are rows."""
    run: list[tuple[int, int, tuple[str, ...]]] = []
    for line in _LINE.finditer(text):
        if run and _RULE.fullmatch(line.group()):
            run[-1] = (run[-1][0], line.end(), run[-1][2])
            continue
        cells = _cells(line.group())
        if run and (not cells or "\n" in text[run[-1][1] + 1 : line.start()]):
            yield run
            run = []
        if cells:
            run.append((line.start(), line.end(), cells))
    yield run


def _cells(line: str) -> tuple[str, ...]:
    """Empty for a line that is no row. A row may begin with an empty cell; Markdown's ends with a bar, too."""
    plain = line.strip()
    if " | " not in plain and not plain.startswith("| "):
        return ()
    if plain.startswith("|") and plain.endswith("|"):
        plain = plain[1:-1]
    return tuple(cell.strip() for cell in plain.split("|"))


def _table(lines: Sequence[tuple[int, int, tuple[str, ...]]]) -> Table:
    headed = _header_lines([cells for _, _, cells in lines])
    columns = _names([cells for _, _, cells in lines[:headed]])
    header = (lines[0][0], lines[headed - 1][1]) if headed else (0, 0)
    table = lines[0][0], lines[-1][1]
    doubtful = not headed and len(lines[0][2]) == 2 and not any(map(_is_figure, lines[0][2]))
    rows = tuple(
        Row(
            start,
            end,
            cells,
            columns[: len(cells)] if len(cells) <= len(columns) else (),
            header,
            table,
            doubtful and not at,
        )
        for at, (start, end, cells) in enumerate(lines[headed:])
        if any(re.search(r"\w", cell) for cell in cells)
    )
    return Table(*table, rows)


def _header_lines(lines: Sequence[tuple[str, ...]]) -> int:
    """How many lines name the columns. A table of two columns may be a form whose first line is a row like any other:
    it has a header only where figures stand below a word."""
    first, rest = lines[0], lines[1:]
    width = max(map(len, lines))  # empty cells at the end of a line are not written
    if any(_is_figure(cell) or len(cell) > LONGEST_NAME for cell in first) or sum(map(bool, first)) < 2:
        return 0
    if width == 2 and sum(len(row) == 2 and _is_figure(row[1]) for row in rest) * 2 < len(rest):
        return 0
    count = 1
    while count < len(lines) - 1 and _goes_on(first, lines[count]):
        count += 1
    return count


def _goes_on(first: tuple[str, ...], line: tuple[str, ...]) -> bool:
    """Whether a line is one more of the header: a cell reaches down into it, or it names what a wide cell is over."""
    if any(_is_figure(cell) for cell in line):
        return False
    pairs = list(itertools.zip_longest(first, line, fillvalue=""))
    reaches_down = any(above and above == below for above, below in pairs)
    return reaches_down or (not line[0] and any(not above and below for above, below in pairs[1:]))


def _names(header: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """One name a column, of all lines of the header; a cell over several columns names each of them."""
    names: list[str] = []
    for at in range(max((len(line) for line in header), default=0)):
        parts = []
        for level, line in enumerate(header):
            cell = line[at] if at < len(line) else ""
            if not cell and level < len(header) - 1:
                cell = next((line[left] for left in range(min(at, len(line)) - 1, 0, -1) if line[left]), "")
            parts.append(cell)
        names.append(" ".join(dict.fromkeys(part for part in parts if part)))
    return tuple(names)


def _is_figure(cell: str) -> bool:
    return bool(_FIGURE.match(cell)) and not _YEAR.match(cell)
