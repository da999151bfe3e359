"""Numbers, dates and names in a sentence: what a check must find letter by letter."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chat.facts.numerals import arabic
from chat.facts.units import unit_after, unit_before
from core.text import HAN, fold

_MONTHS = {
    name: i
    for i, names in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july", "aug august",
         "sep sept september", "oct october", "nov november", "dec december"), start=1)
    for name in names.split()
}  # fmt: skip
_MONTH = "(" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?(?:\s+day)?"
_YEAR = r"(\d{4})"
_DATES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), fields)
    for pattern, fields in (
        (rf"(?<!\d){_YEAR}\s*年\s*(\d{{1,2}})\s*月(?:份)?\s*(\d{{1,2}})\s*[日号]", "ymd"),
        (rf"(?<![\d.]){_YEAR}([-/.])(\d{{1,2}})\2(\d{{1,2}})(?!\d|\.\d)", "y-md"),
        (rf"(?<!\d){_YEAR}\s*年\s*(\d{{1,2}})\s*月", "ym"),
        (r"(?<!\d)(\d{1,2})\s*月\s*(\d{1,2})\s*[日号]", "md"),
        (r"(?<!\d)(\d{1,2})\s*月(?!内)", "m"),
        (rf"(?<!\d){_YEAR}\s*年", "y"),
        (rf"\b{_MONTH}\s+{_DAY},?\s+{_YEAR}\b", "mdy"),
        (rf"\b{_DAY}(?:\s+of)?,?\s+{_MONTH},?\s+{_YEAR}\b", "dmy"),
        (rf"\b{_MONTH},?\s+{_YEAR}\b", "my"),
        (rf"\b{_DAY}(?:\s+of)?\s+{_MONTH}", "dm"),
        (rf"\b{_MONTH}\s+{_DAY}\b(?!,?\d|\s*(?:%|percent))", "md"),
        (r"\b(?:in|by|since|of|until|from|during|between|and|to|on)\s+" + _MONTH, "m"),
    )
)
_SCALE = {
    "万亿": 10**12, "千万": 10**7, "百万": 10**6, "十万": 10**5, "亿": 10**8, "万": 10**4, "trillion": 10**12,
    "billion": 10**9, "bn": 10**9, "million": 10**6, "mn": 10**6, "thousand": 10**3, "k": 10**3,
}  # fmt: skip
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])(百分之)?(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s*"
    r"(万亿|千万|百万|十万|亿|万|trillion\b|billion\b|bn\b|million\b|mn\b|thousand\b|k\b)?\s*"
    r"(%|percent\b|per cent\b|‰)?",
    re.IGNORECASE,
)
_SMALL = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {w: i for i, w in enumerate(_SMALL.split(), start=2)} | {
    w: i * 10 for i, w in enumerate(_TENS.split(), start=2)
}
_NUMBER_WORD = re.compile(
    r"\b(" + "|".join(_WORDS) + r")\b(?:[- ](one|two|three|four|five|six|seven|eight|nine)\b)?", re.IGNORECASE
)
_LABEL = re.compile(r"(?:^|\n)[\s*#>-]*(?:Step|步骤|Part|Phase)\s*\d{1,2}\s*[:：.]|第\d{1,2}步", re.IGNORECASE)
_CLOCK = re.compile(r"(?<![\d:])([01]?\d|2[0-3])[:：]([0-5]\d)(?![\d:])")
_ROUND = re.compile(
    r"约|大约|近|将近|超过|逾|余|左右|about|around|approximately|nearly|almost|over|more than|roughly", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Date:
    """A date with the fields that were written; None where not."""

    year: int | None
    month: int | None
    day: int | None
    shown: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number with its scale applied.

    about: the text says it is rounded. unit: one word for it (chat.facts.units), "" when none is known. step: what its
    last written digit that is not zero counts, 100000000 for 35亿.
    """

    value: Decimal
    shown: str
    about: bool = False
    unit: str = ""
    step: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Values:
    """Everything of a text that is compared exactly."""

    numbers: tuple[Number, ...]
    dates: tuple[Date, ...]


