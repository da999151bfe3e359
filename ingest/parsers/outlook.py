"""Outlook messages (MSG): an OLE container of properties, read like any other mail.

The MIT-licensed reader for this format stops at the first character its code page lacks and does not open messages
inside messages, so only the container (olefile) is borrowed, and the few properties needed are read here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from core.errors import UnreadableError
from core.types import ParsedDocument, Problem
from ingest.clean import collapse
from ingest.decode import decode
from ingest.parsers.letter import Attached, Body, Letter, encrypted, letter_document
from ingest.parsers.registry import Parser, Source, register

MAX_ATTACHMENTS = 1000
MAX_DEPTH = 10
_CLASS, _SUBJECT, _BODY, _HTML, _RTF = "001A", "0037", "1000", "1013", "1009"
_SENDER, _ADDRESS, _SMTP, _BEHALF = "0C1A", "0C1F", "5D01", "0042"
_TO, _CC, _HEADERS = "0E04", "0E03", "007D"
_SENT, _RECEIVED, _INTERNET_PAGE, _MESSAGE_PAGE = 0x0039, 0x0E06, 0x3FDE, 0x3FFD
_LONG_NAME, _SHORT_NAME, _DISPLAY_NAME, _MIME, _CONTENT_ID, _DATA = "3707", "3704", "3001", "370E", "3712", "3701"
_PREFIX = "__substg1.0_"
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_PAGES = {
    936: "gb18030",
    950: "big5hkscs",
    932: "cp932",
    949: "cp949",
    65001: "utf-8",
    20127: "cp1252",
    28591: "cp1252",
}
_CONTACT = (
    ("Name", "3001"), ("Company", "3A16"), ("Title", "3A17"), ("Department", "3A18"), ("Business phone", "3A08"),
    ("Mobile phone", "3A1C"), ("Home phone", "3A09"), ("Address", "3A15"), ("City", "3A27"), ("Country", "3A26"),
)  # fmt: skip
"""Fields of a contact that stand outside the body."""


def parse(source: Source) -> ParsedDocument:
    """Blocks of a message, its forwarded messages and its attachments.

    Raises:
        EncryptedError: there is nothing but an encrypted body. UnreadableError: the container is damaged.
    """
    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(source.path.read_bytes())) as ole:
            letter = _letter(_Storage(ole, ()), 0)
    except (OSError, ValueError, IndexError, struct.error, RecursionError, AttributeError, TypeError) as error:
        raise UnreadableError(
            f"Cannot read {source.name!r}: the Outlook message is damaged.", "Open it in Outlook and save it again."
        ) from error
    if letter.encrypted and not letter.bodies:
        raise encrypted(source)
    return letter_document(letter, source, "application/vnd.ms-outlook")


class _Storage:
    """One folder of the container: a message, a recipient or an attachment."""

    def __init__(self, ole: Any, path: tuple[str, ...]) -> None:
        self._ole = ole
        self._path = path
        node = ole.root
        for name in path:
            node = next(kid for kid in node.kids if kid.name == name)
        self._kids = {kid.name.upper(): kid for kid in node.kids}
        self.names = [kid.name for kid in node.kids]
        self._fixed = self._fixed_values()
        page = self._number(_MESSAGE_PAGE) or self._number(_INTERNET_PAGE) or 0
        self.encoding = _PAGES.get(page, f"cp{page}" if page else "")

    def inside(self, name: str) -> _Storage:
        inner = _Storage(self._ole, (*self._path, name))
        inner.encoding = inner.encoding or self.encoding
        return inner

    def folders(self, prefix: str) -> Iterator[str]:
        return (name for name in self.names if name.lower().startswith(prefix))

    def text(self, tag: str) -> str:
        """A string property, empty when there is none."""
        wide = self.data(tag, "001F")
        if wide:
            return wide.decode("utf-16-le", "replace").rstrip("\x00")
        narrow = self.data(tag, "001E")
        return decode(narrow, self.encoding).text.rstrip("\x00") if narrow else ""

    def data(self, tag: str, kind: str = "0102") -> bytes:
        """Bytes of a property, empty when there is none."""
        kid = self._kids.get(f"{_PREFIX}{tag}{kind}".upper())
        if kid is None:
            return b""
        try:
            content = self._ole.openstream([*self._path, kid.name]).read()
        except OSError:
            return b""
        return bytes(content)

    def date(self, tag: int) -> datetime | None:
        value = self._number(tag)
        try:
            return (_EPOCH + timedelta(microseconds=value // 10)).replace(microsecond=0) if value else None
        except OverflowError:
            return None

    def _number(self, tag: int) -> int:
        return self._fixed.get(tag, 0)

    def _fixed_values(self) -> dict[int, int]:
        """Numbers and dates: 16 bytes each after a head whose length depends on what the storage is."""
        if "__PROPERTIES_VERSION1.0" not in self._kids:
            return {}
        raw = self._ole.openstream([*self._path, self._kids["__PROPERTIES_VERSION1.0"].name]).read()
        last = self._path[-1].lower() if self._path else ""
        head = 32 if not last else 8 if last.startswith(("__attach", "__recip")) else 24
        values: dict[int, int] = {}
        for at in range(head, len(raw) - 15, 16):
            kind, tag, value = struct.unpack_from("<HH4xQ", raw, at)
            if kind in (0x0003, 0x0040):
                values[tag] = value if kind == 0x0040 else value & 0xFFFFFFFF
        return values


def _letter(storage: _Storage, depth: int) -> Letter:
    kind = storage.text(_CLASS).lower()
    letter = Letter(
        subject=collapse(storage.text(_SUBJECT)),
        sender=_sender(storage),
        to=collapse(storage.text(_TO)),
        cc=collapse(storage.text(_CC)),
        date=storage.date(_SENT) or storage.date(_RECEIVED),
        encrypted="smime" in kind and "multipartsigned" not in kind,
    )
    body = Body(plain=[text for text in (storage.text(_BODY),) if text.strip()], html=_html(storage))
    if not body.plain and not body.html:
        body.plain = _from_rtf(storage)
    if "contact" in kind:
        fields = [f"{name}: {storage.text(tag)}" for name, tag in _CONTACT if storage.text(tag)]
        letter.bodies.append(Body(plain=["\n".join(fields)]))
    if body.plain or body.html:
        letter.bodies.append(body)
    for count, name in enumerate(storage.folders("__attach_version1.0_")):
        if count >= MAX_ATTACHMENTS:
            letter.problems.append(Problem("cut_off", f"Only the first {MAX_ATTACHMENTS} attachments were looked at."))
            break
        _attachment(storage.inside(name), letter, depth)
    return letter


def _sender(storage: _Storage) -> str:
    name = collapse(storage.text(_SENDER) or storage.text(_BEHALF))
    address = collapse(storage.text(_SMTP) or storage.text(_ADDRESS))
    if "@" in address and address != name:
        return f"{name} <{address}>".strip()
    return name


def _html(storage: _Storage) -> list[bytes]:
    data = storage.data(_HTML)
    if data:
        return [data]
    text = storage.text(_HTML)
    return [text.encode()] if text else []


def _from_rtf(storage: _Storage) -> list[str]:
    """The body of messages that have it as compressed RTF only."""
    from ingest.parsers.rtf import plain_text
    from ingest.parsers.rtf_compressed import expand

    data = storage.data(_RTF)
    text = plain_text(expand(data)) if data else ""
    return [text] if text.strip() else []


def _attachment(storage: _Storage, letter: Letter, depth: int) -> None:
    name = storage.text(_LONG_NAME) or storage.text(_SHORT_NAME) or storage.text(_DISPLAY_NAME) or "attachment"
    name = collapse(name).replace("\\", "/").rsplit("/", 1)[-1][:200]
    embedded = f"{_PREFIX}{_DATA}000D"
    inner = next((kid for kid in storage.names if kid.upper() == embedded.upper()), "")
    if inner:
        message = storage.inside(inner)
        if "__properties_version1.0" in message.names and depth < MAX_DEPTH:
            letter.nested.append(_letter(message, depth + 1))
        else:
            letter.problems.append(Problem("attachment_unread", f"The embedded object {name!r} was not read."))
        return
    data = storage.data(_DATA)
    if data:
        kind = storage.text(_MIME).lower()
        letter.encrypted = letter.encrypted or kind == "application/pgp-encrypted"
        inline = bool(storage.text(_CONTENT_ID)) and kind.startswith("image/")
        letter.attached.append(Attached(name, data, kind, inline))


register(Parser("msg", "Outlook mail (msg)", ("msg",), "application/vnd.ms-outlook", parse))
