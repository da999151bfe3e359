"""Sentences made false by one word of another meaning: comparison, duty, quantity, percentage points, weak denial."""

from __future__ import annotations

# ruff: noqa: E501  a table of words is read by its rows
import random
import re
from collections.abc import Mapping

Edit = tuple[int, int, str]
"""start, end and the new words."""

_COMPARISON = {
    "zh": {
        "不超过": "超过", "不低于": "低于", "不少于": "少于", "超过": "不足", "低于": "高于", "高于": "低于", "大于": "小于",
        "小于": "大于", "多于": "少于", "少于": "多于", "以上": "以下", "以下": "以上", "以内": "以外", "至少": "至多",
        "至多": "至少", "增长": "下降", "增加": "减少", "上升": "下降", "提高": "降低", "提升": "降低", "下降": "上升", "减少": "增加",
        "降低": "提高", "之前": "之后", "之后": "之前", "最高": "最低", "最低": "最高", "最大": "最小", "最多": "最少", "早于": "晚于",
    },
    "en": {
        "more than": "less than", "less than": "more than", "at least": "at most", "at most": "at least",
        "up to": "at least", "over": "under", "increased": "decreased", "decreased": "increased",
        "increase": "decrease", "decrease": "increase", "rose": "fell", "fell": "rose", "grew": "shrank",
        "higher": "lower", "lower": "higher", "greater": "smaller", "before": "after", "after": "before",
        "largest": "smallest", "highest": "lowest", "lowest": "highest", "above": "below", "below": "above",
        "maximum": "minimum", "minimum": "maximum", "growth": "decline", "increasing": "reducing",
        "reduced": "raised", "improved": "worsened", "earlier": "later", "later": "earlier",
    },
}  # fmt: skip
_MODAL = {
    "zh": {"应当": "可以", "必须": "可以", "可以": "必须", "有权": "有义务", "应": "可"},
    "en": {"must": "may", "shall": "may", "may": "must", "required to": "allowed to", "can": "must", "should": "may"},
}
_QUANTIFIER = {
    "zh": {
        "所有": "部分", "全部": "部分", "一切": "一部分", "部分": "全部", "大多数": "少数", "大部分": "小部分", "多数": "少数",
        "各类": "某一类", "每个": "某个", "仅": "不仅", "只有": "不只有",
    },
    "en": {
        "all": "some", "every": "hardly any", "each": "only one", "some": "all", "most": "few", "many": "few",
        "always": "sometimes", "only": "not only", "several": "all", "any": "no", "both": "neither of the",
    },
}  # fmt: skip
_NOT_SO = {
    "以下": re.compile(r"以下(?=简称|称|：|:|内容|方面|几)"),
    "部分": re.compile(r"部分(?=组成)|(?:大|小|组成|一)部分"),
    "应": re.compile(r"[对响供反适相效感回]应|应(?=当|用|收|付|对|急|诉|届|该|有|力|激|变|税|届|聘|邀|付)"),
    "可以": re.compile(r"可以(?=看|说)|不可以"),
    "over": re.compile(r"over(?! \$?\d)"),
    "may": re.compile(r"\bmay(?= \d)|\bMay\b"),
    "some": re.compile(r"some of"),
    "can": re.compile(r"can(?=not|'t| not)"),
    "多数": re.compile(r"大多数"),
    "增长": re.compile(r"增长率|增长点|负增长"),
    "仅": re.compile(r"不仅|仅仅|仅次"),
    "most": re.compile(r"most (?:of the )?\w+(?:ly|al|ed|ing|ant|ive|ous)\b|at most|the most"),
    "after": re.compile(r"named after|look after|after all"),
    "both": re.compile(r"both (?!parties|sides|companies|groups)"),
}
_POINTS = {
    "zh": ((r"(?<=\d)%|(?<=\d)％", "个百分点"), (r"(?<=\d)个百分点", "%")),
    "en": ((r"(?<=\d)%|(?<=\d) percent\b(?!age)", " percentage points"), (r"(?<=\d) percentage points?", "%")),
}
_WEAK = {
    "zh": (
        (r"完成了", "尚未完成"), (r"获得了", "未获得"), (r"进行了", "从未进行"), (r"实现了", "未能实现"), (r"具有", "缺乏"),
        (r"属于", "并不属于"), (r"能够", "无法"), (r"符合", "不符合"), (r"导致了?", "并未导致"), (r"提高了", "未能提高"),
        (r"参加了", "没有参加"), (r"采取了", "没有采取"), (r"(?<=[\u4e00-\u9fff])构成(?=[\u4e00-\u9fff])", "不构成"), (r"明确了", "未明确"),
        (r"(?<![不未])同意", "拒绝"), (r"通过了", "未通过"), (r"增加了", "并未增加"), (r"成功(?=[\u4e00-\u9fff])", "未能"),
    ),
    "en": (
        (r"\b(?:was|were|is|are|has|have|had|will|can)\b(?! not|n't)", r"\g<0> hardly"),
        (r"(?<=[a-z] )(?:achieved|completed|received|provides?|includes?|requires?|led to|resulted in|implemented|made)\b",
         r"rarely \g<0>"),
        (r"(?<=[a-z] )(?:succeeded in|managed to)\b", "failed to"),
    ),
}  # fmt: skip


def comparison(sentence: str, language: str, rng: random.Random) -> Edit | None:
    """More for less, before for after, rise for fall."""
    return _exchange(sentence, language, _COMPARISON[language], rng)


def modal(sentence: str, language: str, rng: random.Random) -> Edit | None:
    """May for must, and the other way round."""
    return _exchange(sentence, language, _MODAL[language], rng)


def quantifier(sentence: str, language: str, rng: random.Random) -> Edit | None:
    """Some for all, and the other way round."""
    return _exchange(sentence, language, _QUANTIFIER[language], rng)


def points(sentence: str, language: str, rng: random.Random) -> Edit | None:
    """Percentage points for percent, and the other way round."""
    return _replaced(sentence, _POINTS[language], rng)


def weak_denial(sentence: str, language: str, rng: random.Random) -> Edit | None:
    """A denial that needs no “not”: hardly, rarely, failed to, 尚未, 缺乏, 无法."""
    return _replaced(sentence, _WEAK[language], rng)


def _exchange(sentence: str, language: str, table: Mapping[str, str], rng: random.Random) -> Edit | None:
    taken: set[int] = set()
    found: list[Edit] = []
    for old in sorted(table, key=len, reverse=True):
        blocked = {i for m in _NOT_SO[old].finditer(sentence) for i in range(*m.span())} if old in _NOT_SO else set()
        edge = "" if language == "zh" else r"\b"
        for match in re.finditer(f"{edge}{re.escape(old)}{edge}", sentence):
            place = set(range(*match.span()))
            if not place & (taken | blocked):
                found.append((*match.span(), table[old]))
            taken |= place
    return rng.choice(sorted(found)) if found else None


def _replaced(sentence: str, rules: tuple[tuple[str, str], ...], rng: random.Random) -> Edit | None:
    found = [(*m.span(), m.expand(new)) for old, new in rules for m in re.finditer(old, sentence)]
    return rng.choice(found) if found else None
