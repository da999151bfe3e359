"""A town for the tests of faults, and a small disk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.town import Town


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Processes over a data directory of this test."""
    with Town(tmp_path / "town") as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Gives a folder on a disk of so many megabytes of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted: list[Path] = []

    def mount(megabytes: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "alioth-test", str(place)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a disk of its own needs the right to mount: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
