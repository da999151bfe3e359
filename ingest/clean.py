"""Characters that must not reach the index, and document text put together from lines."""

from __future__ import annotations

import re

from core.text import HAN

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_JOINER = re.compile("(?<=[\x20-\u024f\u3000-\u9fff])[\u200c\u200d]|[\u200c\u200d](?=[\x20-\u024f\u3000-\u9fff])")
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007f]{1,8}")  # of regions, such as Scotland's
_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_ZERO_WIDTH = re.compile("[\u200b\u202a-\u202e\u2060-\u2064\u2066-\u2069]|(?<!^)\ufeff")
_BLOB = re.compile(r"[A-Za-z0-9+/=_\-]{600,}")
_SPACES = re.compile(r"[ \t\u00a0\u2000-\u200a\u202f\u205f\u3000]+")
_BLANK_LINES = re.compile(r"\n\s*\n+")
_CJK_END = re.compile("[\u3000-\u303f\u3040-\u30ff\u3400-\u9fff\uff00-\uffef]$")
_CJK_START = re.compile("^[\u3000-\u303f\u3040-\u30ff\u3400-\u9fff\uff00-\uffef]")
_TERMINAL = re.compile(r"[。！？!?.:：;；…\"”』」)）\]】]\s*$")


def clean(text: str) -> str:
    """Text without control, zero-width and direction characters, NULs and long base64 runs. Line breaks stay."""
    if text.isascii() and text.isprintable() and len(text) < 600:
        return text
    text = _CONTROL.sub("", text.replace("\x0b", "\n").replace("\x0c", "\n").replace("\u2028", "\n"))
    text = _JOINER.sub("", _INVISIBLE.sub("", text))
    return _BLOB.sub("", text) if len(text) >= 600 else text


def tag_message(text: str) -> str:
    """What the text says in invisible tag characters (a copy of ASCII that no font draws); flags are no message."""
    if text.isascii():
        return ""
    return "".join(chr(ord(ch) - 0xE0000) for part in _TAGS.findall(_FLAG.sub("", text)) for ch in part)


def zero_width(text: str) -> int:
    """How many characters of no width or that only turn the direction of others stand in the text.

    Joiners (emoji, Arabic, Indic), soft hyphens and direction marks have honest uses and are not counted.
    """
    return 0 if text.isascii() else len(_ZERO_WIDTH.findall(text))


def holds_blob(text: str) -> bool:
    """True when the text carries encoded binary data."""
    return bool(_BLOB.search(text))


def collapse(text: str) -> str:
    """One line: every run of blanks and line breaks becomes one space, none between Chinese characters' lines."""
    return _SPACES.sub(" ", join_lines(text.split("\n"))).strip()


def tidy(text: str) -> str:
    """Lines kept, runs of blanks inside them made one, blank lines dropped."""
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def join_lines(lines: list[str]) -> str:
    """Lines of one paragraph as running text; no blank between two Chinese characters, soft hyphens joined."""
    out = ""
    for line in lines:
        line = line.strip()
        if not line:
            continue
        if not out:
            out = line
        elif _CJK_END.search(out) and _CJK_START.match(line):
            out += line
        elif out[-1].isdigit() and line[0].isdigit() and HAN.search(out[-20:]) and HAN.search(line[:20]):
            out += line  # a number cut by the end of a Chinese line
        elif out.endswith("-") and len(out) > 1 and out[-2].isalpha() and line[:1].islower():
            out = out[:-1] + line
        else:
            out += " " + line
    return out


def unwrap(lines: list[str]) -> str:
    """A paragraph of a text file: hard-wrapped lines become running text, real line breaks stay.

    Lines count as wrapped when all but the last are of nearly one length and most do not end a sentence.
    """
    body = [line.strip() for line in lines if line.strip()]
    if len(body) < 2:
        return "\n".join(body)
    widths = [len(line) * (2 if HAN.search(line) else 1) for line in body[:-1]]
    widest = max(widths)
    even = sum(1 for width in widths if width >= 0.7 * widest) >= 0.8 * len(widths)
    open_ends = sum(1 for line in body[:-1] if not _TERMINAL.search(line))
    if 40 <= widest <= 130 and even and open_ends >= 0.6 * len(widths):
        return join_lines(body)
    return "\n".join(body)


def cell(value: str) -> str:
    """A table cell on one line, without the character that separates cells."""
    return collapse(value).replace("|", "/")
