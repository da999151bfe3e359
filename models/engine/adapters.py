"""Puts LoRA adapters on a loaded model, and takes them off again, without loading the model anew."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from core.errors import WeightsError
from models.files.adapter_files import Adapter, adapter, pinned_file, require_fits

log = logging.getLogger(__name__)

MAX_LOADED: Final = 8
"""Adapters kept in memory; the one not used for longest goes first."""

Key = tuple[tuple[str, float], ...]
"""sha256 and scale of each adapter in alphabetical order: what is computed under another key must not be reused."""


class AdapterShelf:
    """The adapters that one loaded model can take.

    `key` may be called by any thread, `apply` and `close` only by the one that owns the model's context.

    Args:
        lib: the loaded library. model: the loaded base.
        folder: where adapters lie.
        base: the base's GGUF file. base_id: its catalogue id.
    """

    def __init__(self, lib: ModuleType, model: Any, folder: Path, base: Path, base_id: str) -> None:
        self._lib = lib
        self._model = model
        self._folder = folder
        self._base = base
        self._base_id = base_id
        self._loaded: dict[str, Any] = {}  # by sha256, used last stands last
        self._checked: set[str] = set()
        self._applied: Key = ()
        self._lock = threading.Lock()

    def key(self, wanted: Sequence[tuple[str, float]]) -> Key:
        """What stands for these adapters, after it was checked that this model can take them. Computes nothing.

        Call it before a request is queued. Adapters at scale 0 count as absent.

        Raises:
            NotFoundError: no such adapter. WeightsError: for another base, damaged, replaced or gone.
        """
        return tuple(sorted((self._found(name).sha256, scale) for name, scale in wanted if scale))

    def apply(self, context: Any, wanted: Sequence[tuple[str, float]]) -> Key:
        """Make the context compute with these adapters alone from now on; no adapters gives the bare base.

        What the context remembers of a prompt was computed before: forget it, or keep it for the same key only.

        Raises:
            NotFoundError, WeightsError: as `key`; the adapters stay as they were.
        """
        key = self.key(wanted)
        if key == self._applied:
            return key
        names = {self._found(name).sha256: name for name, _ in wanted}
        handles = [self._handle(self._found(names[digest])) for digest, _ in key]
        pointers = (self._lib.llama_adapter_lora_p_ctypes * max(1, len(key)))(*handles)
        scales = (ctypes.c_float * max(1, len(key)))(*(scale for _, scale in key))
        if self._lib.llama_set_adapters_lora(context, pointers, len(key), scales) != 0:
            raise WeightsError(f"llama.cpp could not apply the adapters {sorted(names.values())}.", "Verify them.")
        self._applied = key
        self._drop_unused()
        return key

    def close(self) -> None:
        """Free every adapter; before the model, and after the context."""
        for handle in self._loaded.values():
            self._lib.llama_adapter_lora_free(handle)
        self._loaded.clear()
        self._applied = ()

    def _found(self, name: str) -> Adapter:
        found = adapter(name, self._folder)
        if found.base != self._base_id:
            raise WeightsError(
                f"The adapter {name!r} was made for {found.base!r}, but {self._base_id!r} answers now.",
                f"Take it out of the settings, or `alioth models use {found.base}`.",
            )
        with self._lock:
            if found.sha256 in self._checked:
                return found
        require_fits(pinned_file(found, self._folder), self._base, self._base_id)
        with self._lock:
            self._checked.add(found.sha256)
        return found

    def _handle(self, found: Adapter) -> Any:
        if found.sha256 not in self._loaded:
            file = pinned_file(found, self._folder)
            handle = self._lib.llama_adapter_lora_init(self._model, str(file).encode())
            if not handle:
                raise WeightsError(f"llama.cpp cannot load the adapter {found.id!r}.", "logs/models.log says why.")
            self._loaded[found.sha256] = handle
            log.info("adapter %s loaded, rank %d", found.id, found.rank)
        self._loaded[found.sha256] = self._loaded.pop(found.sha256)
        return self._loaded[found.sha256]

    def _drop_unused(self) -> None:
        used = {digest for digest, _ in self._applied}
        spare = [digest for digest in self._loaded if digest not in used]
        for digest in spare[: max(0, len(self._loaded) - MAX_LOADED)]:
            self._lib.llama_adapter_lora_free(self._loaded.pop(digest))
