"""What the processes of one data directory cost: CPU seconds and peak memory by what they do."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

ROLES = ("worker", "parsers", "models", "chroma")
"""worker: the measuring process itself, which does a worker's work."""


def cpu_by_role(home: Path) -> dict[str, float]:
    """User and system seconds so far of each kind of process; parsers that ended are counted."""
    total = dict.fromkeys(ROLES, 0.0)
    for role, process in _processes(home):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total[role] += times.user + times.system
            if role == "worker":  # a process started from here that ended was a parser or what it called
                total["parsers"] += times.children_user + times.children_system
    return total


def peak_mb_by_role(home: Path) -> dict[str, float]:
    """The most memory that the largest process of each kind ever held, in MB."""
    peak = dict.fromkeys(ROLES, 0.0)
    for role, process in _processes(home):
        with contextlib.suppress(psutil.Error, OSError):
            peak[role] = max(peak[role], _high_water_mb(process.pid))
    return peak


def forget_peak() -> None:
    """Let the peak of this process begin at what it holds now, where the system allows that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _high_water_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024 / 1e6
    return 0.0


def _processes(home: Path) -> list[tuple[str, psutil.Process]]:
    own = psutil.Process()
    found = {own.pid: ("worker", own)}
    for process in [*own.children(recursive=True), *psutil.process_iter()]:
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            role = _role(words)
            ours = "parser_child" in words or process.environ().get("ALIOTH_HOME") == str(home)
            if role and ours and process.pid not in found and (role != "parsers" or process.ppid() == os.getpid()):
                found[process.pid] = (role, process)
    return list(found.values())


def _role(words: str) -> str:
    for mark, role in (("ingest.parser_child", "parsers"), ("app.model_server", "models"), ("chroma", "chroma")):
        if mark in words:
            return role
    return ""
