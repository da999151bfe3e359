"""All the processes of one data directory, real ones, that a test may kill: launcher, workers, models, Chroma."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from app.wiring import Alioth
from core.settings import Settings, load_settings
from core.types import Collection
from storage.chroma_server import chroma_command
from storage.vectors import VectorIndex
from tests.faults.failpoints import Arm
from tests.faults.ports import reserve

ROOT = Path(__file__).resolve().parents[2]
LEASE_S = 4
"""Seconds; renewed three times in that, which a machine with other work to do must come to."""
START_S = 600.0
"""Seconds until a process must have started. Nothing is expected to be fast: only what never comes is a fault."""
STOP_S = 240.0


@dataclass(slots=True)
class Process:
    """One process of the town. ended: exit code, negative for a signal; None while it runs."""

    role: str
    name: str
    pid: int
    arm: Arm | None = None
    ended: int | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return self.ended is None


class Launcher:
    """The process that forks the others; see tests/faults/launcher.py."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._started: dict[int, queue.SimpleQueue[int]] = {}
        self._ended: dict[int, int] = {}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ALIOTH_")}
        temporary = folder / "tmp"
        temporary.mkdir(parents=True)
        with (folder / "launcher.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.launcher"],
                cwd=ROOT,
                env=environment | _ONE_THREAD | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        ready: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._started[0] = ready
        threading.Thread(target=self._listen, daemon=True).start()
        self.pid = ready.get(timeout=START_S)

    def fork(
        self, role: str, name: str, environment: dict[str, str], arguments: dict[str, Any], arm: Arm | None
    ) -> int:
        """Start a role; gives its process id."""
        number = next(self._numbers)
        answer: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._started[number] = answer
        order = {
            "id": number,
            "role": role,
            "environment": environment,
            "arguments": arguments,
            "log": str(self._folder / f"{name}.log"),
            "journal": str(self._folder / "journal.jsonl"),
            "arm": arm.to_json() if arm else None,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return answer.get(timeout=START_S)

    def code_of(self, pid: int) -> int | None:
        """Exit code of a process that ended, else None."""
        return self._ended.get(pid)

    def close(self) -> None:
        """End it and everything it forked."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(STOP_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while reading, at the end
            for line in self._process.stdout:
                message = json.loads(line)
                if "ready" in message:
                    self._started[0].put(message["ready"])
                elif "started" in message:
                    self._ended.pop(message["pid"], None)  # process ids come round again
                    self._started[message["started"]].put(message["pid"])
                else:
                    self._ended[message["ended"]] = message["code"]


_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class Town:
    """One data directory with its processes. Use as a context; everything is ended at exit.

    Args:
        database_url: PostgreSQL; empty for SQLite in the data directory.
        homes: data directories, as on several machines; more than one needs PostgreSQL.
        disk: where the data directories and the vectors lie; in `folder`, beside the logs, without it.
        max_attempts: of a document whose workers die; so many by default that none is given up for the kills.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str = "",
        homes: int = 1,
        disk: Path | None = None,
        max_attempts: int = 1000,
    ) -> None:
        self.folder = folder
        self._max_attempts = max_attempts
        self._disk = disk or folder
        self.homes = [self._disk / f"home{number}" for number in range(homes)]
        for home in self.homes:
            home.mkdir(parents=True, exist_ok=True)
        self._gone: list[Process] = []
        self.chroma_port, self.models_port = reserve(), reserve()
        self.token = secrets.token_urlsafe(16)
        self._database_url = database_url
        self.processes: dict[str, Process] = {}
        self._chroma: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        self._clean_environment()
        self.settings = self._settings(self.homes[0])
        from storage.database import Database
        from storage.migrate import migrate

        database = Database(self.settings.sql_url)
        migrate(database, self.homes[0])
        database.close()
        self.alioth = Alioth(self.settings, start_services=False)
        self.launcher = Launcher(folder)
        self.start_chroma()
        self.start_models()

    def environment(self, home: Path) -> dict[str, str]:
        """The settings of the processes of one machine."""
        return {
            "ALIOTH_HOME": str(home),
            "ALIOTH_DATABASE_URL": self._database_url,
            "ALIOTH_CHROMA__URL": f"http://127.0.0.1:{self.chroma_port}",
            "ALIOTH_MODELS__URL": f"http://127.0.0.1:{self.models_port}",
            "ALIOTH_MODELS__TOKEN": self.token,
            "ALIOTH_INGEST__LEASE_S": str(LEASE_S),
            "ALIOTH_INGEST__MAX_ATTEMPTS": str(self._max_attempts),
            "ALIOTH_INGEST__PARSE_WORKERS": "2",
            "ALIOTH_INGEST__PARSE_TIMEOUT_S": "900",
        }

    def _settings(self, home: Path) -> Settings:
        given = self.environment(home)
        with variables(given):
            return load_settings()

    def _clean_environment(self) -> None:
        """The checks in this process must see what the processes see, whatever the caller's environment says."""
        for name in [name for name in os.environ if name.startswith("ALIOTH_") and name != "ALIOTH_HOME"]:
            del os.environ[name]

    def collection(self, name: str) -> Collection:
        """A new collection."""
        return self.alioth.create_collection(name)

    # ---------------------------------------------------------------- start

    def start_chroma(self) -> None:
        with (self.folder / "chroma.log").open("ab") as log:
            self._chroma = subprocess.Popen(
                chroma_command(self._disk / "chroma", "127.0.0.1", self.chroma_port), stdout=log, stderr=log
            )
        self.processes["chroma"] = Process("chroma", "chroma", self._chroma.pid)
        until = time.monotonic() + START_S
        while True:
            with contextlib.suppress(Exception):
                index = VectorIndex(f"http://127.0.0.1:{self.chroma_port}")
                index.ping()
                index.close()
                return
            assert time.monotonic() < until, (self.folder / "chroma.log").read_text()[-2000:]
            time.sleep(0.05)

    def start_models(self, arm: Arm | None = None) -> None:
        arguments = {"port": self.models_port, "token": self.token}
        self._fork("models", "models", self.homes[0], arguments, arm)
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.models_port), 0.5):
                return
            time.sleep(0.02)
        raise AssertionError((self.folder / "models.log").read_text()[-2000:])

    def start_worker(self, name: str, arm: Arm | None = None) -> Process:
        number = int("".join(filter(str.isdigit, name)) or 0)
        return self._fork("worker", name, self.homes[number % len(self.homes)], {}, arm)

    def start_submitter(
        self, name: str, collection: Collection, operations: list[dict[str, Any]], arm: Arm | None = None
    ) -> Process:
        number = next(self._names)
        arguments = {
            "collection": collection.id,
            "operations": operations,
            "acknowledged": str(self.folder / f"acknowledged-{number}.jsonl"),
        }
        return self._fork("submitter", name, self.homes[0], arguments, arm)

    def _fork(self, role: str, name: str, home: Path, arguments: dict[str, Any], arm: Arm | None) -> Process:
        pid = self.launcher.fork(role, name, self.environment(home), arguments, arm)
        process = Process(role, name, pid, arm, None, arguments)
        self.processes[name] = process
        return process

    # ---------------------------------------------------------------- watch

    def look(self) -> list[Process]:
        """Processes that ended since the last look, without those that `stop` or `await_end` waited for."""
        self._notice()
        gone, self._gone = self._gone, []
        return gone

    def _notice(self) -> None:
        for process in self.processes.values():
            if process.alive:
                code = self._chroma.poll() if process.role == "chroma" and self._chroma else self._code(process)
                if code is not None:
                    process.ended = code
                    self._gone.append(process)

    def _code(self, process: Process) -> int | None:
        return self.launcher.code_of(process.pid)

    def acknowledged(self, process: Process) -> dict[int, str | None]:
        """Operation id to error (None when it went well), for the operations that came to their end."""
        path = Path(process.arguments["acknowledged"])
        lines = path.read_text().splitlines() if path.exists() else []
        return {line["id"]: line["error"] for line in map(json.loads, lines)}

    def parser_children(self, name: str) -> list[psutil.Process]:
        """Living parser processes of a worker."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.processes[name].pid).children()
            return [child for child in children if _is_parser(child)]
        return []

    def orphans(self) -> list[str]:
        """Parser processes below this launcher's former children whose worker is dead."""
        living = {process.pid for process in self.processes.values() if process.alive}
        out = []
        for process in psutil.process_iter(["ppid", "cmdline", "environ"]):
            environment = process.info["environ"] or {}
            if environment.get("TMPDIR") != str(self.folder / "tmp") or process.pid == self.launcher.pid:
                continue
            ours = process.pid in living or process.info["ppid"] in living
            if not ours and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                out.append(f"{process.pid}: {' '.join(process.info['cmdline'] or [])[:120]}")
        return out

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):  # it was faster
            os.kill(self.processes[name].pid, number)

    def stop(self, name: str, timeout_s: float = STOP_S) -> int | None:
        """SIGTERM; its exit code, or None when it did not end in time and was killed."""
        process = self.processes[name]
        if process.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
                os.kill(process.pid, signal.SIGTERM)
        if self.await_end(process, timeout_s):
            return process.ended
        os.kill(process.pid, signal.SIGKILL)
        self.await_end(process, STOP_S)
        return None

    def await_end(self, process: Process, timeout_s: float) -> bool:
        """Whether it ended in time. Others that end meanwhile are kept for the next `look`."""
        until = time.monotonic() + timeout_s
        while process.alive and time.monotonic() < until:
            self._notice()
            time.sleep(0.02)
        if process in self._gone:
            self._gone.remove(process)
        return not process.alive

    def __enter__(self) -> Town:
        return self

    def __exit__(self, *exc: object) -> None:
        self.alioth.close()
        self.launcher.close()
        if self._chroma is not None:
            self._chroma.kill()
            self._chroma.wait(STOP_S)


def _is_parser(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "ingest.parser_child" in process.cmdline()
    return False


@contextlib.contextmanager
def variables(given: dict[str, str]) -> Any:
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
