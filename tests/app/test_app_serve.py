"""`alioth serve` as a whole: starts, survives the death of each process, stops without leaving anything."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.locks import OwnerLock
from tests.app.cli_driver import CommandLine
from tests.faults.ports import reserve

WAIT_S = 600.0
"""Seconds after which something will never come; how fast it comes is measured elsewhere."""


def _wait(condition: Callable[[], Any], seconds: float = WAIT_S) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


@dataclass
class Served:
    """A running `alioth serve`."""

    cli: CommandLine
    port: int
    process: subprocess.Popen[str]
    log: Path

    def status(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            with contextlib.suppress(ValueError):
                return error.code, json.loads(error.read())
            return error.code, {}
        except OSError:
            return 0, {}

    def ready(self) -> bool:
        return self.status("/readyz")[0] == 200

    def pid(self, name: str) -> int | None:
        """Of one process now; None while it is between two lives."""
        child = self.children().get(name)
        return None if child is None else child.pid

    def children(self) -> dict[str, psutil.Process]:
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                command = " ".join(child.cmdline())
            except psutil.NoSuchProcess:  # also a zombie that the supervisor has not reaped yet
                continue
            for name, word in (
                ("web", "app.server"),
                ("worker", "app.worker"),
                ("models", "app.model_server"),
                ("chroma", "chroma"),
            ):
                if word in command:
                    found[name] = child
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    cli, port = CommandLine(folder / "home", {}), reserve()
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(
            cli.command("serve", "--port", str(port), "--no-help-collection"),
            env=cli.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
    running = Served(cli, port, process, folder / "serve.log")
    _wait(running.ready)
    _wait(lambda: set(running.children()) == {"web", "worker", "models", "chroma"})
    yield running
    if process.poll() is None:
        process.terminate()
        process.wait(WAIT_S)


def test_the_terminal_shows_the_address_and_the_set_up_link(served: Served) -> None:
    _wait(lambda: "/setup?token=" in served.log.read_text())
    assert f"http://127.0.0.1:{served.port}" in served.log.read_text()


def test_it_lives_on_loopback_only(served: Served) -> None:
    processes = [psutil.Process(served.process.pid), *psutil.Process(served.process.pid).children(recursive=True)]
    listening = [c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 3 and set(listening) == {"127.0.0.1"}


def test_a_second_serve_on_the_same_data_is_refused(served: Served) -> None:
    second = served.cli.run("serve", "--port", str(reserve()))
    assert second.code == 1 and "already serves" in second.err and "ALIOTH_HOME" in second.err


def test_a_taken_port_is_refused_with_a_remedy(served: Served, tmp_path: Path) -> None:
    other = CommandLine(tmp_path / "other", {})
    refused = other.run("serve", "--port", str(served.port))
    assert refused.code == 1 and str(served.port) in refused.err and "--port" in refused.err


def test_the_command_line_uses_the_running_processes(served: Served, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("The visitor badge costs 12 euros when it is lost.", "utf-8")
    served.cli.ok("collection", "create", "Notes")
    served.cli.ok("ingest", "add", tmp_path, "-c", "Notes")
    answer = served.cli.ok("ask", "What does a lost visitor badge cost?", "-c", "Notes", "--json").json
    assert "12 euros" in answer["answer"] and answer["citations"][0]["document"] == "note.txt"
    processes = psutil.process_iter(["cmdline", "environ"])
    guards = [
        p
        for p in processes
        if "app.supervise" in (p.info["cmdline"] or [])
        and (p.info["environ"] or {}).get("ALIOTH_HOME") == str(served.cli.home)
    ]
    assert guards == []


@pytest.mark.parametrize("name", ["web", "worker", "models", "chroma"])
def test_a_killed_process_comes_back_and_nothing_is_lost(served: Served, name: str) -> None:
    _wait(lambda: served.pid(name))
    before = served.pid(name)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    _wait(lambda: served.pid(name) not in (None, before))
    _wait(served.ready)
    assert served.process.poll() is None
    results = served.cli.ok("search", "lost visitor badge", "-c", "Notes", "--json").json["results"]
    assert [r["document"] for r in results] == ["note.txt"]


def test_documents_are_ingested_again_after_the_worker_was_killed(served: Served, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}.txt").write_text(
            f"Locker {number} belongs to employee E-{number * 31}.\n" * 80, "utf-8"
        )
    served.cli.ok("ingest", "add", tmp_path, "-c", "Notes", "--no-wait")
    _wait(lambda: "worker" in served.children())
    served.children()["worker"].kill()
    rows: list[dict[str, Any]] = []

    def all_ready() -> bool:
        rows[:] = served.cli.ok("ingest", "list", "-c", "Notes", "--json").json
        return all(row["state"] == "ready" for row in rows)

    _wait(all_ready)
    assert len(rows) == 13
    assert served.cli.ok("index", "verify", "--json").json == []


def test_it_stops_cleanly_and_leaves_no_process(served: Served) -> None:
    family = psutil.Process(served.process.pid).children(recursive=True)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(WAIT_S) == 0
    _, alive = psutil.wait_procs(family, timeout=WAIT_S)
    assert alive == []
    assert "Alioth has stopped" in served.log.read_text() and "Traceback" not in served.log.read_text()
    for name in ("chroma", "models", "web", "worker", "serve"):
        assert not OwnerLock(served.cli.home / "run", name).held()
