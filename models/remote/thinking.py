"""Leaves out what a model thinks aloud, so that it is never shown as an answer."""

from __future__ import annotations

from typing import Final

_PAIRS: Final = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<|channel>thought", "<channel|>"))


class WithoutThinking:
    """Feed text as it comes, show what comes back. Not thread-safe.

    Only a part that begins the answer counts: later on, the words may be meant as they stand.
    """

    def __init__(self) -> None:
        self._held = ""
        self._end = ""
        self._begun = False
        self.thought = False

    def feed(self, text: str) -> str:
        """What may be shown now."""
        if self._begun:
            return text
        self._held += text
        if self._end:
            return self._after_thinking()
        start = self._held.lstrip()
        for opening, closing in _PAIRS:
            if start.startswith(opening):
                self._held, self._end, self.thought = start[len(opening) :], closing, True
                return self._after_thinking()
        if any(opening.startswith(start) for opening, _ in _PAIRS):
            return ""  # also while nothing but space came
        return self._begin(start if self.thought else self._held)

    def finish(self) -> str:
        """What was held back and is no thought."""
        held, self._held = self._held, ""
        return "" if self._end or self._begun else held

    def _after_thinking(self) -> str:
        inside, closed, rest = self._held.partition(self._end)
        if not closed:
            self._held = inside[-len(self._end) :]  # the thought itself is not kept
            return ""
        self._held, self._end = "", ""
        return self.feed(rest) if rest else ""

    def _begin(self, text: str) -> str:
        self._begun, self._held = True, ""
        return text
