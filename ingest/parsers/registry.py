"""Which parser reads which kind of file. One extension, one parser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.types import ParsedDocument


def _nobody_asks(number: int, total: int) -> None:
    """Pages are counted for nobody."""


def _nobody_waits(seconds: float) -> None:
    """No limit of time is to be moved."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is read at most from one file.

    max_expanded_bytes: of an Office file once unpacked. ocr_seconds: OCR time for one file, 0 for none.
    ocr_page_seconds: more of it for each page to recognise, up to ocr_most_seconds in all.
    on_page: told of progress, see Source.page_done. on_lent: told of all the seconds lent so far.
    """

    max_pages: int = 5000
    max_chars: int = 20_000_000
    max_expanded_bytes: int = 1_000_000_000
    ocr_seconds: float = 60.0
    ocr_page_seconds: float = 0.0
    ocr_most_seconds: float = 3600.0
    on_page: Callable[[int, int], None] = field(default=_nobody_asks, compare=False, repr=False)
    on_lent: Callable[[float], None] = field(default=_nobody_waits, compare=False, repr=False)


@dataclass(slots=True)
class Allowance:
    """What the files inside one document (mail attachments) may still take, over all depths: number, bytes.

    seconds: left for reading them, None until the first is read. lent: seconds given for pages to recognise.
    """

    files: int = 200
    size: int = 500_000_000
    seconds: float | None = None
    lent: float = 0.0


@dataclass(frozen=True, slots=True)
class Source:
    """A file to parse. name: the document's own name, for messages; path: where the bytes are now.

    depth: how many documents it stands inside of, 0 for a file by itself.
    """

    path: Path
    name: str
    limits: Limits = Limits()
    depth: int = 0
    allowance: Allowance = field(default_factory=Allowance)

    def page_done(self, number: int, total: int) -> None:
        """Tell who waits that page, slide or sheet `number` of `total` was read. Cheap: call it for each."""
        if self.depth == 0:
            self.limits.on_page(number, total)

    def lend_ocr_time(self) -> float:
        """Seconds for one more page to recognise, so that a scan of any length is read; 0 at the limit for a file."""
        limits, allowance = self.limits, self.allowance
        more = max(0.0, min(limits.ocr_page_seconds, limits.ocr_most_seconds - allowance.lent))
        if limits.ocr_seconds <= 0 or not more:
            return 0.0
        allowance.lent += more
        if allowance.seconds is not None:
            allowance.seconds += more
        limits.on_lent(allowance.lent)
        return more

    @property
    def stem(self) -> str:
        """The name without folders and extension: the last resort for a title."""
        return Path(self.name.replace("\\", "/")).stem or self.name


@dataclass(frozen=True, slots=True)
class Parser:
    """kind: short name of the format, e.g. `pdf`. extensions: lower case, without the dot."""

    kind: str
    label: str
    extensions: tuple[str, ...]
    media_type: str
    parse: Callable[[Source], ParsedDocument]


PARSERS: dict[str, Parser] = {}
"""By kind."""

EXTENSIONS: dict[str, Parser] = {}
"""By extension."""


def register(parser: Parser) -> None:
    """Make a parser known.

    Raises:
        ValueError: its kind or one of its extensions belongs to another parser already.
    """
    if parser.kind in PARSERS:
        raise ValueError(f"Two parsers claim the kind {parser.kind!r}.")
    for extension in parser.extensions:
        if extension in EXTENSIONS:
            other = EXTENSIONS[extension].kind
            raise ValueError(f"The parsers {other!r} and {parser.kind!r} both claim the extension {extension!r}.")
    PARSERS[parser.kind] = parser
    EXTENSIONS.update(dict.fromkeys(parser.extensions, parser))
