"""Which runs of a Word document a reader does not see: switched off, white on white, or one point high."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"
_TINY = 2
"""Half points: Word shows such letters as a line of dust."""
_PROPERTIES = ("vanish", "color", "sz", "shd", "highlight")


class Visibility:
    """Judges runs by their own properties, their styles and what they stand on.

    White counts as hidden only where nothing dark can lie behind it: no shading of run, paragraph, cell or table,
    no text box, no picture behind the text, no page colour. In doubt a run is visible.
    """

    def __init__(self, document: Any) -> None:
        self._styles = document.styles.element
        root = document.element
        background = root.find(f"./{_W}background")
        behind = any(anchor.get("behindDoc") in ("1", "true") for anchor in root.iter(_DRAWING + "anchor"))
        self._white_paper = not behind and (background is None or _near_white(background.get(_W + "color", "")))
        self._of_style: dict[str, dict[str, Any]] = {}
        self._table_styles: dict[str, bool] = {}
        default = self._styles.find(f"./{_W}docDefaults/{_W}rPrDefault/{_W}rPr")
        self._defaults = _own(default)

    def hidden_kind(self, run: Any, paragraph: Any) -> str:
        """`invisible`, `tiny`, `white`, or empty for a run that is seen."""
        found = self._properties(run, paragraph)
        vanish = found.get("vanish")
        if vanish is not None and vanish.get(_W + "val") not in ("0", "false", "off"):
            return "invisible"
        size = found.get("sz")
        if size is not None and size.get(_W + "val", "").isdecimal() and int(size.get(_W + "val")) <= _TINY:
            return "tiny"
        color = found.get("color")
        if color is not None and _is_white(color) and self._white_paper and not self._stands_on_dark(found, paragraph):
            return "white"
        return ""

    def _properties(self, run: Any, paragraph: Any) -> dict[str, Any]:
        own = run.find(f"./{_W}rPr")
        if own is None and not len(self._styles):
            return self._defaults
        style = own.find(f"./{_W}rStyle") if own is not None else None
        paragraph_style = paragraph.find(f"./{_W}pPr/{_W}pStyle")
        return {
            **self._defaults,
            **self._style(paragraph_style.get(_W + "val", "") if paragraph_style is not None else ""),
            **self._style(style.get(_W + "val", "") if style is not None else ""),
            **_own(own),
        }

    def _style(self, style_id: str, depth: int = 0) -> dict[str, Any]:
        if not style_id or depth > 10:
            return {}
        if style_id not in self._of_style:
            style = self._styles.get_by_id(style_id)
            if style is None:
                return {}
            based = style.find(f"./{_W}basedOn")
            parent = self._style(based.get(_W + "val", ""), depth + 1) if based is not None else {}
            shading = style.find(f"./{_W}pPr/{_W}shd")
            found = {**parent, **({"paragraph_shd": shading} if shading is not None else {})}
            self._of_style[style_id] = {**found, **_own(style.find(f"./{_W}rPr"))}
        return self._of_style[style_id]

    def _stands_on_dark(self, found: dict[str, Any], paragraph: Any) -> bool:
        if any(_is_dark(found[name]) for name in ("shd", "paragraph_shd") if name in found) or "highlight" in found:
            return True
        if _is_dark(paragraph.find(f"./{_W}pPr/{_W}shd")):
            return True
        for around in paragraph.iterancestors():
            if around.tag == _W + "txbxContent":
                return True
            if around.tag == _W + "tc" and _is_dark(around.find(f"./{_W}tcPr/{_W}shd")):
                return True
            if around.tag == _W + "tbl" and self._table_is_dark(around):
                return True
        return False

    def _table_is_dark(self, table: Any) -> bool:
        """Whether the table or a part of its style has shading."""
        if _is_dark(table.find(f"./{_W}tblPr/{_W}shd")):
            return True
        style = table.find(f"./{_W}tblPr/{_W}tblStyle")
        style_id = style.get(_W + "val", "") if style is not None else ""
        if style_id not in self._table_styles:
            self._table_styles[style_id] = any(_is_dark(shd) for shd in self._shadings(style_id))
        return self._table_styles[style_id]

    def _shadings(self, style_id: str) -> Iterator[Any]:
        for _ in range(10):
            style = self._styles.get_by_id(style_id) if style_id else None
            if style is None:
                return
            yield from style.iter(_W + "shd")
            based = style.find(f"./{_W}basedOn")
            style_id = based.get(_W + "val", "") if based is not None else ""


def _own(properties: Any) -> dict[str, Any]:
    if properties is None:
        return {}
    found = ((name, properties.find(f"./{_W}{name}")) for name in _PROPERTIES)
    return {name: element for name, element in found if element is not None}


def _is_white(color: Any) -> bool:
    theme = color.get(_W + "themeColor", "")
    changed = color.get(_W + "themeShade") or color.get(_W + "themeTint")
    return (theme in ("background1", "light1") and not changed) or _near_white(color.get(_W + "val", ""))


def _is_dark(shading: Any) -> bool:
    """Whether this shading, or a pattern or theme colour of which that is not known, may make white readable."""
    if shading is None:
        return False
    themed = shading.get(_W + "themeFill")
    if themed and (themed not in ("background1", "light1") or shading.get(_W + "themeFillShade")):
        return True
    if shading.get(_W + "val", "clear") not in ("clear", "nil"):
        return True
    fill = shading.get(_W + "fill", "auto")
    return fill.lower() != "auto" and not _near_white(fill)


def _near_white(value: str) -> bool:
    try:
        return len(value) == 6 and all(int(value[at : at + 2], 16) >= 0xFA for at in (0, 2, 4))
    except ValueError:
        return value.lower() == "white"
