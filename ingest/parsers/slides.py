"""PowerPoint (pptx): per slide the title, texts from top to bottom, tables, charts and notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from core.errors import UnreadableError
from core.types import Block, BlockKind, Locator, ParsedDocument, Problem
from ingest.archive import check_expansion
from ingest.clean import collapse, tidy
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.registry import Parser, Source, register

_FURNITURE = frozenset({13, 15, 16})  # slide number, footer, date placeholders
_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}t"


def parse(source: Source) -> ParsedDocument:
    """Blocks with `slide`; a slide's title is a heading of level 2, its notes follow its texts."""
    import pptx

    check_expansion(source.path, source.name, source.limits.max_expanded_bytes)
    blocks: list[Block] = []
    problems: list[Problem] = []
    try:
        deck = pptx.Presentation(str(source.path))
        slides = list(deck.slides)
        for number, slide in enumerate(slides[: source.limits.max_pages], start=1):
            blocks.extend(_slide(slide, Locator(slide=number)))
        title = str(deck.core_properties.title or "")
    except Exception as error:  # python-pptx raises whatever its XML leads it to
        raise UnreadableError(
            f"Cannot read {source.name!r}: the PowerPoint file is damaged ({type(error).__name__}).",
            "Open it in PowerPoint or LibreOffice, save it again and add that.",
        ) from error
    if len(slides) > source.limits.max_pages:
        problems.append(
            Problem("cut_off", f"Only the first {source.limits.max_pages} of {len(slides)} slides were read.")
        )
    return ParsedDocument(
        blocks=tuple(blocks),
        media_type="application/vnd.openxmlformats-officedocument.presentationml.presentation",
        title=title,
        pages=max(1, len(slides)),
        problems=tuple(problems),
    )


def _slide(slide: Any, place: Locator) -> Iterator[Block]:
    title = slide.shapes.title
    if title is not None and title.has_text_frame and collapse(title.text_frame.text):
        yield Block(BlockKind.HEADING, collapse(title.text_frame.text), place, 2)
    for shape in _in_reading_order(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        yield from _shape(shape, place)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = tidy(slide.notes_slide.notes_text_frame.text)
        if notes:
            yield Block(BlockKind.PARAGRAPH, notes, place)


def _in_reading_order(shapes: Iterable[Any]) -> list[Any]:
    """Top to bottom in bands of half a centimetre, then left to right; shapes without a place stay first."""
    return sorted(shapes, key=lambda shape: ((shape.top or 0) // 180_000, shape.left or 0))


def _shape(shape: Any, place: Locator) -> Iterator[Block]:
    if shape.is_placeholder and shape.placeholder_format.type in _FURNITURE:
        return
    if hasattr(shape, "shapes"):
        for inner in _in_reading_order(shape.shapes):
            yield from _shape(inner, place)
    elif getattr(shape, "has_table", False):
        yield from _table(shape.table, place)
    elif getattr(shape, "has_chart", False):
        yield from _chart(shape.chart, place)
    elif shape.has_text_frame:
        yield from _text(shape.text_frame, place)
    else:
        yield from _diagram(shape, place)


def _text(frame: Any, place: Locator) -> Iterator[Block]:
    lines = [(paragraph.level, tidy(paragraph.text.replace("\x0b", "\n"))) for paragraph in frame.paragraphs]
    lines = [(level, text) for level, text in lines if text]
    if len(lines) == 1:
        yield Block(BlockKind.PARAGRAPH, lines[0][1], place)
    elif lines:
        items = ("  " * level + "- " + text.replace("\n", " ") for level, text in lines)
        yield Block(BlockKind.LIST, "\n".join(items), place)


def _table(table: Any, place: Locator) -> Iterator[Block]:
    rows: list[list[str]] = []
    above: dict[int, str] = {}
    for row in table.rows:
        values = []
        for column, cell in enumerate(row.cells):
            text = collapse(cell.text_frame.text)
            if cell._tc.vMerge:
                text = above.get(column, text)
            above[column] = text
            values.append(text)
        if any(values):
            rows.append(values)
    if not rows:
        return
    headed = len(rows) > 1 and (bool(table.first_row) or looks_like_header(rows[0], rows[1:]))
    lines = [row_text(row) for row in rows]
    yield Block(BlockKind.TABLE, "\n".join(lines[1:] if headed else lines), place, header=lines[0] if headed else "")


def _chart(chart: Any, place: Locator) -> Iterator[Block]:
    """The figures of a chart as a table of categories and series."""
    if chart.has_title and chart.chart_title.has_text_frame and collapse(chart.chart_title.text_frame.text):
        yield Block(BlockKind.CAPTION, collapse(chart.chart_title.text_frame.text), place)
    for plot in chart.plots:
        series = [(str(one.name), list(one.values)) for one in plot.series]
        names = [str(category) for category in plot.categories]
        rows = [[name, *(_figure(values, at) for _, values in series)] for at, name in enumerate(names)]
        if rows:
            header = row_text(["", *(name for name, _ in series)])
            yield Block(BlockKind.TABLE, "\n".join(row_text(row) for row in rows), place, header=header)


def _figure(values: list[Any], at: int) -> str:
    value = values[at] if at < len(values) else None
    return "" if value is None else f"{value:g}"


def _diagram(shape: Any, place: Locator) -> Iterator[Block]:
    """Words of SmartArt, which live in a part of their own."""
    from lxml import etree

    for relation_id in shape._element.xpath(".//*[local-name()='relIds']/@*[local-name()='dm']"):
        part = shape.part.related_part(relation_id)
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
        words = [node.text.strip() for node in etree.fromstring(part.blob, parser).iter(_TEXT) if node.text]
        text = "\n".join(f"- {word}" for word in words if word)
        if text:
            yield Block(BlockKind.LIST, text, place)


register(
    Parser(
        "pptx",
        "PowerPoint (pptx)",
        ("pptx", "pptm", "potx", "ppsx"),
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        parse,
    )
)
