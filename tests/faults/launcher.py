"""Starts real processes by fork from one that has everything imported: a restart costs milliseconds, not seconds.

`python -m tests.faults.launcher` reads JSON lines (what to start) and writes JSON lines (`started`, `ended`).
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

from tests.faults import roles
from tests.faults.failpoints import Arm, install

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Serve until standard input ends; then every child goes too."""
    roles.preload()
    gc.collect()
    gc.freeze()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    _say({"ready": os.getpid()})
    rest = b""
    while True:
        readable, _, _ = select.select([0, wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            _reap()
        if 0 in readable:
            piece = os.read(0, 1 << 16)
            if not piece:
                return 0
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                _start(json.loads(line), wake_read, wake_write)


def _start(order: dict[str, Any], *inherited: int) -> None:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        _say({"started": order["id"], "pid": pid})
        return
    code = 70
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(70)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in inherited:
            os.close(descriptor)
        _redirect(Path(order["log"]))
        os.environ.update(order["environment"])
        if order.get("arm"):
            install(order["role"], Arm(**order["arm"]), Path(order["journal"]))
        code = roles.ROLES[order["role"]](order.get("arguments", {}))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, source in ((0, nothing), (1, target), (2, target)):
        os.dup2(source, descriptor)
    os.close(nothing)
    os.close(target)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
