"""What people wrote into a PDF page: values of form fields and the texts of notes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ingest.parsers.pdf_chars import mapped
from ingest.parsers.pdf_files import file_bytes
from ingest.parsers.pdf_page import Corners

_MAX = 2000
"""Notes and fields of one page that are looked at."""
_HIDDEN = 2 | 32  # FPDF_ANNOT_FLAG_HIDDEN, FPDF_ANNOT_FLAG_NOVIEW


@dataclass(frozen=True, slots=True)
class Note:
    """text: what the field holds or the note says, or a file's name, whose bytes are data. box: on the displayed page.

    kind: field, note or file.
    """

    kind: str
    text: str
    box: Corners
    hidden: bool = False
    data: bytes = field(default=b"", repr=False)


def read_notes(document: Any, page: Any, matrix: tuple[float, ...]) -> list[Note]:
    """Filled fields, notes with words and names of attached files, in the order of the file."""
    import pypdfium2.raw as raw

    notes: list[Note] = []
    for index in range(min(raw.FPDFPage_GetAnnotCount(page.raw), _MAX)):
        handle = raw.FPDFPage_GetAnnot(page.raw, index)
        if not handle:
            continue
        try:
            notes.extend(_note(document, handle, matrix))
        finally:
            raw.FPDFPage_CloseAnnot(handle)
    return notes


def _note(document: Any, handle: Any, matrix: tuple[float, ...]) -> Iterator[Note]:
    import pypdfium2.raw as raw

    kind = raw.FPDFAnnot_GetSubtype(handle)
    rect = raw.FS_RECTF()
    if not raw.FPDFAnnot_GetRect(handle, rect):
        return
    box = mapped(matrix, (rect.left, rect.bottom, rect.right, rect.top))
    hidden = bool(raw.FPDFAnnot_GetFlags(handle) & _HIDDEN)
    if kind == raw.FPDF_ANNOT_WIDGET:
        text = _field(document, handle)
        label = "field"
    elif kind == raw.FPDF_ANNOT_FILEATTACHMENT:
        text, label = "", "file"
        if file := raw.FPDFAnnot_GetFileAttachment(handle):
            yield Note(label, attachment_name(file) or "attachment", box, hidden, file_bytes(file))
    elif kind in (raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_LINK):
        return
    else:
        text, label = _string(handle, b"Contents"), "note"
    if text.strip():
        yield Note(label, text.strip(), box, hidden)


def _field(document: Any, handle: Any) -> str:
    import pypdfium2.raw as raw

    form = document.formenv
    if form is None:
        return _string(handle, b"V")
    kind = raw.FPDFAnnot_GetFormFieldType(form, handle)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        return "☑" if raw.FPDFAnnot_IsChecked(form, handle) else ""
    if kind in (raw.FPDF_FORMFIELD_PUSHBUTTON, raw.FPDF_FORMFIELD_SIGNATURE):
        return ""
    if kind in (raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX):
        chosen = [
            _label(form, handle, index)
            for index in range(min(raw.FPDFAnnot_GetOptionCount(form, handle), 500))
            if raw.FPDFAnnot_IsOptionSelected(form, handle, index)
        ]
        if any(chosen):
            return ", ".join(filter(None, chosen))
    length = raw.FPDFAnnot_GetFormFieldValue(form, handle, None, 0)
    return _decoded(lambda buffer: raw.FPDFAnnot_GetFormFieldValue(form, handle, buffer, length), length)


def _label(form: Any, handle: Any, index: int) -> str:
    import pypdfium2.raw as raw

    length = raw.FPDFAnnot_GetOptionLabel(form, handle, index, None, 0)
    return _decoded(lambda buffer: raw.FPDFAnnot_GetOptionLabel(form, handle, index, buffer, length), length)


def attachment_name(handle: Any) -> str:
    """Name of an embedded file."""
    import pypdfium2.raw as raw

    length = raw.FPDFAttachment_GetName(handle, None, 0)
    return _decoded(lambda buffer: raw.FPDFAttachment_GetName(handle, buffer, length), length)


def _string(handle: Any, key: bytes) -> str:
    import pypdfium2.raw as raw

    length = raw.FPDFAnnot_GetStringValue(handle, key, None, 0)
    return _decoded(lambda buffer: raw.FPDFAnnot_GetStringValue(handle, key, buffer, length), length)


def _decoded(fill: Any, length: int) -> str:
    """UTF-16 text that PDFium writes into a buffer of `length` bytes, its closing zero included."""
    import pypdfium2.raw as raw

    if not 2 < length < 1 << 20:
        return ""
    buffer = ctypes.create_string_buffer(length)
    fill(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)))
    return buffer.raw[: length - 2].decode("utf-16-le", errors="replace").rstrip("\x00").replace("\r", "\n")
