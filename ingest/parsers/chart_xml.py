"""The figures that a chart part (DrawingML) keeps of its data, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.types import Block, BlockKind
from ingest.clean import collapse
from ingest.parsers.delimited import row_text

_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}t"
_MOST = 2000
"""Points of a series that are read."""
_ACROSS = 12
"""Categories that stand beside one another: months at most."""


def chart_blocks(part: bytes) -> list[Block]:
    """The title as a caption and a table of categories and series; empty for a chart without saved figures."""
    from lxml import etree

    root = etree.fromstring(part, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False))
    series: list[tuple[str, dict[int, str]]] = []
    names: dict[int, str] = {}
    for one in root.iter(_C + "ser"):
        found = _points(one.find(_C + "cat"))
        names = names or found or _points(one.find(_C + "xVal"))
        values = _points(one.find(_C + "val")) or _points(one.find(_C + "yVal"))
        if values:
            series.append((" ".join(_points(one.find(_C + "tx")).values()), values))
    blocks: list[Block] = []
    title = root.find(f"./{_C}chart/{_C}title")
    words = collapse("".join(node.text or "" for node in title.iter(_TEXT))) if title is not None else ""
    if words:
        blocks.append(Block(BlockKind.CAPTION, words))
    places = sorted({place for _, values in series for place in values} | set(names))[:_MOST]
    columns = [(name, [values.get(place, "") for place in places]) for name, values in series]
    return [*blocks, *chart_table([names.get(place, "") for place in places], columns)]


def chart_table(names: Sequence[str], series: Sequence[tuple[str, Sequence[str]]]) -> list[Block]:
    """Figures by category: few categories across, as under a chart in Office; many as rows under the series' names."""
    if not series or not names:
        return []
    if len(names) <= _ACROSS:
        header = row_text(["", *names])
        rows = [row_text([name, *values]) for name, values in series]
    else:
        header = row_text(["", *(name for name, _ in series)])
        rows = [row_text([name, *(values[at] for _, values in series)]) for at, name in enumerate(names)]
    return [Block(BlockKind.TABLE, "\n".join(rows), header=header)]


def _points(element: Any) -> dict[int, str]:
    """Cached values by index; those of a multi-level category stand beside one another."""
    found: dict[int, str] = {}
    if element is None:
        return found
    for point in element.iter(_C + "pt"):
        value = point.find(_C + "v")
        if value is not None and value.text and point.get("idx", "").isdecimal():
            place = int(point.get("idx"))
            words = _figure(collapse(value.text))
            found[place] = f"{words} {found[place]}" if place in found else words
    if not found and (words := collapse("".join(element.itertext()))):
        found[0] = words
    return found


def _figure(text: str) -> str:
    """A number without the noise of binary fractions; other text as it is."""
    try:
        return f"{float(text):.12g}" if "." in text else text
    except ValueError:
        return text
