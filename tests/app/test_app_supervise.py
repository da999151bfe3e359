"""Supervision with small real processes: start once, restart after a crash, stop cleanly, end with the last user."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import services, supervise
from app.locks import AddressFile, OwnerLock, UserLock
from app.services import Launch, Service, choose_port, require_free_port, run_folder
from app.supervise import Child, Supervisor, find, guard
from core.errors import InputError, SettingsError
from core.settings import ModelSettings, Settings
from tests.faults.ports import reserve

SERVER = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *args): pass
port, ready = int(sys.argv[1]), int(sys.argv[2])
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
print("listening", flush=True)
os.write(ready, json.dumps({"url": f"http://127.0.0.1:{port}", "pid": os.getpid()}).encode())
server.serve_forever()
"""
CRASH = "import sys; print('no weights here'); sys.exit(7)"


def _service(name: str, script: str, reports_ready: bool = True) -> Service:
    def launch(settings: Settings, port: int, token: str, ready_fd: int) -> Launch:
        command = [sys.executable, "-c", script, str(port), str(ready_fd)]
        return Launch(command, dict(os.environ), f"http://127.0.0.1:{port}")

    return Service(name, launch, reports_ready, health="/", start_timeout_s=240)


@pytest.fixture
def settings(alioth_home: Path) -> Settings:
    return Settings(home=alioth_home, models=ModelSettings(idle_s=0.5))


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = _service("echo", SERVER)
    monkeypatch.setitem(services.SERVICES, "echo", service)
    yield service


def _wait(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def _step_until_ready(child: Child) -> None:
    def ready() -> bool:
        child.try_start()
        child.check()
        return child.ready

    _wait(ready)


def test_a_ready_process_has_its_address_written(settings: Settings, echo: Service) -> None:
    child = Child(echo, settings)
    _step_until_ready(child)
    known = AddressFile(run_folder(settings), "echo").load()
    assert known["url"] == child.url and known["token"]
    child.stop()
    assert not OwnerLock(run_folder(settings), "echo").held()


def test_looking_for_a_process_neither_starts_nor_waits_for_it(settings: Settings, echo: Service) -> None:
    assert find(settings, "echo") is None
    assert not OwnerLock(run_folder(settings), "echo").held()
    child = Child(echo, settings)
    _step_until_ready(child)
    known = find(settings, "echo")
    assert known is not None and known["url"] == child.url
    child.stop()
    assert find(settings, "echo") is None


def test_a_second_owner_does_not_start_a_second_process(settings: Settings, echo: Service) -> None:
    first, second = Child(echo, settings), Child(echo, settings)
    _step_until_ready(first)
    assert not second.try_start()
    assert second.process is None
    first.stop()


def test_a_killed_process_comes_back_at_the_same_address(settings: Settings, echo: Service) -> None:
    AddressFile(run_folder(settings), "echo").write({"port": reserve()})  # no other process takes it in between
    child = Child(echo, settings)
    _step_until_ready(child)
    url, token = child.url, AddressFile(run_folder(settings), "echo").load()["token"]
    assert child.process is not None
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    child.check()
    assert child.process is None
    _step_until_ready(child)
    assert (child.url, AddressFile(run_folder(settings), "echo").load()["token"]) == (url, token)
    child.stop()


def test_a_process_that_crashes_is_retried_later_and_later(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(_service("broken", CRASH), settings)
    child.try_start()
    assert child.process is not None
    child.process.wait()
    with monkeypatch.context() as stopped:  # the clock, or a slow machine would come to the next attempt meanwhile
        at = time.monotonic()
        stopped.setattr("app.supervise.time.monotonic", lambda: at)
        child.check()
        assert child.failures == 1
        assert not child.try_start()
    _wait(lambda: child.last_words == ["no weights here"])


def test_what_a_process_prints_is_kept_in_its_log(settings: Settings, echo: Service) -> None:
    child = Child(echo, settings)
    _step_until_ready(child)
    log = settings.home / "logs" / "echo.out.log"
    _wait(lambda: log.exists() and "listening" in log.read_text())
    child.stop()


def test_a_supervisor_stops_everything_it_started(settings: Settings, echo: Service) -> None:
    supervisor = Supervisor(settings, ["echo"])
    supervisor.share()
    _wait(lambda: (supervisor.step(), supervisor.child("echo").ready)[1])
    process = supervisor.child("echo").process
    assert process is not None
    supervisor.stop()
    assert process.poll() is not None


def test_a_guarded_process_ends_with_its_last_user(settings: Settings, echo: Service) -> None:
    run = run_folder(settings)
    user = UserLock(run, "echo")
    user.share()
    address, ended = AddressFile(run, "echo"), threading.Event()

    def leave_later() -> None:
        _wait(lambda: bool(address.load()))
        time.sleep(1.0)
        assert OwnerLock(run, "echo").held()
        user.close()
        ended.set()

    helper = threading.Thread(target=leave_later)
    helper.start()
    keep = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        assert guard(settings, "echo") == 0
    finally:
        for number, handler in keep.items():
            signal.signal(number, handler)
        helper.join()
    assert ended.is_set()
    assert not OwnerLock(run, "echo").held()


def test_a_guard_says_the_last_words_of_what_does_not_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(services.SERVICES, "broken", _service("broken", CRASH))
    keep = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        assert guard(settings, "broken") == 1
    finally:
        for number, handler in keep.items():
            signal.signal(number, handler)
    assert "no weights here" in capsys.readouterr().err


def test_a_guard_leaves_a_process_that_another_owns(settings: Settings, echo: Service) -> None:
    lock = OwnerLock(run_folder(settings), "echo")
    assert lock.acquire()
    keep = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        assert guard(settings, "echo") == supervise.OWNED_ELSEWHERE
    finally:
        for number, handler in keep.items():
            signal.signal(number, handler)
        lock.release()


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert choose_port(port) != port
        with pytest.raises(InputError, match=str(port)):
            require_free_port("127.0.0.1", port)


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(SettingsError, match="ALIOTH_HOME"):
        run_folder(Settings(home=blocked / "home"))
