"""How much may wait and run at once, and how long."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Final

from core.errors import LimitError
from core.settings import ModelSettings

MAX_WAITING: Final = 64
MAX_WAITING_PER_USER: Final = 8
MOST_STREAMS: Final = 400
"""Answers that may wait or run at once, whatever the settings say; each has a thread."""


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """waiting, waiting_per_user: requests. running_per_user: answers at the same time while others wait.

    wait_s: seconds in the queue. answer_s: seconds of one answer. keep_mb: MB of main memory for states of recent
    conversations.
    """

    waiting: int = MAX_WAITING
    waiting_per_user: int = MAX_WAITING_PER_USER
    running_per_user: int = 2
    wait_s: float = 300.0
    answer_s: float = 600.0
    keep_mb: int = 512

    def have_room(self, waiting: int, mine: int) -> bool:
        """Whether one more may wait. mine: those of `waiting` that its user has."""
        return waiting < self.waiting and mine < self.waiting_per_user

    def too_many(self, what: str, waiting: int, mine: int, hint: str) -> LimitError:
        """Of the requests that wait for `what`."""
        return LimitError(
            f"{waiting} requests wait for {what}, {mine} of them yours; the limit is {self.waiting} in all and "
            f"{self.waiting_per_user} per user.",
            hint,
        )


def limits_of(settings: ModelSettings) -> AnswerLimits:
    return AnswerLimits(
        waiting=settings.waiting,
        waiting_per_user=settings.waiting_per_user,
        running_per_user=settings.running_per_user,
        wait_s=settings.wait_s,
        answer_s=settings.answer_s,
        keep_mb=settings.keep_mb,
    )


def waited_too_long(seconds: float, most: float) -> LimitError:
    return LimitError(
        f"The question waited {seconds:.0f} s for its turn; the limit is {most:.0f} s.",
        "Many people are asking at once: ask again later. ALIOTH_MODELS__WAIT_S is the limit.",
    )


def end_soon() -> None:
    """End this process with an error code, so that its supervisor starts a new one; what is told now still gets out."""
    ender = threading.Timer(1.0, os._exit, (70,))
    ender.daemon = True
    ender.start()
