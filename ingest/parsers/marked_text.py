"""Text marked up by hand: reStructuredText, AsciiDoc, Org and LaTeX. Headings, lists, tables and code, with lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from core.types import Block, BlockKind, Locator, ParsedDocument
from ingest.clean import unwrap
from ingest.decode import decode
from ingest.parsers.delimited import looks_like_header, row_text
from ingest.parsers.registry import Parser, Source, register

_RULE = re.compile(r"^([=\-`:'\"~^_*+#<>.])\1{2,}\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+•]|\*{1,5}|\.{1,5}|\d{1,3}[.)]|#\.|\([a-z\d]\))\s+\S")
_TABLE_RULE = re.compile(r"^\s*[|+][-=+|:\s]*$")
_CELL = re.compile(r"(?:(?:^|(?<=\s))[\d.+*<^>]{1,8}[adehlmsv]?|^[adehlmsv])?\|")
_LATEX = re.compile(r"^\s*\\(part|chapter|section|subsection|subsubsection|paragraph)\*?\{(.+?)\}\s*(?:\\label\{.*)?$")
_LATEX_LEVELS = {"part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5}
_FENCES = {
    "asciidoc": re.compile(r"^(?:-{4,}|\.{4,}|```.*)\s*$"),
    "org": re.compile(r"^\s*#\+(?:begin|end)_(?:src|example|quote|verse)\b", re.IGNORECASE),
    "latex": re.compile(r"^\s*\\(?:begin|end)\{(?:verbatim|lstlisting|minted)\}"),
}
_IGNORED = {
    "rst": re.compile(r"^\s*\.\. (?:_[^:]+:|\|[^|]+\| \w+::|include::|toctree::|contents::|image::)|^\s*:\w+:\s*$"),
    "asciidoc": re.compile(r"^(?://(?!/)|\[[^\]]*\]\s*$|:[\w-]+:|\+\s*$|={4,}\s*$|\*{4,}\s*$|_{4,}\s*$|--\s*$)"),
    "org": re.compile(r"^\s*(?:# |#\+(?!title)|:[A-Z_]+:)", re.IGNORECASE),
    "latex": re.compile(
        r"^\s*(?:%|\\(?:documentclass|usepackage|begin|end|label|maketitle|newcommand|bibliography)\b)"
    ),
}


@dataclass(slots=True)
class _Reader:
    """One pass over the lines; `style` is the markup's name."""

    style: str
    blocks: list[Block] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)
    title: str = ""

    def read(self, lines: list[str]) -> None:
        at = 0
        while at < len(lines):
            at = self._step(lines, at)

    def _step(self, lines: list[str], at: int) -> int:
        """Reads what starts at line `at` and gives the line after it."""
        fence = _FENCES.get(self.style)
        ignored = _IGNORED[self.style]
        if fence and fence.match(lines[at]):
            end = next((i for i in range(at + 1, len(lines)) if fence.match(lines[i])), len(lines))
            self._add(BlockKind.CODE, "\n".join(lines[at + 1 : end]).strip("\n"), at + 1, max(at + 2, end))
            return end + 1
        if not lines[at].strip() or ignored.match(lines[at]):
            return at + 1
        level, text, used = self._heading(lines, at)
        if level:
            self._add(BlockKind.HEADING, text, at, at + used, level)
            return at + used
        if self.style == "asciidoc" and lines[at].strip() == "|===":
            return self._delimited_table(lines, at)
        if lines[at].lstrip().startswith(("|", "+-", "+=")) and self.style != "latex":
            return self._table(lines, at)
        if self.style == "rst" and re.match(r"^\s*\.\. ", lines[at]):
            return self._directive(lines, at)
        end = at
        while end < len(lines) and lines[end].strip() and not (end > at and self._breaks(lines, at, end)):
            end += 1
        if _ITEM.match(lines[at]):
            self._add(BlockKind.LIST, "\n".join(line.rstrip() for line in lines[at:end]), at, end)
        else:
            self._add(BlockKind.PARAGRAPH, unwrap(lines[at:end]), at, end)
        if self.style == "rst" and lines[end - 1].rstrip().endswith("::"):
            return self._indented(lines, end)
        return end

    def _breaks(self, lines: list[str], start: int, at: int) -> bool:
        """Whether line `at` begins something other than the paragraph or list that began at line `start`."""
        fence = _FENCES.get(self.style)
        if (fence and fence.match(lines[at])) or lines[at].strip() == "|===" or _IGNORED[self.style].match(lines[at]):
            return True
        if self._heading(lines, at)[0]:
            return True
        return bool(_ITEM.match(lines[at])) and not _ITEM.match(lines[start])

    def _heading(self, lines: list[str], at: int) -> tuple[int, str, int]:
        """(level, words, lines used) of a heading that starts here; level 0 where none does."""
        line = lines[at]
        if self.style == "rst":
            return self._underlined(lines, at)
        if self.style == "latex":
            match = _LATEX.match(line)
            return (_LATEX_LEVELS[match[1]], match[2], 1) if match else (0, "", 0)
        title = re.match(r"^#\+title:\s*(.+)$", line, re.IGNORECASE) if self.style == "org" else None
        if title:
            return 1, title[1].strip(), 1
        match = re.match(r"^(={1,6})\s+(\S.*)$" if self.style == "asciidoc" else r"^(\*{1,8})\s+(\S.*)$", line)
        if not match:
            return 0, "", 0
        text = re.sub(r"\s+:[\w@:]+:\s*$", "", match[2]) if self.style == "org" else match[2]
        return min(6, len(match[1])), re.sub(r"^(?:TODO|DONE)\s+", "", text).strip(), 1

    def _underlined(self, lines: list[str], at: int) -> tuple[int, str, int]:
        def line(offset: int) -> str:
            return lines[at + offset] if at + offset < len(lines) else ""

        if _RULE.match(line(0)) and line(1).strip() and line(2).strip() == line(0).strip():
            return self._level("over" + line(0)[0]), line(1).strip(), 3
        below = _RULE.match(line(1))
        text = line(0).rstrip()
        if (
            below
            and text
            and not text[0].isspace()
            and not _RULE.match(text)
            and len(line(1).strip()) >= len(text) // 2
        ):
            return self._level(line(1)[0]), text, 2
        return 0, "", 0

    def _level(self, mark: str) -> int:
        if mark not in self.levels:
            self.levels.append(mark)
        return min(6, self.levels.index(mark) + 1)

    def _table(self, lines: list[str], at: int) -> int:
        end = at
        rows: list[tuple[int, list[str]]] = []
        while end < len(lines) and lines[end].lstrip().startswith(("|", "+")):
            if not _TABLE_RULE.match(lines[end]):
                rows.append((end, [part.strip() for part in lines[end].strip().strip("|").split("|")]))
            end += 1
        self._rows([row for _, row in rows], at, end)
        return max(end, at + 1)

    def _delimited_table(self, lines: list[str], at: int) -> int:
        end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == "|==="), len(lines))
        cells = [[part.strip() for part in _CELL.split(line)[1:]] for line in lines[at + 1 : end] if "|" in line]
        wide = max((len(row) for row in cells), default=0)
        if wide == 1:  # one cell a line: the first group up to an empty line is the header row
            wide = next((i for i, line in enumerate(lines[at + 1 : end]) if not line.strip()), len(cells)) or 1
            flat = [cell for row in cells for cell in row]
            cells = [flat[start : start + wide] for start in range(0, len(flat), wide)]
        self._rows(cells, at, end + 1)
        return end + 1

    def _rows(self, rows: list[list[str]], at: int, end: int) -> None:
        texts = [text for text in map(row_text, rows) if text]
        if texts:
            headed = looks_like_header(rows[0], rows[1:])
            self._add(
                BlockKind.TABLE, "\n".join(texts[1:] if headed else texts), at, end, header=texts[0] if headed else ""
            )

    def _directive(self, lines: list[str], at: int) -> int:
        """`.. note:: words` keeps its words, code stays code, and a comment is left out."""
        match = re.match(r"^(\s*)\.\. ([\w-]+)::\s*(.*)$", lines[at])
        if not match:
            return self._indented(lines, at + 1, BlockKind.PARAGRAPH, keep=False)
        if match[2] in ("code", "code-block", "sourcecode", "parsed-literal", "literalinclude"):
            return self._indented(lines, at + 1)
        if match[3]:
            self._add(BlockKind.PARAGRAPH, match[3], at, at + 1)
        return self._indented(lines, at + 1, BlockKind.PARAGRAPH)

    def _indented(self, lines: list[str], at: int, kind: BlockKind = BlockKind.CODE, keep: bool = True) -> int:
        end = at
        while end < len(lines) and (not lines[end].strip() or lines[end][0].isspace()):
            end += 1
        body = [line for line in lines[at:end] if not re.match(r"^\s+:[\w-]+:", line)]
        text = "\n".join(line.strip() if kind is BlockKind.PARAGRAPH else line for line in body).strip("\n")
        if keep:
            self._add(kind, text, at, max(at + 1, end))
        return max(end, at)

    def _add(self, kind: BlockKind, text: str, start: int, end: int, level: int = 0, header: str = "") -> None:
        if text.strip():
            self.blocks.append(Block(kind, text, Locator(lines=(start + 1, max(start + 1, end))), level, header))


def _parser(style: str) -> Callable[[Source], ParsedDocument]:
    def parse(source: Source) -> ParsedDocument:
        """Blocks with lines."""
        decoded = decode(source.path.read_bytes())
        reader = _Reader(style)
        reader.read(decoded.text.split("\n"))
        return ParsedDocument(
            blocks=tuple(reader.blocks),
            media_type=f"text/x-{style}",
            problems=decoded.problems,
            metadata={"encoding": decoded.encoding},
        )

    return parse


register(Parser("rst", "reStructuredText", ("rst",), "text/x-rst", _parser("rst")))
register(Parser("asciidoc", "AsciiDoc", ("adoc", "asciidoc"), "text/x-asciidoc", _parser("asciidoc")))
register(Parser("org", "Org", ("org",), "text/x-org", _parser("org")))
register(Parser("latex", "LaTeX", ("tex", "latex"), "text/x-latex", _parser("latex")))
