"""Keeps what was computed for recent conversations, so that what two turns have in common is not read again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

LEAST_TOKENS: Final = 16
"""Shorter beginnings are read as fast as they are put back."""


class SequenceMemory(Protocol):
    """What llama.cpp remembers, by sequence number."""

    def cut(self, seq: int, start: int) -> bool:
        """Forget everything from position `start`. False: only the whole could be forgotten, and was."""
        ...

    def copy(self, source: int, target: int, end: int) -> None:
        """Let an empty sequence share the positions before `end` of another, without computing or copying them."""
        ...

    def state_bytes(self, seq: int) -> int: ...

    def save(self, seq: int) -> Any:
        """What `restore` puts back, in the main memory."""
        ...

    def restore(self, seq: int, state: Any) -> bool:
        """Whether the state is in the empty sequence now."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    tokens: list[int]
    key: Hashable
    state: Any
    size: int


class Prefixes:
    """States of ended answers in the main memory, the longest unused goes first. For one thread.

    Args:
        limit_bytes: most that the states may take together; 0 keeps none.
    """

    def __init__(self, memory: SequenceMemory, limit_bytes: int) -> None:
        self._memory = memory
        self._limit = limit_bytes
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._number = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def begin(
        self, seq: int, tokens: Sequence[int], key: Hashable, busy: Mapping[int, Sequence[int]] | None = None
    ) -> int:
        """Put the longest known beginning of `tokens` into the empty sequence and give its length.

        The last token is never part of it: it must be computed, as its logits are needed.

        Args:
            key: states of another key are not looked at; it names the adapters.
            busy: sequences in use under the same key, with the tokens computed in them.
        """
        wanted = tokens[:-1]
        ways = [(common(held, wanted), 1, source) for source, held in (busy or {}).items()]
        ways += [(common(kept.tokens, wanted), 0, n) for n, kept in self._kept.items() if kept.key == key]
        for length, shared, source in sorted(ways, reverse=True):
            if length < LEAST_TOKENS:
                break
            if shared:
                self._memory.copy(source, seq, length)
                return length
            if self._put_back(seq, source, length):
                return length
        return 0

    def keep(self, seq: int, tokens: Sequence[int], key: Hashable) -> None:
        """Take over what was computed for `tokens` in this sequence, which is empty afterwards."""
        if self._limit and len(tokens) >= LEAST_TOKENS and not self._is_known(tokens, key):
            size = self._memory.state_bytes(seq)
            if 0 < size <= self._limit:
                for number, kept in list(self._kept.items()):
                    if kept.key == key and common(kept.tokens, tokens) == len(kept.tokens):
                        self._drop(number)
                while self.size + size > self._limit:
                    self._drop(next(iter(self._kept)))
                self._number += 1
                self._kept[self._number] = _Kept(list(tokens), key, self._memory.save(seq), size)
                self.size += size
        self._memory.cut(seq, 0)

    def clear(self) -> None:
        self._kept.clear()
        self.size = 0

    def _put_back(self, seq: int, number: int, length: int) -> bool:
        kept = self._kept[number]
        if not self._memory.restore(seq, kept.state):
            self._memory.cut(seq, 0)
            self._drop(number)
            return False
        self._kept.move_to_end(number)
        return length == len(kept.tokens) or self._memory.cut(seq, length)

    def _is_known(self, tokens: Sequence[int], key: Hashable) -> bool:
        for number, kept in self._kept.items():
            if kept.key == key and common(kept.tokens, tokens) == len(tokens):
                self._kept.move_to_end(number)
                return True
        return False

    def _drop(self, number: int) -> None:
        self.size -= self._kept.pop(number).size


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many elements two sequences begin with alike."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
