"""Which documents of the chosen collections a question searches: what a person may narrow it to."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from core.errors import InputError

TYPES: dict[str, tuple[str, ...]] = {
    "pdf": ("pdf",),
    "word": ("doc", "docx", "docm", "dot", "dotx", "dotm", "odt", "ott", "rtf", "wps"),
    "excel": ("xls", "xlsx", "xlsm", "xltx", "xlsb", "ods", "et", "csv", "tsv", "tab"),
    "powerpoint": ("ppt", "pps", "pot", "pptx", "pptm", "potx", "ppsx", "odp", "otp"),
    "mail": ("eml", "msg", "mbox", "mbx"),
    "web": ("html", "htm", "xhtml", "mht", "mhtml"),
    "text": ("txt", "text", "md", "markdown", "mdown", "mkd", "rst", "adoc", "asciidoc", "org", "tex", "latex", "log"),
    "picture": ("png", "jpg", "jpeg", "jfif", "gif", "bmp", "tif", "tiff", "webp"),
    "data": ("json", "jsonl", "ndjson", "xml", "yaml", "yml", "toml"),
}
"""Kinds of document by name, as extensions; any other word is taken as an extension itself."""

LANGUAGES = ("zh", "en")
_DAY = re.compile(r"^(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?$")
_EXTENSION = re.compile(r"^\.?[a-z0-9]{1,10}$")
_MOST = 500


@dataclass(frozen=True, slots=True)
class Filters:
    """Every field that is set must hold; inside a field any of its values is enough. Empty: everything is searched.

    documents: logical paths or document ids. types: names of `TYPES` or extensions. paths: patterns such as
    `contracts/*.pdf` (`*` goes over folders, case does not count; a folder's name means everything in it).
    since, until: the document's own date: of its last change, else of its making, else the day it was added; both
    ends belong to it. added_since, added_until: the day its present version was added, UTC. languages: main language
    of the document, `zh` or `en`.
    """

    documents: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    added_since: date | None = None
    added_until: date | None = None
    languages: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))

    @property
    def count(self) -> int:
        """How many fields are set."""
        return sum(bool(getattr(self, one.name)) for one in fields(self))

    @property
    def dated(self) -> bool:
        """Whether the document's own date matters."""
        return self.since is not None or self.until is not None

    def to_dict(self) -> dict[str, Any]:
        """JSON form with the empty fields left out."""
        out: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if value:
                out[one.name] = list(value) if isinstance(value, tuple) else value.isoformat()
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Filters:
        """Inverse of `to_dict`; unknown names are passed over."""

        def words(name: str) -> tuple[str, ...]:
            return tuple(data.get(name) or ())

        def day(name: str) -> date | None:
            return date.fromisoformat(data[name]) if data.get(name) else None

        return cls(
            words("documents"),
            words("types"),
            words("paths"),
            day("since"),
            day("until"),
            day("added_since"),
            day("added_until"),
            words("languages"),
        )

    def takes(self, path: str, document_id: str, own_date: str, added: date, language: str) -> bool:
        """Whether a document passes.

        own_date: `2024`, `2024-05` or `2024-05-01…`, anything else counts as none. language: as in the ingest report;
        `mixed` passes any.
        """
        return (
            (not self.documents or path in self.documents or document_id in self.documents)
            and (not self.types or _extension(path) in self._extensions())
            and (not self.paths or any(_matches(path, pattern) for pattern in self.paths))
            and (not self.languages or language == "mixed" or language.partition("-")[0] in self.languages)
            and _between(added, added, self.added_since, self.added_until)
            and (not self.dated or _between(*_days(own_date, added), self.since, self.until))
        )

    def _extensions(self) -> set[str]:
        return {extension for name in self.types for extension in TYPES.get(name, (name,))}


def make_filters(
    documents: Iterable[str] = (),
    types: Iterable[str] = (),
    paths: Iterable[str] = (),
    since: str = "",
    until: str = "",
    added_since: str = "",
    added_until: str = "",
    languages: Iterable[str] = (),
) -> Filters:
    """Filters from words as people give them; blanks and empty ones are dropped.

    Raises:
        InputError: a date, type or language that is none, a span that ends before it begins, or over 500 values.
    """
    made = Filters(
        documents=_words("document", documents),
        types=tuple(_type(word) for word in _words("type", types)),
        paths=_words("path", paths),
        since=_day("since", since, last=False),
        until=_day("until", until, last=True),
        added_since=_day("added-since", added_since, last=False),
        added_until=_day("added-until", added_until, last=True),
        languages=tuple(_language(word) for word in _words("language", languages)),
    )
    for first, last in ((made.since, made.until), (made.added_since, made.added_until)):
        if first and last and first > last:
            raise InputError(
                f"No document can be from {first.isoformat()} on and until {last.isoformat()}.", "Swap the two dates."
            )
    return made


def _words(name: str, values: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(unicodedata.normalize("NFC", v.strip()) for v in values if v.strip()))
    if len(found) > _MOST:
        raise InputError(f"{len(found)} values of {name!r} were given, the limit is {_MOST}.", "Use a path pattern.")
    return found


def _type(word: str) -> str:
    lower = word.lower()
    if lower in TYPES:
        return lower
    if not _EXTENSION.match(lower):
        raise InputError(
            f"Cannot filter by the type {word!r}: it is neither a kind ({', '.join(TYPES)}) nor an extension.",
            "Give a kind or an extension such as docx.",
        )
    return lower.lstrip(".")


def _language(word: str) -> str:
    lower = word.lower()
    if lower not in LANGUAGES:
        raise InputError(f"Cannot filter by the language {word!r}: known are {', '.join(LANGUAGES)}.", "Give one.")
    return lower


def _day(name: str, text: str, *, last: bool) -> date | None:
    """The first (or last) day of a year, month or day."""
    if not text.strip():
        return None
    match = _DAY.match(text.strip())
    try:
        if match:
            year, month, day = (int(part) if part else 0 for part in match.groups())
            return _end(year, month, day) if last else date(year, month or 1, day or 1)
    except ValueError:
        pass
    raise InputError(
        f"Cannot read {text!r} as the date of {name!r}: it must be YYYY, YYYY-MM or YYYY-MM-DD.", "Give such a date."
    )


def _end(year: int, month: int, day: int) -> date:
    if day:
        return date(year, month, day)
    following = date(year + 1, 1, 1) if month in (0, 12) else date(year, month + 1, 1)
    return date.fromordinal(following.toordinal() - 1)


def _days(own: str, added: date) -> tuple[date, date]:
    """First and last day that a document's date may mean; the day it was added when it has none."""
    match = _DAY.match(own[:10].strip()) or _DAY.match(own[:7]) or _DAY.match(own[:4])
    if match is None:
        return added, added
    try:
        year, month, day = (int(part) if part else 0 for part in match.groups())
        return date(year, month or 1, day or 1), _end(year, month, day)
    except ValueError:
        return added, added


def _between(first: date, last: date, since: date | None, until: date | None) -> bool:
    return (since is None or last >= since) and (until is None or first <= until)


def _extension(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""


def _matches(path: str, pattern: str) -> bool:
    path, pattern = path.casefold(), pattern.casefold().removeprefix("/")
    if not any(sign in pattern for sign in "*?["):
        return path == pattern or path.startswith(pattern.rstrip("/") + "/")
    return fnmatch.fnmatchcase(path, pattern)
