"""Finds the files of a model and lets only those through whose sha256 is pinned."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import WeightsError
from models.files.catalog import CatalogEntry, entry, location

log = logging.getLogger(__name__)

PINS = "pins.toml"
_WEIGHTS_FILE = "model.safetensors"


def resolve(model_id: str, home: Path) -> Path:
    """The verified path of a model: a file for GGUF, a folder for sentence-transformers.

    Every file is hashed once; the result is remembered by path, size, mtime and inode in `home/models/verified.json`.
    Models that are not bundled are pinned by the administrator in `home/models/pins.toml`.

    Raises:
        NotFoundError: no such id in the catalogue.
        WeightsError: a file is missing, not pinned, or has another sha256 than pinned.
    """
    found = entry(model_id, home)
    path = location(found, home)
    pins = pins_of(found, home)
    verified = VerifiedFiles(home)
    if not path.exists():
        raise WeightsError(
            f"The weights of {found.id!r} are not on this machine: nothing at '{path}'.",
            "Run `make setup`."
            if found.bundled
            else f"`alioth models pull {found.id}` gets them, `alioth models import` takes a file; or put them there "
            f"and pin their sha256 in '{home / 'models' / PINS}'.",
        )
    if path.is_file():
        verified.require(path, pins.get(path.name, ""), found.id)
    else:
        _require_folder(path, pins, verified, found.id)
    return path


def is_present(model_id: str, home: Path) -> bool:
    """Whether its files are on this machine; they are not read."""
    return location(entry(model_id, home), home).exists()


def forget_verified(home: Path) -> None:
    """Make the next `resolve` hash every file again."""
    (home / "models" / "verified.json").unlink(missing_ok=True)


def weights_sha256(model_id: str, home: Path) -> str:
    """The pinned sha256 of the weights themselves; reads no weights. Of several files: that of their list.

    Raises:
        NotFoundError: no such id in the catalogue.
        WeightsError: the administrator has not pinned it.
    """
    found = entry(model_id, home)
    if found.sha256:
        return found.sha256
    pins = pins_of(found, home)
    name = location(found, home).name if found.kind == "gguf" else _WEIGHTS_FILE
    shards = sorted((shard, sha256) for shard, sha256 in pins.items() if shard.endswith(".safetensors"))
    if name not in pins and len(shards) > 1 and found.kind != "gguf":
        return hashlib.sha256("".join(f"{sha256}  {shard}\n" for shard, sha256 in shards).encode()).hexdigest()
    if name not in pins:
        raise _unpinned(found.id, name, "", home)
    return pins[name]


class VerifiedFiles:
    """Remembers which files had which sha256, so that later starts need not read them. Safe between processes."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._record = home / "models" / "verified.json"

    def sha256(self, path: Path) -> str:
        """Of the file's bytes; read only when the file changed since it was last seen."""
        stat = path.stat()
        key = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}
        known = self._load()
        seen = known.get(str(path))
        if isinstance(seen, dict) and all(seen.get(name) == value for name, value in key.items()):
            return str(seen.get("sha256"))
        digest = _hash_file(path)
        write_json(self._record, {**self._load(), str(path): {**key, "sha256": digest}})
        return digest

    def require(self, path: Path, pinned: str, model_id: str) -> None:
        """Nothing when the file has the pinned sha256.

        Raises:
            WeightsError: no pin, or another sha256.
        """
        actual = self.sha256(path)
        if not pinned:
            raise _unpinned(model_id, path.name, actual, self._home)
        if actual != pinned:
            raise WeightsError(
                f"'{path}' is not the file that {model_id!r} pins: sha256 is {actual}, must be {pinned}.",
                "It is damaged or was replaced. Install it again (`make setup` for bundled models).",
            )

    def _load(self) -> dict[str, Any]:
        try:
            data = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step; a folder that cannot be written to costs only the memory."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1, sort_keys=True)
        os.replace(name, path)
    except OSError as error:
        log.warning("cannot write '%s': %s", path, error)


def _require_folder(path: Path, pins: Mapping[str, str], verified: VerifiedFiles, model_id: str) -> None:
    present = {str(file.relative_to(path).as_posix()): file for file in sorted(path.rglob("*")) if file.is_file()}
    for name in pins:
        if name not in present:
            raise WeightsError(f"{model_id!r} lacks the file '{path / name}'.", "Install it again.")
    for name, file in present.items():
        # an unknown file beside known ones (an adapter, a pickle, a module) could change what is loaded
        verified.require(file, pins.get(name, ""), model_id)


def pins_of(found: CatalogEntry, home: Path) -> Mapping[str, str]:
    """File name to the sha256 it must have; empty where nothing is pinned yet."""
    if found.files:
        return found.files
    if found.sha256:
        return {Path(found.source).name: found.sha256}
    file = home / "models" / PINS
    try:
        pins = tomllib.loads(file.read_text(encoding="utf-8")).get(found.id, {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"Cannot read '{file}': {error}.", "It is TOML: one table per model id.") from error
    if not isinstance(pins, dict):
        raise WeightsError(f"'{file}' has {found.id!r} as a value, it must be a table.", f"Write [{found.id!r}].")
    return {str(name): str(value).lower() for name, value in pins.items()}


def _unpinned(model_id: str, name: str, actual: str, home: Path) -> WeightsError:
    line = f'"{name}" = "{actual or "<sha256>"}"'
    return WeightsError(
        f"The file {name!r} of {model_id!r} has no pinned sha256.",
        f'Compare with the publisher\'s figure, then put `{line}` under `["{model_id}"]` in '
        f"'{home / 'models' / PINS}'; or remove the file.",
    )


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
