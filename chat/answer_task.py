"""One question on its way to an answer, and what is told of it at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from chat.context import Source
from chat.events import Finished
from chat.retrieval.retrieve import Retrieval
from chat.verification.verify import sentences_of
from core.answer_settings import Resolved
from core.filters import Filters
from core.types import Answer, AnswerMode, ChatTurn, Collection, SentenceCheck, Verdict
from models.protocols import GenerationSettings


@dataclass(slots=True)
class Task:
    """A question with everything that answering it needs and notes. started: by `time.perf_counter`."""

    question: str
    language: str
    history: Sequence[ChatTurn]
    collections: Sequence[Collection]
    cancel: threading.Event
    user: str
    started: float
    filters: Filters
    chosen: Resolved
    generation: GenerationSettings
    standalone: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    context: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)

    def finished(self, text: str, mode: AnswerMode, **rest: object) -> Finished:
        """The last event. rest: the other fields of `Answer`."""
        self.timings["total"] = time.perf_counter() - self.started
        return Finished(
            Answer(
                text,
                self.language,
                mode,
                notices=tuple(dict.fromkeys(self.notices)),
                standalone_question=self.standalone,
                timings=dict(self.timings),
                filters=self.filters.to_dict(),
                context=dict(self.context),
                settings=dict(self.settings),
                **rest,  # type: ignore[arg-type]  # the remaining fields of Answer, by name
            )
        )


def context_figures(retrieval: Retrieval, sources: Sequence[Source], most: int) -> dict[str, int]:
    """Passages the model read, how many meant for it were left out for want of room, whether one was cut."""
    inside = {chunk.id for source in sources for _, _, chunk in source.parts}
    wanted = [item.chunk for item in retrieval.results[:most]]
    cut = any(len(source.passage.text) < len(source.passage.chunk.text) for source in sources)
    return {
        "passages": len(sources),
        "left_out": sum(chunk.id not in inside for chunk in wanted),
        "cut": int(cut),
    }


def earlier(task: Task) -> Sequence[ChatTurn]:
    """The last question before this one, when this one needs it."""
    if task.standalone == task.question:
        return ()
    return [turn for turn in task.history if turn.role == "user"][-1:]


def exact_checks(text: str, before: str) -> tuple[SentenceCheck, ...]:
    """Quotes are supported as they stand; what a model wrote before it went away was never checked."""
    return tuple(
        SentenceCheck(s.text, Verdict.SUPPORTED, "The document's own words.", s.start, s.end, s.cited)
        if s.start >= len(before)
        else SentenceCheck(s.text, Verdict.UNCITED, "The model went away before this was checked.", s.start, s.end)
        for s in sentences_of(text)
    )
