"""What an answer under way reports: the values its stream is made of."""

from __future__ import annotations

from dataclasses import dataclass

from core.types import Answer


@dataclass(frozen=True, slots=True)
class Stage:
    """Work has come to this stage: retrieve, read (the model reads the prompt), generate, quote, verify."""

    name: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The answer waits for the model behind this many others. seconds: for how long, by estimate, 0.0 when unknown."""

    place: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """A document task has read `done` of `total` parts. seconds_left: estimate, None while nothing is measured."""

    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """The next piece of the answer, marks whole and normalised."""

    delta: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event. `answer.text` is the streamed text, with marks added that verification found."""

    answer: Answer


AnswerEvent = Stage | Waiting | Progress | Text | Finished
