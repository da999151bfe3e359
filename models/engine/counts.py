"""Figures of a model's queue and slots since it was loaded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.engine.answer_request import AnswerRequest

log = logging.getLogger(__name__)


class Counts:
    """Written by the owner thread, read by any.

    reused_tokens: of prompts, not read again. computing_s: seconds of llama.cpp calls.
    """

    def __init__(self) -> None:
        self.answers = self.cancelled = self.timeouts = self.preempted = 0
        self.prompt_tokens = self.reused_tokens = self.prompts_reused = self.prompts = 0
        self.computed_tokens = self.generated_tokens = 0
        self.computing_s = self.waited_s = self.longest_wait_s = 0.0

    def began(self, waited_s: float, prompt_tokens: int, reused: int) -> None:
        self.prompts += 1
        self.prompts_reused += bool(reused)
        self.prompt_tokens += prompt_tokens
        self.reused_tokens += reused
        self.waited_s += waited_s
        self.longest_wait_s = max(self.longest_wait_s, waited_s)

    def computed(self, tokens: int, seconds: float) -> None:
        self.computed_tokens += tokens
        self.computing_s += seconds

    def ended(self, request: AnswerRequest, reason: str) -> None:
        self.answers += 1
        self.cancelled += reason == "cancelled"
        self.timeouts += reason == "timeout"
        self.generated_tokens += request.generated
        log.info(
            "answer ended (%s): prompt %d tokens, %d of them kept from before, %d generated",
            reason, request.prompt_tokens, request.reused, request.generated,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        return {
            "answers": self.answers,
            "cancelled": self.cancelled,
            "timeouts": self.timeouts,
            "preempted": self.preempted,
            "prompt_tokens": self.prompt_tokens,
            "reused_tokens": self.reused_tokens,
            "read_tokens": self.prompt_tokens - self.reused_tokens,
            "reused_share": _share(self.reused_tokens, self.prompt_tokens),
            "hit_ratio": _share(self.prompts_reused, self.prompts),
            "generated_tokens": self.generated_tokens,
            "tokens_per_s": _share(self.computed_tokens, self.computing_s),
            "mean_wait_s": _share(self.waited_s, self.prompts),
            "longest_wait_s": self.longest_wait_s,
        }


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0
