"""Which elements of a web page a reader does not see, by style attributes and the page's own simple style rules."""

from __future__ import annotations

import re
from typing import Any

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_MEDIA = re.compile(r"@[\w-]+[^{;]*(?:;|\{(?:[^{}]|\{[^{}]*\})*\})")
_RULE = re.compile(r"([^{}]{1,2000})\{([^{}]{0,5000})\}")
_SIMPLE = re.compile(r"^(?:(\w+)|(\w+)?\.([\w-]+)|(\w+)?#([\w-]+))$")
_DECLARATION = re.compile(r"([\w-]+)\s*:\s*([^;]+)")
_LENGTH = re.compile(r"^(-?[\d.]+)\s*(px|pt|em|rem|%|vw|vh|cm|in)?$")
_WHITE = re.compile(
    r"^(?:white|#fff|#ffff|#fff[a-f]{3}|#f[a-f]f[a-f]f[a-f]|#ffffffff|transparent"
    r"|rgba?\(\s*25[0-5]\s*,\s*25[0-5]\s*,\s*25[0-5]\s*(?:,\s*[\d.]+%?\s*)?\)|rgba\([^)]*,\s*0(?:\.0+)?\s*\))$"
)
_PIXELS = {"px": 1.0, "pt": 1.33, "em": 16.0, "rem": 16.0, "%": 0.16, "vw": 10.0, "vh": 8.0, "cm": 38.0, "in": 96.0}
_FAR = -999.0
"""Pixels from which on a place left of or above the page is beside it."""

Style = dict[str, str]


class PageStyle:
    """Judges elements. White counts as hidden only where no background of an own colour can lie behind it.

    Understood are style attributes and rules with one tag, class or id; rules inside `@media` and of linked style
    sheets are not known, and with a linked sheet nothing counts as white.
    """

    def __init__(self, root: Any) -> None:
        self._tags: dict[str, Style] = {}
        self._classes: dict[tuple[str, str], Style] = {}
        self._ids: dict[str, Style] = {}
        linked = (link.get("rel", "").lower() for link in root.iter("link"))
        self._all_known = not any("stylesheet" in relation for relation in linked)
        for element in root.iter("style"):
            self._rules(element.text or "")

    def hidden_kind(self, element: Any) -> str:
        """`invisible`, `tiny`, `off_page`, `white`, or empty for an element that is seen or has no style."""
        if element.get("hidden") is not None:
            return "invisible"
        style = self._style(element)
        if not style and element.tag != "font":
            return ""
        if style.get("display") == "none" or style.get("visibility") in ("hidden", "collapse"):
            return "invisible"
        if _number(style.get("opacity", "1")) == 0.0:
            return "invisible"
        if (size := _pixels(style.get("font-size", ""))) is not None and size <= 1.4:
            return "tiny"
        if _closed(style):
            return "tiny"
        if _beside(style):
            return "off_page"
        color = style.get("color") or (element.get("color") or "").strip().lower()
        return "white" if color and _WHITE.match(color) and self._on_white(element) else ""

    def _on_white(self, element: Any) -> bool:
        if not self._all_known:
            return False
        for around in (element, *element.iterancestors()):
            if not isinstance(around.tag, str):
                continue
            style = self._style(around)
            paper = style.get("background-color") or style.get("background") or around.get("bgcolor") or ""
            paper = (paper or around.get("background") or "").strip().lower()
            if paper and not _WHITE.match(paper) and paper not in ("none", "inherit", "initial", "unset"):
                return False
        return True

    def _style(self, element: Any) -> Style:
        own = element.get("style")
        classes = (element.get("class") or "").split()
        if not own and not self._tags and not classes and not self._ids:
            return {}
        style = dict(self._tags.get(element.tag, {}))
        for name in classes:
            style.update(self._classes.get(("", name), {}))
            style.update(self._classes.get((element.tag, name), {}))
        style.update(self._ids.get(element.get("id") or "", {}))
        if own:
            style.update(_declarations(own))
        return style

    def _rules(self, sheet: str) -> None:
        sheet = _MEDIA.sub(" ", _COMMENT.sub(" ", sheet[:200_000]))
        for selectors, body in _RULE.findall(sheet):
            found = _declarations(body)
            for selector in selectors.split(","):
                match = _SIMPLE.match(selector.strip().lower() if "." not in selector else selector.strip())
                if not match:
                    continue
                tag, class_tag, name, _, ident = match.groups()
                if tag:
                    self._tags.setdefault(tag.lower(), {}).update(found)
                elif name:
                    self._classes.setdefault(((class_tag or "").lower(), name), {}).update(found)
                else:
                    self._ids.setdefault(ident, {}).update(found)


def _declarations(text: str) -> Style:
    found = _DECLARATION.findall(text[:5000])
    return {name.lower(): value.replace("!important", "").strip().lower() for name, value in found}


def _closed(style: Style) -> bool:
    """A box of no size that cuts off what does not fit."""
    if style.get("overflow", "") not in ("hidden", "clip"):
        return False
    sizes = (_pixels(style.get(name, "")) for name in ("height", "width", "max-height", "max-width"))
    return any(size is not None and size <= 1 for size in sizes)


def _beside(style: Style) -> bool:
    if (indent := _pixels(style.get("text-indent", ""))) is not None and indent <= _FAR:
        return True
    if style.get("position") not in ("absolute", "fixed"):
        return False
    places = (_pixels(style.get(name, "")) for name in ("left", "top", "right", "bottom"))
    return any(place is not None and place <= _FAR for place in places)


def _pixels(value: str) -> float | None:
    match = _LENGTH.match(value.strip())
    if not match:
        return None
    number = _number(match.group(1))
    return None if number is None else number * _PIXELS[match.group(2) or "px"]


def _number(value: str) -> float | None:
    try:
        return float(value.rstrip("%"))
    except ValueError:
        return None
