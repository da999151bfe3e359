"""Measures a freshly loaded model: reading, writing side by side, and whether keeping states is worth it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from models.engine.llama_native import NativeModel
from models.engine.pace import Pace

_TOKENS: Final = 1024
_STEP: Final = 64
_LONGEST_S: Final = 2.0
_ROUNDS: Final = 3
_WRITE_S: Final = 1.0
_TEXT: Final = "The policy applies to all employees. "


@dataclass(frozen=True, slots=True)
class Measured:
    """keeps: putting a state away and back takes less time than reading its tokens again."""

    pace: Pace
    keeps: bool


def warm_up(native: NativeModel) -> Measured:
    """Takes up to some seconds; the cache is empty afterwards.

    The text is as long as a prompt: a short one says too much, as each further token looks back at all before it.
    """
    words = native.tokenize(_TEXT, False)
    tokens = (words * _TOKENS)[: min(_TOKENS, native.window // 2)]
    _read(native, tokens[:_STEP], 0)  # pays for allocations
    native.forget()
    started, read = time.perf_counter(), 0
    while read < len(tokens) and time.perf_counter() - started < _LONGEST_S:
        _read(native, tokens[read : read + _STEP], read)
        read = min(read + _STEP, len(tokens))
    reading = max(time.perf_counter() - started, 1e-6)
    seconds = _writing(native, tokens[0], read)
    keeping = _seconds(lambda: _put_away_and_back(native))
    native.forget()
    return Measured(Pace(read / reading, seconds), keeping < reading / 2)


def _read(native: NativeModel, tokens: list[int], start: int) -> None:
    last = len(tokens) - 1
    _compute(native, [(token, start + at, 0, at == last) for at, token in enumerate(tokens)])


def _writing(native: NativeModel, token: int, start: int) -> dict[int, float]:
    """Seconds of a step for 1, 2, 4, ... answers of the same length, as far as time allows."""
    for seq in range(1, native.slots):
        native.copy(0, seq, start)
    widths = [1 << power for power in range(8) if 1 << power < native.slots] + [native.slots]
    found: dict[int, float] = {}
    begun = time.perf_counter()
    for width in dict.fromkeys(widths):
        if found and time.perf_counter() - begun > _WRITE_S:
            break
        rounds = []
        for at in range(_ROUNDS):
            rows = [(token, start + at, seq, True) for seq in range(width)]
            rounds.append(_seconds(functools.partial(_compute, native, rows)))
        for seq in range(width):
            native.cut(seq, start)
        found[width] = min(rounds)
    for seq in range(1, native.slots):
        native.cut(seq, 0)
    return found


def _compute(native: NativeModel, rows: list[tuple[int, int, int, bool]]) -> None:
    native.compute(rows)
    native.wait()


def _put_away_and_back(native: NativeModel) -> None:
    state = native.save(0)
    native.cut(0, 0)
    native.restore(0, state)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return max(time.perf_counter() - started, 1e-9)
