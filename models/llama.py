"""The language model in this process: llama.cpp with one owner thread, a fair queue, and cancellation anywhere."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import AliothError, ContextOverflowError, LimitError, ModelError, ModelUnavailableError
from models.answer_text import AnswerText
from models.callers import CallerCount
from models.catalog import CatalogEntry
from models.chatml import render
from models.known_answer import require_sense
from models.lanes import ComputeGate, FairQueue
from models.llama_load import load_what_fits
from models.llama_native import READ_CHUNK, Aborted, NativeModel, has_card
from models.protocols import Delta, GenerationSettings, LanguageModelInfo, Message

log = logging.getLogger(__name__)

MAX_WAITING = 64
MAX_WAITING_PER_USER = 8
_POLL_S = 0.02
_IDLE_S = 0.5
_WARM_UP_TOKENS = 1024
_WARM_UP_STEP = 64
_WARM_UP_S = 2.0


@dataclass(slots=True, eq=False)
class _Request:
    owner: LlamaCppModel
    messages: Sequence[Message]
    user: str
    prompt: list[int]
    settings: GenerationSettings
    cancel: threading.Event
    out: queue.SimpleQueue[Delta | AliothError] = field(default_factory=queue.SimpleQueue)
    left: bool = False  # nobody reads `out` any more

    @property
    def unwanted(self) -> bool:
        return self.left or self.cancel.is_set()


class LlamaCppModel:
    """A GGUF model as a `LanguageModel`. Loading takes seconds; `close` or `hand_over` frees it.

    notes: sentences on what did not fit and was done instead.

    Raises:
        WeightsError: llama.cpp cannot load the file, or the model computes no sense.
        ModelError: no memory even for a small window.
    """

    def __init__(
        self,
        path: Path,
        entry: CatalogEntry,
        *,
        threads: int,
        context_tokens: int = 8192,
        gpu_layers: int = 0,
        gate: ComputeGate | None = None,
    ) -> None:
        self._entry = entry
        self._native, self.notes = load_what_fits(
            path,
            threads=threads,
            window=min(context_tokens, entry.window),
            gpu_layers=gpu_layers,
            opener=NativeModel,
            card=has_card(),
        )
        self._gate = gate or ComputeGate()
        self._waiting: FairQueue[_Request] = FairQueue()
        self._running: _Request | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._callers = CallerCount()
        self._freeing, self._freed = threading.Lock(), False
        self._successor: LlamaCppModel | None = None
        try:
            self._reading_rate = self._warm_up()
            require_sense(self._native, entry.id, entry.languages)
        except BaseException:
            self._native.close()
            raise
        self._owner = threading.Thread(target=self._serve, name="llama-owner", daemon=True)
        self._owner.start()

    def info(self) -> LanguageModelInfo:
        """`reading_rate` is measured at load and follows the prompts read since."""
        return LanguageModelInfo(
            id=self._entry.id,
            languages=self._entry.languages,
            window=self._native.window,
            reading_rate=self._reading_rate,
            small=self._entry.small,
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens; markers in a text count as plain text."""
        with self._callers as alive:
            if alive:
                return [len(self._native.tokenize(text, False)) for text in texts]
        return self._next().count_tokens(texts)

    def stream(
        self,
        messages: Sequence[Message],
        settings: GenerationSettings,
        cancel: threading.Event | None = None,
        user: str = "",
    ) -> Iterator[Delta]:
        """See `LanguageModel.stream`. The request is queued by this call, not by the first `next`.

        Raises:
            ContextOverflowError: prompt plus max_tokens exceed the window.
            LimitError: too many requests wait already.
            ModelUnavailableError: the model was closed.
        """
        with self._callers as alive:
            if alive:
                prompt = self._prompt(messages)
                self._check(len(prompt), settings, user)
                request = _Request(self, messages, user, prompt, settings, cancel or threading.Event())
                with self._lock:
                    if self._successor is None:
                        self._waiting.put(user, request)
                        return _deltas(request)
        return self._next().stream(messages, settings, cancel, user)

    def hand_over(self, successor: LlamaCppModel) -> None:
        """Give everything that waits to another model, finish the answer under way, then free the memory.

        Later calls go to the successor too. Returns when the memory is free.
        """
        with self._lock:
            self._successor = successor
            waiting = []
            while (request := self._waiting.take(timeout=0)) is not None:
                waiting.append(request)
        for request in waiting:
            successor._adopt(request)
        self._free()

    def _adopt(self, request: _Request) -> None:
        """Queue a request of another model; what does not fit here is told to whoever waits for it."""
        try:
            request.prompt = self._prompt(request.messages)
            self._require_fit(len(request.prompt), request.settings)
        except AliothError as error:
            request.out.put(error)
            return
        request.owner = self
        self._waiting.put(request.user, request)

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        return render(messages, self._native.tokenize, self._entry.answer_prefix, self._entry.template)

    def _next(self) -> LlamaCppModel:
        if self._successor is None:
            raise ModelUnavailableError(f"The model {self._entry.id!r} is shutting down.", "Try again in a moment.")
        return self._successor

    def close(self) -> None:
        """Cancel everything, wait for the owner thread, free the memory."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._callers as alive:
            if alive:
                self._native.abort(True)
        self._free()

    def _free(self) -> None:
        """Once, when the owner thread has ended and nobody is inside; a second caller waits for the first."""
        with self._freeing:
            if not self._freed:
                self._owner.join()
                self._callers.close()
                self._native.close()
                self._freed = True

    def _check(self, prompt_tokens: int, settings: GenerationSettings, user: str) -> None:
        if self._closing.is_set():
            raise ModelUnavailableError(f"The model {self._entry.id!r} is shutting down.", "Try again in a moment.")
        self._require_fit(prompt_tokens, settings)
        if len(self._waiting) >= MAX_WAITING or self._waiting.count(user) >= MAX_WAITING_PER_USER:
            raise LimitError(
                f"{len(self._waiting)} requests wait for {self._entry.id!r}; the limit is {MAX_WAITING} in all "
                f"and {MAX_WAITING_PER_USER} per user.",
                "Try again in a minute.",
            )

    def _require_fit(self, prompt_tokens: int, settings: GenerationSettings) -> None:
        window = self._native.window
        if prompt_tokens + settings.max_tokens > window:
            raise ContextOverflowError(
                f"The prompt has {prompt_tokens} tokens and the answer may have {settings.max_tokens}; "
                f"together they must fit the window of {window} tokens.",
                "Shorten the prompt, or ask for a shorter answer.",
            )

    def _place(self, request: _Request) -> int:
        order = self._waiting.order()
        return order.index(request) + 1 if request in order else 0

    def _abort(self, request: _Request) -> None:
        """Stop the computation if it is for this request; the owner thread clears the flag before the next one."""
        if self._running is request:
            self._native.abort(True)

    # ------------------------------------------------------------------ owner thread

    def _serve(self) -> None:
        while not self._closing.is_set():
            request = self._waiting.take(timeout=_IDLE_S)
            if request is None:
                if self._successor is not None:
                    return
                continue
            self._native.abort(False)
            self._running = request
            try:
                with self._gate.answer():
                    self._answer(request)
            except AliothError as error:
                request.out.put(error)
            except Exception as error:
                log.exception("generation failed")
                request.out.put(ModelError(f"The model {self._entry.id!r} failed: {error}.", "Ask again."))
            finally:
                self._running = None
        while (left := self._waiting.take(timeout=0)) is not None:
            left.out.put(Delta(finish_reason="cancelled", prompt_tokens=len(left.prompt)))

    def _answer(self, request: _Request) -> None:
        settings, native = request.settings, self._native
        text = AnswerText(settings.stop)
        sampler = native.sampler(
            temperature=settings.temperature,
            top_p=settings.top_p,
            repeat_penalty=settings.repeat_penalty,
            seed=settings.seed,
        )
        generated, reason = 0, "length"
        try:
            self._read(request)
            for generated in range(1, settings.max_tokens + 1):
                token = native.sample(sampler)
                if native.ends_answer(token):
                    reason = "stop"
                    break
                piece = text.feed(native.piece(token))
                if piece:
                    request.out.put(Delta(text=piece))
                if text.stopped:
                    reason = "stop"
                    break
                if generated < settings.max_tokens:
                    self._require_wanted(request)
                    native.append([token])
        except Aborted:
            reason = "cancelled"
        finally:
            native.free_sampler(sampler)
        request.out.put(
            Delta(
                text=text.finish(),
                finish_reason=reason,
                prompt_tokens=len(request.prompt),
                generated_tokens=generated,
            )
        )

    def _read(self, request: _Request) -> None:
        self._require_wanted(request)
        started = time.monotonic()
        fresh = self._native.read(request.prompt)
        if fresh >= READ_CHUNK // 4:
            rate = fresh / max(time.monotonic() - started, 1e-6)
            self._reading_rate += 0.3 * (rate - self._reading_rate)

    def _require_wanted(self, request: _Request) -> None:
        if request.unwanted or self._closing.is_set():
            raise Aborted

    def _warm_up(self) -> float:
        """Prompt tokens per second over a text as long as a prompt, after a first call that pays for allocations.

        A short text says too much: each further token looks back at all before it.
        """
        words = self._native.tokenize("The policy applies to all employees. ", False)
        tokens = (words * _WARM_UP_TOKENS)[: min(_WARM_UP_TOKENS, self._native.window // 2)]
        self._native.append(tokens[:_WARM_UP_STEP])
        self._native.wait()
        self._native.forget()
        started, read = time.monotonic(), 0
        while read < len(tokens) and time.monotonic() - started < _WARM_UP_S:
            self._native.append(tokens[read : read + _WARM_UP_STEP])
            self._native.wait()
            read += _WARM_UP_STEP
        rate = read / max(time.monotonic() - started, 1e-6)
        self._native.forget()
        return rate


def _deltas(request: _Request) -> Iterator[Delta]:
    """Asks the owner anew each time, as another model may take the request over while it waits."""
    place = 0
    try:
        while True:
            try:
                item = request.out.get(timeout=_POLL_S)
            except queue.Empty:
                if request.cancel.is_set():
                    request.owner._abort(request)
                    if request.owner._waiting.remove(request):
                        yield Delta(finish_reason="cancelled", prompt_tokens=len(request.prompt))
                        return
                elif (now := request.owner._place(request)) and now != place:
                    place = now
                    yield Delta(place=place)
                continue
            if isinstance(item, AliothError):
                raise item
            yield item
            if item.finish_reason:
                return
    finally:
        request.left = True
        if not request.owner._waiting.remove(request):
            request.owner._abort(request)
