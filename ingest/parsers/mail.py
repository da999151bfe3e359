"""Mail messages (EML) and mailboxes (MBOX): headers, body, forwarded messages and attachments."""

from __future__ import annotations

import binascii
import email
import re
from collections.abc import Iterator
from datetime import datetime
from email.header import decode_header
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

from core.errors import UnreadableError
from core.types import ParsedDocument, Problem
from ingest.clean import collapse
from ingest.decode import decode
from ingest.parsers.enclosed import Gathered
from ingest.parsers.letter import Attached, Body, Letter, encrypted, letter_document, placed, read_letter
from ingest.parsers.registry import Parser, Source, register

MAX_PARTS = 2000
"""Parts of one message that are looked at."""
MAX_HEADER = 10_000
"""Characters of one header field that are decoded."""
MAX_MESSAGES = 50_000
"""Messages of one mailbox that are read."""

_BORDER = re.compile(rb"^From (?:\S+|\"[^\"\n]*\"\S*) .*?\d\d:\d\d.*$", re.MULTILINE)
_DATED_BORDER = re.compile(rb"From \S+ +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) .*\d{4}[ \r]*$")
_HEADER_LINE = re.compile(rb"\r?\n(?:[!-9;-~]+:|[ \t]\S)")
_SIGNATURES = ("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature")
_SEALED = ("application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted")
_TEXT_REPORTS = ("message/delivery-status", "text/rfc822-headers", "message/disposition-notification")


def parse(source: Source) -> ParsedDocument:
    """Blocks of one message; places are those inside its attachments.

    Raises:
        EncryptedError: there is nothing but an encrypted body. UnreadableError: parts nested beyond reason.
    """
    letter = _letter(source.path.read_bytes(), source.name)
    if letter.encrypted and not letter.bodies and not letter.attached:
        raise encrypted(source)
    return letter_document(letter, source, "message/rfc822")


def parse_mailbox(source: Source) -> ParsedDocument:
    """Every message of a mailbox as a section; its blocks carry the lines of the message in the file."""
    data = source.path.read_bytes()
    gathered = Gathered()
    messages = 0
    for raw, lines in _messages(data):
        if messages >= MAX_MESSAGES or gathered.chars > source.limits.max_chars:
            message = f"Only the first {messages:,} messages were read. Split the mailbox."
            gathered.problems.append(Problem("cut_off", message))
            break
        messages += 1
        start = len(gathered.blocks)
        read_letter(_letter(raw, source.name), source, gathered)
        gathered.blocks[start:] = placed(gathered.blocks[start:], 0, lines)
    return ParsedDocument(
        blocks=tuple(gathered.blocks),
        media_type="application/mbox",
        title=source.stem,
        problems=tuple(gathered.problems),
        metadata={"messages": str(messages)},
        reading=gathered.reading(),
    )


def _messages(data: bytes) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """(bytes, first and last line) of each message."""
    borders = [match for match in _BORDER.finditer(data) if _is_border(data, match)]
    starts = [match.start() for match in borders] or [0]
    line, position = 1, 0
    for index, start in enumerate(starts):
        line += data.count(b"\n", position, start)
        position = start
        end = starts[index + 1] if index + 1 < len(starts) else len(data)
        raw = data[borders[index].end() if borders else 0 : end].lstrip(b"\r\n")
        yield re.sub(rb"(?m)^>(>*From )", rb"\1", raw), (line, max(line, line + data[start:end].rstrip().count(b"\n")))


def _is_border(data: bytes, match: re.Match[bytes]) -> bool:
    """Headers follow it, or it is dated as programs do it and stands after an empty line: not a sentence of a mail."""
    if _HEADER_LINE.match(data, match.end()):
        return True
    before = data[max(0, match.start() - 4) : match.start()].replace(b"\r", b"")
    return bool(_DATED_BORDER.match(match.group())) and (not before or before.endswith(b"\n\n"))


def _letter(data: bytes, name: str) -> Letter:
    try:
        if b"\x00" in data[:100]:  # saved as UTF-16, which no mail program sends
            data = decode(data).text.encode()
        message = email.message_from_bytes(data.lstrip(b"\xef\xbb\xbf\r\n"))
        return _read(message, [MAX_PARTS])
    except RecursionError as error:
        raise UnreadableError(
            f"Cannot read {name!r}: its parts are nested too deeply.", "Save the message again from your mail program."
        ) from error


def _read(message: Message[Any, Any], left: list[int], depth: int = 0) -> Letter:
    letter = Letter(
        subject=header(message, "Subject"),
        sender=header(message, "From") or header(message, "Sender"),
        to=header(message, "To"),
        cc=header(message, "Cc"),
        date=_date(message),
        date_text=header(message, "Date"),
    )
    _part(message, letter, left, depth)
    if left[0] < 0:
        letter.problems.append(Problem("cut_off", f"Only the first {MAX_PARTS:,} parts of the message were read."))
        left[0] = 0
    return letter


def _part(part: Message[Any, Any], letter: Letter, left: list[int], depth: int) -> None:
    """One part of the tree into the letter, in order."""
    if left[0] <= 0:
        left[0] = -1
        return
    left[0] -= 1
    kind = part.get_content_type()
    if kind == "message/rfc822" and _parts(part):
        letter.nested.append(_read(_forwarded(part), left, depth + 1))
    elif kind in _TEXT_REPORTS:
        letter.bodies.append(Body(plain=[_plain(part)]))
    elif kind == "multipart/alternative":
        _alternative(part, letter, left, depth)
    elif part.is_multipart():
        letter.encrypted = letter.encrypted or kind == "multipart/encrypted"
        for inner in _parts(part):
            _part(inner, letter, left, depth)
    elif kind in _SIGNATURES or (kind in _SEALED and part.get_param("smime-type") == "signed-data"):
        return
    elif kind in _SEALED:
        letter.encrypted = True
        letter.problems.append(Problem("attachment_unread", "An encrypted part of the message was not read."))
    elif letter.encrypted and kind == "application/octet-stream":
        return
    else:
        _leaf(part, kind, letter)


