"""Parsed document to chunks: along its structure, counted in the embedder's tokens, never over its window."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from core.settings import IngestSettings
from core.types import BlockKind, NewChunk, ParsedDocument
from ingest import chunk_context
from ingest.chunk_context import SEPARATOR, ContextLine, ContextLines
from ingest.chunk_lists import ListContext
from ingest.chunk_places import part_of, union
from ingest.chunk_units import Unit, block_starts, cut, units_of
from ingest.parse import document_text
from models.protocols import Tokenizer

CHUNKER_VERSION = "2"
"""Part of every index fingerprint: raise it when chunks of the same document would come out differently."""

SMALL = 0.4
"""Share of the target size below which a chunk takes the next section in, if that fits whole."""
FULL = 0.6
"""Share of the target size from which a chunk ends at a block border rather than cut the next block."""


@dataclass(slots=True)
class _Draft:
    """A chunk being filled.

    path: headings above its first unit; shared: those above all of it, which differ when small sections are merged.
    own: the headings of `path` right above its first unit, outermost first, which stand in the context line only.
    fresh: units that are not overlap. header: what is repeated above its text: a table's header, the lead-in of a
    list, the headings that merging took out of the context line.
    """

    path: tuple[str, ...]
    context: ContextLine
    units: list[Unit] = field(default_factory=list)
    tokens: int = 0
    fresh: int = 0
    header: str = ""
    shared: tuple[str, ...] | None = None
    own: list[Unit] = field(default_factory=list)

    def shared_with(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """The headings above all of it, should a section under `path` be merged in."""
        both = zip(self.path if self.shared is None else self.shared, path, strict=False)
        return tuple(mine for mine, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], both))

    def add(self, unit: Unit) -> None:
        self.units.append(unit)
        self.tokens += unit.tokens
        self.fresh += 1


def chunk_document(
    parsed: ParsedDocument, tokenizer: Tokenizer, settings: IngestSettings, reserved: int = 0
) -> list[NewChunk]:
    """Chunks in document order.

    Every text stands in a chunk; a heading stands in the context line of the chunks under it, or in the text where
    the line has no room for it, or does not hold for the whole chunk. `locator.chars` slices `document_text(parsed)`
    to the chunk's text (below what is repeated above it: a table's header, the lead-in of a list, a heading).

    Args:
        reserved: tokens of the embedder's document prefix, left free in the window.
    """
    special = tokenizer.count("")
    window = tokenizer.max_tokens - special - reserved
    context_limit = chunk_context.limit(window)
    chunker = _Chunker(parsed, tokenizer, settings, special, window, context_limit)
    return chunker.chunks()


class _Chunker:
    def __init__(
        self,
        parsed: ParsedDocument,
        tokenizer: Tokenizer,
        settings: IngestSettings,
        special: int,
        window: int,
        context_limit: int,
    ) -> None:
        self.parsed = parsed
        self.tokenizer = tokenizer
        self.special = special
        self.window = window
        self.hard = window - context_limit
        self.target = min(settings.chunk_tokens, self.hard)
        self.overlap = min(settings.chunk_overlap, self.target // 2)
        self.text = document_text(parsed)
        self.starts = block_starts(parsed)
        self.units = units_of(parsed, self.text, tokenizer, special, self.target)
        self.lines = ContextLines(parsed.title, tokenizer, special, context_limit)
        self.header_tokens = self._count_headers()
        self.lists = ListContext(parsed, self.text, self.units, tokenizer, special, self.target // 4)
        self.draft: _Draft | None = None
        self.done: list[_Draft] = []

    def _count_headers(self) -> dict[int, int]:
        tables = [index for index, block in enumerate(self.parsed.blocks) if block.header]
        counts = self.tokenizer.counts([self.parsed.blocks[index].header for index in tables])
        return {index: count - self.special for index, count in zip(tables, counts, strict=True)}

    # ---------------------------------------------------------------- filling

    def chunks(self) -> list[NewChunk]:
        path: list[tuple[int, str]] = []
        pending: list[int] = []
        bodies = self._section_sizes()
        for index, block in enumerate(self.parsed.blocks):
            if block.kind is BlockKind.HEADING:
                while path and path[-1][0] >= block.level:
                    path.pop()
                path.append((block.level, block.text))
                pending.append(index)
                continue
            if pending:
                self._begin_section(path, pending, bodies[index])
                pending = []
            self._add_block(index, tuple(text for _, text in path))
        if pending:
            self._trailing_headings(pending)
        self._flush()
        return self._finished()

    def _section_sizes(self) -> dict[int, int]:
        """Tokens from each block up to the next heading."""
        sizes: dict[int, int] = {}
        total = 0
        for index in range(len(self.units) - 1, -1, -1):
            if self.parsed.blocks[index].kind is BlockKind.HEADING:
                total = 0
                continue
            total += sum(unit.tokens for unit in self.units[index])
            sizes[index] = total
        return sizes

    def _begin_section(self, path: list[tuple[int, str]], pending: list[int], size: int) -> None:
        """Take a small section into the draft before it, or begin a new draft under its headings."""
        headings = [unit for index in pending for unit in self.units[index]]
        extra = size + sum(unit.tokens for unit in headings)
        draft = self.draft
        names = tuple(text for _, text in path)
        if draft and draft.tokens < SMALL * self.target and draft.tokens + extra <= self.target:
            deeper = len(path) >= len(draft.path) or draft.tokens < SMALL * self.target / 3
            if deeper and self._same_place(draft, pending[0]) and self._merge(draft, names, extra):
                for unit in headings:
                    draft.add(unit)
                return
        self._flush()
        self.draft = _Draft(names, self.lines.of(names))
        shown = self.draft.context.shown
        inline = False
        for index in pending:
            text = self.parsed.blocks[index].text
            inline = inline or text not in shown or text not in names
            for unit in self.units[index]:
                if inline:
                    self._add_unit(unit, names)
                elif self.draft is not None:
                    self.draft.own.append(unit)

    def _merge(self, draft: _Draft, path: tuple[str, ...], extra: int) -> bool:
        """Ready a draft for a section under `path`: the line above it names only what both are under.

        Headings that held for the draft alone go into its text: those right above it as they stand, others repeated.
        False, and nothing done, when there is no room for them.
        """
        shared = draft.shared_with(path)
        standing = draft.path if draft.shared is None else draft.shared
        lost = [name for name in standing[len(shared) :]]
        moved = [unit for unit in draft.own if self.text[unit.start : unit.end].strip() not in shared]
        moved_names = {self.text[unit.start : unit.end].strip() for unit in moved}
        repeated = SEPARATOR.join(name for name in lost if name not in moved_names)
        tokens = sum(unit.tokens for unit in moved)
        tokens += self.tokenizer.count(repeated) - self.special if repeated else 0
        if draft.tokens + tokens + extra > self.target:
            return False
        draft.units[:0] = moved
        draft.own = [unit for unit in draft.own if unit not in moved]
        draft.header = "\n".join(part for part in (repeated, draft.header) if part)
        draft.tokens += tokens
        draft.shared, draft.context = shared, self.lines.of(shared)
        return True

    def _same_place(self, draft: _Draft, index: int) -> bool:
        """Chunks do not run over from one slide or sheet to the next."""
        before = self.parsed.blocks[draft.units[-1].block].locator if draft.units else None
        here = self.parsed.blocks[index].locator
        return before is None or (before.slide == here.slide and before.sheet == here.sheet)

    def _add_block(self, index: int, path: tuple[str, ...]) -> None:
        units = self.units[index]
        rest = sum(unit.tokens for unit in units)
        draft = self.draft
        if draft and draft.units:
            room = self._room(draft)
            splits = rest > room and rest <= self.target and draft.tokens >= FULL * self.target
            if splits or not self._same_place(draft, index):
                self._flush()
        for unit in units:
            self._add_unit(unit, path, rest)
            rest -= unit.tokens

    def _room(self, draft: _Draft) -> int:
        return self.target - draft.tokens

    def _add_unit(self, unit: Unit, path: tuple[str, ...], rest: int = 0) -> None:
        """Add a unit; a full draft is closed first, unless the rest of the block (in tokens) still fits the window."""
        draft = self.draft
        full = draft is not None and draft.fresh > 0 and draft.tokens + unit.tokens > self.target
        if draft is not None and full and (not rest or draft.tokens + rest > self.hard):
            before = draft
            self._flush()
            draft = self._continued(before, unit, path)
        if draft is None:
            draft = _Draft(path, self.lines.of(path))
        if not draft.fresh:
            self._repeat_header(draft, unit)
        self.draft = draft
        draft.add(unit)

    def _continued(self, before: _Draft, unit: Unit, path: tuple[str, ...]) -> _Draft:
        """A new draft that begins with the last whole sentences of the one before, when both are running text."""
        draft = _Draft(path, self.lines.of(path))
        if before.path != path or unit.row or self.parsed.blocks[unit.block].kind in (BlockKind.TABLE, BlockKind.CODE):
            return draft
        taken: list[Unit] = []
        tokens = 0
        for old in reversed(before.units):
            kind = self.parsed.blocks[old.block].kind
            tokens += old.tokens
            if tokens > self.overlap or old.row or kind in (BlockKind.TABLE, BlockKind.CODE, BlockKind.HEADING):
                break
            if tokens + unit.tokens > self.target:
                break
            taken.insert(0, old)
        if len(taken) < len(before.units):
            draft.units = taken
            draft.tokens = sum(old.tokens for old in taken)
        return draft

    def _repeat_header(self, draft: _Draft, unit: Unit) -> None:
        header, tokens = "", 0
        if unit.row:
            header, tokens = self.parsed.blocks[unit.block].header, self.header_tokens.get(unit.block, 0)
        else:
            header, tokens = self.lists.above([*draft.units, unit])
        if tokens and draft.tokens + tokens + unit.tokens <= self.target:
            draft.header = header
            draft.tokens += tokens

    def _trailing_headings(self, pending: Sequence[int]) -> None:
        """Headings at the end without text under them stay with what is before."""
        for index in pending:
            for unit in self.units[index]:
                self._add_unit(unit, self.draft.path if self.draft else ())

    def _flush(self) -> None:
        if self.draft is not None and self.draft.fresh:
            self.done.append(self.draft)
        self.draft = None

    # ---------------------------------------------------------------- finishing

    def _finished(self) -> list[NewChunk]:
        """Exact token counts; the rare draft that is over the window after all is cut once more."""
        drafts = self.done
        for _ in range(30):
            texts = [self._embedded(draft) for draft in drafts]
            counts = self.tokenizer.counts(texts)
            if all(count - self.special <= self.window for count in counts):
                return [
                    self._chunk(at, draft, count) for at, (draft, count) in enumerate(zip(drafts, counts, strict=True))
                ]
            drafts = [
                part
                for draft, count in zip(drafts, counts, strict=True)
                for part in ([draft] if count - self.special <= self.window else self._halves(draft))
            ]
        raise AssertionError("A chunk of one character is over the embedder's window.")

    def _halves(self, draft: _Draft) -> Iterator[_Draft]:
        units = draft.units
        if len(units) == 1:
            half = max(1, units[0].tokens // 2)
            units = cut(units[0], self.text, self.tokenizer, self.special, half)
        if len(units) == 1:
            yield _Draft(draft.path, ContextLine("", 0, frozenset()), units, fresh=1, shared=draft.shared)
            return
        middle = len(units) // 2
        yield _Draft(draft.path, draft.context, units[:middle], fresh=1, header=draft.header, shared=draft.shared)
        yield _Draft(draft.path, draft.context, units[middle:], fresh=1, shared=draft.shared)

    def _span(self, draft: _Draft) -> tuple[int, int]:
        start, end = draft.units[0].start, draft.units[-1].end
        raw = self.text[start:end]
        return start + len(raw) - len(raw.lstrip()), start + len(raw.rstrip())

    def _body(self, draft: _Draft) -> str:
        start, end = self._span(draft)
        body = self.text[start:end]
        return f"{draft.header}\n{body}" if draft.header else body

    def _embedded(self, draft: _Draft) -> str:
        body = self._body(draft)
        return f"{draft.context.text}\n{body}" if draft.context.text else body

    def _chunk(self, ordinal: int, draft: _Draft, tokens: int) -> NewChunk:
        start, end = self._span(draft)
        places = []
        for index in dict.fromkeys(unit.block for unit in draft.units):
            base = self.starts[index]
            places.append(part_of(self.parsed.blocks[index], start - base, end - base))
        locator = union(places, draft.path if draft.shared is None else draft.shared, (start, end))
        return NewChunk(ordinal, self._body(draft), locator, draft.context.text, tokens)
