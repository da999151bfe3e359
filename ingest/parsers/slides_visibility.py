"""What the audience of a slide does not see: shapes beside it, hidden shapes, letters of one point, white on white."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.types import HiddenText
from ingest.clean import collapse

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_TINY = 100
"""Hundredths of a point."""
_FILLS = ("solidFill", "gradFill", "blipFill", "pattFill", "grpFill")


@dataclass(slots=True)
class Seen:
    """What the slides of one file held beside text."""

    pictures: int = 0
    pictures_without_text: int = 0
    hidden: list[HiddenText] = field(default_factory=list)

    def hide(self, kind: str, words: str, slide: int | None) -> None:
        """Note hidden words; blanks alone are none."""
        text = collapse(words)
        if text:
            self.hidden.append(HiddenText(kind, len(text), text[:80], slide))


class Sight:
    """Judges the shapes and runs of one slide. In doubt they are seen.

    White counts as hidden only where the slide and its layouts have no background of their own and nothing filled,
    no picture and no table lies anywhere on the slide or its layout.
    """

    def __init__(self, slide: Any, size: tuple[int, int]) -> None:
        self._size = size
        self._slide = slide
        self._white: bool | None = None

    def hidden_shape(self, shape: Any) -> str:
        """`invisible` for a shape that is switched off, `off_page` for one wholly beside the slide, else empty."""
        properties = shape._element.find(".//{*}cNvPr")
        if properties is not None and properties.get("hidden") in ("1", "true"):
            return "invisible"
        wide, high = self._size
        if not wide or not high or shape._element.getparent().tag.endswith("}grpSp"):
            return ""
        left, top, width, height = shape.left, shape.top, shape.width, shape.height
        if None in (left, top, width, height):
            return ""
        beside = left >= wide or top >= high or left + width <= 0 or top + height <= 0
        return "off_page" if beside else ""

    def hidden_run(self, run: Any, shape: Any) -> str:
        """`tiny`, `white` or empty."""
        properties = run._r.find(_A + "rPr")
        if properties is None:
            return ""
        size = properties.get("sz", "")
        if size.isdecimal() and int(size) <= _TINY:
            return "tiny"
        fill = properties.find(_A + "solidFill")
        if fill is None or not _is_white(fill) or properties.find(_A + "highlight") is not None:
            return ""
        return "white" if not _has_fill(shape._element) and self._is_white_paper() else ""

    def _is_white_paper(self) -> bool:
        if self._white is None:
            layout = self._slide.slide_layout
            master = layout.slide_master
            plain = all(_background_is_white(part._element) for part in (self._slide, layout, master))
            self._white = plain and not any(_has_dark_part(part._element) for part in (self._slide, layout, master))
        return self._white


def _background_is_white(element: Any) -> bool:
    background = element.find(f"./{_P}cSld/{_P}bg")
    if background is None:
        return True
    reference = background.find(_P + "bgRef")
    if reference is not None:
        return _is_white(reference) and reference.get("idx") in ("1001", "0")
    fill = background.find(f"./{_P}bgPr/{_A}solidFill")
    return fill is not None and _is_white(fill)


def _has_dark_part(element: Any) -> bool:
    """Whether a picture, a table or a filled shape lies on it: white letters may stand on that."""
    if next(element.iter(_P + "pic", _A + "tbl", _P + "graphicFrame"), None) is not None:
        return True
    return any(_has_fill(shape) for shape in element.iter(_P + "sp", _P + "cxnSp", _P + "grpSp"))


def _has_fill(shape: Any) -> bool:
    """Whether a shape is filled, by its own properties or by a style, with anything that is not white."""
    for properties in shape.iterchildren(_P + "spPr", _P + "grpSpPr"):
        if properties.find(_A + "noFill") is not None:
            return False
        for name in _FILLS:
            fill = properties.find(_A + name)
            if fill is not None:
                return not (name == "solidFill" and _is_white(fill))
    reference = shape.find(f"./{_P}style/{_A}fillRef")
    return reference is not None and reference.get("idx", "0") != "0"


def _is_white(holder: Any) -> bool:
    color = holder.find(_A + "srgbClr")
    if color is not None:
        value = color.get("val", "")
        try:
            return len(color) == 0 and all(int(value[at : at + 2], 16) >= 0xFA for at in (0, 2, 4))
        except ValueError:
            return False
    themed = holder.find(_A + "schemeClr")
    return themed is not None and themed.get("val") in ("bg1", "lt1") and len(themed) == 0