@functools.lru_cache(maxsize=4096)
def values_of(text: str) -> Values:
    """Numbers and dates of a text, Chinese and English, full-width and half-width."""
    folded = arabic(unicodedata.normalize("NFKC", text))
    folded = _LABEL.sub(lambda m: " " * len(m.group()), folded)
    folded = _CLOCK.sub(_o_clock, folded)
    dates: list[Date] = []
    for pattern, fields in _DATES:
        for match in pattern.finditer(folded):
            date = _date(match, fields)
            if date is not None:
                dates.append(date)
                folded = folded[: match.start()] + "\0" * len(match.group()) + folded[match.end() :]
    folded = re.sub(
        r"(?:^|[:：;；])\s*\(?\d{1,2}[.)、](?!\d)", lambda m: " " * len(m.group()), folded, flags=re.MULTILINE
    )
    numbers = [_number(match, folded) for match in _NUMBER.finditer(folded)]
    numbers += [_number_word(match, folded) for match in _NUMBER_WORD.finditer(folded)]
    return Values(tuple(numbers), tuple(dates))


def _date(match: re.Match[str], fields: str) -> Date | None:
    found: dict[str, int] = {}
    for name, group in zip(fields, match.groups(), strict=True):
        if name != "-":
            found[name] = _MONTHS.get(group.lower().rstrip("."), 0) or int(group)
    if not 1 <= found.get("m", 1) <= 12 or not 1 <= found.get("d", 1) <= 31:
        return None
    return Date(found.get("y"), found.get("m"), found.get("d"), match.group().strip())


def _o_clock(match: re.Match[str]) -> str:
    """18:00 as 18, so that 18时 and 18:00 are one value; 18:30 as 18 and 30."""
    hour, minute = match.groups()
    return hour + " " * (len(match.group()) - len(hour)) if minute == "00" else f"{hour} {minute}"


def _number(match: re.Match[str], text: str) -> Number:
    of_hundred, digits, scale, sign = match.groups()
    written = Decimal(digits.replace(",", ""))
    factor = _SCALE.get((scale or "").lower(), 1)
    near = text[max(0, match.start() - 12) : match.end() + 3]
    if of_hundred or sign:
        unit = "permille" if sign == "‰" else "percent"
    else:
        unit = unit_after(text, match.end()) or unit_before(text, match.start())
    step = Decimal(10) ** int(written.normalize().as_tuple().exponent) * factor
    return Number((written * factor).normalize(), match.group().strip(), bool(_ROUND.search(near)), unit, step)


def _number_word(match: re.Match[str], text: str) -> Number:
    value = _WORDS[match.group(1).lower()] + _WORDS.get((match.group(2) or "").lower(), 0)
    return Number(Decimal(value).normalize(), match.group(), unit=unit_after(text, match.end()))


_PROPER = frozenset(("nr", "ns", "nt", "nrt", "nrfg"))
"""Tags of jieba for persons, places and organisations; `nz`, other proper names, holds too many common words."""
_IDENTIFIER = re.compile(
    r"\b(?!\d+(?:st|nd|rd|th)\b)(?=[\w./-]*\d)(?=[\w./-]*[A-Za-z])[A-Za-z0-9][\w./-]*[A-Za-z0-9]\b"
)
_QUOTED = re.compile(r"《([^》]{2,60})》|“([^”]{2,60})”|\"([^\"]{2,60})\"|「([^」]{2,60})」")
_ORGANISATION = re.compile(
    r"有限|股份|公司|集团|银行|医院|法院|大学|学院|中心|科技|传媒|娱乐|百货|旅游|能源|制造|服务|商场|基金|保险"
)
"""What follows the proper part of an organisation's name."""
_LEGAL_NAME = re.compile(r"[\u4e00-\u9fff]{2,12}?(?=(?:股份)?有限(?:责任)?公司|(?:高级|中级)?人民(?:法院|检察院))")
_BEFORE_NAME = re.compile(
    r"(?:收购|投资|成立|设立|控股|参股|担任|任职|加入|来自|起诉|根据|依据|按照|通过|以及|被告人?|原告|经|原|诉|告|是|为|有|即|称|系|由|"
    r"向|对|与|和|及|或|在|被|让|给|到|于|从|至|将|把|等|的|了|而|且|但|该|其|年|月|日|比|就|入)$"
)
_ANONYMISED = re.compile(r"[\u4e00-\u9fff]某某?(?![些个种地年月日天处事公])")
"""Names as Chinese judgments write them: 王某, 王某某."""
_COMMON = (
    "the a an in on at for from to of and or but if when while as it its this that these those there they he she we "
    "you i his her their our is was are were be been according based after before during however therefore thus also "
    "both each all no not yes since because although with by under which who what how additionally furthermore "
    "moreover overall finally first second third then the question passage text answer monday tuesday wednesday "
    "thursday friday saturday sunday one some many most such other another"
)
_COMMON_CAPITALS = frozenset(_COMMON.split()) | frozenset(_MONTHS)


