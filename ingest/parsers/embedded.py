"""Files inside Office files: packages as they are, OLE objects unwrapped to the file that was put in."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

from ingest.ole_kind import MAGIC, kind_of_streams

_NATIVE = "\x01Ole10Native"
_KINDS = ("package", "oleObject")
_WHOLE = frozenset({"doc", "ppt", "xls", "msg"})
"""Kinds of an OLE object that is the embedded file itself."""
_DAMAGE = (OSError, ValueError, IndexError, OverflowError, KeyError, TypeError)
_MAX_PATH = 4096


def embedded_files(parts: Iterable[Any]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file embedded in these parts (of python-docx or python-pptx), each once.

    Objects of programs that Alioth cannot read, such as formulas and drawings, are passed over: their picture and
    their words stand in the document itself.
    """
    seen: set[str] = set()
    for part in parts:
        for relation in part.rels.values():
            if relation.is_external or relation.reltype.rpartition("/")[2] not in _KINDS:
                continue
            place = str(relation.target_part.partname)
            if place not in seen:
                seen.add(place)
                yield from unwrapped(posixpath.basename(place), relation.target_part.blob)


def unwrapped(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """The file in an embedded part: the part itself, or what its OLE object holds; nothing for other objects."""
    if not data.startswith(MAGIC):
        yield name, data
        return
    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            yield from _in_object(PurePath(name).stem, container, data)
    except _DAMAGE:
        return


def _in_object(stem: str, container: Any, data: bytes) -> Iterator[tuple[str, bytes]]:
    streams = {entry[0].lower(): entry[0] for entry in container.listdir() if len(entry) == 1}
    if _NATIVE.lower() in streams:
        yield from _native(container.openstream(streams[_NATIVE.lower()]).read(), stem)
        return
    for stream in ("package", "embeddedodf", "contents"):
        if stream in streams:
            inner = container.openstream(streams[stream]).read()
            if inner.startswith((b"PK\x03\x04", b"%PDF-")):
                yield (f"{stem}.pdf" if inner.startswith(b"%PDF-") else stem), inner
                return
    kind = kind_of_streams(set(streams))
    if kind in _WHOLE:
        yield f"{stem}.{kind}", data


def _native(raw: bytes, stem: str) -> Iterator[tuple[str, bytes]]:
    """The file of a packager object (MS-OLEDS 2.3.6): size, flags, label, path, command, size, bytes."""
    at = 6
    label, at = _text(raw, at)
    _, at = _text(raw, at)
    at += 4
    length = int.from_bytes(raw[at : at + 4], "little")
    if not 0 < length <= _MAX_PATH:
        return
    at += 4 + length
    size = int.from_bytes(raw[at : at + 4], "little")
    inner = raw[at + 4 : at + 4 + size]
    if inner:
        yield label.replace("\\", "/").rpartition("/")[2] or stem, inner


def _text(raw: bytes, at: int) -> tuple[str, int]:
    """A zero-ended text, in the code page of the machine that wrote it, and the place after it."""
    from ingest.decode import decode

    end = raw.index(b"\x00", at, at + _MAX_PATH)
    return decode(raw[at:end]).text.strip(), end + 1
