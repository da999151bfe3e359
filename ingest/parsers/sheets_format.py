"""Numbers as a spreadsheet shows them: percent, currency, thousands, decimals (ECMA-376 part 1, 18.8.31)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

BUILT_IN = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    5: "$#,##0;($#,##0)",
    6: "$#,##0;($#,##0)",
    7: "$#,##0.00;($#,##0.00)",
    8: "$#,##0.00;($#,##0.00)",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    37: "#,##0;(#,##0)",
    38: "#,##0;(#,##0)",
    39: "#,##0.00;(#,##0.00)",
    40: "#,##0.00;(#,##0.00)",
    48: "##0.0E+0",
}
"""Formats that a file names by number only and that change how a number reads (dates are read as dates)."""

_CURRENCY = re.compile(r"\[\$([^\]-]*)(?:-[^\]]*)?\]")
_BRACKETS = re.compile(r"\[(?:<|>|=|[A-Za-z])[^\]]*\]")
_LITERAL = re.compile(r'"([^"]*)"|\\(.)|_.|\*.')
_DIGITS = re.compile(r"[0#?](?:[0#?.,]*[0#?.])?,*")
_DATE = re.compile(r"[ymdhs]", re.IGNORECASE)
_MARK = "\x01"
_LARGEST = Decimal("1e15")


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """One section of a format code. places: of decimals. least: of whole digits. share: 100 for a percentage."""

    before: str
    after: str
    places: int
    optional: int
    least: int
    grouped: bool
    scale: float
    exponent: bool
    hidden: bool = False

    def text(self, value: float) -> str:
        """The number as shown, without its sign."""
        if self.hidden:
            return ""
        if self.exponent:
            return f"{self.before}{abs(value) * self.scale:.{self.places}E}{self.after}"
        exact = Decimal(f"{abs(value):.15g}") * Decimal(repr(self.scale))  # a sheet shows 15 digits at most
        if exact > _LARGEST:
            return f"{self.before}{exact:.12E}{self.after}"
        rounded = exact.quantize(Decimal(1).scaleb(-self.places), ROUND_HALF_UP)
        whole = f"{rounded:{',' if self.grouped else ''}.{self.places}f}"
        if self.optional and "." in whole:
            kept = len(whole) - self.optional
            whole = (whole[:kept] + whole[kept:].rstrip("0")).rstrip(".")
        head, dot, tail = whole.partition(".")
        head = "" if head == "0" and not self.least else head
        return f"{self.before}{head.rjust(self.least, '0')}{dot}{tail}{self.after}"


def shown(value: float, code: str) -> str | None:
    """`value` as the format `code` shows it, or None where the code says nothing that plain writing would not.

    An empty text means that the cell shows nothing (`;;;`).
    """
    sections = _sections(code)
    if sections is None:
        return None
    place = 1 if value < 0 and len(sections) > 1 else 2 if value == 0 and len(sections) > 2 else 0
    section = sections[place]
    if section is None:
        return None
    minus = "-" if value < 0 and place == 0 and not section.hidden else ""
    return minus + section.text(value)


def hides(code: str) -> bool:
    """Whether a cell of this format shows nothing at all, numbers or text (`;;;`)."""
    sections = code.split(";")
    return len(sections) >= 4 and not any(section.strip() for section in sections)


@functools.lru_cache(maxsize=2000)
def _sections(code: str) -> tuple[NumberFormat | None, ...] | None:
    if not code or code.lower() in ("general", "@"):
        return None
    return tuple(_section(part) for part in _split(code)[:3])


def _split(code: str) -> list[str]:
    """Sections at semicolons that stand in no quotes."""
    parts, quoted = [""], False
    for at, ch in enumerate(code):
        if ch == '"' and (at == 0 or code[at - 1] != "\\"):
            quoted = not quoted
        if ch == ";" and not quoted:
            parts.append("")
        else:
            parts[-1] += ch
    return parts


def _section(part: str) -> NumberFormat | None:
    """A section without letters of dates; None for what is better written plainly."""
    literals: list[str] = []

    def keep(text: str) -> str:
        literals.append(text)
        return f"{_MARK}{len(literals) - 1}{_MARK}"

    text = _CURRENCY.sub(lambda match: keep(match.group(1)), part)
    text = _BRACKETS.sub("", text)
    text = _LITERAL.sub(lambda match: keep(match.group(1) or match.group(2) or ""), text)
    bare = re.sub(f"{_MARK}\\d+{_MARK}", "", text)
    if _DATE.search(bare.replace("General", "")) or "general" in bare.lower() or "@" in bare or "/" in bare:
        return None
    exponent = re.search(r"[eE][+-]0+", text)
    if exponent:
        text = text[: exponent.start()] + text[exponent.end() :]
    digits = _DIGITS.search(re.sub(f"{_MARK}\\d+{_MARK}", lambda match: "\x02" * len(match.group()), text))
    if not text.strip():
        return _HIDDEN
    if not digits:
        words = _restored(text, literals)
        return NumberFormat(words, "", 0, 0, 0, False, 0.0, False, hidden=not words.strip()) if not bare else None
    pattern = text[digits.start() : digits.end()]
    scale = 100.0 if "%" in bare else 1.0
    trailing = len(pattern) - len(pattern.rstrip(","))
    whole, _, decimals = pattern.rstrip(",").partition(".")
    decimals = re.sub(r"[^0#?]", "", decimals)
    return NumberFormat(
        before=_restored(text[: digits.start()], literals),
        after=_restored(text[digits.end() :], literals),
        places=len(decimals),
        optional=len(decimals) - len(decimals.rstrip("#?")),
        least=whole.count("0"),
        grouped="," in whole,
        scale=scale / 1000.0**trailing,
        exponent=bool(exponent),
    )


def _restored(text: str, literals: list[str]) -> str:
    words = re.sub(f"{_MARK}(\\d+){_MARK}", lambda match: literals[int(match.group(1))], text)
    return re.sub(r"\s+", " ", words.replace("#", "").replace("?", ""))


_HIDDEN = NumberFormat("", "", 0, 0, 0, False, 1.0, False, hidden=True)
