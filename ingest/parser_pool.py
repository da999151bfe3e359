"""Warm parser processes: a crash, a hang or a memory bomb costs one document, never the worker."""

from __future__ import annotations

import base64
import json
import logging
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import DocumentError, StorageError, UnreadableError
from core.settings import IngestSettings
from core.types import Box, ParsedDocument
from ingest.office_convert import OfficeConverter, find_office
from ingest.parsers.old_office import TARGETS
from ingest.sandbox import ROOT, clean_environment, lacking
from ingest.wire import document_from_dict, error_from_dict, error_to_dict

logger = logging.getLogger(__name__)

FILES_PER_CHILD = 200
"""Files after which a child is replaced, so that leaks of parser libraries stay small."""
RENDER_TIMEOUT_S = 30.0
OCR_SHARE = 0.5
"""Share of the parse timeout that OCR of one file may use."""
WATCH_S = 0.2
"""Seconds between two questions whether the caller still wants what a child works on."""
MAX_CONVERSIONS = 10
"""Old Office files that are converted in one document, such as a mail with attachments."""
CONVERSION_SHARE = 2.0
"""Times the parse timeout in which conversions of one document are begun."""
REPLY_BYTES_PER_CHAR = 4
REPLY_ROOM = 64_000_000
"""Bytes of a reply for each character that may be read, and for locators and boxes beside them."""


