"""Thin hold on llama.cpp's C functions: one model, one context, one sequence. Owned by one thread.

The high-level class of llama-cpp-python is passed by on purpose: it copies the logits of every prompt token, swallows
unknown arguments, and renders the template found inside the file.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from core.errors import ModelError, WeightsError

log = logging.getLogger("models.llama_cpp")

READ_CHUNK = 256  # prompt tokens per call: the abort is seen between calls even where a GPU ignores the callback
_ABORTED = 2
_Q8_0 = 7  # LLAMA_FTYPE_MOSTLY_Q8_0
_LEVELS = {3: logging.DEBUG, 4: logging.INFO}  # its own "errors" include every cancelled prompt; real ones raise here


class Aborted(Exception):
    """The abort flag stopped a computation."""


class NativeModel:
    """Weights and vocabulary. `tokenize` and `piece` may be called by any thread, `context` functions by one only."""

    def __init__(self, path: Path, *, threads: int, window: int, gpu_layers: int) -> None:
        self._lib = library()
        params = self._lib.llama_model_default_params()
        params.n_gpu_layers = 0x7FFFFFFF if gpu_layers < 0 else gpu_layers
        self._model = self._lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise WeightsError(
                f"llama.cpp cannot load '{path}'.",
                "Is the file whole, and is there memory for it? logs/models.log says.",
            )
        self._vocab = self._lib.llama_model_get_vocab(self._model)
        self.window = min(window, self._lib.llama_model_n_ctx_train(self._model))
        self._context = self._new_context(threads)
        self._memory = self._lib.llama_get_memory(self._context)
        self._flag = ctypes.create_string_buffer(64)
        self._abort = self._install_abort()
        self._read: list[int] = []

    def _new_context(self, threads: int) -> Any:
        params = self._lib.llama_context_default_params()
        params.n_ctx = self.window
        params.n_batch = params.n_ubatch = READ_CHUNK
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        context = self._lib.llama_init_from_model(self._model, params)
        if not context:
            self._lib.llama_model_free(self._model)
            raise ModelError(f"No memory for a window of {self.window} tokens.", "Lower ALIOTH_MODELS__CONTEXT_TOKENS.")
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

    def read(self, prompt: Sequence[int]) -> int:
        """Compute a prompt and return how many of its tokens were not in the cache from the one before.

        Raises:
            Aborted: the flag was set; what was read so far stays in the cache.
            ModelError: llama.cpp failed.
        """
        kept = self._keep_common(prompt)
        for start in range(kept, len(prompt), READ_CHUNK):
            self.append(prompt[start : start + READ_CHUNK])
        return len(prompt) - kept

    def append(self, tokens: Sequence[int]) -> None:
        """Compute these tokens after those in the cache. Raises as `read`."""
        if self._flag[0] != b"\0":
            raise Aborted
        array = (self._lib.llama_token * len(tokens))(*tokens)
        code = self._lib.llama_decode(self._context, self._lib.llama_batch_get_one(array, len(tokens)))
        if code == 0:
            self._read.extend(tokens)
            return
        self._lib.llama_memory_seq_rm(self._memory, 0, len(self._read), -1)
        if code == _ABORTED:
            raise Aborted
        self.forget()
        raise ModelError(f"llama.cpp could not compute {len(tokens)} tokens (code {code}).", "Ask again.")

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
        self._read = []

    def _keep_common(self, prompt: Sequence[int]) -> int:
        same = 0
        # the last token is always computed again, as its logits are needed
        for old, new in zip(self._read, prompt[:-1], strict=False):
            if old != new:
                break
            same += 1
        if not self._lib.llama_memory_seq_rm(self._memory, 0, same, -1):
            self.forget()
            return 0
        del self._read[same:]
        return same

    def sampler(self, *, temperature: float, top_p: float, repeat_penalty: float, seed: int) -> Any:
        """A chain of llama.cpp samplers; hand it to `free_sampler` afterwards.

        The penalty sees generated tokens only: an answer should repeat the words of its sources.
        """
        lib = self._lib
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        if repeat_penalty != 1.0:
            vocabulary = lib.llama_vocab_n_tokens(self._vocab)
            lib.llama_sampler_chain_add(
                chain, lib.llama_sampler_init_penalties(vocabulary, 64, repeat_penalty, 0.0, 0.0)
            )
        if temperature <= 0:
            lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_greedy())
            return chain
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_top_p(top_p, 1))
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_temp(temperature))
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_dist(seed))
        return chain

    def sample(self, sampler: Any) -> int:
        """The next token by the logits of the last computed one."""
        return int(self._lib.llama_sampler_sample(sampler, self._context, -1))

    def free_sampler(self, sampler: Any) -> None:
        self._lib.llama_sampler_free(sampler)

    def close(self) -> None:
        """Free context and weights. Nothing may be called afterwards."""
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)


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
    import llama_cpp.llama_cpp as lib

    lib.llama_log_set(_log_callback(lib), ctypes.c_void_p(0))
    return lib


@functools.cache
def _log_callback(lib: ModuleType) -> Any:
    def write(level: int, text: bytes, _: object) -> None:
        log.log(_LEVELS.get(level, logging.DEBUG), "%s", text.decode("utf-8", "replace").rstrip())

    return lib.llama_log_callback(write)
