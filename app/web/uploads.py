"""Files that came through the page: on disk at once, then handed to the intake, or kept until a name is decided."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Waiting:
    """An uploaded file whose name exists already. file: where its bytes are until the person chose."""

    name: str
    file: Path
    size: int


def folder(home: Path) -> Path:
    """Where undecided uploads wait."""
    return home / "uploads"


def keep(home: Path, name: str, stream: BinaryIO) -> Waiting:
    """Write an upload to disk under a generated name; its own name stays data."""
    place = folder(home)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=place, delete=False) as target:
        shutil.copyfileobj(stream, target, 1 << 20)
        size = target.tell()
    return Waiting(name, Path(target.name), size)


def drop(waiting: Waiting) -> None:
    """Forget an undecided upload."""
    waiting.file.unlink(missing_ok=True)


def forget_leftovers(home: Path) -> None:
    """Remove what an earlier process left undecided."""
    shutil.rmtree(folder(home), ignore_errors=True)


def free_name(name: str, taken: Callable[[str], bool]) -> str:
    """`report.pdf` to `report (2).pdf`, with the first number that is not taken."""
    path = PurePosixPath(name)
    number = 2
    while taken(candidate := str(path.with_name(f"{path.stem} ({number}){path.suffix}"))):
        number += 1
    return candidate
