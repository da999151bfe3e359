"""What a list item needs above it to be understood: the sentence that leads into the list, and the items above it."""

from __future__ import annotations

from collections.abc import Sequence

from core.types import BlockKind, ParsedDocument
from ingest.chunk_units import Unit
from models.protocols import Tokenizer

_LEADS = (":", "：", "—", "——")


class ListContext:
    """Makes the lines to be repeated above a chunk that begins inside a list."""

    def __init__(
        self,
        parsed: ParsedDocument,
        text: str,
        units: Sequence[Sequence[Unit]],
        tokenizer: Tokenizer,
        special: int,
        limit: int,
    ) -> None:
        self._parsed = parsed
        self._text = text
        self._units = units
        self._tokenizer = tokenizer
        self._special = special
        self._limit = limit
        self._counted: dict[str, int] = {}

    def lead(self, index: int) -> Unit | None:
        """The sentence right above a list that leads into it: one that ends so, or one that stands alone."""
        blocks = self._parsed.blocks
        if index == 0 or blocks[index].kind is not BlockKind.LIST or blocks[index - 1].kind is not BlockKind.PARAGRAPH:
            return None
        above = self._units[index - 1]
        if not above:
            return None
        alone = len(above) == 1 and above[0].tokens <= self._limit
        return above[-1] if alone or self._of(above[-1]).endswith(_LEADS) else None

    def above(self, units: Sequence[Unit]) -> tuple[str, int]:
        """Text and tokens for a chunk of these units, as much as fits; empty where the chunk has it already."""
        first = units[0]
        if self._parsed.blocks[first.block].kind is not BlockKind.LIST:
            return "", 0
        outer = [self._of(unit) for unit in self._outer(first)]
        lead = self.lead(first.block)
        leading = [self._of(lead)] if lead is not None else []
        for lines in ([*leading, *outer], outer[-1:], leading):
            text = "\n".join(lines)
            if text and self._tokens(text) <= self._limit:
                return text, self._tokens(text)
        return "", 0

    def _outer(self, unit: Unit) -> list[Unit]:
        """The items that this one is nested in, outermost first."""
        found: list[Unit] = []
        indent = self._indent(unit)
        siblings = self._units[unit.block]
        at = next(place for place, one in enumerate(siblings) if one.start >= unit.start)
        for one in reversed(siblings[:at]):
            if indent == 0:
                break
            if one.head and self._indent(one) < indent:
                found.insert(0, one)
                indent = self._indent(one)
        return found

    def _indent(self, unit: Unit) -> int:
        line = self._text[self._text.rfind("\n", 0, unit.start) + 1 : unit.end]
        return len(line) - len(line.lstrip())

    def _of(self, unit: Unit) -> str:
        return self._text[unit.start : unit.end].strip()

    def _tokens(self, text: str) -> int:
        if text not in self._counted:
            self._counted[text] = self._tokenizer.count(text) - self._special
        return self._counted[text]
