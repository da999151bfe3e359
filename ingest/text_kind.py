"""Which kind of text a file is: by what stands in it where that is plain, else by its extension."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ingest.decode import decode
from ingest.parsers.registry import EXTENSIONS
from ingest.parsers.source_code import NAMES

BINARY = "binary data"
"""What bytes look like that are neither text nor of any known kind."""
SAMPLE = 20_000
"""Characters that are looked at."""

_HTML = re.compile(r"<!doctype html|<html[\s>]|<(?:head|body|table|div|p|h1|meta)[\s>/]", re.IGNORECASE)
_WHOLE_PAGE = re.compile(r"<!doctype html|<html[\s>]", re.IGNORECASE)
_MARKUP = re.compile(r"^\s*(?:<\?xml|<!DOCTYPE (?!html)|<[A-Za-z][\w:.-]*[\s>/])")
_MARKDOWN = re.compile(r"^(?:#{1,6} \S|```|\|.+\|\s*$|\s*[-*] \[[ x]\] )", re.MULTILINE)
_FIELD = re.compile(r"([!-9;-~]{2,60}):[ \t]?")
_MAIL_FIELDS = frozenset(
    {"from", "to", "subject", "date", "mime-version", "received", "return-path", "message-id", "delivered-to", "cc"}
    | {"reply-to", "dkim-signature", "content-type"}
)
_BORDER = re.compile(r"\AFrom (?:\S+|\"[^\"\n]*\"\S*) .*\d\d:\d\d.*\n")
_PAGE_MAIL = re.compile(r"^Content-Type:\s*multipart/related", re.IGNORECASE | re.MULTILINE)
_SENT = re.compile(r"^(?:Received|To|Delivered-To|Return-Path):", re.IGNORECASE | re.MULTILINE)
_GRAPH = re.compile(
    r"\A(?:\s+|//[^\n]*\n|#[^\n]*\n|/\*.{0,2000}?\*/)*(?:strict\s+)?(?:di)?graph\b[^{}\n]{0,200}\{",
    re.IGNORECASE | re.DOTALL,
)
"""Graphviz, whose files are called .dot as Word's templates are."""
_SHEBANG = re.compile(r"\A#![ \t]*/\S+")
_JSON = re.compile(r"\A\s*(?:\{\s*(?:\"|\})|\[\s*(?:[\[{\"\]]|-?\d|true\b|false\b|null\b))")

TEXT_KINDS = frozenset(
    {"text", "markdown", "csv", "html", "code", "json", "ipynb", "xml", "rtf", "rst", "asciidoc", "org", "latex", "eml"}
    | {"mbox", "mhtml", "ics", "vcf"}
)
"""Kinds whose files are text; text under any other kind's extension is damaged or misnamed."""
_KEPT = frozenset({"markdown", "code", "ipynb", "rst", "asciidoc", "org", "latex"})
"""Kinds in which anything may stand, a web page or a mail too: the name decides."""
_PLAIN = ("", "txt", "text")

Refuse = Callable[[str], Exception]


def text_kind(head: bytes, name: str, extension: str, refuse: Refuse) -> str:
    """Kind of a file that is no binary format.

    Args:
        head: its first bytes. extension: of `name`, lower case without the dot.
        refuse: makes the error to raise from words such as `binary data`.
    """
    sample = _beginning(head)[:SAMPLE]
    odd = sum(1 for ch in sample if ch == "\ufffd" or (ord(ch) < 32 and ch not in "\n\t\f\x1b"))
    if odd > 0.1 * len(sample):
        raise refuse(BINARY)
    stripped = sample.lstrip("\ufeff \n\t")
    by_extension = EXTENSIONS.get(extension)
    kind = by_extension.kind if by_extension else ""
    if kind in _KEPT:
        return kind
    found = _marked(stripped, sample, kind) or _mail(stripped, kind, extension) or _data(stripped, kind, extension)
    if found:
        return found
    if kind in ("", "text") and (
        _SHEBANG.match(stripped) or name.replace("\\", "/").rsplit("/", 1)[-1].lower() in NAMES
    ):
        return "code"
    if by_extension and kind not in TEXT_KINDS:
        return _named_otherwise(kind, by_extension.label, sample, refuse)
    if kind == "text" and extension not in _PLAIN:
        return "text"
    if kind in ("", "text"):
        if not kind and extension:
            raise refuse(f"a text file of unknown type {'.' + extension!r}")
        return "markdown" if len(_MARKDOWN.findall(sample)) >= 3 else "text"
    return "text" if kind in ("html", "xml", "rtf", "mhtml", "mbox") else kind


