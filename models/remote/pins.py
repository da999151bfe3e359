"""Which vectors a remote embedder gave when it was first used, so that another model under its name is noticed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.files.weights import write_json

FILE: Final = Path("models", "remote_embedders.json")
"""Under ALIOTH_HOME."""
PROBE: Final = "玉衡 reads what the company wrote: 25 days of paid leave, 员工每年享有二十五天年假。"
"""The text whose vector tells models apart."""
LEAST_LIKENESS: Final = 0.998
"""Cosine with the pinned vector. Number types and batches change it by 0.0001, another quantisation by 0.01."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The probe's vector (dim,), norm 1, and the fingerprint made of name, dimension and that vector."""

    name: str
    dimension: int
    sha256: str
    vector: list[float]

    def likeness(self, vector: NDArray[np.float32]) -> float:
        """Cosine of another vector of the probe with the pinned one; -1.0 for another dimension."""
        if len(vector) != self.dimension:
            return -1.0
        return float(np.asarray(self.vector, dtype=np.float32) @ vector)


def load_pin(name: str, home: Path) -> Pin | None:
    """The pin of that model, None before its first use or where the file was damaged."""
    row = _rows(home).get(name)
    try:
        return Pin(**row) if isinstance(row, dict) else None
    except TypeError:
        return None


def make_pin(name: str, vector: NDArray[np.float32], home: Path) -> Pin:
    """Pin what a model gives now; kept in the data directory."""
    rounded = [round(float(value), 2) + 0.0 for value in vector]  # + 0.0: no negative zero
    digest = hashlib.sha256(json.dumps([name, len(vector), rounded]).encode()).hexdigest()
    pin = Pin(name, len(vector), digest, [float(value) for value in vector])
    write_json(home / FILE, {**_rows(home), name: asdict(pin)})
    return pin


def _rows(home: Path) -> dict[str, object]:
    try:
        data = json.loads((home / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
