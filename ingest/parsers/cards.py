"""Calendars (ICS) and address cards (VCF): each entry as a section with its fields on lines."""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterator

from core.types import Block, BlockKind, Locator, ParsedDocument, Problem
from ingest.clean import collapse
from ingest.decode import decode
from ingest.parsers.registry import Parser, Source, register

MAX_ENTRIES = 100_000
_FIELD = re.compile(r"^(?:[A-Za-z0-9-]+\.)?([A-Za-z-]+)((?:;[^:;\"]*(?:\"[^\"]*\"[^:;]*)?)*):(.*)$", re.DOTALL)
_NAMES = {
    "SUMMARY": "Summary", "DTSTART": "Start", "DTEND": "End", "DUE": "Due", "LOCATION": "Location", "STATUS": "Status",
    "DESCRIPTION": "Description", "ORGANIZER": "Organizer", "ATTENDEE": "Attendee", "RRULE": "Repeats", "URL": "URL",
    "CATEGORIES": "Categories", "COMMENT": "Comment", "FN": "Name", "ORG": "Organisation", "TITLE": "Title",
    "ROLE": "Role", "TEL": "Telephone", "EMAIL": "E-mail", "ADR": "Address", "NOTE": "Note", "BDAY": "Birthday",
    "NICKNAME": "Nickname", "LABEL": "Address",
}  # fmt: skip
_ENTRIES = frozenset({"VEVENT", "VTODO", "VJOURNAL", "VCARD"})
_DATE = re.compile(r"^(\d{4})-?(\d{2})-?(\d{2})(?:T(\d{2}):?(\d{2}):?(?:\d{2})?(Z?))?$")


def parse(source: Source) -> ParsedDocument:
    """A heading and a paragraph for each entry, with the lines it stands on; pictures and alarms are left out."""
    decoded = decode(source.path.read_bytes())
    blocks: list[Block] = []
    problems = list(decoded.problems)
    entries = 0
    for title, lines, place in _entries(decoded.text):
        entries += 1
        if entries > MAX_ENTRIES:
            problems.append(Problem("cut_off", f"Only the first {MAX_ENTRIES:,} entries were read. Split the file."))
            break
        if title:
            blocks.append(Block(BlockKind.HEADING, title, place, 1))
        if lines:
            blocks.append(Block(BlockKind.PARAGRAPH, "\n".join(lines), place))
    return ParsedDocument(
        blocks=tuple(blocks),
        media_type="text/calendar" if "BEGIN:VCALENDAR" in decoded.text[:2000].upper() else "text/vcard",
        title=_name_of_calendar(decoded.text) or (source.stem if entries > 1 else ""),
        problems=tuple(problems),
        metadata={"encoding": decoded.encoding},
    )


def _entries(text: str) -> Iterator[tuple[str, list[str], Locator]]:
    """(title, field lines, place) of every entry that is not inside another."""
    kind, title, first = "", "", 0
    lines: list[str] = []
    inner = 0
    for number, line in _unfolded(text):
        match = _FIELD.match(line)
        name, value = (match[1].upper(), match[3]) if match else ("", "")
        if name == "BEGIN":
            if kind:
                inner += 1
            elif value.strip().upper() in _ENTRIES:
                kind, title, lines, first = value.strip().upper(), "", [], number
        elif name == "END" and kind:
            if inner:
                inner -= 1
            else:
                yield title, lines, Locator(lines=(first, number))
                kind = ""
        elif kind and not inner and match and name in _NAMES:
            shown = _value(value, match[2])
            if name in ("SUMMARY", "FN") and not title:
                title = shown[:200]
            if shown:
                lines.append(f"{_NAMES[name]}: {shown}")
    if kind and lines:  # cut off in the middle of an entry
        yield title, lines, Locator(lines=(first, first + len(lines)))


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, logical line); a line that starts with a blank continues the one before."""
    current, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        soft = current.endswith("=") and "QUOTED-PRINTABLE" in current.upper()
        if line[:1] in (" ", "\t") and current and not soft:
            current += line[1:]
        elif soft:
            current = current[:-1] + line
        else:
            if current:
                yield first, current
            current, first = line, number
    if current:
        yield first, current


def _value(value: str, parameters: str) -> str:
    if "QUOTED-PRINTABLE" in parameters.upper():
        charset = re.search(r"CHARSET=\"?([\w-]+)", parameters, re.IGNORECASE)
        try:
            value = decode(quopri.decodestring(value.encode()), charset[1] if charset else "").text
        except (binascii.Error, ValueError):
            return ""
    date = _DATE.match(value.strip())
    if date:
        clock = f" {date[4]}:{date[5]}{' UTC' if date[6] else ''}" if date[4] else ""
        return f"{date[1]}-{date[2]}-{date[3]}{clock}"
    who = re.search(r"CN=\"?([^;:\"]+)", parameters, re.IGNORECASE)
    value = re.sub(r"^mailto:", "", value.strip(), flags=re.IGNORECASE)
    value = (
        value.replace("\\n", "\n").replace("\\N", "\n").replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\")
    )
    parts = [part.strip() for part in re.split(r"(?<!\\);", value)] if value.count(";") >= 2 else [value]
    shown = "\n".join(collapse(line) for line in ", ".join(part for part in parts if part).split("\n") if line.strip())
    return f"{who[1].strip()} <{shown}>" if who else shown


def _name_of_calendar(text: str) -> str:
    match = re.search(r"^X-WR-CALNAME[^:\n]*:(.+)$", text[:20_000], re.MULTILINE | re.IGNORECASE)
    return collapse(match[1]) if match else ""


register(Parser("ics", "calendars (ics)", ("ics", "ical", "ifb"), "text/calendar", parse))
register(Parser("vcf", "address cards (vcf)", ("vcf", "vcard"), "text/vcard", parse))
