"""One thread for all that torch computes with a model; it makes way when the language model writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from models.queueing.lanes import ComputeGate

T = TypeVar("T")

LINGER_S: Final = 0.2
"""While the language model is at work the thread ends when nothing came for so many seconds."""


class ComputeThread:
    """Runs calls one after the other in a thread of their own. Thread-safe.

    One thread, as torch keeps buffers and a team of OpenMP threads for each that computes. llama.cpp counts on the same
    OpenMP: with more threads than cores each barrier goes to sleep at once, and answers are written at 83 tokens/s
    instead of 137. A thread that ends takes its team with it; so this one ends when an answer begins. The next call
    starts it anew, which costs a question some 13 ms.
    """

    def __init__(self, name: str, gate: ComputeGate) -> None:
        self._name, self._gate = name, gate
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._under_way = 0
        self._used_at = 0.0
        self._timer: threading.Timer | None = None
        gate.before_answers(self._make_way)

    @property
    def alive(self) -> bool:
        """Whether there is a thread now."""
        return self._pool is not None

    def run(self, call: Callable[[], T]) -> T:
        """What `call` gives; its errors reach the caller."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix=self._name)
            future = self._pool.submit(call)
            self._under_way += 1
        try:
            return future.result()
        finally:
            with self._lock:
                self._under_way -= 1
                self._used_at = time.monotonic()
                if self._gate.answering:
                    self._end_after(LINGER_S)

    def _make_way(self) -> None:
        with self._lock:
            if self._under_way:
                self._end_after(LINGER_S)
            else:
                self._end()

    def _end_after(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = threading.Timer(seconds, self._look)
            self._timer.daemon = True
            self._timer.start()

    def _look(self) -> None:
        with self._lock:
            self._timer = None
            left = LINGER_S - (time.monotonic() - self._used_at)
            if self._under_way or left > 0:
                self._end_after(max(left, LINGER_S / 4))
            else:
                self._end()

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None
