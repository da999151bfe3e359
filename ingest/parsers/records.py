"""Nested data (objects, lists, values) as blocks a person can read: key lines, tables of like records, headings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from core.types import Block, BlockKind, Locator
from ingest.clean import cell, collapse
from ingest.parsers.delimited import ROWS_PER_BLOCK, looks_like_header, row_text

MAX_DEPTH = 30
"""Levels that become structure; what is deeper is written on one line."""
MAX_COLUMNS = 100
LONG = 300
"""Characters from which a value is a paragraph by itself."""
_LABELS = ("title", "name", "subject", "question", "label", "heading", "标题", "名称", "姓名", "id", "key")

Emit = Callable[[Block], None]


class RecordWriter:
    """Writes values as blocks through `emit`. Values are what `json` gives, numbers may be text."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def write(self, value: Any, level: int = 1, place: Locator | None = None, depth: int = 0) -> None:
        """Blocks of one value; its headings start at `level`, and every block gets `place`."""
        place = place or Locator()
        if depth > MAX_DEPTH:
            self._paragraph(compact(value), place)
        elif isinstance(value, dict):
            self._object(value, level, place, depth)
        elif isinstance(value, list):
            self._list("", value, level, place, depth)
        else:
            self._paragraph(scalar(value), place)

    def _object(self, value: dict[str, Any], level: int, place: Locator, depth: int) -> None:
        lines: list[str] = []
        later: list[tuple[str, Any]] = []
        for key, inner in _flattened(value):
            short = _short(inner)
            if short is None:
                later.append((key, inner))
            elif short:
                lines.append(f"{collapse(key)}: {short}")
        if lines:
            self._paragraph("\n".join(lines), place)
        for key, inner in later:
            if isinstance(inner, str):
                self._paragraph(f"{collapse(key)}: {inner.strip()}", place)
            elif isinstance(inner, list):
                self._list(key, inner, level, place, depth)
            elif inner:
                self._heading(collapse(key), level, place)
                self.write(inner, level + 1, place, depth + 1)

    def _list(self, key: str, items: list[Any], level: int, place: Locator, depth: int) -> None:
        if key and items:
            self._heading(collapse(key), level, place)
            level += 1
        if not items:
            return
        if all(not isinstance(item, (dict, list)) for item in items):
            self._plain_list(items, place)
        elif is_table(items):
            self.table(items, [place] * len(items))
        elif all(isinstance(item, list) and all(_is_scalar(part) for part in item) for item in items):
            self._grid(items, place)
        elif not any(isinstance(item, dict) for item in items) and _numbers_only(items, depth):
            self._paragraph(compact(items), place)
        else:
            for number, item in enumerate(items, 1):
                if isinstance(item, (dict, list)):
                    self._heading(label(item) or f"{collapse(key)} #{number}".strip(), level, place)
                self.write(item, level + 1, place, depth + 1)

    def table(self, items: Sequence[dict[str, Any]], places: Sequence[Locator]) -> None:
        """Like records as table blocks; `places` gives each record's own lines."""
        columns = list(dict.fromkeys(key for item in items for key in item))
        header = row_text([*columns[:-1], columns[-1] or "-"])
        for start in range(0, len(items), ROWS_PER_BLOCK):
            group = items[start : start + ROWS_PER_BLOCK]
            rows = [" | ".join(cell(scalar(item.get(name))) for name in columns) for item in group]
            place = _span(places[start], places[start + len(group) - 1])
            self._emit(Block(BlockKind.TABLE, "\n".join(rows), place, header=header))

    def _grid(self, items: list[list[Any]], place: Locator) -> None:
        rows = [[scalar(part) for part in item] for item in items]
        headed = looks_like_header(rows[0], rows[1:])
        for start in range(1 if headed else 0, len(rows), ROWS_PER_BLOCK):
            text = "\n".join(line for line in map(row_text, rows[start : start + ROWS_PER_BLOCK]) if line)
            if text:
                self._emit(Block(BlockKind.TABLE, text, place, header=row_text(rows[0]) if headed else ""))

    def _plain_list(self, items: list[Any], place: Locator) -> None:
        texts = [scalar(item).strip() for item in items]
        if any(len(text) > LONG for text in texts):
            for text in texts:
                self._paragraph(text, place)
            return
        self._emit(Block(BlockKind.LIST, "\n".join(f"- {collapse(text)}" for text in texts if text), place))

    def _heading(self, text: str, level: int, place: Locator) -> None:
        if text:
            self._emit(Block(BlockKind.HEADING, text[:200], place, min(6, level)))

    def _paragraph(self, text: str, place: Locator) -> None:
        for part in re.split(r"\n[ \t]*\n", text) if len(text) > LONG else [text]:
            if part.strip():
                self._emit(Block(BlockKind.PARAGRAPH, part.strip(), place))


def is_table(items: Sequence[Any]) -> bool:
    """True when all items are records of short values over mostly the same few keys."""
    if len(items) < 2 or not all(isinstance(item, dict) and item for item in items):
        return False
    keys = dict.fromkeys(key for item in items for key in item)
    filled = sum(len(item) for item in items)
    if len(keys) > MAX_COLUMNS or filled < 0.5 * len(keys) * len(items):
        return False
    return all(_is_scalar(value) and len(scalar(value)) <= LONG for item in items for value in item.values())


def label(value: Any) -> str:
    """What a record calls itself: its title, name or id."""
    if not isinstance(value, dict):
        return ""
    lowered = {str(key).lower(): inner for key, inner in value.items()}
    found = (lowered[name] for name in _LABELS if name in lowered)
    return next((collapse(scalar(inner)) for inner in found if _is_scalar(inner) and 0 < len(scalar(inner)) <= 120), "")


def scalar(value: Any) -> str:
    """A value as text: nothing for null, `true` and `false` as JSON writes them."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else compact(value)


def compact(value: Any) -> str:
    """A value as JSON on one line, empty where it nests beyond what can be written."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError, TypeError):
        return ""


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (dict, list))


def _short(value: Any) -> str | None:
    """The value on one line, or None where it wants more room."""
    if isinstance(value, list):
        if not value:
            return ""
        if all(_is_scalar(item) for item in value):
            text = ", ".join(collapse(scalar(item)) for item in value)
            return text if len(text) <= 200 else None
        return None
    if isinstance(value, dict):
        return None if value else ""
    text = scalar(value)
    return collapse(text) if len(text) <= LONG and "\n\n" not in text else None


def _flattened(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Entries; a small inner object of short values gives `outer.inner` entries in place of one of its own."""
    for key, inner in value.items():
        if isinstance(inner, dict) and len(inner) <= 8 and all(_short(part) is not None for part in inner.values()):
            yield from ((f"{key}.{name}", part) for name, part in inner.items())
        else:
            yield key, inner


def _numbers_only(items: list[Any], depth: int) -> bool:
    """True for coordinates and the like: lists in lists down to numbers."""
    if depth > MAX_DEPTH:
        return True
    return all(
        _numbers_only(item, depth + 1) if isinstance(item, list) else _is_scalar(item) and _numeric(item)
        for item in items
    )


def _numeric(value: Any) -> bool:
    return value is None or bool(re.fullmatch(r"-?[0-9][0-9.eE+-]{0,40}", scalar(value)))


def _span(first: Locator, last: Locator) -> Locator:
    if first.lines and last.lines:
        return Locator(lines=(first.lines[0], last.lines[1]))
    return first
