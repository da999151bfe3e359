"""Why a file could not be read in, in the page's language: ingestion says it in English, with the values in it."""

from __future__ import annotations

import re

from app.web.messages import say, say_or

_SAID = re.compile(
    r"Cannot (?:ingest|read|unpack|take|convert) (?:one of the members called )?(?P<quote>['\"]).*?(?P=quote)"
    r"(?: out of (?P<other>['\"]).*?(?P=other))?(?: in (?P<place>['\"]).*?(?P=place))?: (?P<why>.+)",
    re.DOTALL,
)
_WHY: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), key)
    for pattern, key in (
        (r"the file is empty\.", "no_bytes"),
        (r"it is protected by a password\.", "password"),
        (r"it is protected by a password or by rights management\.", "rights"),
        (r"the message is encrypted\.", "mail_encrypted"),
        (r"the book is copy-protected\.", "book_protected"),
        (r"the PDF is damaged\.", "pdf"),
        (r"the spreadsheet is damaged, or of a kind that is not understood\.", "spreadsheet"),
        (r"the picture is damaged\.", "picture"),
        (r"LibreOffice could not open it\..*", "office"),
        (r"(?:LibreOffice|the parser) took longer than the limit of (?P<n>\S+) s\.", "time"),
        (r"the parser used up its processor time\.", "time_cpu"),
        (r"the parser .+", "fault"),
        (r"parsing it needs more than the (?P<n>\d+) MB limit of memory\.", "memory"),
        (r"the process that unpacks it .+", "unpacking"),
        (r"files of this type are read through LibreOffice, which is not installed\.", "no_office"),
        (r"no page has text, and OCR found none\.", "no_text_pages"),
        (r"no text was recognised in the picture\.", "no_text_picture"),
        (r".*there was no time to recognise .+", "no_time"),
        (r"it holds nothing but encoded data.+", "encoded"),
        (r"it holds nothing but entities.+", "entities"),
        (r"it holds no text\.|the SVG drawing holds no words\.|there is no web page inside\.", "no_text"),
        (r"the archive holds no document\.", "no_documents"),
        (r"what is in it is no (?P<kind>\S+) file, nor anything else .+", "no_such_kind"),
        (r"it looks like (?P<kind>.+), which Alioth does not read\.", "kind"),
        (r"it unpacks to (?P<n>\d+) times its size, over the limit of (?P<limit>\d+) times\.", "times"),
        (r"it unpacks to (?P<n>\d+) MB, over the limit of (?P<limit>\d+) MB\.", "expanded"),
        (r"it holds (?P<n>\d+) parts, over the limit of (?P<limit>\d+)\.", "parts"),
        (r"(?P<n>\d+) MB is over the (?P<limit>\d+) MB limit\.", "size"),
        (r"as \w+ it is over the (?P<limit>\d+) MB limit\.", "converted_size"),
        (r"a picture of (?P<n>\d+ x \d+) pixels is over the limit of .+", "pixels"),
        (r"it is packed with ['\"](?P<kind>.+)['\"], which Alioth does not read\.", "method"),
        (r"it is an archive inside (?P<n>\d+) others, .+", "depth"),
        (r"it is an absolute path\.|it holds the part .+|it begins with a drive.+", "path"),
        (r"the archive holds two of this name.+", "twice"),
        (r".*(?:damaged|incomplete|not well-formed|nested too deeply|stand inside each other).*", "damaged"),
    )
)
"""What ingestion says, each with the key of its text under `refused.`; the last ones are the most general."""
_KINDS: tuple[tuple[str, str], ...] = (
    ("plain text under the name", "text_misnamed"),
    ("damaged zip", "zip_damaged"),
    ("archive", "archive"),
    ("sound or film", "film"),
    ("program", "program"),
    ("CHM", "chm"),
    ("OneNote", "onenote"),
    ("Numbers", "numbers"),
    ("Hangul", "hangul"),
    ("Visio", "visio"),
    ("Publisher", "publisher"),
    ("Project", "project"),
    ("SQLite", "sqlite"),
    ("PostScript", "postscript"),
    ("binary data", "binary"),
)
"""Words in what a file looks like, and the key of its name under `refused.kind_`."""


def ingest_reason(code: str, message: str, hint: str, language: str) -> str:
    """One or two sentences: what is wrong with the file and what to do. English is as ingestion says it.

    A message of a kind not known here is shown under the general name of its code.
    """
    details = " ".join(filter(None, (message, hint)))
    if language == "en":
        return details
    said = _SAID.fullmatch(message)
    for pattern, key in _WHY if said else ():
        if said and (match := pattern.fullmatch(said.group("why"))):
            values = {name: value or "" for name, value in match.groupdict().items()}
            if key == "kind":
                values["kind"] = _kind(values["kind"], language)
            return say(f"refused.{key}", language, **values)
    kind = say_or(f"error.{code}", language, "")
    return f"{kind}（{details}）" if kind and details else kind or details


def _kind(looks_like: str, language: str) -> str:
    found = next((key for words, key in _KINDS if words in looks_like), "")
    return say(f"refused.kind_{found}", language) if found else looks_like
