"""Language, sentences and search tokens of Chinese and English text. Pure functions, no models."""

from __future__ import annotations

import functools
import re
import threading
import unicodedata
from collections.abc import Callable, Collection
from typing import Any

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7af]")
_LATIN = re.compile(r"[A-Za-z]")
_OTHER_LETTER = re.compile(r"[\u0370-\u1fff]")
_HAN_RANGE = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = rf"[^\W_{_HAN_RANGE}]+"  # without Han, or `2019年亚洲杯` would be one token that nobody finds
_TOKEN = re.compile(rf"[{_HAN_RANGE}]+|{_WORD}(?:[._\-/']{_WORD})*", re.UNICODE)
_HAN_ONLY = re.compile(rf"^[{_HAN_RANGE}]+$")
_KNOWN_OR_RARE = re.compile(r"(?P<known>[\u4e00-\u9fd5]+)|.")
"""jieba's dictionary has the first; a rarer character is a word of its own, as in a name."""
_PART = re.compile(_WORD)
_WORDS = re.compile(rf"{_WORD}(?:[._\-/']{_WORD})*")

_ENGLISH = (
    "a an and are as at be been but by can could did do does for from had has have how if in into is it its me "
    "my of on or our shall should so such that the their them then there these they this those to us was we were "
    "what when where which who whom whose why will with would you your about am any i"
)
STOP_WORDS = frozenset(_ENGLISH.split())
"""English words the keyword index leaves out."""

_CHINESE = (
    "的 了 是 在 和 与 及 或 等 对 为 以 于 从 到 由 把 被 将 就 都 而 也 还 又 吗 呢 吧 啊 呀 什么 怎么 怎样 如何 "
    "为什么 哪 哪些 哪个 哪里 谁 多少 几 是否 有 没有 请 请问 我 你 他 她 它 我们 你们 他们 这 那 这个 那个 这些 "
    "那些 一个 可以 能 能够 会 要 之 其 中"
)
CHINESE_STOP_WORDS = frozenset(_CHINESE.split())
"""Chinese words that carry no topic: left out of the keyword index and of coverage figures."""


def detect_language(text: str) -> str:
    """`zh`, `en`, `ja`, `ko` or `other`, by script. Mixed Chinese and English counts as `zh` from 20 % Han letters."""
    han = len(HAN.findall(text))
    kana = len(_KANA.findall(text))
    hangul = len(_HANGUL.findall(text))
    latin = len(_LATIN.findall(text))
    other = len(_OTHER_LETTER.findall(text))
    if kana > 0.1 * (han + kana) and kana:
        return "ja"
    if hangul and hangul > 0.2 * (hangul + latin + han):
        return "ko"
    if han and han * 4 >= latin * 0.8:  # a Han character carries about as much as four or five Latin letters
        return "zh"
    if other > latin:
        return "other"
    return "en" if latin else ("zh" if han else "other")


_CLOSING = r"\"”’」』)）\]】》"
_SENTENCE_END = re.compile(
    rf"(?:[。！？；…][。！？!?；;…]*"
    rf"|[!?;]+(?=[\s{_CLOSING}。！？；…]|$|[{_HAN_RANGE}“‘「『（【《])[。！？!?；;…]*"  # not inside an address or `!=`
    rf"|\.(?=[\s\"”’)\]]|$)(?:\.*))[{_CLOSING}]*\s*|\n+"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|No|Nos|Fig|Figs|Eq|Sec|Inc|Ltd|Co|Corp|Jr|Sr|approx|dept|est|"
    r"cf|al|pp|Vol|Art|Abs|Ph\.D|Gen|Rep|Sen|Gov|Rev|Hon|Ave|Blvd|"
    r"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|U\.S|U\.K|a\.m|p\.m)|\b[A-Z]|^\s*\(?\d{1,3})$"
)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Offsets (start, end) of sentences, in order; joined they are the whole text, no character is lost.

    Ends at 。！？；… and their ASCII forms, and at line breaks. A full stop after a known abbreviation, a single
    capital or a list number does not end a sentence; a decimal point never does.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if match.group().startswith(".") and "\n" not in match.group():
            line_start = text.rfind("\n", start, match.start()) + 1
            before = text[max(start, line_start) : match.start()]
            if _ABBREVIATION.search(before):
                continue
        if text[start : match.end()].strip():
            spans.append((start, match.end()))
            start = match.end()
        elif spans:
            spans[-1] = (spans[-1][0], match.end())
            start = match.end()
    if start < len(text):
        if text[start:].strip() or not spans:
            spans.append((start, len(text)))
        else:
            spans[-1] = (spans[-1][0], len(text))
    return spans


