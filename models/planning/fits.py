"""Whether a model of the catalogue would run on this machine: by its header where it is here, else by its size."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, Literal

from core.errors import ModelError
from models.files.catalog import CatalogEntry, location
from models.files.gguf import read_header
from models.planning.machine import Machine
from models.planning.plan import BITS, card_room, plan, room

log = logging.getLogger(__name__)

Fit = Literal["card", "card and memory", "memory", "no", ""]
"""Where it would lie; empty where the size is not known."""

_WINDOW: Final = 8192
_CACHE_SHARE: Final = 0.15  # of the weights, for a window of 8,192 tokens; 0.1–0.2 in the models of the catalogue
_BESIDES: Final = 600_000_000
_NETWORK_BYTES: Final = 4  # per number of an embedder or reranker where the processor has no fast bfloat16


def fit_of(found: CatalogEntry, home: Path, machine: Machine) -> Fit:
    """Where this model would lie with one slot of 8,192 tokens, next to what runs now."""
    file = location(found, home)
    if found.kind == "gguf" and file.is_file():
        try:
            made = plan(read_header(file), machine, users=1, window=min(_WINDOW, found.window))
        except ModelError as error:
            log.info("no plan for '%s': %s", file, error)
            return "no"
        if not made.fits:
            return "no"
        return "memory" if not made.layers else "card" if made.layers == made.all_layers else "card and memory"
    return _by_size(expected_bytes(found), machine)


def expected_bytes(found: CatalogEntry) -> int:
    """Memory that it takes when loaded, by its parameters or the size of its files; 0 where neither is known."""
    if found.kind == "gguf":
        weights = found.size_bytes or int(found.parameters * 1e9 * _bits(found.hub_file or found.source) / 8)
        return int(weights * (1 + _CACHE_SHARE)) + _BESIDES if weights else 0
    numbers = int(found.parameters * 1e9) * _NETWORK_BYTES or found.size_bytes
    return numbers + _BESIDES if numbers else 0


def _bits(name: str) -> float:
    return next((bits for kind, bits in BITS.items() if kind.lower() in name.lower()), BITS["Q4_K_M"])


def _by_size(size: int, machine: Machine) -> Fit:
    if not size:
        return ""
    on_cards = sum(max(0, card_room(card)) for card in machine.cards)
    if size <= on_cards:
        return "card"
    if size <= max(0, room(machine)) + on_cards:
        return "card and memory" if on_cards else "memory"
    return "no"
