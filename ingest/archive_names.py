"""Names of archive members: decoded as they were meant, made safe, or refused."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence

from core.errors import InputError
from ingest.decode import decode
from ingest.logical_path import MAX_CHARS, logical_path

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075
_EAST_ASIAN = frozenset({"gb18030", "big5hkscs", "euc_jis_2004", "euc_jp", "cp932", "cp949"})
_FREQUENT_SHIFT_JIS = (0x82, 0x83, *range(0x88, 0x98))
"""First bytes of kana and of the kanji of level 1."""
LEFT_OUT_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""Lower-case names of what systems leave behind in folders and archives."""


def zip_names(members: Sequence[zipfile.ZipInfo]) -> list[str]:
    """A name per member: UTF-8 where it says so, else in the one encoding that fits all of the archive's other names.

    Zip knows only CP437 and UTF-8; programs under Chinese and Japanese Windows write their own code page instead.
    """
    raw = [b"" if member.flag_bits & _UTF8_FLAG else _bytes_of(member) for member in members]
    unknown = b"\n".join(sorted({name for name in raw if not name.isascii()}))
    encoding = _encoding(unknown) if unknown else "ascii"
    return [
        _unicode_path(member, name) or (name.decode(encoding, "replace") if name else member.filename)
        for member, name in zip(members, raw, strict=True)
    ]


def _bytes_of(member: zipfile.ZipInfo) -> bytes:
    try:
        return member.orig_filename.split("\x00", 1)[0].encode("cp437")
    except UnicodeEncodeError:  # a library that knows better than the flag has decoded it
        return b""


def _encoding(names: bytes) -> str:
    try:
        names.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        pass
    if _is_shift_jis(names):
        return "cp932"
    found = decode(names).encoding
    return found if found in _EAST_ASIAN else "cp437"


def _is_shift_jis(names: bytes) -> bool:
    """Names of kanji alone, without the kana by which longer text is told: mostly of the standard's frequent ones."""
    try:
        letters = [ch.encode("cp932") for ch in names.decode("cp932") if not ch.isascii()]
    except UnicodeError:
        return False
    frequent = sum(1 for raw in letters if len(raw) == 2 and raw[0] in _FREQUENT_SHIFT_JIS)
    return frequent > 0.8 * len(letters)


def _unicode_path(member: zipfile.ZipInfo, raw: bytes) -> str:
    """The UTF-8 name that Info-ZIP and WinRAR put beside an old one, or empty."""
    extra = member.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        body, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and len(body) > 5 and int.from_bytes(body[1:5], "little") == zlib.crc32(raw):
            return body[5:].decode("utf-8", "replace")
    return ""


def tar_name(name: str) -> str:
    """A tar member's name; bytes that are not UTF-8 are decoded as what they look like."""
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return decode(raw).text


def member_path(archive: str, name: str) -> str:
    """The logical path of a member: `archive.zip/inner/name.pdf`.

    Raises:
        InputError: absolute, with `..` or a drive, or anything else that `logical_path` refuses.
    """
    slashed = name.replace("\\", "/")
    if slashed.startswith("/"):
        raise InputError(
            f"Cannot take {name[:120]!r} out of {archive!r}: it is an absolute path.", "Pack the file again."
        )
    try:
        inner = logical_path("/".join(part for part in slashed.split("/") if part not in ("", ".")))
    except InputError as error:
        why = error.message.rpartition(": ")[2]
        raise InputError(
            f"Cannot take {name[:120]!r} out of {archive!r}: {why}", "Rename it in the archive, or pack the file again."
        ) from error
    if len(archive) + 1 + len(inner) > MAX_CHARS:
        raise InputError(
            f"Cannot take {inner[:60]!r} out of {archive[:60]!r}: its path has {len(archive) + 1 + len(inner)} "
            f"characters, over the limit of {MAX_CHARS}.",
            "Rename the archive or the file in it.",
        )
    return f"{archive}/{inner}"


def shown_path(archive: str, name: str) -> str:
    """A path for messages about a member whose own name cannot be used."""
    safe = "".join(ch if ch.isprintable() else "\ufffd" for ch in name)
    return f"{archive}/{safe[:200]}"


def left_out(name: str) -> bool:
    """Hidden files, lock files of Office and what systems leave behind."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return any(part.startswith((".", "~$")) or part.lower() in LEFT_OUT_NAMES for part in parts)
