"""From a blocking stream of deltas to an OpenAI answer, with the reader's departure noticed at any moment."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from core.errors import AliothError, ModelError
from models.protocols import Delta
from models.wire import PLACE_FIELD, WAIT_FIELD, error_body

log = logging.getLogger(__name__)

_POLL_S = 0.1
GATHER_S = 0.1
Disconnected = Callable[[], Awaitable[bool]]


class AnswerStream:
    """Runs a blocking stream in a thread and hands its deltas to the event loop.

    Text that comes within `GATHER_S` after a piece was handed on goes out as one piece: people see no difference, and
    each piece costs both ends as much time as a small model needs for a token.

    Args:
        open_stream: called in the thread with the event that cancels it.
    """

    def __init__(self, open_stream: Callable[[threading.Event], Iterator[Delta]], threads: Executor) -> None:
        self._open = open_stream
        self._threads = threads
        self._cancel = threading.Event()
        self._items: deque[Delta | AliothError | None] = deque()
        self._arrived, self._ended = asyncio.Event(), asyncio.Event()
        self._awaited = True
        self._opened: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Returns when the request is queued; errors known by then are raised here, before any answer is begun."""
        loop = asyncio.get_running_loop()
        self._opened = loop.create_future()
        loop.run_in_executor(self._threads, self._pump, loop, self._opened)
        await self._opened

    def cancel(self) -> None:
        self._cancel.set()

    async def deltas(self, disconnected: Disconnected) -> AsyncIterator[Delta]:
        """Deltas in order. Stops the model when the reader is gone or the generator is closed.

        The reader is looked for however steadily the deltas come: one that waits for the whole answer reads nothing
        in between, so nothing else would tell that it left.
        """
        looked_at = time.monotonic()
        try:
            while True:
                self._arrived.clear()
                self._awaited = True
                if not self._items:
                    await _within(self._arrived, _POLL_S)
                if time.monotonic() - looked_at >= _POLL_S:
                    if await disconnected():
                        return
                    looked_at = time.monotonic()
                if not self._items:
                    continue
                self._awaited = False
                text = ""
                while self._items:
                    item = self._items.popleft()
                    if isinstance(item, Delta) and item.text and not item.finish_reason:
                        text += item.text
                        continue
                    if text and not (isinstance(item, Delta) and item.finish_reason):
                        yield Delta(text=text)
                        text = ""
                    if item is None:
                        return
                    if isinstance(item, AliothError):
                        raise item
                    yield replace(item, text=text + item.text)
                    text = ""
                if text:
                    yield Delta(text=text)
                    await _within(self._ended, GATHER_S)
        finally:
            self._cancel.set()

    def _pump(self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None]) -> None:
        def send(item: Delta | AliothError | None) -> None:
            self._items.append(item)
            if not isinstance(item, Delta) or item.finish_reason:
                loop.call_soon_threadsafe(self._ended.set)
            if self._awaited:  # else whoever gathers looks by itself
                self._awaited = False
                loop.call_soon_threadsafe(self._arrived.set)

        try:
            stream = self._open(self._cancel)
        except Exception as error:
            loop.call_soon_threadsafe(opened.set_exception, _ours(error))
            return
        loop.call_soon_threadsafe(opened.set_result, None)
        try:
            for delta in stream:
                send(delta)
            send(None)
        except Exception as error:
            send(_ours(error))


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it is set before the time is up."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def completion(answer: AnswerStream, model: str, disconnected: Disconnected) -> dict[str, Any]:
    """The whole answer as one OpenAI `chat.completion` object."""
    text, last = "", Delta()
    async for delta in answer.deltas(disconnected):
        text += delta.text
        last = delta
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": last.finish_reason,
        "logprobs": None,
    }
    return {**_envelope("chat.completion", model), "choices": [choice], "usage": _usage(last)}


async def chunk_lines(
    answer: AnswerStream, model: str, include_usage: bool, disconnected: Disconnected
) -> AsyncIterator[str]:
    """Server-sent events of OpenAI `chat.completion.chunk` objects; an error becomes an event with `error`."""
    envelope = _envelope("chat.completion.chunk", model)
    last = Delta()
    # sent at once, so that headers leave before the prompt is read
    yield _event({**envelope, "choices": [_choice({"role": "assistant", "content": ""})]})
    try:
        async for last in answer.deltas(disconnected):
            if last.place:
                place = {PLACE_FIELD: last.place, WAIT_FIELD: math.ceil(last.wait_s)}
                yield _event({**envelope, **place, "choices": [_choice({"content": ""})]})
            elif last.text or last.finish_reason:
                yield _event({**envelope, "choices": [_choice({"content": last.text}, last.finish_reason or None)]})
    except AliothError as error:
        yield _event(error_body(error))
        return
    if include_usage:
        yield _event({**envelope, "choices": [], "usage": _usage(last)})
    yield "data: [DONE]\n\n"


def _envelope(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def _usage(last: Delta) -> dict[str, int]:
    total = last.prompt_tokens + last.generated_tokens
    return {
        "prompt_tokens": last.prompt_tokens,
        "completion_tokens": last.generated_tokens,
        "total_tokens": total,
    }


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _ours(error: Exception) -> AliothError:
    if isinstance(error, AliothError):
        return error
    log.error("stream failed", exc_info=error)
    return ModelError(f"The model failed: {type(error).__name__}.", "Ask again.")
