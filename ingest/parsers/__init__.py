"""One module per format. Importing this package registers them all; heavy libraries load at the first parse."""

from ingest.parsers import delimited, markdown, pdf, plain, sheets, slides, webpage, word
from ingest.parsers.registry import EXTENSIONS, PARSERS, Limits, Parser, Source, register

__all__ = [
    "EXTENSIONS",
    "PARSERS",
    "Limits",
    "Parser",
    "Source",
    "delimited",
    "markdown",
    "pdf",
    "plain",
    "register",
    "sheets",
    "slides",
    "webpage",
    "word",
]
