"""How much of a text can be text: tells a page's letters from what broken fonts and encodings leave of them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

GOOD = 0.5
"""Texts that score below are no use to a reader; `docs/quality.md` has the measurement."""
_ENOUGH = 40
"""Letters from which on habits of a language can be expected."""
_CID = re.compile(r"\(cid:\d{1,6}\)|\[cid\d+\]|/g\d{1,4}(?=/|\b)", re.IGNORECASE)
BULLETS = frozenset("\uf0b7\uf0a7\uf06c\uf0d8\uf076\uf0a8\uf0fc\uf0e0\uf02d\uf0a2")
"""Private-use characters that Word's symbol fonts use for bullets and arrows: they stand in sound text."""
_LATIN_MOJIBAKE = re.compile(r"[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u02dc\u2013-\u203a\u20ac\u2122]{1,3}")
_LOST_CHINESE = re.compile("(?:锟斤拷|锟斤|斤拷|烫烫|屯屯)+")
_HAN_RUN = re.compile(r"[\u3400-\u9fff\ue000-\uf8ff]{4,}")
_LATIN_WORD = re.compile(r"[A-Za-z]+")
_VOWELS = frozenset("aeiouyAEIOUY")
_ODD = frozenset("!\"#$&'*+;<=>?@\\^`{|}~")
_HARMLESS = frozenset(".-_·…*=|/,:;()[]'\"%$€£¥+<>&#–—•、。，；：？！“”‘’（）《》【】「」")


@dataclass(frozen=True, slots=True)
class Quality:
    """score: 0 (no text) to 1 (nothing wrong). reason: what is wrong most, a stable word; empty for a sound text."""

    score: float
    reason: str = ""

    @property
    def good(self) -> bool:
        return self.score >= GOOD


def quality(text: str) -> Quality:
    """The score of a page's text. Pure; digits alone, tables of figures and short words are sound."""
    letters = "".join(ch for ch in text if not ch.isspace())
    if not letters:
        return Quality(0.0, "empty")
    checks = (
        ("cid", _share(sum(len(match) for match in _CID.findall(text)), letters)),
        ("unknown_characters", _share(sum(1 for ch in letters if _unknown(ch)), letters)),
        ("mojibake", _share(_mojibake(text), letters)),
        ("symbols", max(_symbols(letters), _scrambled(letters))),
        ("no_words", _no_words(text)),
        ("no_spaces", _no_spaces(text)),
        ("rare_characters", _rare(letters)),
    )
    reason, worst = max(checks, key=lambda check: check[1])
    total = min(1.0, max(worst, sum(share for _, share in checks[:3])))
    return Quality(round(1.0 - total, 3), reason if worst > 0.02 else "")


def _share(bad: int, letters: str) -> float:
    """A fifth of broken characters halves the score: the rest of such a text is seldom whole words."""
    return min(1.0, 2.5 * bad / len(letters))


def _unknown(ch: str) -> bool:
    if ch in BULLETS:
        return False
    return ch == "\ufffd" or unicodedata.category(ch) in ("Co", "Cn", "Cs", "Cc")


def _mojibake(text: str) -> int:
    """Characters of UTF-8 read in a wrong encoding, proved by reading them back."""
    bad = sum(len(match.group()) for match in _LOST_CHINESE.finditer(text))
    bad += sum(len(match.group()) for match in _LATIN_MOJIBAKE.finditer(text) if _was_utf8(match.group(), "cp1252"))
    return bad + sum(len(match.group()) for match in _HAN_RUN.finditer(text) if _was_chinese(match.group()))


def _was_utf8(piece: str, encoding: str) -> bool:
    try:
        raw = bytes(ord(ch) if ord(ch) < 256 else ch.encode(encoding)[0] for ch in piece)
        raw.decode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError):
        return False
    return True


def _was_chinese(run: str) -> bool:
    """Chinese UTF-8 read as GB18030 gives Han characters that turn back into fewer ones."""
    for cut in (run, run[:-1], run[1:]):
        try:
            back = cut.encode("gb18030").decode("utf-8")
        except UnicodeError:
            continue
        return len(back) < len(cut)
    return False


def _symbols(letters: str) -> float:
    if len(letters) < _ENOUGH:
        return 0.0
    odd = sum(1 for ch in letters if not ch.isalnum() and ch not in _HARMLESS and unicodedata.category(ch)[0] in "PS")
    share = odd / len(letters)
    return min(1.0, 2 * share) if share > 0.2 else 0.0


def _scrambled(letters: str) -> float:
    """Letters that stand under the names of other signs: many kinds of odd signs, and few letters beside them."""
    plain = [ch for ch in letters if "!" <= ch <= "~"]
    odd = [ch for ch in plain if ch in _ODD]
    words = sum(1 for ch in plain if ch.isalpha())
    if len(plain) < 2 * _ENOUGH or len(set(odd)) < 6 or words > 0.55 * len(plain):
        return 0.0
    return min(1.0, 5 * len(odd) / len(plain)) if len(odd) > 0.12 * len(plain) else 0.0


def _no_words(text: str) -> float:
    """Latin letters that no language would put so: fonts whose letters stand under other names lose the vowels."""
    words = [word for word in _LATIN_WORD.findall(text) if len(word) >= 4]
    letters = sum(len(word) for word in words)
    if letters < 2 * _ENOUGH:
        return 0.0
    vowels = sum(1 for word in words for ch in word if ch in _VOWELS) / letters
    without = sum(len(word) for word in words if not _VOWELS.intersection(word)) / letters
    return 1.0 if vowels < 0.17 and without > 0.3 else 0.0


def _no_spaces(text: str) -> float:
    """Latin words glued together: nobody finds them."""
    words = _LATIN_WORD.findall(text)
    letters = sum(len(word) for word in words)
    if letters < 3 * _ENOUGH:
        return 0.0
    glued = sum(len(word) for word in words if len(word) > 28) / letters
    return glued if glued > 0.5 else 0.0


def _rare(letters: str) -> float:
    """Characters of rare blocks in number: what is left when glyph numbers are read as characters."""
    if len(letters) < _ENOUGH:
        return 0.0
    rare = sum(1 for ch in letters if "\u3400" <= ch <= "\u4dbf" or "\u1680" <= ch <= "\u177f" or ch > "\U0002ffff")
    return min(1.0, 4 * rare / len(letters)) if rare > 0.1 * len(letters) else 0.0
