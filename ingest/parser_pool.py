"""Warm parser processes: a crash, a hang or a memory bomb costs one document, never the worker."""

from __future__ import annotations

import base64
import json
import logging
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from core.errors import UnreadableError
from core.settings import IngestSettings
from core.types import Box, ParsedDocument
from ingest.wire import document_from_dict, error_from_dict

logger = logging.getLogger(__name__)

FILES_PER_CHILD = 200
"""Files after which a child is replaced, so that leaks of parser libraries stay small."""
RENDER_TIMEOUT_S = 30.0
OCR_SHARE = 0.5
"""Share of the parse timeout that OCR of one file may use."""
_ROOT = Path(__file__).resolve().parent.parent


class _ChildLost(Exception):
    """The child ended, or did not answer in time. `why` completes "the parser …"."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ParserPool:
    """`n` parser processes, started when first needed. Thread-safe: callers wait for a free one."""

    def __init__(self, settings: IngestSettings, n: int | None = None) -> None:
        self._settings = settings
        self._slots: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(n or settings.parse_workers):
            self._slots.put(None)
        # the kernel ends a child with the thread that started it, so one thread that outlives all calls starts them
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="parser-starter")
        self._lock = threading.Lock()
        self._children: set[_Child] = set()
        self._closed = False

    def parse(self, path: Path, name: str) -> ParsedDocument:
        """The blocks of a file. `name`: the document's own name, used for messages and where content leaves doubts.

        Raises:
            DocumentError: of the fitting kind; UnreadableError when the parser crashed or went over a limit.
        """
        request = {"op": "parse", "path": str(path.absolute()), "name": name}
        return document_from_dict(self._ask(request, self._settings.parse_timeout_s, name)["document"])

    def render_page(self, path: Path, page: int, scale: float = 1.5, boxes: Sequence[Box] = ()) -> bytes:
        """PNG of page `page` (from 1) of a PDF at `scale` pixels per point, its boxes drawn translucent.

        Raises:
            UnreadableError: not a PDF, no such page, or over a limit.
        """
        corners = [(box.x0, box.y0, box.x1, box.y1) for box in boxes if box.page == page]
        request = {"op": "render", "path": str(path.absolute()), "page": page, "scale": scale, "boxes": corners}
        return base64.b64decode(self._ask(request, RENDER_TIMEOUT_S, path.name)["png"])

    def close(self) -> None:
        """End every child. Calls under way fail."""
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            self._drop(child)
        self._starter.shutdown()

    def __enter__(self) -> ParserPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], timeout_s: float, name: str) -> dict[str, Any]:
        child = self._slots.get()
        try:
            child = self._alive(child)
            reply = child.ask(request, timeout_s)
            if "fault" in reply:  # out of memory: it ends itself after this reply
                self._drop(child)
                child = None
        except _ChildLost as lost:
            if child is not None:
                self._drop(child)
            child = None
            raise UnreadableError(
                f"Cannot read {name!r}: the parser {lost.why}.",
                "Save the file again, split it, or raise ALIOTH_INGEST__PARSE_TIMEOUT_S or "
                "ALIOTH_INGEST__PARSE_MEMORY_MB.",
            ) from lost
        finally:
            self._slots.put(self._kept(child))
        return _checked(reply, name, self._settings)

    def _alive(self, child: _Child | None) -> _Child:
        """The child of a free slot, replaced when it is worn out or was ended while idle."""
        if child is not None and (child.asked >= FILES_PER_CHILD or not child.running()):
            self._drop(child)
            child = None
        if child is None:
            with self._lock:
                if self._closed:
                    raise _ChildLost("was closed")
            child = self._starter.submit(_Child, self._options()).result()
            with self._lock:
                self._children.add(child)
        return child

    def _kept(self, child: _Child | None) -> _Child | None:
        return child if child is not None and child.running() else None

    def _drop(self, child: _Child) -> None:
        with self._lock:
            self._children.discard(child)
        child.end()

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "parent": os.getpid(),
            "memory_mb": settings.parse_memory_mb,
            "cpu_s": settings.parse_timeout_s,
            "max_pages": settings.max_pages,
            "max_chars": settings.max_chars,
            "max_bytes": settings.max_file_mb * 1_000_000,
            "max_expanded": settings.max_file_mb * 5_000_000,
            "ocr_s": settings.parse_timeout_s * OCR_SHARE,
        }


def _checked(reply: dict[str, Any], name: str, settings: IngestSettings) -> dict[str, Any]:
    if "error" in reply:
        raise error_from_dict(reply["error"])
    if "fault" in reply:
        raise UnreadableError(
            f"Cannot read {name!r}: parsing it needs more than the {settings.parse_memory_mb} MB limit of memory.",
            "Raise ALIOTH_INGEST__PARSE_MEMORY_MB or split the file.",
        )
    if "crash" in reply:
        logger.warning("parser fault in %r: %s", name, reply["crash"])
        raise UnreadableError(
            f"Cannot read {name!r}: the parser failed ({reply['crash'].split(':')[0]}).",
            "The file may be damaged: open it in its own program, save it again and add that.",
        )
    return reply


class _Child:
    """One parser process and its two pipes. Used by one thread at a time."""

    def __init__(self, options: dict[str, Any]) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ALIOTH_")}
        self.asked = 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ingest.parser_child", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            env={**environment, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
            start_new_session=True,  # Ctrl-C in a terminal is for the parent, which ends its children in order
        )

    def running(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The reply to a request. Raises _ChildLost."""
        assert self._process.stdin is not None
        self.asked += 1
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise _ChildLost(self._ending()) from error
        reply: dict[str, Any] = json.loads(self._line(timeout_s))
        return reply

    def _line(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        pieces: list[bytes] = []
        while not pieces or not pieces[-1].endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise _ChildLost(f"took longer than the limit of {timeout_s:g} s")
            piece = os.read(descriptor, 1 << 20)
            if not piece:
                raise _ChildLost(self._ending())
            pieces.append(piece)
        return b"".join(pieces)

    def _ending(self) -> str:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "closed its output"
        if code == -24:  # SIGXCPU
            return "used up its processor time"
        return f"crashed (signal {-code})" if code < 0 else f"ended (exit code {code})"

    def end(self) -> None:
        """Kill the process and wait for it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # the last request could not be delivered
                    logger.debug("pipe of an ended parser closed with a rest in it")
