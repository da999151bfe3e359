"""PowerPoint (pptx): per slide the title, texts from top to bottom, tables, charts, pictures, notes and comments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from core.errors import DocumentError, UnreadableError
from core.types import Block, BlockKind, Locator, ParsedDocument, Problem, Reading
from ingest.archive import check_expansion
from ingest.clean import collapse, tidy
from ingest.parsers.chart_xml import chart_table
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.embedded import embedded_files
from ingest.parsers.enclosed import EnclosedReader, Gathered, own_title
from ingest.parsers.macros import macro_blocks
from ingest.parsers.office_metadata import core_metadata
from ingest.parsers.office_open import open_slides
from ingest.parsers.old_office import ConversionNeededError
from ingest.parsers.picture_alt import picture_text
from ingest.parsers.picture_ocr import PictureLetters
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.slides_visibility import Seen, Sight

_FOOTER = 15
_FURNITURE = frozenset({13, 15, 16})  # slide number, footer, date placeholders
_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}t"


def parse(source: Source) -> ParsedDocument:
    """Blocks with `slide`; a slide's title is a heading of level 2, its notes and comments follow its texts.

    Hidden slides are read and reported; shapes off the slide and text that is not seen are left out and reported.
    """
    check_expansion(source.path, source.name, source.limits.max_expanded_bytes)
    blocks: list[Block] = []
    problems: list[Problem] = []
    seen = Seen()
    letters = PictureLetters(source)
    gathered = Gathered()
    try:
        deck = open_slides(source.path)
        slides = list(deck.slides)
        size = (int(deck.slide_width or 0), int(deck.slide_height or 0))
        for number, slide in enumerate(slides[: source.limits.max_pages], start=1):
            blocks.extend(_Slide(slide, number, size, seen, letters).blocks())
            source.page_done(number, len(slides))
            if slide._element.get("show") in ("0", "false"):
                problems.append(
                    Problem("hidden_slide", "The slide is hidden in the presentation; its text was read.", number)
                )
        blocks.extend(_margins(slides[: source.limits.max_pages], {block.text for block in blocks}))
        _read_files(source, gathered, slides[: source.limits.max_pages])
        gathered.add(macro_blocks(source.path))
        title = str(deck.core_properties.title or "")
        metadata = core_metadata(deck.core_properties)
    except (DocumentError, ConversionNeededError, MemoryError):
        raise
    except Exception as error:  # python-pptx raises whatever its XML leads it to
        raise UnreadableError(
            f"Cannot read {source.name!r}: the PowerPoint file is damaged.",
            "Open it in PowerPoint or LibreOffice, save it again and add that.",
        ) from error
    if len(slides) > source.limits.max_pages:
        problems.append(
            Problem("cut_off", f"Only the first {source.limits.max_pages} of {len(slides)} slides were read.")
        )
    gathered.readings.append(
        Reading(pictures=seen.pictures, pictures_without_text=seen.pictures_without_text, hidden=tuple(seen.hidden))
    )
    return ParsedDocument(
        blocks=(*blocks, *gathered.blocks),
        media_type="application/vnd.openxmlformats-officedocument.presentationml.presentation",
        title=own_title(title, blocks, gathered, source),
        pages=max(1, len(slides)),
        problems=(*letters.problems(), *problems, *gathered.problems),
        metadata=metadata,
        reading=gathered.reading(),
    )


def _read_files(source: Source, gathered: Gathered, slides: Sequence[Any]) -> None:
    """Files embedded in slides, each under a heading with its name."""
    enclosed = EnclosedReader(source, gathered)
    for name, data in embedded_files(slide.part for slide in slides):
        enclosed.read(name, data, 3)
    enclosed.finish()


class _Slide:
    """One slide's blocks; what is not seen on it goes to `seen`."""

    def __init__(self, slide: Any, number: int, size: tuple[int, int], seen: Seen, letters: PictureLetters) -> None:
        self._slide = slide
        self._letters = letters
        self._place = Locator(slide=number)
        self._seen = seen
        self._sight = Sight(slide, size)

    def blocks(self) -> Iterator[Block]:
        title = self._slide.shapes.title
        if title is not None and title.has_text_frame:
            words = collapse(" ".join(text for _, text in self._lines(title)))
            if words:
                yield Block(BlockKind.HEADING, words, self._place, 2)
        for shape in _in_reading_order(self._slide.shapes):
            if title is None or shape.shape_id != title.shape_id:
                yield from self._shape(shape)
        yield from self._notes()
        yield from self._comments()

    def _notes(self) -> Iterator[Block]:
        if self._slide.has_notes_slide and self._slide.notes_slide.notes_text_frame is not None:
            notes = tidy(self._slide.notes_slide.notes_text_frame.text)
            if notes:
                yield Block(BlockKind.PARAGRAPH, notes, self._place)

    def _comments(self) -> Iterator[Block]:
        """Comments of both kinds: `p:text` of older files, paragraphs of threads in newer ones."""
        for relation in self._slide.part.rels.values():
            if relation.is_external or not relation.reltype.rpartition("/")[2].startswith("comments"):
                continue
            for one in _xml(relation.target_part.blob).iter("{*}cm", "{*}reply"):
                words = "".join(node.text or "" for node in one.iter("{*}text", "{*}t") if _nearest(node) is one)
                if collapse(words):
                    yield Block(BlockKind.PARAGRAPH, collapse(words), self._place)

    def _shape(self, shape: Any) -> Iterator[Block]:
        if shape.is_placeholder and shape.placeholder_format.type in _FURNITURE:
            return
        kind = self._sight.hidden_shape(shape)
        if kind:
            self._seen.hide(kind, " ".join(node.text or "" for node in shape._element.iter(_TEXT)), self._place.slide)
            return
        if hasattr(shape, "shapes"):
            for inner in _in_reading_order(shape.shapes):
                yield from self._shape(inner)
        elif getattr(shape, "has_table", False):
            yield from _table(shape.table, self._place)
        elif getattr(shape, "has_chart", False):
            yield from _chart(shape.chart, self._place)
        elif shape._element.tag.endswith("}pic"):
            yield from self._picture(shape)
        elif shape.has_text_frame:
            yield from self._text(shape)
        else:
            yield from _diagram(shape, self._place)

    def _picture(self, shape: Any) -> Iterator[Block]:
        """What a picture says, by its author's words and by its letters."""
        properties = shape._element.find(".//{*}cNvPr")
        words = picture_text(properties.get("descr", "") if properties is not None else "")
        read = self._letters.read(_picture_bytes(shape), self._place)
        self._seen.pictures += 1
        self._seen.pictures_without_text += not (words or read)
        if words:
            yield Block(BlockKind.PICTURE, words, self._place)
        if read is not None:
            yield read

    def _text(self, shape: Any) -> Iterator[Block]:
        lines = self._lines(shape)
        if len(lines) == 1:
            yield Block(BlockKind.PARAGRAPH, lines[0][1], self._place)
        elif lines:
            items = ("  " * level + "- " + text.replace("\n", " ") for level, text in lines)
            yield Block(BlockKind.LIST, "\n".join(items), self._place)

    def _lines(self, shape: Any) -> list[tuple[int, str]]:
        """(level, text) of the paragraphs of a shape that have text, without runs that are not seen."""
        lines = []
        for paragraph in shape.text_frame.paragraphs:
            hidden = {
                run._r: kind
                for run in paragraph.runs
                if run.text.strip() and (kind := self._sight.hidden_run(run, shape))
            }
            if hidden:
                for run, kind in hidden.items():
                    self._seen.hide(kind, run.text or "", self._place.slide)
                text = "".join(run.text for run in paragraph.runs if run._r not in hidden)
            else:
                text = paragraph.text
            lines.append((paragraph.level, tidy(text.replace("\x0b", "\n"))))
        return [(level, text) for level, text in lines if text]


