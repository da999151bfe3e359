"""Old Office and OpenDocument files to docx or pptx, by a LibreOffice that is locked into one folder for one file."""

from __future__ import annotations

import fcntl
import functools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from core.errors import DocumentTooLargeError, StorageError, UnreadableError, UnsupportedTypeError
from core.settings import IngestSettings
from ingest.sandbox import ROOT, clean_environment

logger = logging.getLogger(__name__)

_PREFIX: Final = "alioth-office-"
_RESTART: Final = 81
"""LibreOffice's exit code when it has made its profile and wants to be started again."""
_STARTS: Final = 3
_ASK_S: Final = 0.1
_LEAST_MEMORY_MB: Final = 1024
_PLACES: Final = (
    "/usr/lib/libreoffice",
    "/usr/lib64/libreoffice",
    "/opt/libreoffice",
    "/usr/local/lib/libreoffice",
)
_PROFILE: Final = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel"
 oor:op="fuse"><value>3</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution"
 oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks"
 oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Writer/Content/Update"><prop oor:name="Link"
 oor:op="fuse"><value>2</value></prop></item>
<item oor:path="/org.openoffice.Office.Java/VirtualMachine"><prop oor:name="Enable"
 oor:op="fuse"><value>false</value></prop></item>
</oor:items>
"""
"""Macros off at every level, links never followed, no Java."""


@functools.cache
def find_office() -> Path | None:
    """The LibreOffice program itself, not the script that starts it, or None where it is not installed."""
    found = [Path(path).resolve().parent for name in ("soffice", "libreoffice") if (path := shutil.which(name))]
    installed = [folder / "program" for folder in map(Path, _PLACES)]
    versions = sorted(Path("/opt").glob("libreoffice*/program"), reverse=True)
    for folder in (*found, *installed, *versions):
        if (folder / "soffice.bin").is_file():
            return folder / "soffice.bin"
    return None


class OfficeConverter:
    """Converts files in a temporary folder of its own. Thread-safe: each conversion has a profile for itself.

    Args:
        starter: starts the processes; they end with the thread that did.

    Raises:
        StorageError: the temporary folder cannot be written.
    """

    def __init__(self, settings: IngestSettings, starter: Executor) -> None:
        self._settings = settings
        self._starter = starter
        _remove_leftovers()
        try:
            self.folder, self._lock = _own_folder()
        except OSError as error:
            raise _no_room("old Office files", error) from error

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    @contextmanager
    def converted(self, path: Path, kind: str, target: str, name: str, check: Callable[[], None]) -> Iterator[Path]:
        """A file with what `path` holds in the format `target`, as long as the context lasts.

        Args:
            kind: extension that tells LibreOffice what it is. name: the document's own, for messages.
            check: called several times a second; what it raises ends the conversion.

        Raises:
            UnsupportedTypeError: LibreOffice is not installed.
            UnreadableError: it could not read the file, crashed, or went over a limit.
        """
        program = find_office()
        if program is None:
            raise UnsupportedTypeError(
                f"Cannot ingest {name!r}: files of this type are read through LibreOffice, which is not installed.",
                "Install it (Debian, Ubuntu: apt-get install --no-install-recommends libreoffice-writer "
                f"libreoffice-impress) and retry, or save the file as {target}.",
            )
        try:
            folder = Path(tempfile.mkdtemp(dir=self.folder))
        except OSError as error:
            raise _no_room(name, error) from error
        try:
            yield self._convert(program, path, folder, (kind, target), name, check)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def part(self, data: bytes, name: str) -> Iterator[Path]:
        """A file with these bytes, a part of the document `name`, as long as the context lasts."""
        try:
            descriptor, place = tempfile.mkstemp(dir=self.folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        except OSError as error:
            raise _no_room(name, error) from error
        try:
            yield Path(place)
        finally:
            Path(place).unlink(missing_ok=True)

    def _convert(
        self, program: Path, path: Path, folder: Path, types: tuple[str, str], name: str, check: Callable[[], None]
    ) -> Path:
        source, out = folder / f"document.{types[0]}", folder / "out"
        try:
            (folder / "profile" / "user").mkdir(parents=True)
            (folder / "profile" / "user" / "registrymodifications.xcu").write_text(_PROFILE, encoding="utf-8")
            out.mkdir()
            shutil.copyfile(path, source)
        except OSError as error:
            raise _no_room(name, error) from error
        deadline = time.monotonic() + self._settings.parse_timeout_s
        for _ in range(_STARTS):
            code = self._run(program, source, folder, types[1], (deadline, check), name)
            if code != _RESTART:
                break
        result = out / f"document.{types[1]}"
        if code == -signal.SIGXFSZ or (result.is_file() and result.stat().st_size > self._max_bytes):
            raise DocumentTooLargeError(
                f"Cannot ingest {name!r}: as {types[1]} it is over the {self._settings.max_file_mb} MB limit.",
                "Raise ALIOTH_INGEST__MAX_FILE_MB or split the file.",
            )
        if code != 0 or not result.is_file() or result.stat().st_size == 0:
            logger.info("LibreOffice ended with code %d on a %s file", code, types[0])
            raise UnreadableError(
                f"Cannot read {name!r}: LibreOffice could not open it. It is damaged, protected by a password, or not "
                "what its name says.",
                f"Open it in its own program, save it as {types[1]} and add that.",
            )
        return result

    @property
    def _max_bytes(self) -> int:
        return self._settings.max_file_mb * 1_000_000

    def _run(
        self, program: Path, source: Path, folder: Path, target: str, until: tuple[float, Callable[[], None]], name: str
    ) -> int:
        """The exit code. The whole process group is gone when this returns or raises."""
        deadline, check = until
        process = self._starter.submit(self._start, program, source, folder, target).result()
        try:
            while True:
                try:
                    return int(process.wait(_ASK_S))
                except subprocess.TimeoutExpired:
                    check()
                if time.monotonic() > deadline:
                    raise UnreadableError(
                        f"Cannot read {name!r}: LibreOffice took longer than the limit of "
                        f"{self._settings.parse_timeout_s:g} s.",
                        "Save the file in a newer format, split it, or raise ALIOTH_INGEST__PARSE_TIMEOUT_S.",
                    )
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self, program: Path, source: Path, folder: Path, target: str) -> subprocess.Popen[bytes]:
        settings = self._settings
        profile = (folder / "profile").as_uri()
        switches = ["--headless", "--norestore", "--nologo", "--nodefault", "--nolockcheck", "--nofirststartwizard"]
        options = {
            "parent": os.getpid(),
            "memory_mb": max(settings.parse_memory_mb, _LEAST_MEMORY_MB),
            "cpu_s": settings.parse_timeout_s,
            "max_bytes": settings.max_file_mb * 2_000_000,  # a little over is told as such, a flood is cut off
            "program": str(program),
            "folder": str(folder),
            "arguments": [
                f"-env:UserInstallation={profile}",
                f"-env:OSL_SOCKET_PATH={folder}",
                *switches,
                *("--convert-to", target, "--outdir", str(folder / "out"), str(source)),
            ],
            "environment": {
                "PATH": "/usr/bin:/bin",
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "LANG": "C.UTF-8",
                "SAL_USE_VCLPLUGIN": "svp",
                "OSL_SOCKET_PATH": str(folder),
            },
        }
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "ingest.office_child", json.dumps(options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=clean_environment(),
            start_new_session=True,
        )


def _no_room(name: str, error: OSError) -> StorageError:
    return StorageError(
        f"Cannot convert {name!r} in {tempfile.gettempdir()!r}: {error.strerror or error}.",
        "Free space in the temporary folder, or set TMPDIR.",
    )


def _own_folder() -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock.

    Until the lock is there, another process may take the folder for a leftover; so afterwards it must still be the one
    that stands under its name.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        descriptor = _locked(folder)
        if descriptor is not None:
            return folder, descriptor


def _locked(folder: Path) -> int | None:
    """The descriptor that holds the lock of a folder, or None when another process has removed it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            return descriptor
    except FileNotFoundError:
        logger.debug("%s was taken for a leftover before it was locked", folder)
    os.close(descriptor)
    return None


def _remove_leftovers() -> None:
    """Folders of processes that were killed: nobody holds their lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                    continue  # it was removed meanwhile, and the name is another's now
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
