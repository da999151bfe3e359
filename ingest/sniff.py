"""What kind of file this is: by content first, the extension only breaks ties between kinds of text."""

from __future__ import annotations

from pathlib import Path

from core.errors import DocumentError, EmptyDocumentError, EncryptedError, UnreadableError, UnsupportedTypeError
from ingest.archive import ARCHIVE_EXTENSIONS, is_iwork, is_locked_iwork, looks_like_document, member_names
from ingest.ole_kind import DAMAGED, LOCKED, ole_kind, unread_kind
from ingest.ole_kind import MAGIC as OLE_MAGIC
from ingest.parsers.registry import EXTENSIONS, PARSERS, Parser
from ingest.text_kind import BINARY, TEXT_KINDS, text_kind

HEAD = 65_536

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"RIFF", "a sound or film file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"ITSF", "a CHM help file"),
    (b"%!PS", "a PostScript file"),
    (b"\xe4\x52\x5c\x7b", "a OneNote file"),
    (b"SQLite format 3", "a SQLite database"),
)
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("damaged", "Pack or save the file again; it cannot be opened as it is."),
    ("archive", "Unpack it and add the files, or pack them as ZIP."),
    ("CHM", "Unpack it, for example with 7-Zip, and add its pages (html)."),
    ("OneNote", "Export the section or notebook from OneNote as PDF or Word, and add that."),
    ("Numbers", "In Numbers choose File > Export To > Excel, and add that file."),
    ("iWork", "Open it on a Mac or in iCloud, export it as Word, PowerPoint, Excel or PDF, and add that."),
    ("Hangul", "Save it as docx or PDF in Hancom Office, and add that."),
    ("Visio", "Save it as vsdx or PDF in Visio, and add that."),
    ("Publisher", "Save it as PDF in Publisher, and add that."),
    ("Project", "Save it as Excel or PDF in Project, and add that."),
    ("PostScript", "Convert it to PDF, and add that."),
    ("program", "A program holds no document; add the document that belongs to it."),
    ("sound or film", "Add a transcript as text."),
    ("SQLite", "Export the tables as CSV or Excel, and add those."),
    ("old Office", "Open it in its own program, save it as docx, xlsx, pptx or PDF, and add that."),
    ("document", "Save it as docx, xlsx, pptx or PDF, and add that."),
)
"""What to do with a file that is not read, by words of what it looks like."""
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
_OFFICE_PARTS = (
    ("word/", "docx", "a Word document"),
    ("ppt/", "pptx", "a PowerPoint presentation"),
    ("xl/", "xlsx", "an Excel workbook"),
)


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
    if head.startswith(OLE_MAGIC):
        return _ole(path, name)
    if _is_picture(head):
        return PARSERS["picture"]
    for magic, label in _MAGIC:
        if head.startswith(magic):
            raise _unsupported(name, label)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{\\rtf"):
        return PARSERS["rtf"]
    return PARSERS[text_kind(head, name, extension, lambda looks_like: _no_text(name, extension, looks_like))]


def _is_picture(head: bytes) -> bool:
    bitmap = head.startswith(b"BM") and head[6:10] == bytes(4)
    return head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or bitmap


def extension_of(name: str) -> str:
    """Lower-case extension without the dot, empty when there is none.

    Underscores at its end do not count: files are renamed to `plan.zip_` so that mail servers let them pass.
    """
    return Path(name.replace("\\", "/")).suffix.lower().lstrip(".").rstrip("_")


def supported() -> str:
    """What can be read, for messages."""
    return (
        "PDF, Office and OpenDocument files, mail, web pages, e-books, text, data, source code, pictures and archives "
        "of them; docs/formats.md lists all"
    )


def _unsupported(name: str, looks_like: str) -> UnsupportedTypeError:
    remedy = next((advice for words, advice in _REMEDIES if words in looks_like), "")
    return UnsupportedTypeError(
        f"Cannot ingest {name!r}: it looks like {looks_like}, which Alioth does not read.",
        remedy or "Open it in its own program, save it as PDF, docx, xlsx, pptx or text, and add that.",
    )


def _no_text(name: str, extension: str, looks_like: str) -> DocumentError:
    """For what is no text of its kind; under a known extension bytes of no known kind are damaged."""
    if looks_like != BINARY or extension not in {*EXTENSIONS, *ARCHIVE_EXTENSIONS}:
        return _unsupported(name, looks_like)
    return UnreadableError(
        f"Cannot read {name!r}: what is in it is no {extension} file, nor anything else that Alioth knows. It is "
        "damaged, encrypted, or bears another file's name.",
        "Open it in its own program, save it again and add that, or copy it again.",
    )


def _zip(path: Path, name: str) -> Parser:
    names = member_names(path)
    if not names:
        known = EXTENSIONS.get(extension_of(name))
        if known and known.kind in ("docx", "pptx", "xlsx", "epub", "odt", "odp", "ofd", "vsdx", "xps"):
            return known  # damaged: the parser says so with the format's own words
        raise _unsupported(name, "a damaged zip archive")
    for prefix, kind, _ in _OFFICE_PARTS:
        if any(member.startswith(prefix) for member in names) and "[Content_Types].xml" in names:
            if kind == "xlsx" and "xl/workbook.bin" in names:
                return PARSERS["xls"]
            return PARSERS[kind]
    for mark, kind in (("OFD.xml", "ofd"), ("visio/document.xml", "vsdx")):
        if mark in names:
            return PARSERS[kind]
    if any(member.lower().endswith(".fdseq") for member in names):
        return PARSERS["xps"]
    if "META-INF/container.xml" in names:
        return PARSERS["epub"]
    if "mimetype" in names:
        return _open_document(path, name)
    for prefix, _, label in _OFFICE_PARTS:
        if any(member.startswith(prefix) for member in names):
            raise _incomplete(name, label)
    if is_iwork(names):
        if is_locked_iwork(path, names):
            raise EncryptedError(
                f"Cannot ingest {name!r}: it is protected by a password.", "Remove the password and add it again."
            )
        return _iwork(names, name)
    if looks_like_document(names):
        raise _incomplete(name, "an Office document")
    known = EXTENSIONS.get(extension_of(name))
    if known is not None and known.kind not in TEXT_KINDS:
        raise _incomplete(name, f"a {extension_of(name)} file")
    raise _unsupported(name, "a zip archive")


def _incomplete(name: str, label: str) -> UnreadableError:
    return UnreadableError(
        f"Cannot read {name!r}: it is {label} with parts missing, damaged or not copied whole.",
        "Open it in its own program, save it again and add that, or copy it again.",
    )


def _iwork(names: list[str], name: str) -> Parser:
    """Pages and Keynote, which LibreOffice opens; told by what is in them, else by the extension."""
    extension = extension_of(name)
    slides = "index.apxl" in names or any(member.startswith("Index/Slide") for member in names)
    if slides or extension == "key":
        return PARSERS["key"]
    if extension == "pages":
        return PARSERS["pages"]
    raise _unsupported(name, "an Apple Numbers document" if extension == "numbers" else "an Apple iWork document")


def _open_document(path: Path, name: str) -> Parser:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            mimetype = archive.read("mimetype")[:200].decode("ascii", errors="replace").strip()
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        mimetype = ""
    if "opendocument.spreadsheet" in mimetype:
        return PARSERS["xls"]
    if "opendocument.text" in mimetype or "sun.xml.writer" in mimetype:
        return PARSERS["odt"]
    if "opendocument.presentation" in mimetype or "sun.xml.impress" in mimetype:
        return PARSERS["odp"]
    raise _unsupported(name, f"a document of type {mimetype or 'unknown'}")


def _ole(path: Path, name: str) -> Parser:
    """Old Office files and locked new ones."""
    kind = ole_kind(path)
    if kind == LOCKED:
        raise EncryptedError(
            f"Cannot ingest {name!r}: it is protected by a password or by rights management.",
            "Remove the protection and add it again.",
        )
    if kind == DAMAGED:
        raise UnreadableError(
            f"Cannot read {name!r}: its Office container is damaged or incomplete.",
            "Open it in its own program, save it again and add that.",
        )
    if not kind:
        raise _unsupported(name, unread_kind(path))
    return PARSERS[kind]
