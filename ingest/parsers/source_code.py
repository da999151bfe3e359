"""Source code, settings files and logs: the lines as they are, cut at empty lines before definitions."""

from __future__ import annotations

import re

from core.types import Block, BlockKind, Locator, ParsedDocument
from ingest.decode import decode
from ingest.parsers.registry import Parser, Source, register

MAX_LINES = 200
"""Lines of one block; the chunker cuts finer, at lines."""

EXTENSIONS = (
    "py", "pyi", "pyw", "js", "mjs", "cjs", "jsx", "ts", "tsx", "java", "kt", "kts", "scala", "groovy", "gradle",
    "c", "h", "cc", "cpp", "cxx", "hh", "hpp", "cs", "vb", "fs", "go", "rs", "swift", "m", "mm", "rb", "php", "pl",
    "pm", "lua", "r", "jl", "dart", "ex", "exs", "erl", "hs", "clj", "ml", "pas", "asm", "sh", "bash", "zsh",
    "fish", "bat", "cmd", "ps1", "psm1", "sql", "yaml", "yml", "toml", "ini", "cfg", "conf", "properties",
    "editorconfig", "json5", "jsonc", "css", "scss", "sass", "less", "vue", "svelte", "proto", "graphql", "gql",
    "tf", "hcl", "cmake", "mk", "dockerfile", "makefile", "diff", "patch", "log",
)  # fmt: skip
NAMES = frozenset({"makefile", "dockerfile", "containerfile", "jenkinsfile", "vagrantfile", "gemfile", "rakefile"})
"""Files without an extension that are code by their name."""

_DEFINITION = re.compile(
    r"\s{0,8}(?:@\w|(?:export |public |private |protected |internal |static |async |abstract |final |pub |unsafe |"
    r"default )*(?:def|class|function|func|fn|interface|struct|enum|impl|trait|type|module|namespace|package|sub|"
    r"CREATE|create|ALTER|INSERT)\b|\[[\w.\"-]+\]\s*$)"
)


def parse(source: Source) -> ParsedDocument:
    """CODE blocks with their lines; the title is the file's whole name, for its extension tells the language."""
    decoded = decode(source.path.read_bytes())
    name = source.name.replace("\\", "/").rsplit("/", 1)[-1]
    return ParsedDocument(
        blocks=tuple(blocks_of_code(decoded.text)),
        media_type="text/plain",
        title=name,
        problems=decoded.problems,
        metadata={"encoding": decoded.encoding},
    )


def blocks_of_code(text: str) -> list[Block]:
    """Blocks whose text is lines `lines` of the text, exactly."""
    lines = text.split("\n")
    blocks: list[Block] = []
    start = 0
    for at in range(1, len(lines) + 1):
        if at < len(lines) and at - start < MAX_LINES and not _border(lines, at):
            continue
        _add(blocks, lines, start, at)
        start = at
    return blocks


def _border(lines: list[str], at: int) -> bool:
    """A line that opens something new after an empty line: not indented, or a definition inside a class."""
    line = lines[at]
    if lines[at - 1].strip() or not line.strip():
        return False
    return (not line[0].isspace() and line[0] not in "})]") or bool(_DEFINITION.match(line))


def _add(blocks: list[Block], lines: list[str], start: int, end: int) -> None:
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    if start < end:
        place = Locator(lines=(start + 1, end))
        blocks.append(Block(BlockKind.CODE, "\n".join(lines[start:end]), place))


register(
    Parser("code", "source code, settings and logs (py, js, java, sql, yaml, log, …)", EXTENSIONS, "text/plain", parse)
)
