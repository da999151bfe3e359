"""What a question wants found to the letter: quoted words, article and part numbers, versions, addresses, phones."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from chat.facts.numerals import arabic
from core.text import HAN, fold, segment

_QUOTED = re.compile(r"“([^“”]{2,80})”|\"([^\"]{2,80})\"|「([^「」]{2,80})」|『([^『』]{2,80})』|＂([^＂]{2,80})＂")
_MAIL = re.compile(r"[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.I)
_PHONE = re.compile(
    r"(?<![A-Za-z0-9_.-])(?:\+\d{1,3}[\s-]?(?:\(?\d{1,4}\)?[\s-]?){2,5}\d{2,}|1[3-9]\d[\s-]?\d{4}[\s-]?\d{4}|"
    r"\(?0\d{2,3}\)?[\s-]?\d{7,8}|[48]00-?\d{3}-?\d{4}|\d{3}-\d{3}-\d{4})(?![A-Za-z0-9_-]|\.\d)"
)
_ARTICLE_ZH = re.compile(
    r"第\s*(\d+|[零〇一二三四五六七八九十百千两]+)\s*([条款章节编项页])(?:\s*之\s*([一二三四五六七八九十\d]))?"
)
_ARTICLE_EN = re.compile(
    r"(?:\b(?:articles?|art\.|sections?|sec\.|clauses?)|§+)\s*(\d+(?:\.\d+)*(?:\([a-z0-9]{1,4}\))*)(?![\w]|\.\d)", re.I
)
_CHAPTER_EN = re.compile(
    r"\b(?P<name>(?i:chapter|appendix|annex|exhibit|schedule))\s+(\d+(?:\.\d+)*|[A-Z](?:\.?\d+)*)(?![\w]|\.\d)"
)
_STANDARD = re.compile(
    r"(?<![A-Za-z0-9])(?:GB|ISO|IEC|DIN|EN|JIS|IEEE|RFC|ASTM|ANSI|YY|JB|HG|QB|SJ)(?:/[A-Z]{1,3})?[ -]?"
    r"\d{2,6}(?:[-:.]\d+)*(?![\w]|[-:.]\d)"
)
_VERSION = re.compile(
    r"(?<![A-Za-z0-9_.])v?\d+(?:\.\d+){2,}(?!\.?[A-Za-z0-9_])|(?<![A-Za-z0-9_.])v\d+(?:\.\d+)*(?!\.?[A-Za-z0-9_])", re.I
)
_IDENTIFIER = re.compile(
    r"(?<![A-Za-z0-9@._/-])(?=[A-Za-z0-9._/-]*\d)(?=[A-Za-z0-9._/-]*[A-Za-z])[A-Za-z]+[A-Za-z0-9]*(?:[._/-][A-Za-z0-9]+)*"
)
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.,-])\d{6,20}(?![A-Za-z0-9_%,万亿元年-]|\.\d)")
_NO_IDENTIFIER = re.compile(r"^(?:q[1-4]|h[12]|fy\d{2,4}|[a-z]\d?|covid-?19|top\d+|no\.?\d{1,2})$", re.I)
MOST = 8


@dataclass(frozen=True, slots=True)
class Exact:
    """kind: phrase, article, version, mail, phone, identifier, number or term (of the glossary). text: as written.

    searches: sets of search tokens; a chunk that has the term has all tokens of one of them.
    """

    kind: str
    text: str
    pattern: re.Pattern[str]
    searches: tuple[tuple[str, ...], ...]


def exact_terms(question: str) -> tuple[Exact, ...]:
    """What is to be found to the letter, at most eight, each once, in order."""
    found: list[tuple[int, Exact]] = []
    rest = unicodedata.normalize("NFKC", question)
    for kind, finder in _FINDERS:
        for match in finder.finditer(rest):
            text = next((part for part in match.groups() if part), match.group()) if kind == "phrase" else match.group()
            made = _exact(kind, text.strip(), match)
            if made is not None:
                found.append((match.start(), made))
        if kind != "phrase":  # an address is no identifier as well; inside quotes both may be meant
            rest = finder.sub(lambda m: " " * len(m.group()), rest)
    once = {one.pattern.pattern: one for _, one in sorted(found, key=lambda pair: pair[0])}
    return tuple(once.values())[:MOST]


def glossary_terms(words: Sequence[str]) -> tuple[Exact, ...]:
    """Chinese words of a glossary as things to find to the letter: jieba may not know them as words."""
    return tuple(
        Exact("term", word, _literal(word.split()), _searches(word))
        for word in words
        if HAN.search(word) and len(word) > 1
    )


def found_in(text: str, terms: Sequence[Exact]) -> list[Exact]:
    """The terms that stand in a text to the letter."""
    folded = _folded(text)
    return [term for term in terms if term.pattern.search(folded)]


_folded = functools.lru_cache(maxsize=2048)(fold)


_FINDERS = (
    ("phrase", _QUOTED),
    ("mail", _MAIL),
    ("phone", _PHONE),
    ("article", _ARTICLE_ZH),
    ("article", _ARTICLE_EN),
    ("article", _CHAPTER_EN),
    ("identifier", _STANDARD),
    ("version", _VERSION),
    ("identifier", _IDENTIFIER),
    ("number", _NUMBER),
)


def _exact(kind: str, text: str, match: re.Match[str]) -> Exact | None:
    if kind == "phone":
        return _phone(text)
    if match.re is _ARTICLE_ZH:
        return _article_zh(text, match)
    if kind == "article":
        return _article_en(text, match)
    if kind == "identifier" and (_NO_IDENTIFIER.match(text) or len(text) < 3):
        return None
    words = fold(text).split()
    if not words or not re.search(r"\w", "".join(words)):
        return None
    return Exact(kind, text, _literal(words), _searches(text))


def _searches(*spellings: str) -> tuple[tuple[str, ...], ...]:
    return tuple(dict.fromkeys(tuple(dict.fromkeys(segment(one))) for one in spellings))


def _phone(text: str) -> Exact:
    """A number is the same with blanks, hyphens or nothing between its groups."""
    digits = re.sub(r"\D", "", text)
    pattern = re.compile(r"(?<!\d)" + r"[\s().-]*".join(digits) + r"(?!\d)")
    groups = [part for part in re.split(r"\D+", text) if part]
    if len(groups) == 1 and re.match(r"1[3-9]\d{9}$", digits):
        groups = [digits[:3], digits[3:7], digits[7:]]
    elif len(groups) == 1 and digits.startswith("0"):
        area = 3 if digits[1] in "12" else 4
        groups = [digits[:area], digits[area:]]
    return Exact("phone", text, pattern, _searches(" ".join(groups), digits))


def _article_zh(text: str, match: re.Match[str]) -> Exact | None:
    """第三十二条 is 第32条; 第三十二条之一 is another one."""
    number, unit, further = match.groups()
    plain = re.sub(r"\D", "", arabic(f"第{number}{unit}"))
    if not plain or len(plain) > 4:
        return None
    last = (
        rf"\s*之\s*(?:{further}|{re.sub(r'[^0-9]', '', arabic(f'第{further}条'))})"
        if further
        else r"(?!\s*之\s*[\d一-十])"
    )
    spelled = f"第{_chinese(int(plain))}{unit}"
    return Exact(
        "article",
        text,
        re.compile(rf"第\s*(?:{plain}|{_chinese(int(plain))})\s*{unit}{last}"),
        _searches(spelled, f"第{plain}{unit}"),
    )


def _article_en(text: str, match: re.Match[str]) -> Exact:
    """§ 12.3, Section 12.3 and a heading that begins with 12.3 are one; Annex B is only that."""
    number = re.escape(fold(match.group(match.lastindex or 1)))
    end = r"(?![\w(]|\.\d)"
    if match.re is _CHAPTER_EN:
        name = re.escape(fold(match.group("name")))
        return Exact("article", text, re.compile(rf"\b{name}\s+{number}{end}"), _searches(text))
    names = r"(?:§+|\b(?:articles?|art\.?|sections?|sec\.?|clauses?))"
    pattern = re.compile(rf"{names}\s*{number}{end}|^[\s#]*{number}{end}", re.M)
    return Exact("article", text, pattern, _searches(match.group(1)))


def _chinese(number: int) -> str:
    """1–9999 as laws write it: 三十二, 一百零五."""
    digits, out, gap = "零一二三四五六七八九", "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, unit)
        if digit:
            out += ("零" if gap and out else "") + digits[digit] + name
            gap = False
        elif out:
            gap = True
    return out.removeprefix("一") if out.startswith("一十") else out


def _literal(words: Sequence[str]) -> re.Pattern[str]:
    body = r"\s+".join(re.escape(word) for word in words)
    first, last = words[0][0], words[-1][-1]
    before = r"(?<![a-z0-9])(?<![a-z0-9][./_-])" if first.isascii() and first.isalnum() else ""
    after = r"(?![a-z0-9]|[./_-][a-z0-9])" if last.isascii() and last.isalnum() else ""
    return re.compile(before + body + after)
