"""Computes several answers together on one llama.cpp context; they join and leave between two tokens."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

from core.errors import AliothError, ModelError
from models.engine.answer_request import AnswerRequest
from models.engine.counts import Counts
from models.engine.llama_native import Aborted, NoRoom
from models.engine.pace import READ_CHUNK, Pace
from models.engine.prefixes import Prefixes, SequenceMemory
from models.protocols import Delta, GenerationSettings

log = logging.getLogger(__name__)

Row = tuple[int, int, int, bool]
"""Token, position, sequence, whether its logits are wanted."""
Part = list[tuple[AnswerRequest, int]]
"""Requests, and how many tokens of each are computed in one call."""


class Computes(SequenceMemory, Protocol):
    """What slots need of llama.cpp; see `models.engine.llama_native.NativeModel`."""

    def abort(self, wanted: bool) -> None: ...

    def compute(self, rows: Sequence[Row]) -> None: ...

    def sampler(self, settings: GenerationSettings) -> Any: ...

    def sample(self, sampler: Any, index: int) -> int: ...

    def wear(self, adapters: Sequence[tuple[str, float]]) -> None: ...

    def piece(self, token: int) -> bytes: ...

    def ends_answer(self, token: int) -> bool: ...


class Slots:
    """The answers under way. For one thread, but for `stop` and looking at `active`.

    active: by sequence. paused: begun, but out of the slots for now; what they wrote stays.

    Args:
        count: most answers at the same time.
        answer_s: seconds one may take once it has begun.
    """

    def __init__(
        self, native: Computes, count: int, prefixes: Prefixes, pace: Pace, counts: Counts, answer_s: float
    ) -> None:
        self._native, self.count = native, count
        self._prefixes, self._pace, self._counts = prefixes, pace, counts
        self._answer_s = answer_s
        self._computing: frozenset[AnswerRequest] = frozenset()
        self._closing = self._crowded = False
        self.active: dict[int, AnswerRequest] = {}
        self.paused: list[AnswerRequest] = []

    def running(self) -> list[AnswerRequest]:
        """What is under way, in the order of its beginning; any thread may ask."""
        return sorted(list(self.active.values()), key=lambda request: request.begun_at)

    @property
    def has_room(self) -> bool:
        """Whether one more may come; not while the cache is too full for those who are there."""
        return len(self.active) < self.count and not (self._crowded and self.active)

    def suits(self, request: AnswerRequest) -> bool:
        """Whether it can be computed together with what is under way: all wear the same adapters."""
        return all(other.key == request.key for other in self.active.values())

    def stop(self, request: AnswerRequest) -> None:
        """Break off what is computed now if it reads this request's prompt; any thread may call it.

        The others lose the step under way and no more.
        """
        if request in self._computing:
            self._native.abort(True)

    def close(self) -> None:
        """Break everything off; any thread may call it."""
        self._closing = True
        self._native.abort(True)

    def start(self, request: AnswerRequest) -> None:
        """Give the request a slot. What it lacks is told to whoever waits for it."""
        now = time.monotonic()
        try:
            if request.sampler is None:
                request.sampler = self._native.sampler(request.settings)
            if not self.active:
                self._native.wear(request.settings.adapters)
            seq = next(seq for seq in range(self.count) if seq not in self.active)
            busy = {seq: other.tokens[: other.done] for seq, other in self.active.items()}
            request.done = self._prefixes.begin(seq, request.tokens, request.key, busy)
        except AliothError as error:
            self._free(request)
            request.out.put(error)
            return
        if not request.begun_at:
            request.begun_at = now
            request.reused = min(request.done, request.prompt_tokens)
            self._counts.began(now - request.asked_at, request.prompt_tokens, request.reused)
        elif request.paused_at:
            request.begun_at += now - request.paused_at
        request.seq, request.paused_at = seq, 0.0
        self.active[seq] = request

    def pause(self, request: AnswerRequest) -> None:
        """Take it out of its slot; `start` lets it go on where it stopped."""
        self._leave(request)
        request.paused_at = time.monotonic()
        self.paused.append(request)

    def end_all(self, reason: str) -> None:
        """End what is under way or paused, with what it wrote."""
        for request in [*self.active.values(), *self.paused]:
            self._free(request)
            request.end(reason)
        self.active.clear()
        self.paused.clear()

    def step(self) -> None:
        """One more token for each answer, or the next piece of a prompt with a token for those that write."""
        self._native.abort(False)
        if self._closing:
            return
        requests = self.running()
        reads = any(request.reading for request in requests)
        self._computing = frozenset(requests) if reads or len(requests) == 1 else frozenset()
        self._drop_unwanted()
        try:
            for part in self._parts():
                if all(request.seq in self.active for request, _ in part):
                    self._compute(part)
        finally:
            self._computing = frozenset()

    def _drop_unwanted(self) -> None:
        now = time.monotonic()
        for request in [*self.running(), *self.paused]:
            late = not request.paused_at and now - request.begun_at > self._answer_s
            if request.unwanted or late:
                self._finish(request, "cancelled" if request.unwanted else "timeout")

    def _parts(self) -> list[Part]:
        running = self.running()
        writing: Part = [(request, 1) for request in running if not request.reading]
        readers = [request for request in running if request.reading]
        if not readers:
            width = self._pace.width(len(writing)) if writing else 1
            return [writing[at : at + width] for at in range(0, len(writing), width)]
        room = min(self._pace.chunk(len(writing)), READ_CHUNK - len(writing))
        part = writing
        for request in readers:
            if room > 0:
                part.append((request, min(room, request.unread)))
                room -= part[-1][1]
        return [part]

    def _compute(self, part: Part) -> None:
        rows: list[Row] = []
        outputs: list[tuple[AnswerRequest, int]] = []
        for request, count in part:
            tokens, last = request.tokens, len(request.tokens) - 1
            rows += [(tokens[at], at, request.seq, at == last) for at in range(request.done, request.done + count)]
            if rows[-1][3]:
                outputs.append((request, len(rows) - 1))
        started = time.perf_counter()
        try:
            self._native.compute(rows)
        except Aborted:
            self._undo(part)
        except NoRoom:
            self._undo(part)
            self._make_room()
        except ModelError as error:
            self._undo(part)
            self._alone(part, error)
        else:
            for request, count in part:
                request.done += count
            for request, index in outputs:
                self._write(request, index)
            self._measure(part, len(rows), time.perf_counter() - started)

    def _measure(self, part: Part, rows: int, seconds: float) -> None:
        """The sampling is part of the time: it waits for the device."""
        self._counts.computed(rows, seconds)
        if rows == len(part):
            self._pace.has_written(rows, seconds)
        else:
            self._pace.has_read(rows, seconds)

    def _undo(self, part: Part) -> None:
        for request, _ in part:
            if not self._native.cut(request.seq, request.done):
                request.done = 0

    def _make_room(self) -> None:
        """The newest answer waits until the others are done; background ones go first."""
        running = sorted(self.running(), key=lambda request: (request.background, request.begun_at))
        if len(running) > 1:
            self._counts.preempted += 1
            self._crowded = True
            self.pause(running[-1])
            return
        for request in running:
            self._fail(request, ModelError("The model has no memory for so long a text.", "Shorten the question."))

    def _alone(self, part: Part, error: ModelError) -> None:
        """Find out whose computation failed, so that nobody else's answer does."""
        if len(part) == 1:
            self._fail(part[0][0], error)
            return
        for one in part:
            self._compute([one])

    def _write(self, request: AnswerRequest, index: int) -> None:
        try:
            token = self._native.sample(request.sampler, index)
            request.generated += 1
            if self._native.ends_answer(token):
                self._finish(request, "stop")
                return
            piece = request.text.feed(self._native.piece(token))
        except AliothError as error:
            self._fail(request, error)
            return
        if piece:
            request.out.put(Delta(text=piece))
        if request.text.stopped:
            self._finish(request, "stop")
        elif request.generated >= request.settings.max_tokens:
            self._finish(request, "length")
        else:
            request.tokens.append(token)

    def _finish(self, request: AnswerRequest, reason: str) -> None:
        request.end(reason)  # first: keeping the state takes a moment
        self._counts.ended(request, reason)
        self._pace.has_ended(request.generated)
        self._remove(request)

    def _fail(self, request: AnswerRequest, error: AliothError) -> None:
        log.warning("An answer failed: %s", error)
        request.out.put(error)
        self._remove(request)

    def _remove(self, request: AnswerRequest) -> None:
        if request in self.paused:
            self.paused.remove(request)
        else:
            self._leave(request)
        self._free(request)
        self._crowded = False

    def _leave(self, request: AnswerRequest) -> None:
        del self.active[request.seq]
        self._prefixes.keep(request.seq, request.tokens[: request.done], request.key)
        request.seq, request.done = -1, 0

    def _free(self, request: AnswerRequest) -> None:
        if request.sampler is not None:
            request.sampler.close()
            request.sampler = None
