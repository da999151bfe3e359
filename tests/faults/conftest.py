"""A town for the tests of faults, and a small disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.small_disk import small_disk as disk_of
from tests.faults.town import Town


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Processes over a data directory of this test."""
    with Town(tmp_path / "town") as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Gives a folder on a disk of so many megabytes of its own."""
    with contextlib.ExitStack() as mounted:

        def mount(megabytes: int) -> Path:
            disk = mounted.enter_context(disk_of(tmp_path / "disk", megabytes))
            if disk is None:
                pytest.skip("a disk of its own needs the right to mount")
            return disk

        yield mount