@functools.cache
def _traditional_to_simplified() -> Callable[[str], str]:
    import opencc

    converter = opencc.OpenCC("t2s")
    return lambda text: str(converter.convert(text))


def fold(text: str) -> str:
    """NFKC, lower case, traditional to simplified Chinese: what two spellings of one word have in common."""
    text = unicodedata.normalize("NFKC", text).lower()
    if HAN.search(text):
        text = _traditional_to_simplified()(text)
    return text


@functools.cache
def _jieba() -> Any:
    import rjieba

    return rjieba.Jieba()


@functools.lru_cache(maxsize=4096)
def _chinese(piece: str) -> tuple[str, ...]:
    """Search tokens of characters without anything between them; chunks overlap, and headings come again."""
    words: list[str] = []
    for match in _KNOWN_OR_RARE.finditer(piece):
        known = match.group()
        words.extend(_jieba().cut_for_search(known) if match.lastgroup == "known" else [known])
    return tuple(word for word in words if word not in CHINESE_STOP_WORDS)


_stemmers = threading.local()


@functools.lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    if not hasattr(_stemmers, "english"):  # one a thread: a Snowball stemmer keeps the word it works on
        import snowballstemmer

        _stemmers.english = snowballstemmer.stemmer("english")
    return str(_stemmers.english.stemWord(word))


def segment(text: str) -> list[str]:
    """Search tokens of a text, in order: what both the keyword index and a query are made of.

    Chinese by jieba's search mode (long words and the words inside them), English stemmed (Snowball) without stop
    words, identifiers such as `GB/T-9704`, `v1.2.3` or `ALIOTH_HOME` both whole and in parts. The same words as those
    of jieba in Python, with which older indexes were made (docs/decisions/0018-embedding-on-a-processor.md).
    """
    tokens: list[str] = []
    for match in _TOKEN.finditer(fold(text)):
        piece = match.group()
        if _HAN_ONLY.match(piece):
            tokens.extend(_chinese(piece))
            continue
        parts = _PART.findall(piece)
        if len(parts) > 1:
            tokens.append(piece)
        for part in parts:
            if part not in STOP_WORDS:
                tokens.append(_stem(part) if part.isascii() and part.isalpha() else part)
    return tokens


def present(text: str, tokens: Collection[str]) -> set[str]:
    """Which of these search tokens (from `segment`) occur in a text, without segmenting it: some 20 times faster.

    Han tokens count wherever their characters stand together, others as whole words of the same stem.
    """
    folded, words = _searched(text)
    return {token for token in tokens if (token in folded if HAN.match(token) else token in words)}


@functools.lru_cache(maxsize=512)  # the sentences of an answer are looked for in the same passages, one after another
def _searched(text: str) -> tuple[str, frozenset[str]]:
    """A text folded, and its words and their parts as search tokens."""
    folded = fold(text)
    words: set[str] = set()
    for match in _WORDS.finditer(folded):
        piece = match.group()
        words.add(piece)
        for part in _PART.findall(piece):
            words.add(_stem(part) if part.isascii() and part.isalpha() else part)
    return folded, frozenset(words)
