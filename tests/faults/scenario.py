"""A town with two workers and documents on their way, for faults that are no kills: full disk, lock, silence."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.failpoints import Arm
from tests.faults.inspection import SETTLE_S, Finding, inspect, settle
from tests.faults.ledger import Content, Ledger, make_content
from tests.faults.town import Town


class Scenario:
    """Documents that a submitter adds while something is wrong. The seed decides their contents.

    Args:
        arm: of every worker.
    """

    def __init__(self, town: Town, seed: int, workers: int = 2, arm: Arm | None = None) -> None:
        self.town = town
        self.ledger = Ledger()
        self.collection = town.collection(f"Scenario {seed}")
        self._rng = random.Random(seed)
        self._number = seed * 10_000
        self.keep_running: Callable[[], object] = town.look
        """Called while something is waited for; notices processes that ended."""
        self._workers = [f"worker{number}" for number in range(workers)]
        self.sources = town.folder.parent / f"{town.folder.name}-sources"
        self.sources.mkdir(exist_ok=True)
        for name in self._workers:
            town.start_worker(name, arm)

    def add(self, count: int, kind: str | None = None, prefix: str = "doc") -> list[str]:
        """Add new documents from a process of their own; the errors it met, in order."""
        contents = [self.make(kind) for _ in range(count)]
        return self.submit([(f"{prefix}-{content.number}", content) for content in contents])

    def submit(self, pairs: list[tuple[str, Content]]) -> list[str]:
        """Add these at these paths; the errors met. What was refused may be there or not."""
        operations: list[dict[str, Any]] = []
        for number, (path, content) in enumerate(pairs):
            source = content.write(self.sources)
            operations.append({"kind": "add", "id": number, "path": path, "source": str(source), "upload": False})
        process = self.town.start_submitter("submitter", self.collection, operations)
        self.wait(lambda: not process.alive)
        assert process.ended == 0, (self.town.folder / "submitter.log").read_text()[-3000:]
        said = self.town.acknowledged(process)
        for operation, (path, content) in zip(operations, pairs, strict=True):
            self.ledger.done(path, content.number, said[operation["id"]] is None)
        return [error for error in said.values() if error is not None]

    def make(self, kind: str | None) -> Content:
        """New content that the ledger knows; nothing is submitted."""
        self._number += 1
        content = make_content(self._number, self._rng, kind)
        self.ledger.know(content)
        return content

    def wait(self, condition: Callable[[], bool], seconds: float = SETTLE_S) -> None:
        """Until `condition()`; processes that end are noticed meanwhile."""
        until = time.monotonic() + seconds
        while not condition():
            self.keep_running()
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.05)

    def ended_workers(self) -> list[str]:
        """Workers that are no longer there: none of these faults may end one."""
        self.town.look()
        return [name for name in self._workers if not self.town.processes[name].alive]

    def rest(self, timeout_s: float = SETTLE_S) -> list[Finding]:
        """Wait until nothing is to do; then everything that is not as it must be."""
        return [*settle(self.town, timeout_s), *inspect(self.town, self.collection, self.ledger)]


@contextlib.contextmanager
def ballast(folder: Path, leave_bytes: int) -> Iterator[Path]:
    """A file that takes the disk of `folder` up to `leave_bytes`."""
    import os

    path = folder / "ballast"
    with path.open("wb") as file:
        for _ in range(1000):
            status = os.statvfs(folder)
            size = status.f_bavail * status.f_frsize - leave_bytes
            with contextlib.suppress(OSError):  # somebody else wrote in between
                if size > 0:
                    os.posix_fallocate(file.fileno(), 0, size)
                break
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
