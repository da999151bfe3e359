"""A process that parses files for its parent: one JSON line in, one JSON line out, under limits, without a network.

Run as `python -m ingest.parser_child '{"memory_mb": …}'`. It ends when its standard input does.
"""

from __future__ import annotations

import base64
import ctypes
import gc
import json
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from core.errors import DocumentError, UnreadableError

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_EXIT_OUT_OF_MEMORY = 77


def main(arguments: list[str]) -> int:
    """Serve requests until standard input ends. Settings come as JSON in the only argument."""
    options = json.loads(arguments[0])
    replies = os.fdopen(os.dup(1), "wb")
    _silence()
    _restrict(options)
    for line in sys.stdin.buffer:
        try:
            reply = _serve(json.loads(line), options)
        except MemoryError:
            reply = {"fault": "memory"}
        replies.write(json.dumps(reply, ensure_ascii=True).encode() + b"\n")
        replies.flush()
        if "fault" in reply:
            return _EXIT_OUT_OF_MEMORY
    return 0


def _silence() -> None:
    """Whatever libraries print must not get between the replies."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    logging.disable(logging.CRITICAL)


def _restrict(options: dict[str, Any]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != options["parent"]:
            os._exit(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_AS, int(options["memory_mb"]) << 20)
    _lower(resource.RLIMIT_NOFILE, 256)
    # a network namespace of its own has no way out; where the kernel refuses, the hook below still stands
    if hasattr(libc, "unshare") and libc.unshare(_CLONE_NEWNET):
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    sys.addaudithook(_refuse_network)


def _refuse_network(event: str, args: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec"):
        raise PermissionError(f"A parser may not do {event}.")


def _lower(which: int, value: int) -> None:
    soft, hard = resource.getrlimit(which)
    limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
    if soft == resource.RLIM_INFINITY or limit < soft:
        resource.setrlimit(which, (limit, hard))


def _allow_cpu(seconds: float) -> None:
    """Processor time for the next file: beyond it the kernel ends this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _serve(request: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    _allow_cpu(float(options["cpu_s"]))
    try:
        if request["op"] == "render":
            from ingest.page_image import render

            boxes = [tuple(box) for box in request["boxes"]]
            png = render(Path(request["path"]), request["page"], request["scale"], boxes)
            return {"png": base64.b64encode(png).decode("ascii")}
        return {"document": _parse(request, options)}
    except DocumentError as error:
        from ingest.wire import error_to_dict

        return {"error": error_to_dict(error)}
    except MemoryError:
        raise
    except Exception as error:  # a parser's own fault costs one document, and the parent logs what it was
        return {"crash": f"{type(error).__name__}: {error}"[:500]}
    finally:
        gc.collect()


def _parse(request: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    from ingest.parse import parse_file
    from ingest.parsers import Limits
    from ingest.wire import document_to_dict

    path = Path(request["path"])
    if not path.is_file():
        raise UnreadableError(f"Cannot read {request['name']!r}: its file is gone.", "Ingest the document again.")
    limits = Limits(options["max_pages"], options["max_chars"], options["max_expanded"], options["ocr_s"])
    return document_to_dict(parse_file(path, request["name"], limits, options["max_bytes"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
