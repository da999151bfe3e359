"""Which eight-bit encoding a text in Latin letters is in: the one under which it is written in some language's letters.

Statistical guessers need long texts, and take short ones with few accents for Korean or Vietnamese.
"""

from __future__ import annotations

import itertools
import re

_WESTERN = (
    "äöüß", "àâçéèêëîïôùûüœæ", "áéíóúñü", "ãõáâàçéêíóôúü", "åäö", "æøå", "àèéìòóù", "áðéíóúýþæö", "ëéïöüèáóê",
    "àèéíïòóúüç", "äõöüšž", "ëç",
)  # fmt: skip
_CENTRAL = (
    "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţșț", "čćđšž", "čšž", "äöüß",
)  # fmt: skip
_BALTIC = ("āčēģīķļņšūžōŗ", "ąčęėįšųūž", "äõöüšž")
_TURKISH = ("çğıöşüâîûİ",)
_CANDIDATES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cp1252", _WESTERN), ("cp1250", _CENTRAL), ("iso8859_2", _CENTRAL), ("cp1257", _BALTIC), ("iso8859_13", _BALTIC),
    ("cp1254", _TURKISH), ("mac_roman", _WESTERN), ("cp850", _WESTERN), ("cp852", _CENTRAL),
)  # fmt: skip
"""Encodings with the letters beyond ASCII of the languages they are used for, commonest encoding first."""
_NEUTRAL = frozenset("“”‘’‚„«»‹›–—…•·©®™€£§°º±×½¼¿¡ \u00ad")
_THAI_MARKS = frozenset("\u0e31\u0e34\u0e35\u0e36\u0e37\u0e38\u0e39\u0e47\u0e48\u0e49\u0e4a\u0e4b\u0e4c\u0e4d")
_THAI_COMMON = frozenset("านรกอเงมยลวดทสตะปบคหแจพ") | _THAI_MARKS
_THAI_LEADING = frozenset("\u0e40\u0e41\u0e42\u0e43\u0e44")
_LETTER_RUN = re.compile(rb"[\x80-\xff]+")
ENOUGH = 0.85
"""Share of the characters beyond ASCII that one language must explain."""


def looks_latin(sample: bytes) -> bool:
    """True when bytes beyond ASCII are rare and stand alone, as accents do; East Asian text has them in pairs."""
    runs = _LETTER_RUN.findall(sample)
    high = sum(map(len, runs))
    if not runs or high > 0.25 * len(sample):
        return False
    return sum(1 for run in runs if len(run) == 1) >= 0.8 * len(runs)


def latin_encoding(sample: bytes) -> str:
    """The best candidate for a text that `looks_latin`, or empty when none explains it."""
    best, best_share = "", ENOUGH
    for encoding, languages in _CANDIDATES:
        try:
            text = sample.decode(encoding)
        except UnicodeDecodeError:
            continue
        share = max(_share(text, letters) for letters in languages)
        if share > best_share + 1e-9:
            best, best_share = encoding, share
    return best


def _share(text: str, letters: str) -> float:
    """Share of the characters beyond ASCII that are letters of the language, capitals not inside a word."""
    known = letters + letters.upper()
    total = good = 0
    before = " "
    for ch in text:
        if not ch.isascii() and ch not in _NEUTRAL:
            total += 1
            good += ch in known and not (ch.isupper() and before.islower())
        before = ch
    return good / total if total else 0.0


def looks_thai(sample: bytes) -> bool:
    """True when the bytes are Thai (cp874): marks stand on letters, and a leading vowel stands before one.

    In text of another encoding the same bytes break these rules all the time.
    """
    try:
        text = sample.decode("cp874")
    except UnicodeDecodeError:
        return False
    thai = marks = common = wrong = 0
    for before, ch in itertools.pairwise(text):
        thai += "\u0e01" <= ch <= "\u0e5b"
        common += ch in _THAI_COMMON
        if ch in _THAI_MARKS:
            marks += 1
            wrong += not "\u0e01" <= before <= "\u0e4e" or before in _THAI_LEADING
        elif before in _THAI_LEADING:
            wrong += not "\u0e01" <= ch <= "\u0e2e"
        wrong += "\u0e01" <= before <= "\u0e4e" and ch.isascii() and ch.isalpha()
    return thai >= 8 and marks >= 0.1 * thai and common >= 0.8 * thai and wrong <= 0.02 * thai


def wide_encoding(sample: bytes) -> str:
    """UTF-16 and UTF-32 without a mark, told by the bytes that are alike in every character of one script."""
    if len(sample) >= 8 and len(sample) % 4 == 0:
        for name, top, plane in (("utf-32-le", 3, 2), ("utf-32-be", 0, 1)):
            if not any(sample[top::4]) and sample[plane::4].count(0) >= 0.9 * (len(sample) // 4):
                return name
    if len(sample) < 16:
        return ""
    for name, position in (("utf-16-le", 1), ("utf-16-be", 0)):
        page, other = sample[position::2], sample[1 - position :: 2]
        paged = sum(1 for value in page if 0 < value < 0x20 and value not in (9, 10, 13))
        plain = sum(1 for value in other if 0 < value < 0x20 and value not in (9, 10, 13))
        if paged > 0.6 * len(page) and plain < 0.4 * paged:
            return name
    return ""
