"""The language model as document tasks use it: is it up to the task, and a whole reply with its waiting shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Sequence

from chat.cite import MarkParser
from chat.context import Source
from chat.events import AnswerEvent, Progress, Text, Waiting
from chat.injection import without_instructions
from chat.prompt import clean
from core.errors import CancelledError, ModelUnavailableError
from models.protocols import GenerationSettings, Lane, LanguageModel, LanguageModelInfo, Message

FIXED_TOKENS = 80
"""What the model's chat template adds around a prompt, generously."""


def lane_of(requests: int) -> Lane:
    """Where a step of so many requests stands: a single one is like a question, and somebody sits before it.

    More of them would hold up everybody who asks in the meantime, for as long as a whole document is read.
    """
    return Lane.QUESTION if requests == 1 else Lane.BACKGROUND


class TaskModel:
    """A language model with the questions that tasks ask of it. Thread-safe."""

    def __init__(self, llm: LanguageModel) -> None:
        self._llm = llm

    def info(self) -> LanguageModelInfo:
        """Raises ModelUnavailableError when the models process does not answer."""
        return self._llm.info()

    def lacks(self, languages: Iterable[str]) -> str:
        """Why its own words are not to be used in these languages: small, language or away; "" when they are."""
        try:
            info = self._llm.info()
        except ModelUnavailableError:
            return "away"
        if info.small:
            return "small"
        return "" if set(languages) <= set(info.languages) else "language"

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by the model's own tokenizer."""
        return self._llm.count_tokens(texts) if texts else []

    def room(self, answer_tokens: int, fixed: Sequence[str], most: int) -> int:
        """Tokens left for passages beside these fixed texts and the answer; at most `most`, at least 128."""
        taken = sum(self.counts(fixed)) + FIXED_TOKENS + answer_tokens
        return max(128, min(most, self._llm.info().window - taken))

    def reply(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        cancel: threading.Event,
        user: str,
        lane: Lane,
        offered: Iterable[int] = (),
        show: bool = False,
    ) -> Generator[AnswerEvent, None, str]:
        """The reply's text with the offered marks as [n]; its place in the queue, and with `show` the text, as events.

        Args:
            lane: see `lane_of`.

        Raises:
            CancelledError: `cancel` was set.
            ContextOverflowError, ModelUnavailableError: as the model raises them.
        """
        parser = MarkParser(frozenset(offered))
        text = ""
        for delta in self._llm.stream(messages, GenerationSettings(max_tokens=max_tokens), cancel, user, lane):
            if delta.place:
                yield Waiting(delta.place, delta.wait_s)
            piece = parser.feed(delta.text)
            text += piece
            if show and piece:
                yield Text(piece)
            if delta.finish_reason == "cancelled" or cancel.is_set():
                raise CancelledError("The task was stopped.", "Start it again when you need it.")
        rest = parser.finish()
        if show and rest.strip():
            yield Text(rest)
        return text + rest


def fenced(sources: Sequence[Source], word: str) -> str:
    """Numbered passages, without instructions to an assistant, between delimiters that no document can close."""
    blocks = []
    for source in sources:
        chunk = source.passage.chunk
        head = " — ".join(part for part in (chunk.title or chunk.path, chunk.context) if part)
        body = clean(without_instructions(f"{head}\n{source.passage.text}")).replace(word, word[:1] + "·" + word[1:])
        blocks.append(f"<<{word} {source.passage.n}>>\n{body}\n<<end {word}>>")
    return "\n".join(blocks)


class Clock:
    """How far a task is, and how long the rest will take at the rate measured so far.

    Args:
        total: parts in all. rate: parts per second expected before anything is measured, None when unknown.
    """

    def __init__(self, total: int, rate: float | None = None) -> None:
        self._total = total
        self._rate = rate
        self._started = time.monotonic()
        self.done = 0

    def now(self) -> Progress:
        """The progress as it stands."""
        left = self._total - self.done
        if self.done:
            return Progress(self.done, self._total, left * (time.monotonic() - self._started) / self.done)
        return Progress(0, self._total, left / self._rate if self._rate else None)

    def after(self, parts: int) -> Progress:
        """Count these parts as done."""
        self.done += parts
        return self.now()