def _beginning(head: bytes) -> str:
    """Text of the first bytes of a file, which may end inside a character."""
    for cut in range(4):
        decoded = decode(head[: len(head) - cut])
        if decoded.encoding != "mixed" and not decoded.problems:
            return decoded.text
    return decode(head).text


def _marked(stripped: str, sample: str, kind: str) -> str:
    """html or xml where the text is markup."""
    if _WHOLE_PAGE.match(stripped):
        return "html"
    declared = stripped.startswith("<?xml")
    if declared and _WHOLE_PAGE.search(sample[:2000]):
        return "html"
    if declared or stripped[:2000].lstrip().startswith("<svg"):
        return "xml"
    if kind == "xml" and stripped.startswith("<"):
        return "xml"
    if _MARKUP.match(stripped) and _HTML.search(stripped):
        return "html"
    return "html" if kind == "html" and _HTML.search(sample) else ""


def _mail(stripped: str, kind: str, extension: str) -> str:
    """eml, mbox or mhtml where the text starts like one; plain text may quote a mail."""
    if kind == "eml":
        return kind
    if kind == "mbox":
        return kind if _BORDER.match(stripped) else "eml"
    if kind == "mhtml":
        return kind if _PAGE_MAIL.search(stripped[:4000]) else ""
    if extension in ("txt", "text"):
        return ""
    if _BORDER.match(stripped):
        return "mbox"
    if _starts_with_fields(stripped):
        return "mhtml" if _PAGE_MAIL.search(stripped[:4000]) and not _SENT.search(stripped[:4000]) else "eml"
    return ""


def _starts_with_fields(text: str) -> bool:
    """True for the head of a mail: at least two of its usual fields before the first line that is none."""
    found = set()
    for line in text[:8000].split("\n"):
        match = _FIELD.match(line)
        if match:
            found.add(match[1].lower())
        elif not line.startswith((" ", "\t")):
            break
    return len(found & _MAIL_FIELDS) >= 2 and len(found & {"from", "date", "subject", "mime-version"}) >= 1


def _data(stripped: str, kind: str, extension: str) -> str:
    """json, ics or vcf; a file named .txt that holds such data stays text."""
    if kind == "json":
        return "json"
    if stripped[:15].upper().startswith("BEGIN:VCALENDAR"):
        return "ics"
    if stripped[:15].upper().startswith("BEGIN:VCARD"):
        return "vcf"
    if not extension and _JSON.match(stripped) and _starts_with_json(stripped):
        return "json"
    return ""


def _starts_with_json(text: str) -> bool:
    """True when a value ends inside the sample, or the sample is cut off inside one."""
    try:
        json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        return len(text) >= SAMPLE - 200 and error.pos > 0.9 * len(text)
    except RecursionError:
        return True
    return True


def _named_otherwise(kind: str, label: str, sample: str, refuse: Refuse) -> str:
    """Text under the name of a binary format: spreadsheets are often exported so, anything else is damaged."""
    lines = [line for line in sample.splitlines()[:20] if line.strip()]
    if kind in ("xls", "xlsx") and lines and all("," in line or "\t" in line for line in lines):
        return "csv"
    if kind == "doc" and _GRAPH.match(sample):
        return "code"
    raise refuse(f"plain text under the name of a {label} file")
