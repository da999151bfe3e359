"""Owner and user locks of the processes that exist once per data directory. `flock` frees them at any death."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any


class OwnerLock:
    """The right to run the one process `name`. Hand `fd` to the child: the lock then lives as long as the child."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.lock"
        self.fd: int | None = None

    def acquire(self, wait_s: float = 0.3) -> bool:
        """Take the lock; False when another process has it. Short retries outlast a `held` probe."""
        if self.fd is not None:
            return True
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(fd)
                    return False
                time.sleep(0.02)
            else:
                self.fd = fd
                return True

    def release(self) -> None:
        """Give up our copy; a child that inherited the descriptor keeps the lock."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def held(self) -> bool:
        """Does any process have it? Does not change who does."""
        if self.fd is not None:
            return True
        if not self._path.exists():
            return False
        probe = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(probe)
        return False


class UserLock:
    """Shared by all who use a process that was started on demand; it ends with its last user, never under another."""

    def __init__(self, folder: Path, name: str) -> None:
        self._fd = os.open(folder / f"{name}.users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def share(self) -> None:
        """Become a user. Waits while a server is just being stopped."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def try_alone(self) -> bool:
        """True when nobody uses the process; nobody can begin to until `close` or `share_again`."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)


class AddressFile:
    """Where a running process can be reached: `{"url", "pid", "token"?}`, readable by its owner only."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.json"

    def load(self) -> dict[str, Any]:
        """The content, or {} when there is none."""
        try:
            data = json.loads(self._path.read_text("utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, data: dict[str, Any]) -> None:
        fresh = self._path.with_suffix(f".{os.getpid()}.tmp")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(data, file)
        fresh.replace(self._path)
