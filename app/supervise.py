"""Starts, watches, restarts and stops the processes of Alioth; starts what is absent for a command.

`python -m app.supervise NAME` is the guard of one process that a command started: it ends with its last user.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any

from app.locks import AddressFile, OwnerLock, UserLock
from app.services import SERVICES, Service, choose_port, is_healthy, new_token, run_folder
from core.errors import AliothError, IndexUnavailableError, ModelUnavailableError
from core.settings import Settings, load_settings

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
OWNED_ELSEWHERE = 3
"""Exit code of a guard that found the process already owned."""


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One supervised process. Create and start it in the main thread: it is told to end when that thread ends."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self.service = service
        self._settings = settings
        self._run = run_folder(settings)
        self.lock = OwnerLock(self._run, service.name)
        self.address = AddressFile(self._run, service.name)
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.url = ""
        self.last_words: list[str] = []
        self._ready_pipe: int | None = None
        self._started_at = 0.0
        self._failures = 0
        self._retry_at = 0.0
        self._token = ""
        self._reader: threading.Thread | None = None

    def try_start(self) -> bool:
        """Start it if we may: False when another process owns it or it is too early after a crash."""
        if self.process is not None:
            return True
        if time.monotonic() < self._retry_at or not self.lock.acquire():
            return False
        before = self.address.load()
        port = choose_port(before.get("port"))
        self._token = self._token or before.get("token") or new_token()
        ready_read, ready_write = os.pipe()
        assert self.lock.fd is not None
        launch = self.service.launch(self._settings, port, self._token, ready_write)
        self.url = launch.url
        self.last_words = []
        self.process = subprocess.Popen(
            launch.command,
            env=launch.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self.lock.fd, ready_write),
            preexec_fn=_die_with_parent,
        )
        os.close(ready_write)
        self._ready_pipe = ready_read
        self._started_at = time.monotonic()
        self.ready = False
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._pump, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        log.info("started %s as process %d", self.service.name, self.process.pid)
        return True

    def _pump(self, stream: IO[bytes]) -> None:
        """Copy what the child prints into a rotating file, and remember its last lines for messages."""
        folder = self._settings.home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        limits = self._settings.log
        handler = RotatingFileHandler(
            folder / f"{self.service.name}.out.log", maxBytes=limits.max_mb * 1_000_000, backupCount=limits.backups
        )
        with stream, contextlib.closing(handler):
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip()
                self.last_words = [*self.last_words[-9:], line]
                handler.emit(logging.LogRecord(self.service.name, logging.INFO, "", 0, line, None, None))

    def check(self) -> None:
        """Notice readiness and death. Call it a few times per second."""
        if self.process is None:
            return
        if self.process.poll() is not None:
            self._note_death()
        elif not self.ready and self._is_ready():
            self.ready = True
            self._failures = 0
            port = int(self.url.rsplit(":", 1)[1]) if self.url else 0
            self.address.write({"url": self.url, "pid": self.process.pid, "port": port, "token": self._token})

    def _note_death(self) -> None:
        assert self.process is not None
        self._failures += 1
        delay = min(30.0, 0.5 * 2 ** min(self._failures - 1, 6))
        if time.monotonic() - self._started_at > 60:
            delay = 0.5
        self._retry_at = time.monotonic() + delay
        log.error("%s ended with code %s; again in %.1f s", self.service.name, self.process.returncode, delay)
        self._forget()

    def _forget(self) -> None:
        if self._reader is not None:
            self._reader.join(2)  # its last lines say why it ended
        self.process = None
        self.ready = False
        if self._ready_pipe is not None:
            os.close(self._ready_pipe)
            self._ready_pipe = None
        self.lock.release()

    @property
    def failures(self) -> int:
        """Deaths in a row without having been ready."""
        return self._failures

    def _is_ready(self) -> bool:
        if not self.service.reports_ready:
            return not self.service.health or is_healthy(self.service, self.url, 0.5)
        if self._ready_pipe is None:
            return True
        readable, _, _ = select.select([self._ready_pipe], [], [], 0)
        if not readable:
            return False
        report = os.read(self._ready_pipe, 4096)
        if not report:
            return False
        with contextlib.suppress(json.JSONDecodeError):
            self.url = json.loads(report).get("url", self.url)
        return True

    def stop(self, timeout_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            log.warning("%s did not stop within %.0f s; killed", self.service.name, timeout_s)
            self.process.kill()
            self.process.wait()
        self._forget()


class Supervisor:
    """All processes of one machine, watched from the main thread."""

    def __init__(self, settings: Settings, names: Iterable[str]) -> None:
        self.children = [Child(SERVICES[name], settings) for name in names]
        run = run_folder(settings)
        self._users = [UserLock(run, child.service.name) for child in self.children]
        self.stopping = threading.Event()

    def child(self, name: str) -> Child:
        return next(child for child in self.children if child.service.name == name)

    def step(self) -> None:
        """One look at every process."""
        for child in self.children:
            child.try_start()
            child.check()

    def share(self) -> None:
        """Use processes that a command's guard already runs, so that they stay."""
        for user in self._users:
            user.share()

    def run(self, on_step: Any = None) -> None:
        """Watch until `stopping` is set (by a signal), then stop everything in reverse order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        self.share()
        try:
            while not self.stopping.is_set():
                self.step()
                if on_step is not None:
                    on_step(self)
                self.stopping.wait(0.1)
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop what we started, readers before what they read from."""
        for child in reversed(self.children):
            child.stop()


