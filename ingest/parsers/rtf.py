"""RTF: paragraphs, headings by style, lists, tables and notes, in any code page.

Written here because the permissive readers of this format give one flat string: no styles, rows or hidden text, and
they stop at the first byte that their code page lacks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from core.errors import UnreadableError
from core.types import Block, HiddenText, ParsedDocument, Reading
from ingest.clean import collapse
from ingest.parsers.registry import Parser, Source, register
from ingest.parsers.rtf_page import Frame
from ingest.parsers.rtf_words import CHARS, CHARSETS, INFO, MARGINS, SKIPPED, STARRED, SYMBOLS, codec, decoded

MAX_DEPTH = 5000
"""Groups inside each other."""

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,40})(-?[0-9]{1,10})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\", re.DOTALL
)
_HEADING = re.compile(r"^(?:heading|标题|標題|überschrift|titre)\s*([1-6])\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Group:
    """What a `{` remembers and its `}` restores."""

    target: str = "text"
    skip: bool = False
    encoding: str = ""
    unicode_skip: int = 1
    hidden: bool = False
    deleted: bool = False
    style: int = 0
    outline: int = -1
    in_table: bool = False
    list_depth: int = 0
    own_frame: bool = False
    margin: bool = False


class _Reader:
    """One pass over the tokens, without recursion."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames = [Frame()]
        self.group = _Group()
        self.stack: list[_Group] = []
        self.pending = bytearray()
        self.to_skip = 0
        self.starred = False
        self.page = "cp1252"
        self.fonts: dict[int, str] = {}
        self.font = 0
        self.styles: dict[int, int] = {}
        self.info: dict[str, str] = {}
        self.words: list[str] = []
        self.style_level: tuple[int, int] = (0, -1)
        self.pictures = 0
        self.hidden: list[str] = []
        self.down = False
        self.cell_flags: list[bool] = []
        self.margins: list[Block] = []
        self.time: dict[str, int] = {}
        self.simple: dict[str, Callable[[int | None], None]] = {
            "par": lambda _: self._paragraph(), "sect": lambda _: self._paragraph(),
            "page": lambda _: self._paragraph(), "column": lambda _: self._paragraph(),
            "cell": lambda _: self._cell(), "row": lambda _: self._row(), "trowd": lambda _: self._row_defined(),
            "clvmrg": lambda _: self._merged_down(), "cellx": lambda _: self._cell_defined(),
            "ansicpg": self._code_page, "deff": self._default_font, "f": self._font, "fcharset": self._charset,
            "cpg": self._font_page, "u": self._unicode,
            "pard": lambda _: self._set(style=0, outline=-1, in_table=False, list_depth=0),
            "plain": lambda _: self._plain(),
            "uc": lambda value: self._set(unicode_skip=max(0, min(20, value or 0))),
            "v": lambda value: self._set(hidden=value != 0), "deleted": lambda value: self._set(deleted=value != 0),
            "s": self._style, "outlinelevel": self._outline, "intbl": lambda _: self._set(in_table=True),
            "ilvl": lambda value: self._set(list_depth=min(8, value or 0)),
        }  # fmt: skip

    def read(self, data: bytes) -> None:
        at = 0
        size = len(data)
        while at < size:
            match = _TOKEN.match(data, at)
            if match is None:
                at += 1
                continue
            at = match.end()
            word, number, pair, symbol, brace, text = match.groups()
            if text is not None:
                self._bytes(text)
            elif pair is not None:
                self._bytes(bytes((int(pair, 16),)))
            elif word is not None:
                if word == b"bin":
                    at += max(0, int(number or 0))
                else:
                    self._word(word.decode("ascii"), int(number) if number else None)
            elif brace == b"{":
                self._open()
            elif brace == b"}":
                self._close()
                if not self.stack:  # what follows the document is no part of it
                    break
            elif symbol is not None:
                self._symbol(symbol)
        self._flush()

    # ---- groups

    def _open(self) -> None:
        self._flush()
        self.to_skip = 0
        self.stack.append(self.group)
        if len(self.stack) > MAX_DEPTH:
            raise UnreadableError(
                f"Cannot read {self.name!r}: more than {MAX_DEPTH} groups stand inside each other.",
                "Open it in a word processor and save it again.",
            )
        self.group = replace(self.group, own_frame=False, margin=False)
        self.starred = False

    def _close(self) -> None:
        self._flush()
        self.to_skip = 0
        group = self.group
        if group.target in ("fonttbl", "stylesheet") or group.target.startswith("info:"):
            self._table_entry(group.target)
        if group.own_frame and len(self.frames) > 1:
            blocks = self.frames.pop().finish()
            (self.margins if group.margin else self.frames[-1].later).extend(blocks)
        if group.target == "marker" and self.stack and self.stack[-1].target != "marker":
            self.frames[-1].marker = collapse("".join(self.words))[:40]
            self.words.clear()
        if self.stack:
            self.group = self.stack.pop()

    def _set(self, **changes: object) -> None:
        self.group = replace(self.group, **changes)  # type: ignore[arg-type]

    def _destination(self, word: str) -> bool:
        """True when the word opened a destination, and so is done with."""
        starred, self.starred = self.starred, False
        if word == "pict":
            self.pictures += 0 if self.group.skip else 1
        if word in SKIPPED or (starred and word not in STARRED):
            self._set(skip=True)
        elif word == "ud":  # the Unicode form of what the group around it says in a code page
            self._set(skip=self.stack[-2].skip if len(self.stack) > 1 else False)
        elif word in ("fonttbl", "stylesheet"):
            self._set(target=word)
        elif word == "info":
            self._set(target="info:")
        elif word in INFO and self.group.target.startswith("info:"):
            self._set(target=f"info:{word}")
            self.time = {}
        elif word in ("pntext", "listtext"):
            self._set(target="marker")
        elif (word in ("footnote", "shptxt") or word in MARGINS) and not self.group.skip:
            self.frames.append(Frame())
            self._set(own_frame=True, margin=word in MARGINS, in_table=False, style=0, outline=-1)
        else:
            return starred
        return True

    def _table_entry(self, target: str) -> None:
        words = collapse("".join(self.words)).rstrip(";")
        if target == "stylesheet" and words:
            number, outline = self.style_level
            match = _HEADING.match(words)
            title = 1 if words.lower() in ("title", "标题", "標題") else 0
            self.styles[number] = int(match[1]) if match else title or (outline + 1 if 0 <= outline < 6 else 0)
            self.style_level = (0, -1)
        elif target in ("info:creatim", "info:revtim") and self.time.get("yr"):
            clock = [self.time.get(part, 0) for part in ("yr", "mo", "dy", "hr", "min")]
            key = "created" if target.endswith("creatim") else "modified"
            self.info[key] = "{:04}-{:02}-{:02}T{:02}:{:02}".format(*clock)
        elif target.startswith("info:") and words:
            self.info[target.removeprefix("info:")] = words[:1000]
        self.words.clear()

    # ---- words

    def _word(self, word: str, value: int | None) -> None:
        if word != "u":
            self._flush()
            self.to_skip = 0
        if self._destination(word) or self.group.skip:
            return
        if word in CHARS:
            self._text(CHARS[word])
        elif word in self.simple:
            self.simple[word](value)
        elif self.group.target.startswith("info:") and value is not None:
            self.time[word] = value

    def _symbol(self, symbol: bytes) -> None:
        if symbol in b"\\{}":
            self._bytes(symbol)
            return
        self._flush()
        if symbol == b"*":
            self.starred = True
        elif symbol in (b"\n", b"\r"):
            if not self.group.skip:
                self._paragraph()
        else:
            self._text(SYMBOLS.get(symbol, ""))

    def _style(self, value: int | None) -> None:
        self.style_level = (value or 0, self.style_level[1])
        self._set(style=value or 0)

    def _outline(self, value: int | None) -> None:
        level = -1 if value is None else value
        self.style_level = (self.style_level[0], level)
        self._set(outline=level)

    def _plain(self) -> None:
        self._set(hidden=False, deleted=False, encoding=self.fonts.get(self.font, ""))

    def _code_page(self, value: int | None) -> None:
        self.page = codec(value or 0) or self.page

    def _default_font(self, value: int | None) -> None:
        self.font = value or 0

    def _font(self, value: int | None) -> None:
        if self.group.target == "fonttbl":
            self.style_level = (value or 0, -1)
        else:
            self._set(encoding=self.fonts.get(value or 0, ""))

    def _charset(self, value: int | None) -> None:
        if self.group.target == "fonttbl" and value in CHARSETS:
            self.fonts[self.style_level[0]] = CHARSETS[value]

    def _font_page(self, value: int | None) -> None:
        if self.group.target == "fonttbl" and codec(value or 0):
            self.fonts[self.style_level[0]] = codec(value or 0)

    # ---- text

    def _bytes(self, raw: bytes) -> None:
        if self.to_skip:
            left = self.to_skip
            self.to_skip = max(0, left - len(raw))
            raw = raw[left:]
        if not self.group.skip:
            self.pending += raw

    def _unicode(self, value: int | None) -> None:
        self._flush()
        code = (value or 0) % 65536
        if 0xF000 <= code <= 0xF0FF:  # a glyph of a symbol font
            self._text("•" if code == 0xF0B7 else "")
        else:
            self._text(chr(code))
        self.to_skip = self.group.unicode_skip

    def _flush(self) -> None:
        if self.pending:
            raw = bytes(self.pending)
            self.pending.clear()
            self._text(decoded(raw, self.group.encoding or self.page, self.page))

    def _text(self, text: str) -> None:
        group = self.group
        if not text or group.skip or group.deleted:
            return
        if group.target != "text":
            self.words.append(text)
        elif group.hidden:
            self.hidden.append(text)
        else:
            self.frames[-1].parts.append(text)

    # ---- blocks

    def _paragraph(self) -> None:
        if self.group.target != "text":
            return
        if self.group.in_table:
            self.frames[-1].parts.append("\n")
            return
        self.frames[-1].paragraph(self._level(), self.group.list_depth)

    def _level(self) -> int:
        if 0 <= self.group.outline < 6:
            return self.group.outline + 1
        return self.styles.get(self.group.style, 0)

    def _cell(self) -> None:
        self.frames[-1].cell()

    def _row(self) -> None:
        frame = self.frames[-1]
        frame.merged_down = list(self.cell_flags)
        frame.row()

    def _row_defined(self) -> None:
        self.cell_flags = []
        self.down = False

    def _merged_down(self) -> None:
        self.down = True

    def _cell_defined(self) -> None:
        self.cell_flags.append(self.down)
        self.down = False

    def blocks(self) -> list[Block]:
        while len(self.frames) > 1:
            inner = self.frames.pop().finish()
            self.frames[-1].later += inner
        return self.frames[0].finish() or self.margins  # page headers only where there is nothing else


def parse(source: Source) -> ParsedDocument:
    """Blocks of the document without places; title, author and dates from its information group."""
    reader = _Reader(source.name)
    reader.read(source.path.read_bytes())
    blocks = reader.blocks()
    hidden = collapse("".join(reader.hidden))
    info = reader.info
    return ParsedDocument(
        blocks=tuple(blocks),
        media_type="application/rtf",
        title=info.get("title", ""),
        metadata={key: info[key] for key in ("author", "subject", "keywords", "created", "modified") if key in info},
        reading=Reading(
            pictures=reader.pictures,
            pictures_without_text=reader.pictures,
            hidden=(HiddenText("invisible", len(hidden), hidden[:80]),) if hidden else (),
        ),
    )


def plain_text(data: bytes) -> str:
    """The words of a piece of RTF, paragraphs apart."""
    reader = _Reader("RTF")
    reader.read(data)
    return "\n\n".join(block.text for block in reader.blocks())


register(Parser("rtf", "RTF", ("rtf",), "application/rtf", parse))
