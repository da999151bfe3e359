"""The compression of RTF bodies in Outlook messages ([MS-OXRTFCP])."""

from __future__ import annotations

import struct

MAX_SIZE = 50_000_000
_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor "
    b"MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20"
    b"\\b\\i\\u\\tab\\tx"
)
_WINDOW = 4096


def expand(data: bytes) -> bytes:
    """The RTF; what was read so far where the data is damaged, nothing where it is no compressed RTF."""
    if len(data) < 16:
        return b""
    _, size, kind, _ = struct.unpack_from("<II4sI", data)
    if kind == b"MELA":
        return data[16 : 16 + size]
    if kind != b"LZFu":
        return b""
    return _unpack(data, min(size, MAX_SIZE))


def _unpack(data: bytes, size: int) -> bytes:
    window = bytearray(_DICTIONARY.ljust(_WINDOW, b"\x00"))
    write = len(_DICTIONARY)
    out = bytearray()
    at = 16
    while at < len(data) and len(out) < size:
        control = data[at]
        at += 1
        for bit in range(8):
            if at >= len(data) or len(out) >= size:
                break
            if not control >> bit & 1:
                piece = data[at : at + 1]
                at += 1
            else:
                reference = int.from_bytes(data[at : at + 2], "big")
                at += 2
                start, length = reference >> 4, (reference & 15) + 2
                if start == write:  # the end mark
                    return bytes(out)
                piece = _copied(window, start, write, length)
            for value in piece:
                window[write] = value
                write = (write + 1) % _WINDOW
            out += piece
    return bytes(out)


def _copied(window: bytearray, start: int, write: int, length: int) -> bytes:
    """Bytes from the window; a stretch may run into what it is writing itself."""
    piece = bytearray()
    distance = (write - start) % _WINDOW or _WINDOW
    for index in range(length):
        piece.append(piece[index - distance] if index >= distance else window[(start + index) % _WINDOW])
    return bytes(piece)
