"""The language model in this process: llama.cpp with one owner thread, a fair queue, and cancellation anywhere."""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from core.errors import AliothError, ModelError, ModelUnavailableError
from models.chatml import render
from models.engine.answer_request import AnswerRequest
from models.engine.counts import Counts
from models.engine.llama_load import load_what_fits
from models.engine.llama_native import NativeModel, has_card
from models.engine.llama_warm_up import warm_up
from models.engine.load_options import LoadOptions
from models.engine.prefixes import Prefixes
from models.engine.sampling import require_valid
from models.engine.slots import Slots
from models.files.catalog import CatalogEntry
from models.known_answer import require_sense
from models.protocols import Delta, GenerationSettings, Lane, LanguageModelInfo, Message
from models.queueing.callers import CallerCount
from models.queueing.lanes import ComputeGate, FairQueue
from models.queueing.limits import AnswerLimits, waited_too_long
from models.wire import require_fit

log = logging.getLogger(__name__)

_POLL_S = 0.02
_IDLE_S = 0.5
_TELL_S = 1.0


class LlamaCppModel:
    """A GGUF model as a `LanguageModel`. Loading takes seconds; `close` or `hand_over` frees it.

    adapters: folder of LoRA adapters that answers may use. notes: sentences on what did not fit and was done instead.

    Args:
        on_death: called when the owner thread broke down, after everybody who waits was told; the model cannot
            answer any more.

    Raises:
        WeightsError: llama.cpp cannot load the file, or the model computes no sense.
        ModelError: no memory even for a small window.
    """

    def __init__(
        self,
        path: Path,
        entry: CatalogEntry,
        options: LoadOptions,
        *,
        gate: ComputeGate | None = None,
        adapters: Path | None = None,
        limits: AnswerLimits | None = None,
        on_death: Callable[[], None] | None = None,
    ) -> None:
        self._entry = entry
        self._limits = limits or AnswerLimits()
        self._gate = gate or ComputeGate()
        self._waiting: FairQueue[AnswerRequest] = FairQueue()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._callers = CallerCount()
        self._freeing, self._freed = threading.Lock(), False
        self._successor: LlamaCppModel | None = None
        self._on_death, self._dead = on_death, False
        self._counts = Counts()
        wanted = dataclasses.replace(options, window=min(options.window, entry.window))
        loaded: Future[None] = Future()
        self._owner = threading.Thread(
            target=self._serve, args=(loaded, path, wanted, adapters), name="llama-owner", daemon=True
        )
        self._owner.start()
        loaded.result()

    def _load(self, path: Path, options: LoadOptions, adapters: Path | None) -> None:
        """By the owner thread too: OpenMP keeps a team for each thread that ever computed, and with more threads than
        cores every barrier goes to sleep, which halves the speed."""
        self._native, self.notes = load_what_fits(path, options, opener=NativeModel, card=has_card())
        try:
            if adapters is not None:
                self._native.take_adapters_from(adapters, path, self._entry.id)
            measured = warm_up(self._native)
            require_sense(self._native, self._entry.id, self._entry.languages)
        except BaseException:
            self._native.close()
            raise
        self._pace = measured.pace
        self._prefixes = Prefixes(self._native, self._limits.keep_mb * 1_000_000 if measured.keeps else 0)
        slots = self._native.slots
        self._slots = Slots(self._native, slots, self._prefixes, self._pace, self._counts, self._limits.answer_s)

    def info(self) -> LanguageModelInfo:
        """`reading_rate` is measured at load and follows the prompts read since."""
        return LanguageModelInfo(
            id=self._entry.id,
            languages=self._entry.languages,
            window=self._native.window,
            reading_rate=self._pace.reading_rate,
            small=self._entry.small,
        )

    def queue(self) -> dict[str, Any]:
        """Who waits and runs, the rates measured, and the figures of `Counts` since the model was loaded."""
        waiting, running = self._waiting.order(), self._slots.running()
        urgent = [request for request in waiting if not request.background]
        return {
            "model": self._entry.id,
            "slots": self._slots.count,
            "running": len(running),
            "paused": len(self._slots.paused),
            "waiting": len(urgent),
            "waiting_background": len(waiting) - len(urgent),
            "wait_s": round(self._wait_seconds(waiting), 1) if len(running) >= self._slots.count else 0.0,
            "limits": dataclasses.asdict(self._limits),
            "reading_rate": round(self._pace.reading_rate, 1),
            "writing_rate": round(self._pace.writing_rate(len(running)), 1),
            "kept_prefixes": len(self._prefixes),
            "kept_bytes": self._prefixes.size,
            **self._counts.to_dict(),
        }

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
        lane: Lane = Lane.QUESTION,
    ) -> Iterator[Delta]:
        """See `LanguageModel.stream`. The request is queued by this call, not by the first `next`.

        Args:
            lane: BACKGROUND is computed only while nobody else waits or is answered.

        Raises:
            InputError: a setting is out of its limits, or its JSON schema cannot be followed.
            NotFoundError, WeightsError: an adapter that is not here, or was made for another model.
            ContextOverflowError: prompt plus max_tokens exceed the window.
            LimitError: too many requests wait already; or, while iterating, this one waited too long.
            ModelUnavailableError: the model was closed.
        """
        with self._callers as alive:
            if alive:
                require_valid(settings)
                key = self._native.adapter_key(settings.adapters)
                prompt, background = self._prompt(messages), lane is Lane.BACKGROUND
                require_fit(len(prompt), settings.max_tokens, self._native.window)
                request = AnswerRequest(
                    self, messages, user, prompt, settings, cancel or threading.Event(), background, key
                )
                with self._lock:
                    self._require_open()
                    if self._successor is None:
                        self._require_room(user)
                        self._waiting.put(user, request, background)
                        return _deltas(request)
        return self._next().stream(messages, settings, cancel, user, lane)

    def hand_over(self, successor: LlamaCppModel) -> None:
        """Give everything that waits to another model, finish the answers under way, then free the memory.

        Later calls go to the successor too. Returns when the memory is free.
        """
        with self._lock:
            self._successor = successor
            waiting = self._drained()
        for request in waiting:
            successor._adopt(request)
        self._free()

    def _adopt(self, request: AnswerRequest) -> None:
        """Queue a request of another model; what does not fit here is told to whoever waits for it."""
        try:
            request.tokens = self._prompt(request.messages)
            request.prompt_tokens = len(request.tokens)
            require_fit(request.prompt_tokens, request.settings.max_tokens, self._native.window)
            request.key = self._native.adapter_key(request.settings.adapters)
        except AliothError as error:
            request.out.put(error)
            return
        request.owner = self
        self._waiting.put(request.user, request, request.background)

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
                self._slots.close()
        self._free()

    def _free(self) -> None:
        """Once, when the owner thread has ended and nobody is inside; a second caller waits for the first."""
        with self._freeing:
            if not self._freed:
                self._owner.join()
                self._callers.close()
                self._prefixes.clear()
                self._native.close()
                self._freed = True

    def _require_open(self) -> None:
        if self._closing.is_set():
            raise ModelUnavailableError(f"The model {self._entry.id!r} is shutting down.", "Try again in a moment.")
        if self._dead:
            raise ModelUnavailableError(f"The model {self._entry.id!r} broke down.", "Try again in a minute.")

    def _require_room(self, user: str) -> None:
        limits, waiting, mine = self._limits, len(self._waiting), self._waiting.count(user)
        if limits.have_room(waiting, mine):
            return
        hint = (
            f"Place {waiting + 1} would be served in about {self._wait_seconds(self._waiting.order()):.0f} s. "
            "Try again then, or stop one of your own."
        )
        raise limits.too_many(repr(self._entry.id), waiting, mine, hint)

    # ------------------------------------------------------------------ whoever waits for an answer

    def _place(self, request: AnswerRequest) -> tuple[int, float]:
        """How many are ahead and the seconds until its turn; (0, 0.0) when it does not wait."""
        order = self._waiting.order()
        if request not in order:
            return 0, 0.0
        ahead = order[: order.index(request)]
        return len(ahead) + 1, self._wait_seconds(ahead)

    def _wait_seconds(self, ahead: Sequence[AnswerRequest]) -> float:
        """Seconds until a slot is free when these come first: all their work, by the rates measured."""
        slots, place = self._slots, len(ahead) + 1
        work = sum(
            self._pace.work_seconds(
                request.unread if request.reading or not request.begun_at else 0,
                request.settings.max_tokens,
                request.generated,
                slots.count,
            )
            for request in [*slots.running(), *list(slots.paused), *ahead]
        )
        return work * place / (place + slots.count - 1)

    def _leave(self, request: AnswerRequest) -> bool:
        """Whether it still waited; else what is computed for it is broken off."""
        if self._waiting.remove(request):
            return True
        self._slots.stop(request)
        return False

    # ------------------------------------------------------------------ owner thread

    def _serve(self, loaded: Future[None], path: Path, options: LoadOptions, adapters: Path | None) -> None:
        try:
            with self._gate.answer():  # so that its speed is measured as it will be
                self._load(path, options, adapters)
        except BaseException as error:
            loaded.set_exception(error)
            return
        loaded.set_result(None)
        try:
            self._work()
        except BaseException as error:  # nobody may wait for a thread that is gone
            self._die(error)

    def _work(self) -> None:
        slots = self._slots
        while not self._closing.is_set():
            request = self._waiting.take(timeout=_IDLE_S)
            if request is None:
                if self._successor is not None:
                    return
                continue
            with self._gate.answer():
                slots.start(request)
                while (slots.active or slots.paused) and not self._closing.is_set():
                    self._fill()
                    slots.step()
        slots.end_all("cancelled")
        for left in self._drained():
            left.end("cancelled")

    def _fill(self) -> None:
        """Let in who may come next; background ones leave as soon as anybody else is there."""
        slots = self._slots
        under_way = [*slots.active.values(), *slots.paused]
        urgent = self._waiting.urgent() > 0 or any(not request.background for request in under_way)
        for request in slots.running() if urgent else ():
            if request.background:
                slots.pause(request)
        while slots.has_room and (following := self._let_in(urgent)):
            slots.start(following)

    def _let_in(self, urgent: bool) -> AnswerRequest | None:
        slots = self._slots
        for request in slots.paused:
            if not (urgent and request.background):
                if not slots.suits(request):
                    return None
                slots.paused.remove(request)
                return request
        running = Counter(request.user for request in slots.active.values())
        many = self._limits.running_per_user
        return self._waiting.take(
            0, slots.suits, lambda user: running[user] >= many, background=not urgent
        ) or self._waiting.take(0, slots.suits, background=not urgent)

    def _drained(self) -> list[AnswerRequest]:
        waiting = []
        while (request := self._waiting.take(timeout=0)) is not None:
            waiting.append(request)
        return waiting

    def _die(self, error: BaseException) -> None:
        log.critical("the owner thread of %s broke down", self._entry.id, exc_info=error)
        with self._lock:
            self._dead = True
            lost = [*self._slots.running(), *self._slots.paused, *self._drained()]
        for request in lost:
            request.out.put(ModelError(f"The model {self._entry.id!r} failed: {error!r}.", "Ask again in a minute."))
        if self._on_death is not None:
            self._on_death()


def _deltas(request: AnswerRequest) -> Iterator[Delta]:
    """Asks the owner anew each time, as another model may take the request over while it waits."""
    told, told_at = 0, 0.0
    try:
        while True:
            try:
                item = request.out.get(timeout=_POLL_S)
            except queue.Empty:
                if request.cancel.is_set():
                    if request.owner._leave(request):
                        yield Delta(finish_reason="cancelled", prompt_tokens=request.prompt_tokens)
                        return
                    continue
                place, seconds = request.owner._place(request)
                now = time.monotonic()
                if place and (place != told or now - told_at > _TELL_S):
                    _require_patience(request, now)
                    told, told_at = place, now
                    yield Delta(place=place, wait_s=seconds)
                continue
            if isinstance(item, AliothError):
                raise item
            yield item
            if item.finish_reason:
                return
    finally:
        request.left = True
        request.owner._leave(request)


def _require_patience(request: AnswerRequest, now: float) -> None:
    most = request.owner._limits.wait_s
    if not request.background and now - request.asked_at > most:
        raise waited_too_long(now - request.asked_at, most)
