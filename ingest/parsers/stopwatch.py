"""Adds up the time that a part of parsing takes, for the ingest report. One parser child reads one file at a time."""

from __future__ import annotations

import time
from contextlib import ContextDecorator
from typing import Any


class Stopwatch(ContextDecorator):
    """Runs while at least one `with` block or decorated call is under way. seconds: in all so far."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0
        self._since = 0.0

    def __enter__(self) -> Stopwatch:
        if not self._depth:
            self._since = time.monotonic()
        self._depth += 1
        return self

    def __exit__(self, *error: Any) -> None:
        self._depth -= 1
        if not self._depth:
            self.seconds += time.monotonic() - self._since


OCR_TIME = Stopwatch()
"""Time spent in recognising text in pictures."""
