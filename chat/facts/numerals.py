"""Chinese numerals to Arabic ones inside running text, so that 三十亿元 and 30亿元 read alike."""

from __future__ import annotations

import re

_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "○": 0, "两": 2, "壹": 1, "贰": 2, "叁": 3}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_BIG = {"万": 10_000, "亿": 100_000_000}
_RUN = re.compile(r"[零〇○一二三四五六七八九两壹贰叁十百千万亿]+(?:点[零〇一二三四五六七八九]+[万亿]?)?")
_NO_NUMBER = re.compile(
    r"十分(?!之)|万一|千万(?=[不别要])|百姓|一一|一些|一般|一定|一起|一直|一样|一方面|一旦|"
    r"统一|唯一|万元|亿元|千瓦|千克|千米|百货|百科|千古|万物"
)
_MEASURE = re.compile(
    r"[个名人年月日号天条项款章节家元岁倍层位届种类座次期级支部件份起台所只辆艘吨米里场"
    r"本篇颗枚点分时刻秒周季代村省市县区国成门类大]"
)


def arabic(text: str) -> str:
    """The text with its Chinese numerals written in digits; 万 and 亿 stay behind a number that ends in them.

    A single 一 … 九 is a number only after 第 or before a measure word; 一 before a measure word stays, since 一个 is
    an article more often than a count.
    """

    def replace(match: re.Match[str]) -> str:
        run = match.group()
        before, after = text[: match.start()][-1:], text[match.end() :][:1]
        if before.isdigit() or _NO_NUMBER.match(text, match.start()):
            return run
        counted = before == "第" or text.endswith("百分之", 0, match.start())
        if len(run) == 1 and not counted and (run in "一万亿千百" or not _MEASURE.match(after)):
            return run
        value = _value(run)
        return run if value is None else value

    return _RUN.sub(replace, text)


def _value(run: str) -> str | None:
    if len(run) > 1 and run[-1] in _BIG and not set(run[:-1]) & set(_BIG):
        scaled = _value(run[:-1])
        return None if scaled is None else scaled + run[-1]
    whole, _, fraction = run.partition("点")
    if all(c in _DIGITS for c in whole):
        if len(whole) == 2 and not fraction and not set(whole) & set("零〇○"):
            return None  # 三四 is "three or four"
        digits = "".join(str(_DIGITS[c]) for c in whole)
    else:
        number = _with_units(whole)
        if number is None:
            return None
        digits = str(number)
    return digits + ("." + "".join(str(_DIGITS[c]) for c in fraction) if fraction else "")


def _with_units(run: str) -> int | None:
    total = section = 0
    digit: int | None = None
    for c in run:
        if c in _DIGITS:
            if digit:  # two digits in a row beside units: 二三十
                return None
            digit = _DIGITS[c]
        elif c in _UNITS:
            section += (1 if digit is None else digit) * _UNITS[c]
            digit = None
        else:
            section += digit or 0
            if not section:
                return None
            total = (total + section) * _BIG[c] if c == "亿" else total + section * _BIG[c]
            section, digit = 0, None
    return total + section + (digit or 0)
