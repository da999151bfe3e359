"""Bytes to text: BOMs, UTF-8, UTF-16/32, the East Asian encodings and the rest, never silently wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from core.types import Problem
from ingest.decode_latin import latin_encoding, looks_latin, looks_thai, wide_encoding

SAMPLE = 65_536
"""Bytes that guesses look at; the whole text is decoded once with the winner."""

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_WIDER = {
    "gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "x-gbk": "gb18030", "big5": "big5hkscs",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949", "iso-8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "us-ascii": "cp1252",
    "ascii": "cp1252",
}  # fmt: skip
"""Declared names are often narrower than what was written: the superset of each."""

_COMMON_SIMPLIFIED = frozenset(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后"
    "多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合"
    "还因由其些然前外天政四日那社义事平形相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变条只"
    "没结解问意建月公无系军很情者最立代想已通并提直题程展五果料象员位入常文总次品式活设及管特件长求老头基资边流路"
    "级少图山统接知较将组见计别她手角期根论运农指几九区强放决西被干做必战先回则任取据处队南给色光门即保治北造百规"
    "热领七海口东导器压志世金增争济阶油思术极交受联什认六共权收证改清己美再采转更单风切打白教速花带安场身车例真务"
    "具万每目至达走积示议声报斗完类八离华名确才科张信马节话米整空元况今集温传土许步群广石记需段研界拉林律叫且究观"
    "司部财法院公司员工规定制度管理"
)
_COMMON_TRADITIONAL = frozenset(
    "的一是在不了有和人這中大為上個國我以要他時來用們生到作地於出就分對成會可主發年動同工也能下過子說產種面而方後"
    "多定行學法所民得經十三之進著等部度家電力裡如水化高自二理起小物現實加量都兩體制機當使點從業本去把性好應開它合"
    "還因由其些然前外天政四日那社義事平形相全表間樣與關各重新線內數正心反你明看原又麼利比或但質氣第向道命此變條只"
    "沒結解問意建月公無系軍很情者最立代想已通並提直題程展五果料象員位入常文總次品式活設及管特件長求老頭基資邊流路"
    "級少圖山統接知較將組見計別她手角期根論運農指幾九區強放決西被幹做必戰先回則任取據處隊南給色光門即保治北造百規"
    "熱領七海口東導器壓志世金增爭濟階油思術極交受聯什認六共權收證改清己美再採轉更單風切打白教速花帶安場身車例真務"
    "具萬每目至達走積示議聲報鬥完類八離華名確才科張信馬節話米整空元況今集溫傳土許步群廣石記需段研界拉林律叫且究觀"
    "您請讓嗎吧啊嗎喔啦呢灣臺台"
)
_COMMON_HANGUL = frozenset("이다는의에을가고하한지로도사자기은대어를으해아서인리정그나일시수있전제보부과만주구게")
_KANA = re.compile("[\u3040-\u30ff]")
_HALF_KANA = re.compile("[\uff61-\uff9f]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_CJK = re.compile("[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7a3]")
_JUNK = re.compile("[\x80-\x9f\ue000-\uf8ff\ufffd\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_HZ = re.compile(rb"~\{(?:[\x21-\x7e]{2})+~\}")


@dataclass(frozen=True, slots=True)
class Decoded:
    """text: line ends are \\n. encoding: Python's name of the codec that was used."""

    text: str
    encoding: str
    problems: tuple[Problem, ...] = ()


def decode(data: bytes, declared: str = "") -> Decoded:
    """Text of a file whose encoding may be unknown.

    Args:
        declared: encoding that the file names itself (HTML meta, XML declaration); proof by bytes goes first.

    Bytes that no encoding explains become U+FFFD, and a Problem `undecodable_text` says how many.
    """
    encoding = _bom(data) or _by_pattern(data) or _if_strict(data, "utf-8")
    named = "" if encoding else _declared(data, declared)
    if named == "cp1252":  # programs that know no better write this one over any text
        named = _east_asian(data) or named
    encoding = encoding or named or _east_asian(data) or _other(data)
    if encoding:
        text = data.decode(encoding, errors="replace")
        return _finish(text, encoding)
    return _finish(_line_by_line(data), "mixed")


def _finish(text: str, encoding: str) -> Decoded:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lost = text.count("\ufffd")
    if not lost:
        return Decoded(text, encoding)
    message = f"{lost} characters could not be decoded and are shown as \ufffd. Save the file as UTF-8."
    return Decoded(text, encoding, (Problem("undecodable_text", message),))


def _bom(data: bytes) -> str:
    return next((name for mark, name in _BOMS if data.startswith(mark)), "")


def _if_strict(data: bytes, encoding: str) -> str:
    try:
        data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return ""
    return encoding


def _by_pattern(data: bytes) -> str:
    """Encodings that show in the byte pattern: UTF-16/32 without a BOM, and the seven-bit East Asian ones."""
    sample = data[:SAMPLE]
    wide = wide_encoding(sample)
    if wide and _if_strict(data, wide):
        return wide
    if len(sample) >= 4 and b"\x00" in sample:
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        half = len(sample) / 2
        for name, here, there in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
            if here > 0.2 * half and there < 0.2 * here:
                return name
    if b"\x1b$)C" in sample:
        return "iso2022_kr"
    if b"\x1b$" in sample and _if_strict(data, "iso2022_jp_2"):
        return "iso2022_jp_2"
    if _HZ.search(sample) and max(sample, default=0) < 0x80 and _if_strict(data, "hz"):
        return "hz"
    return "" if _if_strict(data, "utf-8") else _wide_without_bom(data)


