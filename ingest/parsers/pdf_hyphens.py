"""Words cut at line ends: joined where the document or the language says that they are one word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from ingest.clean import join_lines
from ingest.parsers.pdf_chars import SOFT_HYPHEN

_WORD = re.compile(r"[^\W\d_]+(?:[-’'][^\W\d_]+)*")
_LAST = re.compile(r"([^\W\d_]+(?:-[^\W\d_]+)*)$")
_FIRST = re.compile(r"^[^\W\d_]+")
_FIRST_PARTS = (
    "all cross decision double ex five four full half hard heavy high large last light long low one open real right "
    "second self short single six small state three top two well wide world year"
)
_KEEPS = frozenset(_FIRST_PARTS.split())
"""First parts that are seldom glued to what follows."""


class Hyphens:
    """Joins lines of one document; knows its words."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._words: Counter[str] = Counter()
        for line in lines:
            words = _WORD.findall(line.lower().replace(SOFT_HYPHEN, "-"))
            if line.rstrip().endswith(("-", SOFT_HYPHEN)):
                words = words[:-1]
            self._words.update(words)

    def join(self, lines: Sequence[str]) -> str:
        """Lines of one paragraph as running text."""
        joined: list[str] = []
        for line in lines:
            line = line.strip()
            cut = bool(joined) and joined[-1].endswith(("-", SOFT_HYPHEN)) and len(joined[-1]) > 1
            if line and cut and joined[-1][-2].isalnum() and line[0].isalnum():
                joined[-1] = self._one(joined[-1], line)
            elif line:
                joined.append(line)
        return join_lines([_without_soft(line) for line in joined])

    def _one(self, before: str, after: str) -> str:
        head, tail = _LAST.search(before[:-1]), _FIRST.search(after)
        if not head or not tail or not after[0].islower():
            return f"{before[:-1]}-{after}"
        first, second = head.group().lower(), tail.group().lower()
        whole, hyphened = self._words[first + second], self._words[f"{first}-{second}"]
        keep = hyphened > whole or (not whole and (first in _KEEPS or "-" in first))
        return f"{before[:-1]}{'-' if keep else ''}{after}"


def _without_soft(line: str) -> str:
    """A soft hyphen at the end is a real one there; any other is not seen."""
    ends = line.endswith(SOFT_HYPHEN)
    return line.replace(SOFT_HYPHEN, "") + ("-" if ends else "")
