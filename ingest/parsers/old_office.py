"""Old Office, OpenDocument and Apple files, that LibreOffice converts first: what they are, whether they are locked.

A parser child may start no program. So these parsers only say what is to be made; ParserPool has it made outside and
asks again, naming the result. That holds for files inside other files too, such as the attachments of a mail.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from core.errors import DocumentError, EncryptedError, UnsupportedTypeError
from core.types import ParsedDocument
from ingest.parsers.macros import macro_blocks
from ingest.parsers.odf_objects import object_blocks
from ingest.parsers.registry import PARSERS, Parser, Source, register

_MANIFEST: Final = "META-INF/manifest.xml"
_MAX_MANIFEST: Final = 10_000_000
_WORD_ENCRYPTED: Final = 0x0100
"""Bit of the flags at byte 10 of the stream WordDocument (MS-DOC 2.5.2: fEncrypted)."""
_PPT_ENCRYPTED: Final = 0xF3D1C4DF
"""headerToken of an encrypted presentation in the stream Current User (MS-PPT 2.3.2)."""


TARGETS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("doc", "wps", "odt", "pages"), "docx"),
    **dict.fromkeys(("ppt", "odp", "key"), "pptx"),
}
"""What LibreOffice makes of each kind."""


class ConversionNeededError(Exception):
    """The file must become what TARGETS says of its `kind` first.

    name: the file's own. part: its bytes where it stands inside another file, else empty. digest: their sha256.
    """

    def __init__(self, name: str, part: bytes, digest: str, kind: str) -> None:
        super().__init__(kind)
        self.name, self.part, self.digest, self.kind = name, part, digest, kind


@dataclass(frozen=True, slots=True)
class Conversions:
    """What was converted already, by digest: the result, or why there is none. more: whether to ask for further."""

    done: Mapping[str, Path | DocumentError] = field(default_factory=dict)
    more: bool = True


_known: ContextVar[Conversions] = ContextVar("conversions", default=Conversions())  # noqa: B039


@contextmanager
def knowing(conversions: Conversions) -> Iterator[None]:
    """Parse with these results at hand."""
    token = _known.set(conversions)
    try:
        yield
    finally:
        _known.reset(token)


def _parser(kind: str, refuse_locked: Callable[[Source], None]) -> Callable[[Source], ParsedDocument]:
    def parse(source: Source) -> ParsedDocument:
        refuse_locked(source)
        with source.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        known = _known.get()
        result = known.done.get(digest)
        if isinstance(result, DocumentError):
            raise type(result)(result.message, result.hint)
        if result is None and not known.more:
            raise UnsupportedTypeError(
                f"Cannot ingest {source.name!r}: too many old Office files stand in one document.",
                "Take them out and add them one by one.",
            )
        if result is None:
            part = source.path.read_bytes() if source.depth else b""
            raise ConversionNeededError(source.name, part, digest, kind)
        target = TARGETS[kind]
        parsed = PARSERS[target].parse(replace(source, path=result))
        metadata = {**parsed.metadata, "converted": f"{kind} to {target} by LibreOffice"}
        blocks = parsed.blocks
        if kind.startswith("od"):
            said = "\n".join(f"{block.header}\n{block.text}" for block in blocks)
            blocks = (*blocks, *object_blocks(source.path, said), *macro_blocks(source.path))
        return replace(parsed, blocks=blocks, media_type=PARSERS[kind].media_type, metadata=metadata)

    return parse


def _refuse_locked_word(source: Source) -> None:
    header = _stream(source, "WordDocument", 12)
    if header[:2] == b"\xec\xa5" and int.from_bytes(header[10:12], "little") & _WORD_ENCRYPTED:
        raise _locked(source)


def _refuse_locked_slides(source: Source) -> None:
    if int.from_bytes(_stream(source, "Current User", 16)[12:16], "little") == _PPT_ENCRYPTED:
        raise _locked(source)


def _refuse_locked_package(source: Source) -> None:
    try:
        with zipfile.ZipFile(source.path) as package, package.open(_MANIFEST) as manifest:
            locked = b"encryption-data" in manifest.read(_MAX_MANIFEST)
    except (zipfile.BadZipFile, OSError, KeyError, ValueError, RuntimeError):
        return  # damaged: the conversion says so
    if locked:
        raise _locked(source)


def _never_locked(source: Source) -> None:
    """The format knows no passwords."""


def _stream(source: Source, name: str, size: int) -> bytes:
    """The first bytes of a stream of an OLE file; empty where there is none or the file is damaged."""
    import olefile

    try:
        with olefile.OleFileIO(source.path) as container:
            return bytes(container.openstream(name).read(size)) if container.exists(name) else b""
    except (OSError, ValueError, IndexError, OverflowError):
        return b""


def _locked(source: Source) -> EncryptedError:
    return EncryptedError(
        f"Cannot ingest {source.name!r}: it is protected by a password.", "Remove the password and add it again."
    )


_OPEN_DOCUMENT = "application/vnd.oasis.opendocument"
for _kind, _label, _extensions, _media_type, _refuse in (
    (
        "doc",
        "Word 97-2003, WPS Writer (doc, dot, wps)",
        ("doc", "dot", "wpt"),
        "application/msword",
        _refuse_locked_word,
    ),
    ("wps", "Works (wps)", ("wps",), "application/vnd.ms-works", _never_locked),
    ("odt", "LibreOffice text (odt)", ("odt", "ott"), f"{_OPEN_DOCUMENT}.text", _refuse_locked_package),
    (
        "ppt",
        "PowerPoint 97-2003, WPS Presentation (ppt, pps, dps)",
        ("ppt", "pps", "pot", "dps", "dpt"),
        "application/vnd.ms-powerpoint",
        _refuse_locked_slides,
    ),
    ("odp", "LibreOffice slides (odp)", ("odp", "otp"), f"{_OPEN_DOCUMENT}.presentation", _refuse_locked_package),
    ("pages", "Apple Pages (pages)", ("pages",), "application/vnd.apple.pages", _never_locked),
    ("key", "Apple Keynote (key)", ("key",), "application/vnd.apple.keynote", _never_locked),
):
    register(Parser(_kind, _label, _extensions, _media_type, _parser(_kind, _refuse)))