def ensure(settings: Settings, name: str, *, start: bool = True) -> dict[str, Any]:
    """Address `{"url", "token", ...}` of a running process; starts it under a guard when absent.

    The caller counts as a user until it ends.

    Raises:
        ModelUnavailableError, IndexUnavailableError: it could not be started; the message holds its last words.
    """
    service = SERVICES[name]
    run = run_folder(settings)
    _share_for_life(run, name)
    lock = OwnerLock(run, name)
    until = time.monotonic() + service.start_timeout_s
    guard: subprocess.Popen[str] | None = None
    while time.monotonic() < until:
        known = find(settings, name)
        if known is not None:
            if guard is not None:
                _guards.append(guard)
            return known
        if not lock.held() and start and (guard is None or guard.poll() == OWNED_ELSEWHERE):
            guard = _launch_guard(settings, name)
        if guard is not None and guard.poll() not in (None, 0, OWNED_ELSEWHERE):
            raise _unavailable(name, (guard.stderr.read() if guard.stderr else "").strip())
        time.sleep(0.05)
    raise _unavailable(name, f"it was not ready after {service.start_timeout_s:.0f} s")


def find(settings: Settings, name: str) -> dict[str, Any] | None:
    """Address of the process if it answers now; neither waits nor starts anything."""
    run = run_folder(settings)
    if not OwnerLock(run, name).held():
        return None
    known = AddressFile(run, name).load()
    return known if known and _alive(known) and is_healthy(SERVICES[name], str(known["url"])) else None


def _alive(known: dict[str, Any]) -> bool:
    try:
        os.kill(int(known.get("pid", 0)) or -1, 0)
    except (ProcessLookupError, PermissionError, ValueError):
        return False
    return True


def _unavailable(name: str, why: str) -> AliothError:
    kind = IndexUnavailableError if name == "chroma" else ModelUnavailableError
    return kind(
        f"The {name} process could not be started: {why}.", "Its log is in ALIOTH_HOME/logs; try `alioth doctor`."
    )


_shared: dict[tuple[Path, str], UserLock] = {}
_guards: list[subprocess.Popen[str]] = []
"""Kept so that a guard is reaped when it ends before us."""


def _share_for_life(run: Path, name: str) -> None:
    if (run, name) not in _shared:
        user = UserLock(run, name)
        user.share()
        _shared[(run, name)] = user


def _launch_guard(settings: Settings, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "app.supervise", name],
        env={**os.environ, "ALIOTH_HOME": str(settings.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def guard(settings: Settings, name: str) -> int:
    """Run one process until nobody has used it for `models.idle_s` seconds. Exit code 0, 1 or OWNED_ELSEWHERE."""
    child = Child(SERVICES[name], settings)
    users = UserLock(run_folder(settings), name)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    if not child.try_start():
        return OWNED_ELSEWHERE
    idle_since: float | None = None
    alone = False
    try:
        while not stopping.is_set():
            child.check()
            if child.process is None:
                if child.failures >= 3:
                    sys.stderr.write(" / ".join(child.last_words[-3:]) or "it ended at once")
                    return 1
                child.try_start()
            alone = child.ready and users.try_alone()
            idle_since = (idle_since or time.monotonic()) if alone else None
            if alone and idle_since is not None and time.monotonic() - idle_since >= settings.models.idle_s:
                break
            if alone:
                users.unlock()
                alone = False
            stopping.wait(0.2)
    finally:
        child.stop()
        users.close()
    return 0


def main() -> int:
    from core.log import configure_logging

    settings = load_settings()
    configure_logging(settings.log, settings.home / "logs", f"guard-{sys.argv[1]}")
    return guard(settings, sys.argv[1])


if __name__ == "__main__":
    sys.exit(main())
