"""Sentences made false by changing exactly one value: number, unit, date, name, article number or negation."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evals.changes_within import exchanged_names, exchanged_numbers, other_name, other_number, other_year
from evals.changes_words import comparison, modal, points, quantifier, weak_denial

FROM_ELSEWHERE = ("number", "unit", "points", "date", "name", "article")
WORDS = ("negation", "weak denial", "comparison", "modal", "quantifier")
WITHIN = ("other number", "other year", "other name", "exchanged names", "exchanged numbers")
KINDS = (*FROM_ELSEWHERE, *WORDS, *WITHIN)
"""Kinds of change: to a value that the passage does not have, in a word, to a value that the passage has elsewhere."""
_DIGITS = "零一二三四五六七八九"
_FULL = str.maketrans("0123456789%.,", "０１２３４５６７８９％．，")

_ARABIC = re.compile(
    r"(?<![A-Za-z0-9.,/:-])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d:/-])"
    r"|(?<![A-Za-z0-9.,/:-])\d+(?:\.\d+)?(?![\d:/-])"
)
_HAN_COUNT = re.compile(
    r"(?<![第零一二三四五六七八九十百千万亿两几数])[二三四五六七八九十百两]{1,5}(?=[个名人天条项款倍层位届种次期支件份台所只座])"
)
_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]
_MONTHS += ["November", "December"]
_MONTH = "|".join(_MONTHS)
_ARTICLE = re.compile(r"第([零〇一二三四五六七八九十百千两\d]+)(?=[条款章])|\b(?:Article|Section|Clause) (\d+)")
_HAN_UNITS = {
    "亿元": "万元", "万元": "亿元", "美元": "欧元", "平方米": "平方公里", "平方公里": "平方米", "公里": "米",
    "千米": "米", "公斤": "克", "小时": "分钟", "分钟": "小时", "个月": "天", "天": "个月", "周": "天", "%": "‰",
    "吨": "公斤", "岁": "个月", "亿": "万", "万": "亿",
}  # fmt: skip
_ENGLISH_UNITS = {
    "trillion": "billion", "billion": "million", "million": "billion", "thousand": "million", "days": "weeks",
    "weeks": "days", "months": "weeks", "years": "months", "hours": "minutes", "minutes": "hours", "km": "m",
    "kilometres": "metres", "kilometers": "meters", "miles": "feet", "metres": "miles", "meters": "miles",
    "feet": "miles", "kg": "g", "tons": "kg", "%": " basis points", "percent": "basis points", "dollars": "euros",
}  # fmt: skip
_HAN_NOT = (
    ("不得", "可以"), ("没有", ""), ("未能", "得以"), ("并未", ""), ("尚未", "已经"), ("不能", "能"), ("不是", "是"),
    ("应当", "不应当"), ("可以", "不可以"), ("必须", "不必"), ("能够", "不能"), ("成立于", "并非成立于"),
    ("具有", "没有"),
    ("存在", "不存在"), ("属于", "不属于"), ("位于", "不位于"), ("完成了", "没有完成"), ("进行了", "没有进行"),
    ("获得了", "没有获得"), ("提高了", "没有提高"), ("增加了", "没有增加"), ("发生了", "没有发生"), ("是", "不是"),
    ("有", "没有"), ("被", "没有被"),
)  # fmt: skip
_HAN_NOT_INSIDE = re.compile(
    r"可以(?=看)|(?<=而)是|(?:还|就|只|正|便|凡|于|但|或|总|若|既|更|也|要|老)是|是(?:否|因|以)|"
    r"(?:没|未|具|所|拥|含|持|享|占|仅|只|公|国|私|还|另|也)有|有(?:限|关|理|效|些|期|助|利|权|名|序|机|着|力|时|害|色|义|意|形|偿|的)|被(?:告|害|上诉|申请|执|执行|继承|保险|子)|"
    r"(?:不|非|没|未|没有)(?:应当|可以|必须|能够|属于|存在|是|有|被)"
)
_ENGLISH_VERB = re.compile(r"\b(is|are|was|were|has|have|had|can|will|must|should|may|does|did)\b(?! not|n't)")
_ENGLISH_NOT = re.compile(r"\b(?:does|do|did) not (?=\w)|(?<=[a-z]) not\b|\bnever |(?<=[a-z])n't\b")
_ENGLISH_PAST = re.compile(
    r"(?<=[a-zA-Z.)] )(?<!was )(?<!were )(?<!been )(?<!and )(?<!is )(?<!are )(?<!the )(?<!be )[a-z]+ed\b(?= )"
)
_ENGLISH_NAME = re.compile(r"(?<=[a-z,] )(?:[A-Z][a-zA-Z]+)(?: [A-Z][a-zA-Z]+)*\b")
_HAN_NAME = (
    re.compile(r"(?:(?<=^)|(?<=[，。；、：对与和由向]))[\u4e00-\u9fff]{4,8}?(?=(?:股份)?有限公司)"),
    re.compile(r"(?:(?<=^)|(?<=[，。；、：在由据]))[\u4e00-\u9fff]{2}市[\u4e00-\u9fff]{2}区"),
    re.compile(r"(?<![\u4e00-\u9fff])[\u4e00-\u9fff]某某?(?=[于在因被的与和、，至将向利伙])"),
    re.compile(r"(?<=《)[^》]{2,20}(?=》)"),
)
_OPENERS = (
    "The This That These Those In On At For From During After Before It Its He She They We Our As And But Additionally "
    "However Company Corporate Financial Report Monday Tuesday Wednesday Thursday Friday"
)
_NOT_A_NAME = frozenset(_OPENERS.split()) | frozenset(_MONTHS)


@dataclass(frozen=True, slots=True)
class Changed:
    """A sentence with one change. what: old and new words, for a person to judge by."""

    kind: str
    text: str
    what: str


def names_in(sentence: str, language: str) -> list[re.Match[str]]:
    """Names by their form alone, found without the product's own name finder."""
    if language == "zh":
        return [m for pattern in _HAN_NAME for m in pattern.finditer(sentence) if len(m.group()) >= 2]
    found = (m for m in _ENGLISH_NAME.finditer(sentence))
    return [m for m in found if not set(m.group().split()) & _NOT_A_NAME and len(m.group()) > 2]