def _wide_without_bom(data: bytes) -> str:
    """UTF-16 of Chinese text has few zero bytes: accept it when nearly all of it becomes common characters."""
    sample = data[: min(len(data), 8192) & ~1]
    if len(sample) < 16 or len(data) % 2:
        return ""
    for name in ("utf-16-le", "utf-16-be"):
        text = sample.decode(name, errors="replace")
        common = sum(ch in _COMMON_SIMPLIFIED or ch in _COMMON_TRADITIONAL for ch in text)
        plain = sum(ch.isascii() or "\u3000" <= ch <= "\u303f" or "\uff00" <= ch <= "\uffef" for ch in text)
        if common > 0.2 * (len(text) - plain) and common + plain > 0.3 * len(text) and not _JUNK.search(text):
            return name
    return ""


def _declared(data: bytes, declared: str) -> str:
    name = declared.strip().lower()
    name = _WIDER.get(name, name)
    return _if_strict(data, name) if name and not name.startswith(("utf-16", "utf-32")) else ""


def _east_asian(data: bytes) -> str:
    """The East Asian encoding under which the text is most like text, or empty when none is."""
    sample = data[:SAMPLE]
    if looks_latin(sample):
        return ""
    if looks_thai(sample) and _if_strict(data, "cp874"):
        return "cp874"
    best, best_score = "", 0.25
    for encoding, score_of in _CANDIDATES:
        try:
            text = sample.decode(encoding)
        except UnicodeDecodeError as error:
            if len(sample) - error.start > 4 or len(data) == len(sample):
                continue
            text = sample[: error.start].decode(encoding)
        letters = [ch for ch in text if not ch.isascii() and ch.isalnum()]
        if not letters or (_JUNK.search(text) and len(_JUNK.findall(text)) > 0.02 * len(letters)):
            continue
        score = score_of(letters)
        if score > best_score and _if_strict(data, encoding):
            best, best_score = encoding, score
    return best


def _share(letters: list[str], test: Callable[[str], object]) -> float:
    return sum(1 for ch in letters if test(ch)) / len(letters)


def _level_one(encoding: str, low: int, high: int) -> Callable[[str], bool]:
    """Whether a character stands in the standard's list of frequent ones, told by its first byte."""

    def test(ch: str) -> bool:
        raw = ch.encode(encoding, errors="ignore")
        return len(raw) == 2 and low <= raw[0] <= high and (encoding == "big5hkscs" or raw[1] >= 0xA1)

    return test


def _score_simplified(letters: list[str]) -> float:
    frequent = _share(letters, _level_one("gb18030", 0xB0, 0xD7))
    return 0.35 * frequent + _share(letters, _COMMON_SIMPLIFIED.__contains__)


def _score_traditional(letters: list[str]) -> float:
    frequent = _share(letters, _level_one("big5hkscs", 0xA4, 0xC6))
    return 0.33 * frequent + _share(letters, _COMMON_TRADITIONAL.__contains__)


def _score_japanese(letters: list[str]) -> float:
    kana = _share(letters, _KANA.match)
    half = _share(letters, _HALF_KANA.match)
    return 0.0 if kana < 0.15 else 0.6 * _share(letters, _CJK.match) + kana - 2 * half


def _score_korean(letters: list[str]) -> float:
    hangul = _share(letters, _HANGUL.match)
    return 0.0 if hangul < 0.5 else 0.4 * hangul + _share(letters, _COMMON_HANGUL.__contains__)


def _score_johab(letters: list[str]) -> float:
    """Johab gives any pair of bytes some syllable, so nearly all must be syllables, and frequent ones."""
    return _score_korean(letters) if _share(letters, _HANGUL.match) >= 0.85 else 0.0


_CANDIDATES: tuple[tuple[str, Callable[[list[str]], float]], ...] = (
    ("gb18030", _score_simplified),
    ("big5hkscs", _score_traditional),
    ("euc_jis_2004", _score_japanese),
    ("euc_jp", _score_japanese),
    ("cp932", _score_japanese),
    ("cp949", _score_korean),
    ("johab", _score_johab),
)


_TRIED = ["big5", "big5hkscs", "gb18030", "gbk", "gb2312", "cp949", "euc_kr", "johab", "cp932", "shift_jis", "euc_jp"]
"""What `_east_asian` has ruled out already."""


def _other(data: bytes) -> str:
    """Everything else: nearly-UTF-8 first, then what charset-normalizer finds."""
    sample = data[:SAMPLE]
    replaced = sample.decode("utf-8", errors="replace")
    wide = sum(1 for ch in replaced if ord(ch) > 0x7F and ch != "\ufffd")
    lost = replaced.count("\ufffd")
    if wide > 4 * lost or lost * 200 < len(replaced):
        return "utf-8" if wide > lost else "cp1252" if _if_strict(data, "cp1252") else "utf-8"
    if wide > lost / 4:
        return ""
    if looks_latin(sample):
        latin = latin_encoding(sample)
        if latin and _if_strict(data, latin):
            return latin
    from charset_normalizer import from_bytes

    match = from_bytes(sample, cp_exclusion=_TRIED).best()
    if match is not None and _if_strict(data, match.encoding):
        return "cp1252" if match.encoding in ("latin_1", "cp1250") and _if_strict(data, "cp1252") else match.encoding
    return "cp1252" if _if_strict(data, "cp1252") else ""


def _line_by_line(data: bytes) -> str:
    """A file in more than one encoding: each line by itself."""
    lines = []
    for line in data.split(b"\n"):
        encoding = _if_strict(line, "utf-8") or _east_asian(line) or "utf-8"
        lines.append(line.decode(encoding, errors="replace"))
    return "\n".join(lines)
