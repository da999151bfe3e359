"""Which parser reads which kind of file. One extension, one parser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.types import ParsedDocument


def _nobody_asks(number: int, total: int) -> None:
    """Pages are counted for nobody."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is read at most from one file.

    max_expanded_bytes: of an Office file once unpacked. ocr_seconds: OCR time for one file, 0 for none.
    on_page: told of progress, see Source.page_done.
    """

    max_pages: int = 5000
    max_chars: int = 20_000_000
    max_expanded_bytes: int = 1_000_000_000
    ocr_seconds: float = 60.0
    on_page: Callable[[int, int], None] = field(default=_nobody_asks, compare=False, repr=False)


@dataclass(slots=True)
class Allowance:
    """What the files inside one document (mail attachments) may still take, over all depths: number, bytes.

    seconds: left for reading them, None until the first is read.
    """

    files: int = 200
    size: int = 500_000_000
    seconds: float | None = None


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
