"""What each process of Alioth is: its command, its address, and how to see that it is ready."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError, SettingsError
from core.settings import Settings

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Launch:
    """One start of a process. url: where it will answer, empty when it listens nowhere."""

    command: list[str]
    environment: dict[str, str]
    url: str


@dataclass(frozen=True)
class Service:
    """A process that exists at most once per data directory. health: path that answers 200 when it is alive."""

    name: str
    launch: Callable[[Settings, int, str, int], Launch]  # settings, port, token, ready_fd
    reports_ready: bool
    health: str = ""
    start_timeout_s: float = 180.0


def _environment(settings: Settings, **extra: str) -> dict[str, str]:
    return {**os.environ, "ALIOTH_HOME": str(settings.home), "PYTHONUNBUFFERED": "1", **extra}


def _module(name: str, *arguments: str) -> list[str]:
    """-P: a folder named like one of our packages in the working directory must not be taken for it."""
    return [sys.executable, "-P", "-m", name, *arguments]


def _chroma(settings: Settings, port: int, token: str, ready_fd: int) -> Launch:
    from storage.chroma_server import chroma_command

    command = chroma_command(settings.home / "chroma", LOOPBACK, port)
    environment = _environment(settings, ANONYMIZED_TELEMETRY="False", CHROMA_ANONYMIZED_TELEMETRY="False")
    return Launch(command, environment, f"http://{LOOPBACK}:{port}")


def _models(settings: Settings, port: int, token: str, ready_fd: int) -> Launch:
    host = settings.models.host
    command = _module("app.model_server", "--host", host, "--port", str(port), "--ready-fd", str(ready_fd))
    return Launch(command, _environment(settings, ALIOTH_MODELS__TOKEN=token), f"http://{host}:{port}")


def _worker(settings: Settings, port: int, token: str, ready_fd: int) -> Launch:
    return Launch(_module("app.worker", "--supervised"), _environment(settings), "")


def _web(settings: Settings, port: int, token: str, ready_fd: int) -> Launch:
    host = settings.web.host
    command = _module(
        "app.server", "--host", host, "--port", str(settings.web.port), "--ready-fd", str(ready_fd), "--supervised"
    )
    return Launch(command, _environment(settings), f"http://{host}:{settings.web.port}")


SERVICES = {
    service.name: service
    for service in (
        Service("chroma", _chroma, reports_ready=False, health="/api/v2/heartbeat", start_timeout_s=60),
        Service("models", _models, reports_ready=True, health="/healthz", start_timeout_s=600),
        Service("worker", _worker, reports_ready=False),
        Service("web", _web, reports_ready=True, health="/healthz", start_timeout_s=60),
    )
}


def is_healthy(service: Service, url: str, timeout_s: float = 2.0) -> bool:
    """Does the address answer?"""
    try:
        with urllib.request.urlopen(url + service.health, timeout=timeout_s) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def choose_port(preferred: int | None) -> int:
    """The preferred loopback port when it is free (so that clients keep their address), else any free one."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SettingsError("No free port on the loopback address.", "Stop other programs or restart the machine.")


def require_free_port(host: str, port: int) -> None:
    """Raises InputError when another program listens on the port of the web page."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"Cannot listen on {host}:{port}: {error.strerror or error}.",
                "Stop the program that uses this port, or choose another with --port.",
            ) from error


def new_token() -> str:
    """A fresh secret for the models process."""
    return secrets.token_urlsafe(32)


def run_folder(settings: Settings) -> Path:
    """`ALIOTH_HOME/run`, made when absent.

    Raises:
        SettingsError: the data directory cannot be written.
    """
    folder = settings.home / "run"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"Cannot write to the data directory '{settings.home}': {error.strerror}.",
            "Give this user the right to write there, or set ALIOTH_HOME to another directory.",
        ) from error
    return folder
