"""Does a text that is being written go round in circles?"""

from __future__ import annotations

LONGEST_ROUND = 240
FEWEST_ROUNDS = 4
SHORTEST_TAIL = 60


def repeats_from(text: str) -> int | None:
    """Offset after the first round of what the text repeats at its end; None when it does not.

    At least four rounds of at most 240 characters that make up at least 60 characters together: a list or a table
    with equal cells is shorter, a model that is stuck never ends.
    """
    end = len(text.rstrip())
    for length in range(1, min(LONGEST_ROUND, end // FEWEST_ROUNDS) + 1):
        if text[end - length : end] != text[end - 2 * length : end - length]:
            continue
        unit, start = text[end - length : end], end - length
        while start >= length and text[start - length : start] == unit:
            start -= length
        if (end - start) // length >= FEWEST_ROUNDS and end - start >= SHORTEST_TAIL and unit.strip():
            return start + length
    return None
