"""Warm parser processes: a crash, a hang or a memory bomb costs one document, never the worker."""

from __future__ import annotations

import base64
import os
import queue
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
from ingest.parser_process import WATCH_S, ParserProcess, ParseStopped, Watch
from ingest.parser_replies import ChildLost, checked, understood
from ingest.wire import error_to_dict

__all__ = ["ParseStopped", "ParserPool"]

FILES_PER_CHILD = 200
"""Files after which a child is replaced, so that leaks of parser libraries stay small."""
RENDER_TIMEOUT_S = 30.0
OCR_SHARE = 0.5
"""Share of the parse timeout that OCR of one file may use."""
MAX_CONVERSIONS = 10
"""Old Office files that are converted in one document, such as a mail with attachments."""
CONVERSION_SHARE = 2.0
"""Times the parse timeout in which conversions of one document are begun."""
REPLY_BYTES_PER_CHAR = 4
REPLY_ROOM = 64_000_000
"""Bytes of a reply for each character that may be read, and for locators and boxes beside them."""


class ParserPool:
    """`n` parser processes, started when first needed. Thread-safe: callers wait for a free one.

    Args:
        readable: folders that hold the files to parse. The processes can open files there by name and list nothing,
            and read no other file but programs and libraries (where the kernel has Landlock). None for all files.
    """

    def __init__(self, settings: IngestSettings, n: int | None = None, readable: Sequence[Path] | None = None) -> None:
        self._settings = settings
        self._slots: queue.LifoQueue[ParserProcess | None] = queue.LifoQueue()
        for _ in range(n or settings.parse_workers):
            self._slots.put(None)
        # the kernel ends a child with the thread that started it, so one thread that outlives all calls starts them
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="parser-starter")
        self._lock = threading.Lock()
        self._children: set[ParserProcess] = set()
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
        watch = Watch(on_page, stopped)
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
    def _converted(self, path: Path, wanted: dict[str, Any], watch: Watch) -> Iterator[Path]:
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

    def _ask(self, request: dict[str, Any], timeout_s: float, name: str, watch: Watch | None = None) -> dict[str, Any]:
        watch = watch or Watch()
        try:
            try:
                reply = self._reply(request, timeout_s, watch)
            except ChildLost as lost:
                if not lost.told_to_end:
                    raise
                reply = self._reply(request, timeout_s, watch)  # by another child, if it is still wanted
        except ChildLost as lost:
            raise UnreadableError(
                f"Cannot read {name!r}: the parser {lost.why}.",
                "Save the file again, split it, or raise ALIOTH_INGEST__PARSE_TIMEOUT_S or "
                "ALIOTH_INGEST__PARSE_MEMORY_MB.",
            ) from lost
        return checked(reply, name, self._settings)

    def _reply(self, request: dict[str, Any], timeout_s: float, watch: Watch) -> dict[str, Any]:
        """Raises ChildLost, ParseStopped."""
        child = self._free_slot(watch)
        try:
            child = self._alive(child)
            reply = understood(child.ask(request, timeout_s, watch, self._settings.ocr_max_s))
            if "fault" in reply:  # out of memory: it ends itself after this reply
                self._drop(child)
                child = None
            return reply
        except BaseException:  # it may be in the middle of its work, and its reply must not be taken for the next one's
            if child is not None:
                self._drop(child)
            child = None
            raise
        finally:
            self._slots.put(self._kept(child))

    def _free_slot(self, watch: Watch) -> ParserProcess | None:
        while True:
            try:
                return self._slots.get(timeout=WATCH_S)
            except queue.Empty:
                watch.check()

    def _alive(self, child: ParserProcess | None) -> ParserProcess:
        """The child of a free slot, replaced when it is worn out or was ended while idle."""
        if child is not None and (child.asked >= FILES_PER_CHILD or not child.running()):
            self._drop(child)
            child = None
        if child is None:
            with self._lock:
                if self._closed:
                    raise ChildLost("was closed")
            child = self._starter.submit(ParserProcess, self._options(), self._max_reply).result()
            with self._lock:
                self._children.add(child)
        return child

    def _kept(self, child: ParserProcess | None) -> ParserProcess | None:
        return child if child is not None and child.running() else None

    def _drop(self, child: ParserProcess) -> None:
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


def _closed() -> UnreadableError:
    return UnreadableError("Cannot read files any more: the parsers were closed.", "Start the program again.")
