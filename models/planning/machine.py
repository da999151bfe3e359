"""What this machine has for a language model: memory, cards by llama.cpp's own list, and speed measured before."""

from __future__ import annotations

import ctypes
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

log = logging.getLogger(__name__)

MEASURED: Final = Path("models", "bench.json")
"""Under ALIOTH_HOME: what `alioth models bench` measured last."""
_NO_LIMIT: Final = 1 << 60
_GPU_KINDS: Final = {1, 2}  # GGML_BACKEND_DEVICE_TYPE_GPU, _IGPU


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card; bytes of memory in all and free now."""

    name: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of `models bench`: tokens per second, and the bytes of weights that each token read."""

    model: str
    prompt_per_s: float
    answer_per_s: float
    weights_bytes: int
    weights: int
    layers_on_card: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in bytes. measured: None where no bench was run."""

    ram_total_bytes: int
    ram_free_bytes: int
    cards: tuple[Card, ...] = ()
    measured: Measured | None = None


def this_machine(home: Path) -> Machine:
    """What is here now. Loads llama.cpp's library, no model."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    limit = container_limit()
    if limit is not None:
        total, free = min(total, limit[0]), min(free, limit[1])
    return Machine(total, free, cards(), last_bench(home))


def container_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[int, int] | None:
    """Bytes that a container may take in all and what is free of them; None where no limit is set.

    The files of the page cache count as taken there, but go when memory is wanted.
    """
    for most, taken, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit = int((cgroup / most).read_text(encoding="ascii"))
            used = int((cgroup / taken).read_text(encoding="ascii"))
            rows = (cgroup / taken).with_name("memory.stat").read_text(encoding="ascii").split()
        except (OSError, ValueError):
            continue
        stat = dict(zip(rows[::2], rows[1::2], strict=False))
        return (limit, max(0, limit - used + int(stat.get(cache, 0)))) if limit < _NO_LIMIT else None
    return None


def cards() -> tuple[Card, ...]:
    """Cards that this build of llama.cpp can use; none for a build without."""
    from models.engine.llama_native import library

    # the functions are in a library that llama.cpp's own depends on, and are found through it
    lib: Any = library()._lib
    for name, result in (
        ("dev_count", ctypes.c_size_t),
        ("dev_get", ctypes.c_void_p),
        ("dev_description", ctypes.c_char_p),
        ("dev_type", ctypes.c_int),
    ):
        getattr(lib, f"ggml_backend_{name}").restype = result
    found = []
    for number in range(lib.ggml_backend_dev_count()):
        device = ctypes.c_void_p(lib.ggml_backend_dev_get(ctypes.c_size_t(number)))
        if lib.ggml_backend_dev_type(device) not in _GPU_KINDS:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        lib.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = (lib.ggml_backend_dev_description(device) or b"card").decode("utf-8", "replace")
        found.append(Card(name, total.value, free.value))
    return tuple(found)


def last_bench(home: Path) -> Measured | None:
    """What `models bench` left; None where it was never run."""
    try:
        return Measured(**json.loads((home / MEASURED).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def keep_bench(measured: Measured, home: Path) -> None:
    """Remember a run for `models plan`."""
    from models.files.weights import write_json

    write_json(home / MEASURED, asdict(measured))
