"""One answer on its way through the queue and the slots of a model."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import AliothError
from models.engine.answer_text import AnswerText
from models.protocols import Delta, GenerationSettings, Message


@dataclass(slots=True, eq=False)
class AnswerRequest:
    """What was asked, and how far it is.

    owner: the model that answers. background: it gives way to everybody else. key: adapters it is computed with.
    tokens: prompt, then what was generated so far. done: how many of them are computed in sequence `seq`.
    reused: tokens of the prompt that were not computed again.
    """

    owner: Any
    messages: Sequence[Message]
    user: str
    tokens: list[int]
    settings: GenerationSettings
    cancel: threading.Event
    background: bool = False
    key: Hashable = ()
    out: queue.SimpleQueue[Delta | AliothError] = field(default_factory=queue.SimpleQueue)
    left: bool = False  # nobody reads `out` any more
    asked_at: float = field(default_factory=time.monotonic)
    begun_at: float = 0.0
    paused_at: float = 0.0
    prompt_tokens: int = 0
    generated: int = 0
    reused: int = 0
    seq: int = -1
    done: int = 0
    sampler: Any = None
    text: AnswerText = field(init=False)

    def __post_init__(self) -> None:
        self.prompt_tokens = len(self.tokens)
        self.text = AnswerText(self.settings.stop)

    @property
    def unwanted(self) -> bool:
        return self.left or self.cancel.is_set()

    @property
    def reading(self) -> bool:
        """Whether more than the newest token is to be computed."""
        return len(self.tokens) - self.done > 1

    @property
    def unread(self) -> int:
        return max(0, len(self.tokens) - self.done)

    def end(self, reason: str) -> None:
        """Tell whoever waits for it that nothing more comes, and why."""
        self.out.put(
            Delta(
                text=self.text.finish(),
                finish_reason=reason,
                prompt_tokens=self.prompt_tokens,
                generated_tokens=self.generated,
            )
        )
