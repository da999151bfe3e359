"""One parser process: its pipes, what it is asked, how long it may take, and its end."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ingest.parser_replies import ChildLost, decoded, pages_of, seconds_of
from ingest.sandbox import ROOT, clean_environment, lacking

logger = logging.getLogger(__name__)

WATCH_S = 0.2
"""Seconds between two questions whether the caller still wants what a child works on."""
_TOLD_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C reaches a child that has no session of its own yet; systems that go down send the others."""


class ParseStopped(Exception):
    """The caller wanted the parse no more; its process was ended."""


class Watch:
    """What a caller wants to know and to say while a child works."""

    def __init__(
        self, on_page: Callable[[int, int], None] | None = None, stopped: Callable[[], bool] | None = None
    ) -> None:
        self.on_page = on_page or _unwatched
        self._stopped = stopped

    def check(self) -> None:
        if self._stopped is not None and self._stopped():
            raise ParseStopped


def _unwatched(number: int, total: int) -> None:
    """Nobody wants to know."""


_FOR_CHILDREN = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}


class ParserProcess:
    """One parser process and its two pipes. Used by one thread at a time."""

    def __init__(self, options: dict[str, Any], max_reply: int) -> None:
        self.asked = 0
        self._max_reply = max_reply
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ingest.parser_child", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**clean_environment(), **_FOR_CHILDREN},
            start_new_session=True,  # Ctrl-C in a terminal is for the parent, which ends its children in order
        )

    def running(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout_s: float, watch: Watch, most_lent_s: float = 0) -> dict[str, Any]:
        """The reply to a request. Raises ChildLost, ParseStopped.

        Args:
            most_lent_s: seconds by which the child may move the deadline, for pages that it recognises.
        """
        assert self._process.stdin is not None
        self.asked += 1
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._ending() from error
        begun = time.monotonic()
        lent_s = 0.0
        while True:
            reply = decoded(self._line(begun, timeout_s + lent_s, watch))
            if "sandbox" in reply:
                _note_sandbox(reply["sandbox"])
            elif "pages_done" in reply:
                watch.on_page(*pages_of(reply))
            elif "lent_s" in reply:
                lent_s = min(max(lent_s, seconds_of(reply["lent_s"])), most_lent_s)
            else:
                return reply

    def _line(self, begun: float, timeout_s: float, watch: Watch) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        pieces, self._rest = [self._rest], b""
        size = 0
        while b"\n" not in pieces[-1]:
            watch.check()
            left = begun + timeout_s - time.monotonic()
            if left <= 0:
                raise ChildLost(f"took longer than the limit of {timeout_s:g} s")
            if not select.select([descriptor], [], [], min(left, WATCH_S))[0]:
                continue
            piece = os.read(descriptor, 1 << 20)
            if not piece:
                raise self._ending()
            pieces.append(piece)
            size += len(piece)
            if size > self._max_reply:
                raise ChildLost(f"gave more than the limit of {self._max_reply // 1_000_000} MB")
        pieces[-1], _, self._rest = pieces[-1].partition(b"\n")
        return b"".join(pieces)

    def _ending(self) -> ChildLost:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return ChildLost("closed its output")
        if code == -signal.SIGXCPU:
            return ChildLost("used up its processor time")
        if code < 0:
            return ChildLost(f"crashed (signal {-code})", -code in _TOLD_TO_END)
        return ChildLost(f"ended (exit code {code})")

    def end(self) -> None:
        """Kill the process with all it may have started, and wait for it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # the last request could not be delivered
                    logger.debug("pipe of an ended parser closed with a rest in it")


def _note_sandbox(in_force: dict[str, int]) -> None:
    """Say once what the kernel could not give."""
    missing = tuple(lacking(in_force))
    if missing and missing not in _NOTED:
        _NOTED.add(missing)
        logger.warning("parsers run without %s on this system; see docs/sandbox.md", " and ".join(missing))


_NOTED: set[tuple[str, ...]] = set()
"""What was said already by this process."""
