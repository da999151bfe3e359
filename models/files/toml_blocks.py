"""Adds and takes out single entries of TOML files that people also write by hand; everything else stays as it is."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from core.errors import WeightsError

_HEADER = re.compile(r"^\s*\[", re.MULTILINE)


def value(one: object) -> str:
    """A text, number, truth value or list of texts in TOML."""
    if isinstance(one, (list, tuple)):
        return "[" + ", ".join(value(item) for item in one) + "]"
    return json.dumps(one, ensure_ascii=False).replace("\x7f", "\\u007f")


def table(header: str, values: Mapping[str, object]) -> str:
    """A table with quoted names where TOML wants them."""
    return "\n".join([header, *(f"{_name(key)} = {value(one)}" for key, one in values.items())]) + "\n"


def append(file: Path, block: str) -> None:
    """Put a block at the end. Raises as `_replace`."""
    text = _text(file)
    _replace(file, (text.rstrip("\n") + "\n\n" if text.strip() else "") + block)


def drop(file: Path, starts: str, belongs: str, holds: str = "") -> bool:
    """Take out the first block that begins with the line `starts`, with the sub-tables under `belongs`.

    Args:
        starts: header line of the block, e.g. `[[model]]`.
        belongs: header prefix of its sub-tables, e.g. `[model.`; empty for none.
        holds: a line that must stand in the block; empty for none.

    Returns:
        Whether there was one.
    """
    lines = _text(file).splitlines(keepends=True)
    for at, line in enumerate(lines):
        if line.strip() != starts:
            continue
        end = at + 1
        while end < len(lines) and (
            not _HEADER.match(lines[end]) or (belongs and lines[end].strip().startswith(belongs))
        ):
            end += 1
        if holds and holds not in (one.strip() for one in lines[at:end]):
            continue
        _replace(file, "".join(lines[:at] + lines[end:]))
        return True
    return False


def _name(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else value(key)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise WeightsError(f"Cannot read '{file}': {error}.", "It is a TOML file in UTF-8.") from error


def _replace(file: Path, text: str) -> None:
    """In one step, and only by what is TOML.

    Raises:
        WeightsError: the file was no TOML before, or cannot be written.
    """
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WeightsError(f"Cannot change '{file}': {error}.", "Correct the file first.") from error
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, file)
    except OSError as error:
        raise WeightsError(
            f"Cannot write '{file}': {error.strerror}.", "Free some space, or fix its rights."
        ) from error
