"""Tables and texts embedded in an OpenDocument file, which LibreOffice gives on as mere pictures of themselves."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.types import Block, BlockKind
from ingest.clean import cell, collapse
from ingest.parsers.delimited import looks_like_header, row_text

_OBJECT = re.compile(r"^(?:\./)?Object[^/]*/content\.xml$")
_MOST = 100
_LARGEST = 20_000_000
_COLUMNS = 200
"""A cell is repeated at most so often: empty ones fill a sheet to its edge."""


def object_blocks(path: Path, said: str) -> list[Block]:
    """Blocks of the embedded objects whose words are not in `said`, the text of the document so far."""
    known = _squeezed(said)
    blocks: list[Block] = []
    for root in _roots(path):
        fresh = list(_tables(root)) or list(_paragraphs(root))
        if any(_squeezed(block.header + block.text)[:200] not in known for block in fresh):
            blocks.extend(fresh)
    return blocks


def _roots(path: Path) -> Iterator[Any]:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if _OBJECT.match(one.filename) and one.file_size < _LARGEST]
            for member in members[:_MOST]:
                root = etree.fromstring(archive.read(member), parser)
                if root.find(".//{*}body/{*}chart") is None:  # charts come through with their figures
                    yield root
    except (etree.XMLSyntaxError, zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError):
        return


def _tables(root: Any) -> Iterator[Block]:
    for table in root.iter("{*}table"):
        rows = [row for row in map(_cells, table.iter("{*}table-row")) if any(row)]
        if rows:
            lines = [row_text(row) for row in rows]
            headed = int(looks_like_header(rows[0], rows[1:]))
            yield Block(BlockKind.TABLE, "\n".join(lines[headed:]), header="\n".join(lines[:headed]))


def _cells(row: Any) -> list[str]:
    values: list[str] = []
    for one in row.iterchildren("{*}table-cell", "{*}covered-table-cell"):
        text = cell(" ".join("".join(p.itertext()) for p in one.iterchildren("{*}p")))
        repeated = next((value for key, value in one.attrib.items() if key.endswith("number-columns-repeated")), "1")
        count = int(repeated) if repeated.isdecimal() else 1
        values.extend([text] * min(count, _COLUMNS))
    while values and not values[-1]:
        values.pop()
    return values


def _paragraphs(root: Any) -> Iterator[Block]:
    for p in root.iter("{*}p"):
        if text := collapse("".join(p.itertext())):
            yield Block(BlockKind.PARAGRAPH, text)


def _squeezed(text: str) -> str:
    return re.sub(r"[\s|]+", "", text)
