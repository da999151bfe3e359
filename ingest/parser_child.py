"""A process that parses files for its parent: one JSON line in, one JSON line out, under limits, without a network.

Run as `python -m ingest.parser_child '{"memory_mb": …}'`. It ends when its standard input does.
"""

from __future__ import annotations

import base64
import gc
import json
import logging
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from core.errors import DocumentError, UnreadableError
from ingest import sandbox

if TYPE_CHECKING:
    from ingest.parsers.old_office import Conversions

_EXIT_OUT_OF_MEMORY = 77
PAGES_EVERY_S = 0.5
"""Seconds between two lines that tell how many pages are read."""


def main(arguments: list[str]) -> int:
    """Serve requests until standard input ends. Settings come as JSON in the only argument."""
    options = json.loads(arguments[0])
    replies = os.fdopen(os.dup(1), "wb")
    _silence()
    replies.write(_line({"sandbox": _restrict(options)}))
    replies.flush()
    for line in sys.stdin.buffer:
        try:
            reply = _line(_serve(json.loads(line), options, _PageCount(replies)))
        except MemoryError:
            reply = b""
        replies.write(reply or _line({"fault": "memory"}))
        replies.flush()
        if not reply:
            return _EXIT_OUT_OF_MEMORY
    return 0


def _line(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


class _PageCount:
    """Writes a line with the pages read so far before the reply, at most twice a second, and one for each loan."""

    def __init__(self, replies: BinaryIO) -> None:
        self._replies = replies
        self._next = time.monotonic() + PAGES_EVERY_S
        self.cpu_until = 0.0

    def __call__(self, number: int, total: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PAGES_EVERY_S
        self._replies.write(_line({"pages_done": number, "pages": total}))
        self._replies.flush()

    def lent(self, seconds: float) -> None:
        """Pages to recognise may take so many seconds more, in all: of the parent's clock and of CPU time."""
        _allow_cpu(self.cpu_until + seconds)
        self._replies.write(_line({"lent_s": seconds}))
        self._replies.flush()


def _silence() -> None:
    """Whatever libraries print must not get between the replies."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    logging.disable(logging.CRITICAL)


def _restrict(options: dict[str, Any]) -> dict[str, int]:
    """Limits, then the sandbox; gives what of it is in force."""
    sandbox.die_with(options["parent"])
    sandbox.limit(resource.RLIMIT_CORE, 0)
    sandbox.limit(resource.RLIMIT_AS, int(options["memory_mb"]) << 20)
    sandbox.limit(resource.RLIMIT_NOFILE, 256)
    in_force = sandbox.confine_parser(options.get("readable"), int(options["max_bytes"]))
    sys.addaudithook(sandbox.refuse_in_python)
    return in_force


def _cpu_used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _allow_cpu(seconds: float) -> None:
    """Processor time up to `seconds` of this process's life: beyond it the kernel ends it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _serve(request: dict[str, Any], options: dict[str, Any], pages: _PageCount) -> dict[str, Any]:
    pages.cpu_until = _cpu_used() + float(options["cpu_s"])
    _allow_cpu(pages.cpu_until)
    try:
        if request["op"] == "render":
            from ingest.page_image import render

            boxes = [tuple(box) for box in request["boxes"]]
            png = render(Path(request["path"]), request["page"], request["scale"], boxes)
            return {"png": base64.b64encode(png).decode("ascii")}
        return _parse(request, options, pages)
    except DocumentError as error:
        from ingest.wire import error_to_dict

        return {"error": error_to_dict(error)}
    except MemoryError:
        raise
    except Exception as error:  # a parser's own fault costs one document, and the parent logs what it was
        return {"crash": f"{type(error).__name__}: {error}"[:500]}
    finally:
        gc.collect()
        gc.freeze()  # the parsers' libraries are not gone through again after each file: that takes longer than most


def _parse(request: dict[str, Any], options: dict[str, Any], pages: _PageCount) -> dict[str, Any]:
    from ingest.parse import parse_file
    from ingest.parsers import Limits
    from ingest.parsers.old_office import ConversionNeededError, knowing
    from ingest.wire import document_to_dict

    path = Path(request["path"])
    if not path.is_file():
        raise UnreadableError(f"Cannot read {request['name']!r}: its file is gone.", "Ingest the document again.")
    limits = Limits(
        options["max_pages"],
        options["max_chars"],
        options["max_expanded"],
        options["ocr_s"],
        options["ocr_page_s"],
        options["ocr_max_s"],
        on_page=pages,
        on_lent=pages.lent,
    )
    try:
        with knowing(_conversions(request)):
            return {"document": document_to_dict(parse_file(path, request["name"], limits, options["max_bytes"]))}
    except ConversionNeededError as needed:
        part = base64.b64encode(needed.part).decode("ascii")
        return {"convert": {"name": needed.name, "digest": needed.digest, "part": part, "kind": needed.kind}}


def _conversions(request: dict[str, Any]) -> Conversions:
    from ingest.parsers.old_office import Conversions
    from ingest.wire import error_from_dict

    done: dict[str, Path | DocumentError] = {
        digest: Path(result) if isinstance(result, str) else error_from_dict(result)
        for digest, result in request.get("converted", {}).items()
    }
    return Conversions(done, request.get("may_convert", True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