class _ChildLost(Exception):
    """The child ended, or did not answer in time. `why` completes "the parser …"."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ParseStopped(Exception):
    """The caller wanted the parse no more; its process was ended."""


class ParserPool:
    """`n` parser processes, started when first needed. Thread-safe: callers wait for a free one.

    Args:
        readable: folders that hold the files to parse. The processes can open files there by name and list nothing,
            and read no other file but programs and libraries (where the kernel has Landlock). None for all files.
    """

    def __init__(self, settings: IngestSettings, n: int | None = None, readable: Sequence[Path] | None = None) -> None:
        self._settings = settings
        self._slots: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(n or settings.parse_workers):
            self._slots.put(None)
        # the kernel ends a child with the thread that started it, so one thread that outlives all calls starts them
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="parser-starter")
        self._lock = threading.Lock()
        self._children: set[_Child] = set()
        self._readable = readable
        self._converter: OfficeConverter | None = None
        self._closed = False

    def parse(
        self,
        path: Path,
        name: str,
        on_page: Callable[[int, int], None] | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> ParsedDocument:
        """The blocks of a file. `name`: the document's own name, used for messages and where content leaves doubts.

        Args:
            on_page: told now and then how many pages, slides or sheets are read, and of how many.
            stopped: asked several times a second; when it says True the parser process is ended.

        Raises:
            DocumentError: of the fitting kind; UnreadableError when the parser crashed or went over a limit.
            ParseStopped: `stopped` said so.
        """
        request: dict[str, Any] = {"op": "parse", "path": str(path.absolute()), "name": name}
        watch = _Watch(on_page, stopped)
        with ExitStack() as stack:
            converted: dict[str, Any] = {}
            until = time.monotonic() + CONVERSION_SHARE * self._settings.parse_timeout_s
            while "convert" in (reply := self._ask(request, self._settings.parse_timeout_s, name, watch)):
                wanted = reply["convert"]
                try:
                    converted[wanted["digest"]] = str(stack.enter_context(self._converted(path, wanted, watch)))
                except DocumentError as error:
                    converted[wanted["digest"]] = error_to_dict(error)
                more = len(converted) < MAX_CONVERSIONS and time.monotonic() < until
                request |= {"converted": converted, "may_convert": more}
            document: ParsedDocument = reply["document"]
            return document

    @contextmanager
    def _converted(self, path: Path, wanted: dict[str, Any], watch: _Watch) -> Iterator[Path]:
        """What the parser wants converted: the whole file, or a part of it that comes with the wish."""
        office, name = self._office(), wanted["name"]
        if not wanted["part"]:
            with office.converted(path, wanted["kind"], wanted["target"], name, watch.check) as result:
                yield result
            return
        with (
            office.part(wanted["part"], name) as part,
            office.converted(part, wanted["kind"], wanted["target"], name, watch.check) as result,
        ):
            yield result

    def _office(self) -> OfficeConverter:
        with self._lock:
            if self._closed:
                raise _closed()
            if self._converter is None:
                self._converter = OfficeConverter(self._settings, self._starter)
            return self._converter

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
        if self._converter is not None:
            self._converter.close()

    def __enter__(self) -> ParserPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], timeout_s: float, name: str, watch: _Watch | None = None) -> dict[str, Any]:
        watch = watch or _Watch()
        child = self._free_slot(watch)
        try:
            child = self._alive(child)
            reply = _understood(child.ask(request, timeout_s, watch, self._settings.ocr_max_s))
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
        except BaseException:  # it may be in the middle of its work, and its reply must not be taken for the next one's
            if child is not None:
                self._drop(child)
            child = None
            raise
        finally:
            self._slots.put(self._kept(child))
        return _checked(reply, name, self._settings)

    def _free_slot(self, watch: _Watch) -> _Child | None:
        while True:
            try:
                return self._slots.get(timeout=WATCH_S)
            except queue.Empty:
                watch.check()

    def _alive(self, child: _Child | None) -> _Child:
        """The child of a free slot, replaced when it is worn out or was ended while idle."""
        if child is not None and (child.asked >= FILES_PER_CHILD or not child.running()):
            self._drop(child)
            child = None
        if child is None:
            with self._lock:
                if self._closed:
                    raise _ChildLost("was closed")
            child = self._starter.submit(_Child, self._options(), self._max_reply).result()
            with self._lock:
                self._children.add(child)
        return child

    def _kept(self, child: _Child | None) -> _Child | None:
        return child if child is not None and child.running() else None

    def _drop(self, child: _Child) -> None:
        with self._lock:
            self._children.discard(child)
        child.end()

    @property
    def _max_reply(self) -> int:
        return self._settings.max_chars * REPLY_BYTES_PER_CHAR + REPLY_ROOM

    def _readable_folders(self) -> list[str] | None:
        if self._readable is None:
            return None
        folders = list(self._readable)
        if find_office():
            with suppress(StorageError):  # whoever needs a conversion is told
                folders.append(self._office().folder)
        return [str(folder) for folder in folders]

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "parent": os.getpid(),
            "readable": self._readable_folders(),
            "memory_mb": settings.parse_memory_mb,
            "cpu_s": settings.parse_timeout_s,
            "max_pages": settings.max_pages,
            "max_chars": settings.max_chars,
            "max_bytes": settings.max_file_mb * 1_000_000,
            "max_expanded": settings.max_file_mb * 5_000_000,
            "ocr_s": settings.parse_timeout_s * OCR_SHARE,
            "ocr_page_s": settings.ocr_page_s,
            "ocr_max_s": settings.ocr_max_s,
        }


def _checked(reply: dict[str, Any], name: str, settings: IngestSettings) -> dict[str, Any]:
    if "error" in reply:
        raise reply["error"]
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


def _understood(reply: dict[str, Any]) -> dict[str, Any]:
    """The reply with its document or error made whole; a parser that a file has taken over can say anything.

    Raises:
        _ChildLost: it is no answer, so the process is not to be trusted with another document.
    """
    try:
        if "document" in reply:
            return {"document": document_from_dict(reply["document"])}
        if "error" in reply:
            return {"error": error_from_dict(reply["error"])}
        if "convert" in reply:
            return {"convert": _wish(reply["convert"])}
        if "crash" in reply or "png" in reply:
            return {key: str(reply[key]) for key in ("crash", "png") if key in reply}
        if "fault" in reply:
            return {"fault": str(reply["fault"])}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _senseless() from error
    raise _senseless()


def _wish(raw: dict[str, Any]) -> dict[str, Any]:
    kind, part = str(raw["kind"]), base64.b64decode(raw["part"], validate=True)
    wish = {"name": str(raw["name"]), "digest": str(raw["digest"]), "kind": kind, "target": TARGETS[kind]}
    return {**wish, "part": part}


def _pages(reply: dict[str, Any]) -> tuple[int, int]:
    try:
        return int(reply["pages_done"]), int(reply["pages"])
    except (KeyError, TypeError, ValueError) as error:
        raise _senseless() from error


def _seconds(said: Any) -> float:
    try:
        return float(said)
    except (TypeError, ValueError) as error:
        raise _senseless() from error


def _senseless() -> _ChildLost:
    return _ChildLost("gave an answer that makes no sense")


def _closed() -> UnreadableError:
    return UnreadableError("Cannot read files any more: the parsers were closed.", "Start the program again.")


class _Watch:
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


class _Child:
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

    def ask(self, request: dict[str, Any], timeout_s: float, watch: _Watch, most_lent_s: float = 0) -> dict[str, Any]:
        """The reply to a request. Raises _ChildLost, ParseStopped.

        Args:
            most_lent_s: seconds by which the child may move the deadline, for pages that it recognises.
        """
        assert self._process.stdin is not None
        self.asked += 1
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise _ChildLost(self._ending()) from error
        begun = time.monotonic()
        lent_s = 0.0
        while True:
            reply = _decoded(self._line(begun, timeout_s + lent_s, watch))
            if "sandbox" in reply:
                _note_sandbox(reply["sandbox"])
            elif "pages_done" in reply:
                watch.on_page(*_pages(reply))
            elif "lent_s" in reply:
                lent_s = min(max(lent_s, _seconds(reply["lent_s"])), most_lent_s)
            else:
                return reply

    def _line(self, begun: float, timeout_s: float, watch: _Watch) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        pieces, self._rest = [self._rest], b""
        size = 0
        while b"\n" not in pieces[-1]:
            watch.check()
            left = begun + timeout_s - time.monotonic()
            if left <= 0:
                raise _ChildLost(f"took longer than the limit of {timeout_s:g} s")
            if not select.select([descriptor], [], [], min(left, WATCH_S))[0]:
                continue
            piece = os.read(descriptor, 1 << 20)
            if not piece:
                raise _ChildLost(self._ending())
            pieces.append(piece)
            size += len(piece)
            if size > self._max_reply:
                raise _ChildLost(f"gave more than the limit of {self._max_reply // 1_000_000} MB")
        pieces[-1], _, self._rest = pieces[-1].partition(b"\n")
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


def _decoded(line: bytes) -> dict[str, Any]:
    """Raises _ChildLost when it is not what a parser says."""
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _senseless() from error
    if not isinstance(reply, dict):
        raise _senseless()
    return reply


def _note_sandbox(in_force: dict[str, int]) -> None:
    """Say once what the kernel could not give."""
    missing = tuple(lacking(in_force))
    if missing and missing not in _NOTED:
        _NOTED.add(missing)
        logger.warning("parsers run without %s on this system; see docs/sandbox.md", " and ".join(missing))


_NOTED: set[tuple[str, ...]] = set()
"""What was said already by this process."""
