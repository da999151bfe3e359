"""Makes the Q8_0 copy of a GGUF file once: llama.cpp reads prompts faster from it (docs/decisions)."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from pathlib import Path

from core.errors import WeightsError
from models.files.weights import VerifiedFiles, write_json

log = logging.getLogger(__name__)


def fast_copy(source: Path, source_sha256: str, home: Path, threads: int) -> Path:
    """The Q8_0 copy under `home/models`, made when it is absent, damaged or of another source.

    Args:
        source: a verified GGUF file.
        source_sha256: of `source`; the copy's own record names it.
        threads: CPU threads to use.

    Raises:
        WeightsError: llama.cpp could not write it (no room, folder not writable).
    """
    folder, target = home / "models", copy_of(source, source_sha256, home)
    record = target.with_suffix(".json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".requantise.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _intact(target, record, source_sha256, home):
                _make(source, target, threads)
                digest = VerifiedFiles(home).sha256(target)
                write_json(record, {"source_sha256": source_sha256, "sha256": digest, "type": "Q8_0"})
    except OSError as error:
        raise WeightsError(
            f"Cannot write '{target}': {error}.", "Free some space or fix the folder's rights."
        ) from error
    return target


def copy_of(source: Path, source_sha256: str, home: Path) -> Path:
    """Where the copy of that file is or would be."""
    return home / "models" / f"{source.stem}.{source_sha256[:12]}.Q8_0.gguf"


def _intact(target: Path, record: Path, source_sha256: str, home: Path) -> bool:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        return (
            known["source_sha256"] == source_sha256
            and target.exists()
            and VerifiedFiles(home).sha256(target) == known["sha256"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make(source: Path, target: Path, threads: int) -> None:
    from models.engine.llama_native import quantise_q8_0

    started = time.monotonic()
    partial = target.with_suffix(".partial")
    try:
        quantise_q8_0(source, partial, threads)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)
    log.info("made %s in %.1f s", target.name, time.monotonic() - started)
