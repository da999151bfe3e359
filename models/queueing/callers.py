"""Keeps native memory from being freed under a call: counts who is inside."""

from __future__ import annotations

import threading


class CallerCount:
    """`with count as alive`: alive is False once it was closed. Thread-safe."""

    def __init__(self) -> None:
        self._inside = 0
        self._open = True
        self._condition = threading.Condition()
        self._entered = threading.local()

    def __enter__(self) -> bool:
        with self._condition:
            if self._open:
                self._inside += 1
            stack = self._entered.__dict__.setdefault("stack", [])
            stack.append(self._open)
            return self._open

    def __exit__(self, *_: object) -> None:
        if self._entered.stack.pop():
            with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    def close(self) -> None:
        """Let nobody in any more and wait until those inside are out."""
        with self._condition:
            self._open = False
            self._condition.wait_for(lambda: self._inside == 0)
