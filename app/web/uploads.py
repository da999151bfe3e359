"""Files that came through the page: on disk at once, then handed to the intake, or kept until a name is decided."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

logger = logging.getLogger(__name__)


NOTE = ".json"
"""Ending of the note beside an archive that is being unpacked: into which collection, under which name."""


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
    """Forget an upload: undecided, or read in."""
    waiting.file.unlink(missing_ok=True)
    waiting.file.with_name(waiting.file.name + NOTE).unlink(missing_ok=True)


def note(waiting: Waiting, collection_id: str) -> None:
    """Write down where an archive goes, so that a process that ends in the middle of it finds it again."""
    with waiting.file.open("rb") as kept:
        os.fsync(kept.fileno())
    text = json.dumps({"collection": collection_id, "name": waiting.name, "size": waiting.size})
    place = waiting.file.with_name(waiting.file.name + NOTE)
    with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False, encoding="utf-8") as target:
        target.write(text)
        target.flush()
        os.fsync(target.fileno())
    Path(target.name).replace(place)


def noted(home: Path) -> list[tuple[str, Waiting]]:
    """Archives that an earlier process did not come to the end of, with their collections' ids."""
    out: list[tuple[str, Waiting]] = []
    for place in sorted(folder(home).glob(f"*{NOTE}")):
        file = place.with_name(place.name.removesuffix(NOTE))
        try:
            known = json.loads(place.read_text(encoding="utf-8"))
            if file.exists():
                out.append((str(known["collection"]), Waiting(str(known["name"]), file, int(known["size"]))))
                continue
        except (ValueError, KeyError, TypeError, OSError):
            logger.warning("the note %s makes no sense", place.name)
        place.unlink(missing_ok=True)
    return out


def forget_leftovers(home: Path) -> None:
    """Remove what an earlier process left undecided; archives that were being unpacked stay, to be begun anew."""
    if not folder(home).is_dir():
        return
    for path in folder(home).iterdir():
        kept = path.suffix == NOTE or path.with_name(path.name + NOTE).exists()
        if not kept:
            path.unlink(missing_ok=True)


def free_name(name: str, taken: Callable[[str], bool]) -> str:
    """`report.pdf` to `report (2).pdf`, with the first number that is not taken."""
    path = PurePosixPath(name)
    number = 2
    while taken(candidate := str(path.with_name(f"{path.stem} ({number}){path.suffix}"))):
        number += 1
    return candidate