def names_of(sentence: str) -> list[str]:
    """Names, identifiers and quoted titles in a sentence, as written, each once, in order.

    English: capitalised words inside the sentence, and at its start when another follows. Chinese: what jieba's
    tagger takes for a person, place, organisation or other proper name, and what stands in 《》 or quotes.
    """
    text = unicodedata.normalize("NFKC", sentence)
    names = [next(g for g in m.groups() if g) for m in _QUOTED.finditer(text)]
    names += [m.group() for m in _IDENTIFIER.finditer(text)]
    first = re.search(r"\w", text)
    words = list(re.finditer(r"[A-Z][A-Za-z&'’.-]*", text))
    for index, match in enumerate(words):
        word = re.sub(r"['’]s$", "", match.group()).strip(".'’-")
        starts = first is not None and match.start() == first.start()
        follows = index + 1 < len(words) and text[match.end() : words[index + 1].start()] in (" ", " of ", " & ")
        if len(word) > 1 and word.lower() not in _COMMON_CAPITALS and (not starts or follows or word.isupper()):
            names.append(word)
    if HAN.search(text):
        names += [m.group() for m in _ANONYMISED.finditer(text)]
        names += _chinese_names(text)
    return list(dict.fromkeys(names))


def _chinese_names(text: str) -> list[str]:
    words = tagged(text)
    after = [word for word, _ in words[1:]] + [""]
    return [
        word
        for (word, tag), following in zip(words, after, strict=True)
        if len(word) > 1 and (tag in _PROPER or (tag == "nz" and _ORGANISATION.match(following)))
    ]


def is_name(word: str) -> bool:
    """Whether a capitalised English word can be part of a name, not one that opens a sentence or a month."""
    return word.lower() not in _COMMON_CAPITALS


def strange_organisation(sentence: str, source_letters: str) -> str:
    """The first organisation with its legal form (有限公司, 人民法院 …) whose name the source does not have; or "".

    The name is the longest run of letters before the form that the source has; what stands before that must be a word
    no name begins with, or the name is another one.

    Args:
        source_letters: the source through `squash`.
    """
    for run in _LEGAL_NAME.findall(unicodedata.normalize("NFKC", sentence)):
        name = squash(run)
        cut = next((i for i in range(len(name)) if name[i:] in source_letters), len(name))
        if cut and (len(name) - cut < 2 or not _BEFORE_NAME.search(name[:cut])):
            return str(run)
    return ""


@functools.lru_cache(maxsize=2048)
def tagged(text: str) -> tuple[tuple[str, str], ...]:
    """Words and their tags (jieba's, e.g. `ns` for a place) of a text, in order."""
    return tuple((pair.word, pair.flag) for pair in _tagger().cut(text))


@functools.cache
def _tagger() -> Any:
    import logging

    import jieba
    import jieba.posseg

    jieba.setLogLevel(logging.WARNING)
    jieba.posseg.dt.initialize()
    return jieba.posseg.dt


def is_word(text: str) -> bool:
    """Whether jieba's dictionary has this as a word of its own."""
    return bool(_tagger().tokenizer.FREQ.get(text))


@functools.lru_cache(maxsize=2048)
def squash(text: str) -> str:
    """Folded letters and digits alone, for comparing names across spacing and punctuation."""
    return "".join(c for c in fold(text) if c.isalnum())
