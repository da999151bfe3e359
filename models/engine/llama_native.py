"""Thin hold on llama.cpp's C functions: one model, one context, several sequences. Owned by one thread.

The high-level class of llama-cpp-python is passed by on purpose: it copies the logits of every prompt token, swallows
unknown arguments, and renders the template found inside the file.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from core.errors import ModelError, NotFoundError, WeightsError
from models.engine.adapters import AdapterShelf, Key
from models.engine.load_options import FlashAttention, LoadOptions, cache_tokens
from models.engine.pace import READ_CHUNK as READ_CHUNK
from models.engine.sampling import Sampler
from models.protocols import GenerationSettings

log = logging.getLogger("models.llama_cpp")

_NO_ROOM = 1
_ABORTED = 2
_Q8_0 = 7  # LLAMA_FTYPE_MOSTLY_Q8_0
_FLASH: Final[dict[FlashAttention, int]] = {"auto": -1, "off": 0, "on": 1}  # LLAMA_FLASH_ATTN_TYPE_*
_SPLIT_NONE = 0  # LLAMA_SPLIT_MODE_NONE
_LEVELS = {3: logging.DEBUG, 4: logging.INFO}  # its own "errors" include every cancelled prompt; real ones raise here


class Aborted(Exception):
    """The abort flag stopped a computation."""


class NoRoom(Exception):
    """The cache has no free cells for a computation; nothing was changed."""


class NativeModel:
    """Weights and vocabulary. `tokenize` and `piece` may be called by any thread, `context` functions by one only."""

    def __init__(self, path: Path, options: LoadOptions) -> None:
        self._lib = library()
        params = self._lib.llama_model_default_params()
        params.n_gpu_layers = 0x7FFFFFFF if options.gpu_layers < 0 else options.gpu_layers
        shares = _shares(self._lib, options)
        if options.main_card >= 0:
            params.split_mode, params.main_gpu = _SPLIT_NONE, options.main_card
        elif shares is not None:
            params.tensor_split = shares
        self._shares = shares  # llama.cpp keeps only the address
        self._model = self._lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise WeightsError(
                f"llama.cpp cannot load '{path}'.",
                "Is the file whole, and is there memory for it? logs/models.log says.",
            )
        self._vocab = self._lib.llama_model_get_vocab(self._model)
        self.window = min(options.window, self._lib.llama_model_n_ctx_train(self._model))
        self.slots = options.slots
        self._context = self._new_context(options)
        self._memory = self._lib.llama_get_memory(self._context)
        self._flag = ctypes.create_string_buffer(64)
        self._abort = self._install_abort()
        self._batch = self._lib.llama_batch_init(READ_CHUNK, 0, 1)
        self._shelf: AdapterShelf | None = None
        self._worn: Key = ()

    def _new_context(self, options: LoadOptions) -> Any:
        params = self._lib.llama_context_default_params()
        params.n_ctx = cache_tokens(self.window, self.slots)
        params.n_seq_max = self.slots
        params.kv_unified = True
        params.n_batch = params.n_ubatch = READ_CHUNK
        params.n_threads = params.n_threads_batch = options.threads
        params.flash_attn_type = _FLASH[options.flash]
        params.type_k = params.type_v = getattr(self._lib, f"GGML_TYPE_{options.cache_type.upper()}")
        params.no_perf = True
        context = self._lib.llama_init_from_model(self._model, params)
        if not context:
            self._lib.llama_model_free(self._model)
            raise ModelError(
                f"No memory for {self.slots} slots with a window of {self.window} tokens each.",
                "Lower ALIOTH_MODELS__CONTEXT_TOKENS or ALIOTH_MODELS__SLOTS.",
            )
        return context

    def _install_abort(self) -> Any:
        # ggml asks between graph nodes, about a thousand times per token; a Python callback would wait for the
        # interpreter lock each time. `strlen` of the flag is a native function of the same shape: "" -> 0, "x" -> 1.
        strlen = ctypes.CDLL(None).strlen
        callback = ctypes.cast(strlen, self._lib.ggml_abort_callback)
        self._lib.llama_set_abort_callback(self._context, callback, ctypes.cast(self._flag, ctypes.c_void_p))
        return callback  # llama.cpp keeps only the address

    def abort(self, wanted: bool) -> None:
        """Stop what is computed now, at once; any thread may call it. False makes the context usable again."""
        self._flag[0] = b"x" if wanted else b"\0"

    def tokenize(self, text: str, markers: bool) -> list[int]:
        """Token ids; control markers such as `<|im_end|>` are seen as such only where `markers` is True."""
        data = text.encode()
        size = len(data) + 8
        buffer = (self._lib.llama_token * size)()
        count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, size, False, markers)
        if count < 0:
            raise ModelError(f"llama.cpp cannot tokenize a text of {len(text)} characters.")
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """Bytes of a token, maybe half a character; empty for control tokens."""
        size = 256
        buffer = ctypes.create_string_buffer(size)
        count = self._lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
        return buffer.raw[:count] if count > 0 else b""

    def ends_answer(self, token: int) -> bool:
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    def compute(self, rows: Sequence[tuple[int, int, int, bool]]) -> None:
        """Compute tokens in one call: each with its position, its sequence, and whether its logits are wanted.

        At most READ_CHUNK rows; positions of a sequence follow on what it has.

        Raises:
            Aborted: the flag was set. NoRoom: the cache is full. ModelError: llama.cpp failed.
                What was computed for these rows must be cut by the caller.
        """
        if self._flag[0] != b"\0":
            raise Aborted
        batch = self._batch
        token, position, sequence, wanted = batch.token, batch.pos, batch.seq_id, batch.logits
        for at, (id_, pos, seq, logits) in enumerate(rows):
            token[at], position[at], sequence[at][0], wanted[at] = id_, pos, seq, logits
            batch.n_seq_id[at] = 1
        batch.n_tokens = len(rows)
        code = self._lib.llama_decode(self._context, batch)
        if code == _ABORTED:
            raise Aborted
        if code == _NO_ROOM:
            raise NoRoom
        if code != 0:
            raise ModelError(f"llama.cpp could not compute {len(rows)} tokens (code {code}).", "Ask again.")

    def cut(self, seq: int, start: int) -> bool:
        """See `SequenceMemory.cut`."""
        if self._lib.llama_memory_seq_rm(self._memory, seq, start, -1):
            return True
        self._lib.llama_memory_seq_rm(self._memory, seq, -1, -1)
        return False

    def copy(self, source: int, target: int, end: int) -> None:
        """See `SequenceMemory.copy`."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def state_bytes(self, seq: int) -> int:
        """What `save` would take."""
        return int(self._lib.llama_state_seq_get_size(self._context, seq))

    def save(self, seq: int) -> Any:
        """The state of a sequence, in memory that goes back to the system when it is dropped."""
        size = self.state_bytes(seq)
        state = mmap.mmap(-1, max(1, size))
        self._lib.llama_state_seq_get_data(self._context, (ctypes.c_uint8 * size).from_buffer(state), size, seq)
        return state

    def restore(self, seq: int, state: Any) -> bool:
        """See `SequenceMemory.restore`."""
        data = (ctypes.c_uint8 * len(state)).from_buffer(state)
        return bool(self._lib.llama_state_seq_set_data(self._context, data, len(state), seq))

    @property
    def vocabulary(self) -> int:
        """Tokens it knows."""
        return int(self._lib.llama_vocab_n_tokens(self._vocab))

    def losses(self, tokens: Sequence[int]) -> list[float]:
        """Minus the logarithm of the likelihood of each token but the first, given those before; empties the cache.

        At most READ_CHUNK tokens.
        """
        import numpy as np

        lib, count = self._lib, len(tokens)
        self.forget()
        batch = lib.llama_batch_init(count, 0, 1)
        try:
            for at, token in enumerate(tokens):
                batch.token[at], batch.pos[at], batch.logits[at] = token, at, 1
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
            batch.n_tokens = count
            if lib.llama_decode(self._context, batch) != 0:
                raise ModelError(f"llama.cpp could not compute {count} tokens.")
            losses = []
            for at, after in enumerate(tokens[1:]):
                row = np.ctypeslib.as_array(lib.llama_get_logits_ith(self._context, at), (self.vocabulary,))
                row = row.astype(np.float64)
                losses.append(float(row.max() + np.log(np.exp(row - row.max()).sum()) - row[after]))
            return losses
        finally:
            lib.llama_batch_free(batch)
            self.forget()

    def wait(self) -> None:
        """Until the device has computed what was appended."""
        self._lib.llama_synchronize(self._context)

    def forget(self) -> None:
        """Empty the cache."""
        self._lib.llama_memory_clear(self._memory, True)

    def sampler(self, settings: GenerationSettings) -> Sampler:
        """What chooses the tokens of one answer; close it afterwards."""
        return Sampler(self._lib, self._model, self._vocab, settings)

    def sample(self, sampler: Sampler, index: int) -> int:
        """The next token by the logits of row `index` of the last `compute`."""
        return sampler.sample(self._context, index)

    def take_adapters_from(self, folder: Path, base: Path, base_id: str) -> None:
        """Let answers use the LoRA adapters of this folder; `base` is the file of this model."""
        self._shelf = AdapterShelf(self._lib, self._model, folder, base, base_id)

    def adapter_key(self, adapters: Sequence[tuple[str, float]]) -> Key:
        """See `AdapterShelf.key`; any thread may call it."""
        if self._shelf is None and adapters:
            raise NotFoundError(f"There is no adapter {adapters[0][0]!r}: this model was loaded without any.")
        return self._shelf.key(adapters) if self._shelf is not None else ()

    def wear(self, adapters: Sequence[tuple[str, float]]) -> None:
        """Compute with these adapters from now on. What was read under others is forgotten.

        Raises:
            NotFoundError, WeightsError: see `AdapterShelf.apply`.
        """
        key = self._shelf.apply(self._context, adapters) if self._shelf is not None else self.adapter_key(adapters)
        if key != self._worn:
            self._worn = key
            self.forget()

    def close(self) -> None:
        """Free context and weights. Nothing may be called afterwards."""
        self._lib.llama_batch_free(self._batch)
        self._lib.llama_free(self._context)
        if self._shelf is not None:
            self._shelf.close()
        self._lib.llama_model_free(self._model)


