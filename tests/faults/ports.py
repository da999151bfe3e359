"""Ports that no other process takes while a test runs: outside the range from which the system gives any."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_LOWEST, _HIGHEST = 18_000, 31_000
"""Below the ports that Linux gives to outgoing connections (from 32,768): one of those can be taken at any moment."""
_held: list[int] = []


def reserve() -> int:
    """A free loopback port that is this process's own until it ends: other tests that ask here get another one."""
    folder = Path(tempfile.gettempdir()) / "alioth-test-ports"
    folder.mkdir(exist_ok=True)
    for port in random.Random(os.urandom(8)).sample(range(_LOWEST, _HIGHEST), _HIGHEST - _LOWEST):
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:  # another test's, or taken by something else
            os.close(lock)
            continue
        _held.append(lock)
        return port
    raise AssertionError("no port is free")
