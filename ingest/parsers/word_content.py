"""The elements of a Word document in order: paragraphs, tables, cells, runs, text boxes and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_ALTERNATE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_ANCHORED = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
_PICTURE = "{http://schemas.openxmlformats.org/drawingml/2006/picture}pic"
_VML_IMAGE = "{urn:schemas-microsoft-com:vml}imagedata"
_BLIP = "{http://schemas.openxmlformats.org/drawingml/2006/main}blip"
_RELATIONS = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"


def width_of(tc: Any) -> int:
    """Columns that a cell covers."""
    span = tc.find(f"./{W}tcPr/{W}gridSpan")
    value = span.get(W + "val", "1") if span is not None else "1"
    return min(100, int(value)) if value.isdecimal() and int(value) > 0 else 1


def content(container: Any) -> Iterator[Any]:
    """Paragraphs, tables and inserted files in order, also inside content controls and insertions."""
    for child in container.iterchildren():
        if child.tag in (W + "p", W + "tbl", W + "altChunk"):
            yield child
        elif child.tag in (W + "sdt", W + "sdtContent", W + "ins", W + "customXml", W + "smartTag"):
            yield from content(child)


def rows_of(table: Any) -> Iterator[Any]:
    """Rows in order, also inside content controls and insertions, without those that were deleted."""
    for child in table.iterchildren():
        if child.tag == W + "tr":
            if child.find(f"./{W}trPr/{W}del") is None:
                yield child
        elif child.tag in (W + "sdt", W + "sdtContent", W + "ins", W + "customXml"):
            yield from rows_of(child)


def cells_of(tr: Any) -> Iterator[Any]:
    for child in tr.iterchildren():
        if child.tag == W + "tc":
            yield child
        elif child.tag in (W + "sdt", W + "sdtContent"):
            yield from cells_of(child)


def runs(p: Any) -> Iterator[Any]:
    """Runs of a paragraph and its links, in order, without deleted ones."""
    for child in p.iterchildren():
        if child.tag == W + "r":
            yield child
        elif child.tag in (W + "del", W + "moveFrom", W + "pPr"):
            continue
        elif isinstance(child.tag, str):
            if child.tag.startswith("{http://schemas.openxmlformats.org/officeDocument/2006/math}"):
                yield child
            else:
                yield from runs(child)


def run_text(run: Any) -> Iterator[str]:
    if run.tag != W + "r":
        yield from (node.text or "" for node in run.iter(_MATH))
        return
    for child in run.iterchildren():
        if child.tag == W + "t":
            yield child.text or ""
        elif child.tag in (W + "tab", W + "ptab"):
            yield "\t"
        elif child.tag in (W + "br", W + "cr"):
            yield "\n"
        elif child.tag == W + "noBreakHyphen":
            yield "-"
        elif child.tag == W + "sym":
            yield " "
        elif child.tag == W + "ruby":
            word, reading = _words(child.find(W + "rubyBase")), _words(child.find(W + "rt"))
            yield f"{word} ({reading})" if word and reading else word or reading


def _words(element: Any) -> str:
    return "" if element is None else "".join(node.text or "" for node in element.iter(W + "t"))


def pictures(p: Any) -> Iterator[tuple[str, str]]:
    """Alternative text and relation of each picture of a paragraph, either perhaps empty; text boxes' are theirs."""
    for shape in p.iter(_PICTURE, _VML_IMAGE):
        around = list(shape.iterancestors())
        if any(one.tag == _ALTERNATE + "Fallback" for one in around):
            continue
        if next((one for one in around if one.tag == W + "p"), None) is not p:
            continue
        if shape.tag == _VML_IMAGE:
            owner = shape.getparent()
            yield (owner.get("alt", "") if owner is not None else ""), shape.get(_RELATIONS + "id", "")
            continue
        holder = next((one for one in around if one.tag.startswith(_ANCHORED)), None)
        frame = holder.find(f"./{_ANCHORED}docPr") if holder is not None else None
        own = shape.find(".//{*}cNvPr")
        found = (one.get("descr", "") for one in (own, frame) if one is not None)
        blip = shape.find(f".//{_BLIP}")
        relation = blip.get(_RELATIONS + "embed", "") if blip is not None else ""
        yield next((words for words in found if words.strip()), ""), relation


def shape_words(p: Any) -> Iterator[str]:
    """Title and description that the author gave to drawn shapes, charts and diagrams anchored in a paragraph."""
    for frame in p.iter(_ANCHORED + "docPr"):
        holder = frame.getparent()
        if holder is None or holder.find(f".//{_PICTURE}") is not None:
            continue
        if next(frame.iterancestors(W + "p"), None) is p:
            yield "\n".join(words for words in (frame.get("title", ""), frame.get("descr", "")) if words.strip())


def text_boxes(p: Any) -> Iterator[Any]:
    """Contents of text boxes anchored in a paragraph; the fallback copy for old programs is skipped."""
    for box in p.iter(W + "txbxContent"):
        ancestors = {ancestor.tag for ancestor in box.iterancestors()}
        if _ALTERNATE + "Fallback" not in ancestors:
            outer = next(box.iterancestors(W + "p"))
            if outer is p:
                yield box
