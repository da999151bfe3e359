"""A process that unpacks one archive for its parent: members as frames on its output, under limits, without a network.

Run as `python -m ingest.unpack_child '{"name": …}'` with the archive as its standard input. Each frame is a line of
JSON; behind a member's line its bytes follow.
"""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import sys
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from ingest import sandbox
from ingest.unpack import LeftOut, Member, Unpacked, unpack
from ingest.wire import any_error_to_dict

_BLOCK = 1 << 20


def main(arguments: list[str]) -> int:
    """Confine this process, then write what is in the archive. Settings come as JSON in the only argument."""
    options = json.loads(arguments[0])
    out = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    logging.disable(logging.CRITICAL)
    _frame(out, {"sandbox": _restrict(options)})
    read = frozenset(options["extensions"])
    found = unpack(
        cast(BinaryIO, io.BufferedReader(_Positioned(0), _BLOCK)),
        options["name"],
        lambda name: PurePosixPath(name).suffix.lower().lstrip(".").rstrip("_") in read,
        options["max_member"],
        options["max_bytes"],
        spooled=_in_memory if hasattr(os, "memfd_create") else None,
    )
    for one in found:
        _tell(out, one)
    _frame(out, {"end": True})
    out.flush()
    return 0


def _restrict(options: dict[str, Any]) -> dict[str, int]:
    sandbox.die_with(options["parent"])
    sandbox.limit(resource.RLIMIT_CORE, 0)
    sandbox.limit(resource.RLIMIT_AS, int(options["memory_mb"]) << 20)
    sandbox.limit(resource.RLIMIT_NOFILE, 64)
    sandbox.limit(resource.RLIMIT_CPU, int(options["cpu_s"]) + 1)
    in_force = sandbox.confine_parser([], int(options["max_member"]) + _BLOCK)
    sys.addaudithook(sandbox.refuse_in_python)
    return in_force


def _tell(out: BinaryIO, one: Unpacked) -> None:
    if isinstance(one, LeftOut):
        _frame(out, {"left_out": one.path})
    elif isinstance(one, Member):
        _frame(out, {"member": one.path, "size": one.size})
        while block := one.file.read(_BLOCK):
            out.write(block)
        out.flush()
    else:
        _frame(out, {"refused": one.path, "whole": one.whole, "error": any_error_to_dict(one.error)})


def _frame(out: BinaryIO, frame: dict[str, Any]) -> None:
    out.write(json.dumps(frame).encode("ascii") + b"\n")
    out.flush()


def _in_memory() -> AbstractContextManager[BinaryIO]:
    """A file without a name in memory: this process may write no other."""
    return os.fdopen(os.memfd_create("member"), "w+b")


class _Positioned(io.RawIOBase):
    """A file's bytes without moving its offset, which the parent shares."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
