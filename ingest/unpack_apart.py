"""Archives unpacked by a process of their own, which is locked in like the parsers and not believed either."""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final, cast

from core.errors import AliothError, InputError, StorageError, UnreadableError
from core.settings import IngestSettings
from ingest.archive import MAX_MEMBERS
from ingest.logical_path import logical_path
from ingest.parsers import EXTENSIONS
from ingest.sandbox import ROOT, clean_environment
from ingest.unpack import IN_MEMORY, LeftOut, Member, Refused, Unpacked
from ingest.wire import any_error_from_dict

logger = logging.getLogger(__name__)

EXPANDS: Final = 5
"""An archive and all that comes out of it may have this many times max_file_mb, and its process this many times
parse_timeout_s of processor time."""
_MAX_LINE: Final = 1 << 16
_BLOCK: Final = 1 << 20
_FRAMES: Final = 3 * MAX_MEMBERS
"""More cannot come: members, archives among them that are refused, and what frames the whole."""


class _Lost(Exception):
    """The process ended, fell silent or talked nonsense. Completes "the process that unpacks it …"."""


def unpack_apart(file: BinaryIO, name: str, settings: IngestSettings) -> Iterator[Unpacked]:
    """`unpack` in a process without network, with limits on memory, processor time and output; it ends with this.

    A process that crashes or goes over a limit gives one `Refused` for the whole archive at the end; what came before
    stands. A member waits in a temporary file where it is large.

    Args:
        file: seekable; its offset is undefined afterwards where it is no real file. name: its logical path.
    """
    max_member = settings.max_file_mb * 1_000_000
    try:
        with _real(file) as real, _started(real, name, settings) as process:
            yield from _Frames(process, name, max_member, settings.parse_timeout_s * EXPANDS).read()
    except _Lost as lost:
        yield Refused(name, _unreadable(name, str(lost)), whole=True)
    except OSError as error:
        yield Refused(name, _no_room(name, error), whole=True)


@contextmanager
def _real(file: BinaryIO) -> Iterator[BinaryIO]:
    """The stream as a file that another process can read: itself, or a copy without a name."""
    try:
        file.fileno()
    except (OSError, AttributeError):
        with tempfile.TemporaryFile() as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy, _BLOCK)
            copy.flush()
            yield cast(BinaryIO, copy)
        return
    file.flush()
    yield file


@contextmanager
def _started(file: BinaryIO, name: str, settings: IngestSettings) -> Iterator[subprocess.Popen[bytes]]:
    max_member = settings.max_file_mb * 1_000_000
    options = {
        "parent": os.getpid(),
        "name": name,
        "extensions": sorted(EXTENSIONS),
        "max_member": max_member,
        "max_bytes": max_member * EXPANDS,
        "memory_mb": settings.parse_memory_mb,
        "cpu_s": settings.parse_timeout_s * EXPANDS,
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ingest.unpack_child", json.dumps(options)],
        stdin=file.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env={**clean_environment(), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class _Frames:
    """What the process says, checked against what it may say."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, max_member: int, silent_s: float) -> None:
        assert process.stdout is not None
        self._process = process
        self._descriptor = process.stdout.fileno()
        self._name = name
        self._max_member, self._left = max_member, max_member * EXPANDS
        self._silent_s = silent_s
        self._rest = b""

    def read(self) -> Iterator[Unpacked]:
        """Every frame until the last. Raises _Lost."""
        for _ in range(_FRAMES):
            frame = self._frame()
            try:
                if "end" in frame:
                    return
                if "left_out" in frame:
                    yield LeftOut(str(frame["left_out"]))
                elif "refused" in frame:
                    yield Refused(str(frame["refused"]), any_error_from_dict(frame["error"]), bool(frame["whole"]))
                elif "member" in frame:
                    yield from self._member(self._checked(frame["member"]), int(frame["size"]))
            except (KeyError, TypeError, ValueError) as error:
                raise _Lost("gave an answer that makes no sense") from error
        raise _Lost("gave more than an archive may hold")

    def _checked(self, path: object) -> str:
        """A member's path, which must be one that lies in this archive."""
        with suppress(InputError):
            if isinstance(path, str) and path.startswith(f"{self._name}/") and logical_path(path) == path:
                return path
        raise _Lost("gave an answer that makes no sense")

    def _member(self, path: str, size: int) -> Iterator[Unpacked]:
        self._left -= size
        if not 0 <= size <= self._max_member or self._left < 0:
            raise _Lost("gave more than an archive may hold")
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as spooled:
            file = cast(BinaryIO, spooled)
            failed = self._copy(file, size, path)
            if failed is not None:
                yield Refused(path, failed)
                return
            file.seek(0)
            yield Member(path, file, size)

    def _copy(self, target: BinaryIO, size: int, path: str) -> AliothError | None:
        """The next bytes into a file. All of them are taken from the pipe, also when the disk is full."""
        failed: AliothError | None = None
        while size:
            block = self._some(size)
            size -= len(block)
            if failed is None:
                try:
                    target.write(block)
                except OSError as error:
                    failed = _no_room(path, error)
        return failed

    def _frame(self) -> dict[str, Any]:
        line = b""
        while b"\n" not in line:
            line += self._some(_BLOCK)
            if len(line) > _BLOCK + _MAX_LINE:
                break
        line, newline, self._rest = line.partition(b"\n")
        try:
            frame = json.loads(line) if newline and len(line) <= _MAX_LINE else None
        except (ValueError, RecursionError):
            frame = None
        if not isinstance(frame, dict):
            raise _Lost("gave an answer that makes no sense")
        return frame

    def _some(self, most: int) -> bytes:
        """At least one byte, at most so many. Raises _Lost."""
        if self._rest:
            block, self._rest = self._rest[:most], self._rest[most:]
            return block
        until = time.monotonic() + self._silent_s
        while not select.select([self._descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
            if time.monotonic() >= until:
                raise _Lost(f"said nothing for {self._silent_s:g} s")
        block = os.read(self._descriptor, min(most, _BLOCK))
        if not block:
            raise _Lost(self._ending())
        return block

    def _ending(self) -> str:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "closed its output"
        if code == -signal.SIGXCPU:
            return "used up its processor time"
        return f"crashed (signal {-code})" if code < 0 else f"ended (exit code {code})"


def _unreadable(name: str, why: str) -> UnreadableError:
    logger.warning("unpacking %r: the process %s", name, why)
    return UnreadableError(
        f"Cannot unpack {name!r}: the process that unpacks it {why}.",
        "Split the archive, or raise ALIOTH_INGEST__PARSE_TIMEOUT_S or ALIOTH_INGEST__PARSE_MEMORY_MB.",
    )


def _no_room(name: str, error: OSError) -> StorageError:
    return StorageError(f"Cannot unpack {name!r}: {error.strerror or error}.", "Free space in the temporary folder.")