def changed(
    sentence: str, source: str, language: str, names: Mapping[str, Sequence[str]], rng: random.Random
) -> list[Changed]:
    """At most one changed sentence of each kind that this sentence has a place for.

    Args:
        source: what the sentence rests on; a name that is put in place of another does not stand there.
        names: names of the set by `name_class`, to put in place of one.
    """

    def find(text: str) -> list[re.Match[str]]:
        return names_in(text, language)

    def kind_of(name: str) -> str:
        return name_class(name, language)

    makers: tuple[tuple[str, Callable[[], tuple[int, int, str] | None]], ...] = (
        ("number", lambda: _number(sentence, rng)),
        ("unit", lambda: _unit(sentence, language, rng)),
        ("date", lambda: _date(sentence, rng)),
        ("name", lambda: _name(sentence, source, language, names, rng)),
        ("article", lambda: _article(sentence, rng)),
        ("negation", lambda: _negation(sentence, language, rng)),
        ("points", lambda: points(sentence, language, rng)),
        ("weak denial", lambda: weak_denial(sentence, language, rng)),
        ("comparison", lambda: comparison(sentence, language, rng)),
        ("modal", lambda: modal(sentence, language, rng)),
        ("quantifier", lambda: quantifier(sentence, language, rng)),
        ("other number", lambda: other_number(sentence, source, rng)),
        ("other year", lambda: other_year(sentence, source, rng)),
        ("other name", lambda: other_name(sentence, source, find, kind_of, rng)),
    )
    found = []
    for kind, make in makers:
        edit = make()
        if edit is not None:
            start, end, new = edit
            text = sentence[:start] + new + sentence[end:]
            found.append(Changed(kind, text, f"{sentence[start:end]} → {new}"))
    for kind, whole in (
        ("exchanged names", exchanged_names(sentence, find, kind_of, rng)),
        ("exchanged numbers", exchanged_numbers(sentence, rng)),
    ):
        if whole is not None:
            found.append(Changed(kind, whole, "exchanged"))
    return found


def rewritten(sentence: str, language: str) -> str | None:
    """The same sentence with its figures written another way: full-width digits; None when it has no figure."""
    wide = sentence.translate(_FULL) if language == "zh" else re.sub(r"(?<=\d)%", " percent", sentence)
    if language == "zh":
        wide = re.sub(
            r"(?<=[\u4e00-\u9fff])([３-９])(?=[个名人天条项])",
            lambda m: _DIGITS["０１２３４５６７８９".index(m.group())],
            wide,
        )
    return wide if wide != sentence and re.search(r"\d", sentence) else None


def name_class(name: str, language: str) -> str:
    """Names that may stand in for one another have the same class."""
    if language != "zh":
        return f"en{min(2, len(name.split()))}"
    return "某" if "某" in name else "区" if re.fullmatch(r"..市..区", name) else "公司"


def _number(sentence: str, rng: random.Random) -> tuple[int, int, str] | None:
    spans = [m for m in _ARABIC.finditer(sentence) if not _dated(sentence, m) and not _lists(sentence, m)]
    han = list(_HAN_COUNT.finditer(sentence))
    if not spans and not han:
        return None
    match = rng.choice([*spans, *han])
    text = match.group()
    places = [i for i, c in enumerate(text) if c.isdigit() or c in "二三四五六七八九两"]
    if not places:
        return match.start(), match.end(), "七十" if text == "十" else text + "一"
    i = rng.choice(places)
    if text[i].isdigit():
        new = rng.choice([d for d in "123456789" if d != text[i]])
    else:
        new = rng.choice([d for d in "三四五六七八九" if d != text[i]])
    return match.start() + i, match.start() + i + 1, new