def _margins(slides: Sequence[Any], said: set[str]) -> Iterator[Block]:
    """What footers say and what is written on layouts and masters, each once, unless it stands on a slide."""
    layouts = {id(slide.slide_layout.part): slide.slide_layout for slide in slides}
    masters = {id(layout.slide_master.part): layout.slide_master for layout in layouts.values()}
    for part in (*slides, *layouts.values(), *masters.values()):
        for shape in part.shapes:
            footer = shape.is_placeholder and shape.placeholder_format.type == _FOOTER
            own = not shape.is_placeholder and not any(part is slide for slide in slides)
            if not shape.has_text_frame or not (footer or own):
                continue
            text = collapse(shape.text_frame.text)
            if text not in said and any(ch.isalpha() for ch in text):
                said.add(text)
                yield Block(BlockKind.PARAGRAPH, text)


def _picture_bytes(shape: Any) -> bytes:
    """Of an embedded picture; empty for a linked one."""
    for ident in shape._element.xpath(".//*[local-name()='blip']/@*[local-name()='embed']"):
        relation = shape.part.rels.get(ident)
        if relation is not None and not relation.is_external:
            return bytes(relation.target_part.blob)
    return b""


def _nearest(node: Any) -> Any:
    """The comment or reply that a text belongs to."""
    return next((one for one in node.iterancestors("{*}cm", "{*}reply")), None)


def _xml(blob: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(blob, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False))


def _in_reading_order(shapes: Iterable[Any]) -> list[Any]:
    """Top to bottom in bands of half a centimetre, then left to right; shapes without a place stay first."""
    return sorted(shapes, key=lambda shape: ((shape.top or 0) // 180_000, shape.left or 0))


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
        names = [str(category) for category in plot.categories]
        series = [
            (str(one.name), [_figure(values, at) for at in range(len(names))])
            for one, values in ((one, list(one.values)) for one in plot.series)
        ]
        yield from (replace(block, locator=place) for block in chart_table(names, series))


def _figure(values: list[Any], at: int) -> str:
    value = values[at] if at < len(values) else None
    return "" if value is None else f"{value:g}"


def _diagram(shape: Any, place: Locator) -> Iterator[Block]:
    """Words of SmartArt, which live in a part of their own."""
    for relation_id in shape._element.xpath(".//*[local-name()='relIds']/@*[local-name()='dm']"):
        part = shape.part.related_part(relation_id)
        words = [node.text.strip() for node in _xml(part.blob).iter(_TEXT) if node.text]
        text = "\n".join(f"- {word}" for word in words if word)
        if text:
            yield Block(BlockKind.LIST, text, place)


register(
    Parser(
        "pptx",
        "PowerPoint (pptx)",
        ("pptx", "pptm", "potx", "potm", "ppsx", "ppsm"),
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        parse,
    )
)
