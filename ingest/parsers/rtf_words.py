"""The words and code pages of RTF: groups without text, words that stand for letters, bytes to letters."""

from __future__ import annotations

import codecs

CHARSETS = {
    77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030", 136: "big5hkscs", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250", 255: "cp437",
}  # fmt: skip
_PAGES = {936: "gb18030", 950: "big5hkscs", 65001: "utf-8", 10000: "mac_roman", 1361: "johab"}
_DOUBLE_BYTE = frozenset({"cp932", "cp949", "gb18030", "big5hkscs", "johab", "cp936", "cp950"})
CHARS = {
    "tab": "\t", "line": "\n", "lbr": "\n", "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’",
    "ldblquote": "“", "rdblquote": "”", "emspace": " ", "enspace": " ", "qmspace": " ", "nestcell": " ",
    "nestrow": "\n",
}  # fmt: skip
SYMBOLS = {b"~": " ", b"_": "-", b"-": "", b"|": "", b":": "", b"\n": "\n", b"\r": "\n"}
SKIPPED = frozenset({
    "colortbl", "pict", "objdata", "objclass", "objname", "fldinst", "datafield", "annotation", "atnid",
    "atnauthor", "xe", "tc", "sp", "sn", "sv", "nonshppict", "shprslt", "ftnsep", "ftnsepc", "ftncn", "aftnsep",
    "aftnsepc", "aftncn", "bkmkstart", "bkmkend", "list", "listlevel", "leveltext", "levelnumbers", "listname",
    "listoverride", "listtable", "listoverridetable", "revtbl", "rsidtbl", "generator", "themedata", "filetbl",
    "template", "pntxta", "pntxtb", "formfield", "htmltag", "mhtmltag", "latentstyles", "upr", "company",
    "operator", "doccomm", "comment",
})  # fmt: skip
STARRED = frozenset({"ud", "shpinst", "shptxt", "footnote", "shppict", "pntext", "listtext", "background"})
"""Destinations behind `\\*` that hold text; every other one is skipped."""
MARGINS = frozenset({"header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf"})
INFO = frozenset({"title", "author", "subject", "keywords", "creatim", "revtim"})


def codec(page: int) -> str:
    """Python's name of a Windows code page, empty for an unknown one."""
    name = _PAGES.get(page, f"cp{page}")
    try:
        codecs.lookup(name)
    except LookupError:
        return ""
    return name


def decoded(raw: bytes, encoding: str, page: str) -> str:
    """Letters of bytes in `encoding`, or in the file's own code page `page` where that is double-byte and it is not."""
    if raw.isascii():
        return raw.decode("ascii")
    if page in _DOUBLE_BYTE and encoding not in _DOUBLE_BYTE:
        try:  # Chinese text under the name of a Latin font
            return raw.decode(page)
        except UnicodeDecodeError:
            return raw.decode("cp1252", "replace")
    return raw.decode(encoding, "replace")