def _parts(part: Message[Any, Any]) -> list[Message[Any, Any]]:
    payload: Any = part.get_payload()
    return [inner for inner in payload if isinstance(inner, Message)] if isinstance(payload, list) else []


def _forwarded(part: Message[Any, Any]) -> Message[Any, Any]:
    """The message inside; some programs encode it although the standard forbids that."""
    inner = _parts(part)[0]
    if not inner.keys() and str(part.get("Content-Transfer-Encoding") or "").strip().lower() == "base64":
        try:
            return email.message_from_bytes(binascii.a2b_base64(str(inner.get_payload())))
        except binascii.Error:
            return inner
    return inner


def _alternative(part: Message[Any, Any], letter: Letter, left: list[int], depth: int) -> None:
    """Forms of one text become one body, of which `read_letter` takes the better form."""
    first = len(letter.bodies)
    for inner in _parts(part):
        _part(inner, letter, left, depth)
    forms = letter.bodies[first:]
    if forms:
        plain, html = [form.plain for form in forms], [form.html for form in forms]
        letter.bodies[first:] = [
            Body([text for form in plain for text in form], [page for form in html for page in form])
        ]


def _leaf(part: Message[Any, Any], kind: str, letter: Letter) -> None:
    disposition = str(part.get("Content-Disposition") or "").strip().lower()
    name = _file_name(part)
    shown = not disposition.startswith("attachment") and (not name or disposition.startswith("inline"))
    if kind == "text/html" and shown:
        letter.bodies.append(Body(html=[page_of(part)]))
    elif kind in ("text/plain", "text/enriched") and shown:
        letter.bodies.append(Body(plain=[_plain(part)]))
    else:
        data = _bytes(part)
        inline = not disposition.startswith("attachment") and bool(part.get("Content-ID") or kind.startswith("image/"))
        if data:
            letter.attached.append(Attached(name or _made_up_name(kind), data, kind, inline))


def _plain(part: Message[Any, Any]) -> str:
    if part.is_multipart():  # a delivery report is a list of header blocks
        return "\n\n".join(inner.as_string() for inner in _parts(part)[:100])
    text = decode(_bytes(part), part.get_content_charset("") or "").text
    if str(part.get_param("format")).lower() == "flowed":  # RFC 3676: a line that ends in a blank goes on
        joint = "" if str(part.get_param("delsp")).lower() == "yes" else " "
        text = re.sub(r"(?m)(?<!^--) \n(?![>\s]|-- $)", joint, text)
    return text


def page_of(part: Message[Any, Any]) -> bytes:
    """The page in UTF-8: the charset of the mail wins over the one in the page, which mail programs often get wrong."""
    decoded = decode(_bytes(part), part.get_content_charset("") or "")
    text = re.sub(r"(<meta[^>]{0,200}?charset\s*=\s*[\"']?)[\w.:-]+", r"\1utf-8", decoded.text[:8192], flags=re.I)
    return (text + decoded.text[8192:]).encode("utf-8", "replace")


def _bytes(part: Message[Any, Any]) -> bytes:
    """Content with its transfer encoding undone; the raw text where that fails."""
    try:
        payload = part.get_payload(decode=True)
    except (binascii.Error, ValueError, LookupError):
        payload = None
    if isinstance(payload, bytes):
        return payload
    raw = part.get_payload()
    return raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else b""


def _file_name(part: Message[Any, Any]) -> str:
    try:
        name = part.get_filename("") or ""
    except (LookupError, ValueError, TypeError):
        name = ""
    return collapse(_words(name)).replace("\\", "/").rsplit("/", 1)[-1][:200]


def _made_up_name(kind: str) -> str:
    import mimetypes

    return "attachment" + (mimetypes.guess_extension(kind) or "")


def header(message: Message[Any, Any], name: str) -> str:
    """A header's words; taken raw, for the library replaces bytes that no standard allows."""
    value = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    return collapse(_words(value[:MAX_HEADER]))[:2000]


def _words(value: str) -> str:
    """Header text: encoded words undone, raw bytes decoded by what they look like."""
    value = value.replace("\r", "").replace("\n", " ")
    try:
        pieces = decode_header(value)
    except (binascii.Error, ValueError, LookupError):
        pieces = [(value, None)]
    return "".join(_word(piece, charset) for piece, charset in pieces)


def _word(piece: str | bytes, charset: str | None) -> str:
    if isinstance(piece, str):
        piece = piece.encode("utf-8", "surrogateescape")
    if charset and charset != "unknown-8bit":
        try:  # a few characters prove nothing by their bytes, so what the word says of itself goes first
            return piece.decode(charset)
        except (UnicodeDecodeError, LookupError):
            return decode(piece, charset).text
    return decode(piece).text


def _date(message: Message[Any, Any]) -> datetime | None:
    try:
        return parsedate_to_datetime(header(message, "Date"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


register(Parser("eml", "mail (eml)", ("eml",), "message/rfc822", parse))
register(Parser("mbox", "mailboxes (mbox)", ("mbox", "mbx"), "application/mbox", parse_mailbox))
