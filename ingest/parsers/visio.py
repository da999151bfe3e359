"""Visio drawings (vsdx): per page the texts of its shapes from top to bottom, and which shape leads to which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.types import Block, BlockKind, Locator, ParsedDocument, Problem
from ingest.clean import collapse, tidy
from ingest.parsers.fixed_pages import Container, beside, numbers, open_container
from ingest.parsers.registry import Parser, Source, register

MEDIA_TYPE = "application/vnd.ms-visio.drawing"
_PAGES = "visio/pages/pages.xml"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_BAND = 0.25
"""Inches: shapes whose middles differ by less stand on one row."""


def parse(source: Source) -> ParsedDocument:
    """Blocks with `page`; a page's name is a heading. Connections of a flow chart are lines `from → to`.

    Raises:
        UnreadableError: damaged, or without a page.
    """
    with open_container(source) as archive:
        container = Container(archive, source.name)
        pages = list(_pages(container))
        if not pages:
            raise container.damaged()
        blocks: list[Block] = []
        for number, (name, path) in enumerate(pages[: source.limits.max_pages], start=1):
            blocks.extend(_page(container, name, path, Locator(page=number, page_end=number)))
            source.page_done(number, len(pages))
        facts = container.facts()
    problems = []
    if len(pages) > source.limits.max_pages:
        message = f"Only the first {source.limits.max_pages} of {len(pages)} pages were read."
        problems.append(Problem("cut_off", message))
    return ParsedDocument(
        blocks=tuple(blocks),
        media_type=MEDIA_TYPE,
        title=facts.pop("title", ""),
        pages=len(pages),
        problems=tuple(problems),
        metadata=facts,
    )


def _pages(container: Container) -> Iterator[tuple[str, str]]:
    """Name and part of each page in order."""
    root, links = container.xml(_PAGES), container.xml("visio/pages/_rels/pages.xml.rels")
    targets = {one.get("Id", ""): one.get("Target", "") for one in links} if links is not None else {}
    for page in root.iter("{*}Page") if root is not None else ():
        link = page.find("./{*}Rel")
        target = targets.get(link.get(_RELATION, "") if link is not None else "", "")
        if target:
            yield page.get("Name", page.get("NameU", "")), beside(_PAGES, target)


def _page(container: Container, name: str, path: str, place: Locator) -> Iterator[Block]:
    root = container.xml(path)
    if root is None:
        return
    shapes = root.findall("./{*}Shapes/{*}Shape")
    words = {shape.get("ID", ""): text for shape in root.iter("{*}Shape") if (text := _text(shape))}
    if collapse(name) and words:
        yield Block(BlockKind.HEADING, collapse(name), place, 2)
    for shape in sorted(shapes, key=_row_then_column):
        for text in _texts(shape):
            yield Block(BlockKind.PARAGRAPH, text, place)
    if arrows := _connections(root, words):
        yield Block(BlockKind.LIST, "\n".join(f"- {arrow}" for arrow in arrows), place)


def _texts(shape: Any) -> Iterator[str]:
    """Of the shape and those grouped in it."""
    if text := _text(shape):
        yield text
    for inner in sorted(shape.findall("./{*}Shapes/{*}Shape"), key=_row_then_column):
        yield from _texts(inner)


def _text(shape: Any) -> str:
    found = shape.find("./{*}Text")
    return tidy("".join(found.itertext())) if found is not None else ""


def _row_then_column(shape: Any) -> tuple[float, float]:
    """Order of reading: from the top (y grows upwards), then from the left."""
    places = {cell.get("N", ""): numbers(cell.get("V")) for cell in shape.findall("./{*}Cell")}
    x, y = ((places.get(name) or [0.0])[0] for name in ("PinX", "PinY"))
    return -round(y / _BAND), x


def _connections(root: Any, words: dict[str, str]) -> list[str]:
    """`from → to`, or `from → label → to`, for each connector that is glued to two shapes with text."""
    ends: dict[str, dict[str, str]] = {}
    for one in root.iter("{*}Connect"):
        ends.setdefault(one.get("FromSheet", ""), {})[one.get("FromCell", "")] = one.get("ToSheet", "")
    out = []
    for connector, sheets in ends.items():
        start, end = (collapse(words.get(sheets.get(cell, ""), "")) for cell in ("BeginX", "EndX"))
        if start and end:
            label = collapse(words.get(connector, ""))
            out.append(f"{start} → {label} → {end}" if label else f"{start} → {end}")
    return out


register(Parser("vsdx", "Visio (vsdx)", ("vsdx", "vsdm", "vstx", "vssx"), MEDIA_TYPE, parse))
