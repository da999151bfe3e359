"""Text of files by markitdown or pypdf, for comparison: `plain_readers.py READER < paths > JSON lines`.

Runs in an environment of its own (see corpus_test.py), so it imports nothing of Alioth.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

SECONDS = 60


class TooLong(Exception):
    """A file took longer than the limit."""


def main(reader: str) -> int:
    """Answer each path on standard input with {"path", "text"} or {"path", "error"}."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    read = READERS[reader]()
    signal.signal(signal.SIGALRM, _too_long)
    for line in sys.stdin:
        path = line.rstrip("\n")
        signal.alarm(SECONDS)
        reply: dict[str, Any] = {"path": path}
        try:
            reply["text"] = read(path)
        except Exception as error:  # whatever a reader does with a file, the next one must be read
            reply["error"] = f"{type(error).__name__}: {error}"[:300]
        finally:
            signal.alarm(0)
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
    return 0


def _too_long(number: int, frame: object) -> None:
    raise TooLong(f"over {SECONDS} s")


def _markitdown() -> Callable[[str], str]:
    from markitdown import MarkItDown

    converter = MarkItDown(enable_plugins=False)
    return lambda path: str(converter.convert_local(path).text_content)


def _pypdf() -> Callable[[str], str]:
    from pypdf import PdfReader

    return lambda path: "\n".join(page.extract_text() for page in PdfReader(path).pages)


READERS: dict[str, Callable[[], Callable[[str], str]]] = {"markitdown": _markitdown, "pypdf": _pypdf}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