def _dated(sentence: str, match: re.Match[str]) -> bool:
    before, after = sentence[: match.start()], sentence[match.end() :]
    if re.match(r"\s*[年月日号]", after) or re.search(rf"(?:{_MONTH})\.?,? $", before):
        return True
    if re.match(rf"(?:st|nd|rd|th)?,? (?:of )?(?:{_MONTH})", after) or re.search(r"第\s*$", before):
        return True
    if re.search(r"\b(?:Article|Section|Clause) $", before):
        return True
    return bool(re.fullmatch(r"(?:19|20)\d\d", match.group())) and not re.match(
        r"\s*(?:个|名|元|people|dollars)", after
    )


def _lists(sentence: str, match: re.Match[str]) -> bool:
    if re.search(r"[:：]\s*$", sentence[: match.start()]) and re.match(r"[.、)）]\s*$", sentence[match.end() :]):
        return True
    return bool(re.match(r"[.、)）] ?\D", sentence[match.end() :])) and not sentence[: match.start()].strip(" -*(（")


def _unit(sentence: str, language: str, rng: random.Random) -> tuple[int, int, str] | None:
    table = _HAN_UNITS if language == "zh" else _ENGLISH_UNITS
    words = "|".join(sorted(map(re.escape, table), key=len, reverse=True))
    end = "" if language == "zh" else r"(?![a-z])"
    pattern = re.compile(rf"(?:(?<=\d)|(?<=\d )|(?<=[二三四五六七八九十百千两]))(?:{words})(?!岁){end}")
    found = list(pattern.finditer(sentence))
    if not found:
        return None
    match = rng.choice(found)
    return match.start(), match.end(), table[match.group()]


def _date(sentence: str, rng: random.Random) -> tuple[int, int, str] | None:
    found: list[tuple[int, int, str]] = []
    for match in re.finditer(r"(?<!\d)((?:1[89]|20)\d\d)(?=年|\b)(?!\s*(?:元|个|名|人|people))", sentence):
        found.append((*match.span(), str(int(match.group()) + rng.choice((-3, -2, -1, 1, 2, 3)))))
    for match in re.finditer(r"(?<!\d)(\d{1,2})(?=月\d|月[，。,、的至到底初末份公完进])", sentence):
        found.append((*match.span(), str(rng.choice([m for m in range(1, 13) if m != int(match.group())]))))
    for match in re.finditer(r"(?<=月)(\d{1,2})(?=[日号])", sentence):
        found.append((*match.span(), str(rng.choice([d for d in range(1, 29) if d != int(match.group())]))))
    for match in re.finditer(rf"\b(?:{_MONTH})\b(?= \d)", sentence):
        found.append((*match.span(), rng.choice([m for m in _MONTHS if m != match.group()])))
    for match in re.finditer(rf"\b(?:{_MONTH}) (\d{{1,2}})(?=,? )", sentence):
        found.append((*match.span(1), str(rng.choice([d for d in range(1, 29) if d != int(match.group(1))]))))
    return rng.choice(found) if found else None


def _name(
    sentence: str, source: str, language: str, names: Mapping[str, Sequence[str]], rng: random.Random
) -> tuple[int, int, str] | None:
    found = [m for m in names_in(sentence, language) if m.group() in source]
    if not found:
        return None
    match = rng.choice(found)
    others = [
        n for n in names.get(name_class(match.group(), language), ()) if n not in source and match.group() not in n
    ]
    return (*match.span(), rng.choice(others)) if others else None


def _article(sentence: str, rng: random.Random) -> tuple[int, int, str] | None:
    found = list(_ARTICLE.finditer(sentence))
    if not found:
        return None
    match = rng.choice(found)
    start, end = match.span(1 if match.group(1) else 2)
    text = sentence[start:end]
    places = [i for i, c in enumerate(text) if c.isdigit() or c in _DIGITS[1:]]
    if not places:
        return start, end, text + "三"
    i = rng.choice(places)
    letters = "23456789" if text[i].isdigit() else _DIGITS[2:]
    return start + i, start + i + 1, rng.choice([c for c in letters if c != text[i]])


def _negation(sentence: str, language: str, rng: random.Random) -> tuple[int, int, str] | None:
    if language == "zh":
        blocked = {i for m in _HAN_NOT_INSIDE.finditer(sentence) for i in range(*m.span())}
        found = [
            (m.start(), m.end(), new)
            for old, new in _HAN_NOT
            for m in re.finditer(old, sentence)
            if not blocked & set(range(*m.span()))
        ]
        longest = [f for f in found if f[1] - f[0] > 1] or found
        return rng.choice(longest) if longest else None
    removals = [(m.start(), m.end(), "") for m in _ENGLISH_NOT.finditer(sentence)]
    if removals:
        return rng.choice(removals)
    verbs = list(_ENGLISH_VERB.finditer(sentence))
    if verbs:
        match = rng.choice(verbs)
        return match.end(), match.end(), " not"
    past = list(_ENGLISH_PAST.finditer(sentence))
    if past:
        start = rng.choice(past).start()
        return start, start, "never "
    return None
