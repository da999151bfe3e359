"""Numbers that Word draws itself, such as `第三条` or `2.1`: they are in no paragraph's text."""

from __future__ import annotations

import re
from typing import Any

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DIGITS = "零一二三四五六七八九"
_PLACE = re.compile(r"%([1-9])")


class Numbering:
    """Counts list paragraphs in document order and writes each one's number as Word would."""

    def __init__(self, document: Any) -> None:
        self._styles = document.styles.element
        self._levels: dict[str, dict[int, tuple[str, str, int]]] = {}
        self._abstract_of: dict[str, str] = {}
        self._counters: dict[str, dict[int, int]] = {}
        try:
            root = document.part.numbering_part.element
        except (KeyError, NotImplementedError):
            return
        for abstract in root.iterchildren(_W + "abstractNum"):
            levels = {int(lvl.get(_W + "ilvl", "0")): _level(lvl) for lvl in abstract.iterchildren(_W + "lvl")}
            self._levels[abstract.get(_W + "abstractNumId", "")] = levels
        for num in root.iterchildren(_W + "num"):
            target = num.find(f"./{_W}abstractNumId")
            if target is not None:
                self._abstract_of[num.get(_W + "numId", "")] = target.get(_W + "val", "")

    def label(self, paragraph: Any) -> tuple[str, int]:
        """Number or bullet of a paragraph and its depth from 0; ("", 0) when it is in no list."""
        num_id, depth = self._place(paragraph)
        abstract = self._abstract_of.get(num_id, "")
        levels = self._levels.get(abstract, {})
        if not num_id or num_id == "0":
            return "", 0
        if depth not in levels:
            return "-", depth
        counters = self._counters.setdefault(abstract, {})
        counters[depth] = counters.get(depth, levels[depth][2] - 1) + 1
        for deeper in [key for key in counters if key > depth]:
            del counters[deeper]
        form, pattern, _ = levels[depth]
        if form == "none":
            return "", 0
        if form == "bullet" or "%" not in pattern:
            return "-", depth

        def number(match: re.Match[str]) -> str:
            level = int(match.group(1)) - 1
            start = levels.get(level, ("decimal", "", 1))[2]
            return _written(counters.get(level, start), levels.get(level, ("decimal", "", 1))[0])

        return _PLACE.sub(number, pattern).strip(), depth

    def _place(self, paragraph: Any) -> tuple[str, int]:
        own = paragraph.find(f"./{_W}pPr/{_W}numPr")
        if own is not None:
            return _num_pr(own)
        style = paragraph.find(f"./{_W}pPr/{_W}pStyle")
        style_id = style.get(_W + "val", "") if style is not None else ""
        for _ in range(10):
            element = self._styles.get_by_id(style_id) if style_id else None
            if element is None:
                return "", 0
            found = element.find(f"./{_W}pPr/{_W}numPr")
            if found is not None:
                return _num_pr(found)
            based = element.find(f"./{_W}basedOn")
            style_id = based.get(_W + "val", "") if based is not None else ""
        return "", 0


def _num_pr(element: Any) -> tuple[str, int]:
    num_id = element.find(f"./{_W}numId")
    level = element.find(f"./{_W}ilvl")
    return (
        num_id.get(_W + "val", "") if num_id is not None else "",
        int(level.get(_W + "val", "0")) if level is not None else 0,
    )


def _level(lvl: Any) -> tuple[str, str, int]:
    def value(tag: str, default: str) -> str:
        found = lvl.find(f"./{_W}{tag}")
        return str(found.get(_W + "val", default)) if found is not None else default

    start = value("start", "1")
    return value("numFmt", "decimal"), value("lvlText", ""), int(start) if start.isdecimal() else 1


def _written(number: int, form: str) -> str:
    if form.startswith(("chinese", "japaneseCounting", "taiwanese", "ideograph")) and "Zodiac" not in form:
        return chinese_number(number)
    if form in ("lowerLetter", "upperLetter"):
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter.upper() if form == "upperLetter" else letter
    if form in ("lowerRoman", "upperRoman"):
        roman = _roman(number)
        return roman if form == "upperRoman" else roman.lower()
    return str(number)


def chinese_number(number: int) -> str:
    """一 … 九千九百九十九; other numbers in digits."""
    if not 0 < number < 10_000:
        return str(number)
    out, zero = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // unit % 10
        if digit:
            out += ("零" if zero and out else "") + _DIGITS[digit] + name
            zero = False
        else:
            zero = True
    return out[1:] if out.startswith("一十") else out


def _roman(number: int) -> str:
    pairs = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"),
             (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))  # fmt: skip
    out = ""
    for value, letters in pairs:
        while number >= value and len(out) < 20:
            out, number = out + letters, number - value
    return out