def _shares(lib: ModuleType, options: LoadOptions) -> Any:
    """The shares of the cards as llama.cpp wants them: one number for every card there could be."""
    if not options.tensor_split:
        return None
    count = int(lib.llama_max_devices())
    return (ctypes.c_float * count)(*options.tensor_split[:count])


def quantise_q8_0(source: Path, target: Path, threads: int) -> None:
    """Write a Q8_0 copy of a GGUF file.

    Raises:
        WeightsError: llama.cpp refused.
    """
    lib = library()
    params = lib.llama_model_quantize_default_params()
    params.ftype = _Q8_0
    params.allow_requantize = True
    params.nthread = threads
    code = lib.llama_model_quantize(str(source).encode(), str(target).encode(), params)
    if code != 0:
        raise WeightsError(f"llama.cpp could not requantise '{source}' (code {code}).", "Is there room on the disk?")


def has_card() -> bool:
    """Whether this build of llama.cpp can compute on a card."""
    return bool(library().llama_supports_gpu_offload())


@functools.cache
def library() -> ModuleType:
    """The loaded C library with its messages sent to our log."""
    # else it starts a debugger when it aborts, and two threads that abort at once wait for each other's for ever
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    import llama_cpp.llama_cpp as lib

    lib.llama_log_set(_log_callback(lib), ctypes.c_void_p(0))
    return lib


@functools.cache
def _log_callback(lib: ModuleType) -> Any:
    def write(level: int, text: bytes, _: object) -> None:
        log.log(_LEVELS.get(level, logging.DEBUG), "%s", text.decode("utf-8", "replace").rstrip())

    return lib.llama_log_callback(write)
