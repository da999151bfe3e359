"""MHTML: a web page saved with its pictures in one file, which is built like a mail."""

from __future__ import annotations

import email
from dataclasses import replace
from email.message import Message
from typing import Any

from core.errors import UnreadableError
from core.types import ParsedDocument
from ingest.parsers.enclosed import file_of
from ingest.parsers.mail import header, page_of
from ingest.parsers.registry import PARSERS, Parser, Source, register

MAX_PARTS = 5000


def parse(source: Source) -> ParsedDocument:
    """Blocks of the page that the file opens with; the pictures saved with it are counted.

    Raises:
        UnreadableError: there is no page inside.
    """
    try:
        message = email.message_from_bytes(source.path.read_bytes().lstrip(b"\xef\xbb\xbf\r\n"))
        parts = list(_leaves(message))
    except RecursionError as error:
        raise _unreadable(source.name) from error
    start = message.get_param("start")
    pages = [part for part in parts if part.get_content_type() in ("text/html", "application/xhtml+xml")]
    pages.sort(key=lambda part: part.get("Content-ID") != start)
    if not pages:
        raise _unreadable(source.name)
    pictures = sum(1 for part in parts if part.get_content_maintype() == "image")
    with file_of(page_of(pages[0])) as path:
        page = PARSERS["html"].parse(replace(source, path=path, depth=source.depth + 1))
    dated = {"created": header(message, "Date")} if message.get("Date") else {}
    seen = page.reading
    return replace(
        page,
        media_type="multipart/related",
        title=page.title or header(message, "Subject"),
        metadata={**page.metadata, **dated},
        reading=replace(
            seen,
            pictures=max(seen.pictures, pictures),
            pictures_without_text=max(seen.pictures_without_text, pictures),
        ),
    )


def _leaves(message: Message[Any, Any]) -> list[Message[Any, Any]]:
    out = []
    for part in message.walk():
        if not part.is_multipart():
            out.append(part)
        if len(out) >= MAX_PARTS:
            break
    return out


def _unreadable(name: str) -> UnreadableError:
    return UnreadableError(
        f"Cannot read {name!r}: there is no web page inside.", "Save the page again as HTML or MHTML."
    )


register(Parser("mhtml", "saved web pages (mhtml)", ("mht", "mhtml"), "multipart/related", parse))
