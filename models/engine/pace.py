"""How fast a model reads and writes here, measured as it goes, and what follows for the size of the next step."""

from __future__ import annotations

from typing import Final

READ_CHUNK: Final = 256
"""Prompt tokens per call: the abort is seen between calls even where a GPU ignores the callback."""
LEAST_CHUNK: Final = 16
STALL_S: Final = 0.08
"""While others write, a piece of a prompt takes no longer than this."""
_WEIGHT: Final = 0.2
_USUAL_ANSWER: Final = 120.0


class Pace:
    """Rates of one loaded model. Written by one thread, read by any.

    Args:
        reading_rate: prompt tokens per second.
        seconds: of one step that writes a token for so many answers at once, by that number; 1 is among them.
    """

    def __init__(self, reading_rate: float, seconds: dict[int, float]) -> None:
        self.reading_rate = reading_rate
        self._seconds = dict(sorted(seconds.items()))
        self._answer = _USUAL_ANSWER

    def width(self, answers: int) -> int:
        """How many answers to compute in one call so that all of them together get on fastest.

        On a processor two to four at once can take longer than one after the other; then they take turns by the token.
        """
        known = [n for n in self._seconds if n < answers] + [answers]
        return max(known, key=lambda n: (n / self.step_seconds(n), n))

    def chunk(self, writing: int) -> int:
        """Prompt tokens to read in the next step while `writing` other answers wait for their next token."""
        if not writing:
            return READ_CHUNK
        return max(LEAST_CHUNK, min(READ_CHUNK - writing, int(self.reading_rate * STALL_S)))

    def step_seconds(self, answers: int) -> float:
        """Expected seconds of one call that writes a token for each of so many answers."""
        below = max((n for n in self._seconds if n <= answers), default=1)
        above = min((n for n in self._seconds if n >= answers), default=0)
        if not above:
            return self._seconds[below] * answers / below
        if above == below:
            return self._seconds[below]
        share = (answers - below) / (above - below)
        return self._seconds[below] * (1 - share) + self._seconds[above] * share

    def writing_rate(self, answers: int) -> float:
        """Tokens per second of so many answers together."""
        width = self.width(max(1, answers))
        return width / self.step_seconds(width)

    def has_read(self, tokens: int, seconds: float) -> None:
        if tokens >= READ_CHUNK // 4 and seconds > 0:
            self.reading_rate += _WEIGHT * (tokens / seconds - self.reading_rate)

    def has_written(self, answers: int, seconds: float) -> None:
        if answers in self._seconds:
            self._seconds[answers] += _WEIGHT * (seconds - self._seconds[answers])

    def has_ended(self, tokens: int) -> None:
        """An answer had so many tokens."""
        self._answer += _WEIGHT * (tokens - self._answer)

    def work_seconds(self, unread: int, most_tokens: int, written: int, answers: int) -> float:
        """Seconds that reading so many tokens and writing what an answer usually still lacks take by themselves."""
        left = max(1.0, min(self._answer, most_tokens) - written)
        return unread / max(self.reading_rate, 1e-6) + left / self.writing_rate(answers)
