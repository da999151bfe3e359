"""Files inside a PDF, such as the XML of an e-invoice: read by their own parsers, under a heading with their name."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ingest.parsers.enclosed import EnclosedReader, Gathered
from ingest.parsers.registry import Source

_MAX_FILES = 50
_MAX_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """data: empty where the PDF only names the file."""

    name: str
    data: bytes = field(default=b"", repr=False)


def attached_files(document: Any) -> list[AttachedFile]:
    """Files of the document as a whole, in order; those of a page's notes are found with the notes."""
    import pypdfium2.raw as raw

    from ingest.parsers.pdf_notes import attachment_name

    count = min(raw.FPDFDoc_GetAttachmentCount(document.raw), _MAX_FILES)
    handles = [raw.FPDFDoc_GetAttachment(document.raw, index) for index in range(count)]
    return [AttachedFile(attachment_name(handle) or "attachment", file_bytes(handle)) for handle in handles if handle]


def file_bytes(handle: Any) -> bytes:
    """What an embedded file holds; empty when it is damaged or too large."""
    import pypdfium2.raw as raw

    size = ctypes.c_ulong()
    if not raw.FPDFAttachment_GetFile(handle, None, 0, size) or not 0 < size.value <= _MAX_BYTES:
        return b""
    buffer = ctypes.create_string_buffer(size.value)
    if not raw.FPDFAttachment_GetFile(handle, buffer, size.value, size):
        return b""
    return buffer.raw[: size.value]


def read_files(source: Source, files: Iterable[AttachedFile], gathered: Gathered) -> None:
    """Blocks of the files into `gathered`, each file once."""
    enclosed = EnclosedReader(source, gathered)
    seen: set[bytes] = set()
    for file in files:
        digest = hashlib.sha256(file.name.encode("utf-8", "replace") + b"\x00" + file.data).digest()
        if digest not in seen:
            seen.add(digest)
            enclosed.read(file.name, file.data, 2)
    enclosed.finish()
