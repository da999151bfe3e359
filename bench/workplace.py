"""A temporary Alioth for measuring, and what its processes cost."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from app.wiring import Alioth
from core.settings import load_settings


@contextlib.contextmanager
def workplace(kept: Path | None = None) -> Iterator[Alioth]:
    """An Alioth in a data directory of its own, which goes with it, or in a kept one; its processes end with it."""
    with contextlib.ExitStack() as stack:
        if kept is None:
            made = tempfile.TemporaryDirectory(prefix="alioth-bench-", ignore_cleanup_errors=True)
            home = stack.enter_context(made)
        else:
            home = str(kept.resolve())
        os.environ.update({"ALIOTH_HOME": home, "ALIOTH_MODELS__IDLE_S": "5"})
        alioth = Alioth(load_settings())
        try:
            yield alioth
        finally:
            alioth.close()
            _end_processes(Path(home))


def cpu_seconds(home: Path) -> float:
    """User and system seconds so far of every live process of this data directory, children that ended included."""
    total = 0.0
    for process in _processes(home):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def resident_mb(home: Path) -> float:
    """Memory of every live process of this data directory, in MB; shared pages count once per process."""
    total = 0
    for process in _processes(home):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total / 1e6


def _processes(home: Path) -> list[psutil.Process]:
    found = [psutil.Process()]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("ALIOTH_HOME") == str(home):
                found.append(process)
    return found


def _end_processes(home: Path) -> None:
    own = os.getpid()
    others = [process for process in _processes(home) if process.pid != own]
    for process in others:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(others, timeout=10)
    time.sleep(0.2)
