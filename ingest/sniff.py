"""What kind of file this is: by content first, the extension only breaks ties between kinds of text."""

from __future__ import annotations

import re
from pathlib import Path

from core.errors import EmptyDocumentError, EncryptedError, UnsupportedTypeError
from ingest.archive import member_names
from ingest.decode import decode
from ingest.parsers.registry import EXTENSIONS, PARSERS, Parser

HEAD = 65_536

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"RIFF", "a sound, film or WebP file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"{\\rtf", "an RTF document"),
    (b"ITSF", "a CHM help file"),
    (b"%!PS", "a PostScript file"),
    (b"\xe4\x52\x5c\x7b", "a OneNote file"),
    (b"SQLite format 3", "a SQLite database"),
)
_OFFICE_PARTS = (
    ("word/", "docx", "a Word document"),
    ("ppt/", "pptx", "a PowerPoint presentation"),
    ("xl/", "xlsx", "an Excel workbook"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS: tuple[tuple[str, str, str], ...] = (
    ("EncryptedPackage", "encrypted", ""),
    ("WordDocument", "", "an old Word document (.doc)"),
    ("PowerPoint Document", "", "an old PowerPoint presentation (.ppt)"),
    ("Workbook", "xls", ""),
    ("Book", "xls", ""),
    ("__substg1.0_", "", "an Outlook message (.msg)"),
)
_HTML = re.compile(r"<!doctype html|<html[\s>]|<(?:head|body|table|div|p|h1|meta)[\s>/]", re.IGNORECASE)
_MARKUP = re.compile(r"^\s*(?:<\?xml|<!DOCTYPE (?!html)|<[A-Za-z][\w:.-]*[\s>/])")
_MARKDOWN = re.compile(r"^(?:#{1,6} \S|```|\|.+\|\s*$|\s*[-*] \[[ x]\] )", re.MULTILINE)
_MAIL = re.compile(r"\A(?:From |Return-Path: |Received: |MIME-Version: |From: .+\n(?:To|Subject|Date): )")
_ORDER = ("pdf", "docx", "pptx", "xlsx", "xls", "csv", "html", "markdown", "text")
_TEXT_KINDS = frozenset({"text", "markdown", "csv", "html"})


def sniff(path: Path, name: str) -> Parser:
    """The parser for a file.

    Args:
        name: the document's own name; only its extension is looked at, and only where content leaves a choice.

    Raises:
        EmptyDocumentError: no bytes.
        EncryptedError: an Office file under a password.
        UnsupportedTypeError: names the file, what it looks like and what is supported.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head.strip(b"\x00 \t\r\n"):
        raise EmptyDocumentError(
            f"Cannot ingest {name!r}: the file is empty.", "Check that it was saved or copied whole."
        )
    extension = extension_of(name)
    if b"%PDF-" in head[:1024]:
        return PARSERS["pdf"]
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _zip(path, name)
    if head.startswith(_OLE):
        return _ole(path, name)
    for magic, label in _MAGIC:
        if head.startswith(magic):
            raise _unsupported(name, label)
    return PARSERS[_text_kind(head, name, extension)]


def extension_of(name: str) -> str:
    """Lower-case extension without the dot, empty when there is none."""
    return Path(name.replace("\\", "/")).suffix.lower().lstrip(".")


def supported() -> str:
    """What can be read, for messages: `PDF, Word (docx), …`."""
    return ", ".join(PARSERS[kind].label for kind in _ORDER)


def _unsupported(name: str, looks_like: str) -> UnsupportedTypeError:
    advice = " Save it in one of these formats." if "old " in looks_like or "document" in looks_like else ""
    return UnsupportedTypeError(
        f"Cannot ingest {name!r}: it looks like {looks_like}, which Alioth does not read.",
        f"Supported: {supported()}.{advice}",
    )


def _zip(path: Path, name: str) -> Parser:
    names = member_names(path)
    if not names:
        known = EXTENSIONS.get(extension_of(name))
        if known and known.kind in ("docx", "pptx", "xlsx"):
            return known  # damaged: the parser says so with the format's own words
        raise _unsupported(name, "a damaged zip archive")
    for prefix, kind, _ in _OFFICE_PARTS:
        if any(member.startswith(prefix) for member in names) and "[Content_Types].xml" in names:
            if kind == "xlsx" and "xl/workbook.bin" in names:
                return PARSERS["xls"]
            return PARSERS[kind]
    if "mimetype" in names:
        return _open_document(path, name)
    for prefix, _, label in _OFFICE_PARTS:
        if any(member.startswith(prefix) for member in names):
            raise _unsupported(name, f"{label} with parts missing")
    if any(member.endswith(".iwa") for member in names) or "Index.zip" in names:
        raise _unsupported(name, "an Apple iWork document")
    raise _unsupported(name, "a zip archive")


def _open_document(path: Path, name: str) -> Parser:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            mimetype = archive.read("mimetype")[:200].decode("ascii", errors="replace").strip()
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        mimetype = ""
    if "opendocument.spreadsheet" in mimetype:
        return PARSERS["xls"]
    raise _unsupported(name, f"a document of type {mimetype or 'unknown'}")


def _ole(path: Path, name: str) -> Parser:
    """Old Office files and encrypted new ones: told apart by the stream names in their directory."""
    data = path.read_bytes()
    for stream, kind, label in _OLE_STREAMS:
        if stream.encode("utf-16-le") in data:
            if kind == "encrypted":
                raise EncryptedError(
                    f"Cannot ingest {name!r}: it is protected by a password.", "Remove the password and add it again."
                )
            if kind:
                return PARSERS[kind]
            raise _unsupported(name, label)
    raise _unsupported(name, "an old Office file")


def _text_kind(head: bytes, name: str, extension: str) -> str:
    text = decode(head).text
    sample = text[:20_000]
    odd = sum(1 for ch in sample if ch == "\ufffd" or (ord(ch) < 32 and ch not in "\n\t\f\x1b"))
    if odd > 0.1 * len(sample):
        raise _unsupported(name, "binary data")
    stripped = sample.lstrip("\ufeff \n\t")
    by_extension = EXTENSIONS.get(extension)
    if by_extension and by_extension.kind == "markdown":
        return "markdown"
    if re.match(r"<!doctype html|<html[\s>]", stripped, re.IGNORECASE):
        return "html"
    if _MARKUP.match(stripped) and _HTML.search(stripped) and not stripped.startswith("<?xml"):
        return "html" if "<svg" not in stripped[:200] else _refuse_markup(name, stripped)
    if stripped.startswith("<?xml") and re.search(r"<!doctype html|<html[\s>]", sample[:2000], re.IGNORECASE):
        return "html"
    if by_extension and by_extension.kind == "html" and _HTML.search(sample):
        return "html"
    if stripped.startswith("<?xml") or extension in ("xml", "svg"):
        _refuse_markup(name, stripped)
    if by_extension and by_extension.kind == "csv":
        return "csv"
    if extension not in ("", "txt", "text", "log") and _MAIL.match(stripped):
        raise _unsupported(name, "an e-mail message")
    if by_extension and by_extension.kind not in _TEXT_KINDS:
        return _named_otherwise(name, by_extension, sample)
    if by_extension and by_extension.kind == "text" and len(_MARKDOWN.findall(sample)) < 3:
        return "text"
    if by_extension is None and extension not in ("", "txt"):
        raise _unsupported(name, f"a text file of unknown type {'.' + extension!r}")
    return "markdown" if len(_MARKDOWN.findall(sample)) >= 3 else "text"


def _named_otherwise(name: str, parser: Parser, sample: str) -> str:
    """Text under the name of a binary format: spreadsheets are often exported so, anything else is damaged."""
    lines = [line for line in sample.splitlines()[:20] if line.strip()]
    if parser.kind in ("xls", "xlsx") and lines and all("," in line or "\t" in line for line in lines):
        return "csv"
    raise _unsupported(name, f"plain text under the name of a {parser.label} file")


def _refuse_markup(name: str, text: str) -> str:
    raise _unsupported(name, "an SVG picture" if "<svg" in text[:2000] else "an XML file")
