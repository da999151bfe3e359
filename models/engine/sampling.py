"""Chooses the next token: llama.cpp's chain of samplers by our settings, held to a grammar where one is asked for."""

from __future__ import annotations

import ctypes
import math
from types import ModuleType
from typing import Any, Final

import numpy as np

from core.answer_settings import LIMITS, require_adapters, require_number, require_stops
from core.errors import InputError, ModelError
from models.engine.grammar import grammar_of
from models.protocols import GenerationSettings

PENALTY_TOKENS: Final = 64
"""The repeat penalty looks back at so many generated tokens."""
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


def require_valid(settings: GenerationSettings) -> None:
    """Nothing when every value is within its limits and the schema, if any, can be followed.

    Raises:
        InputError: names the value, its limits with their unit, and what to do.
    """
    for name in LIMITS:
        require_number(name, getattr(settings, name))
    require_stops(settings.stop)
    require_adapters(settings.adapters)
    if settings.json_schema:
        grammar_of(settings.json_schema)


class Sampler:
    """One request's samplers, with their random numbers and what the penalty remembers. For one thread.

    Args:
        lib: the loaded library. model, vocab: of the loaded weights.

    Raises:
        InputError: a setting is out of its limits, or the schema cannot be followed.
    """

    def __init__(self, lib: ModuleType, model: Any, vocab: Any, settings: GenerationSettings) -> None:
        require_valid(settings)
        self._lib = lib
        self._size = int(lib.llama_vocab_n_tokens(vocab or lib.llama_model_get_vocab(model)))
        self._grammar = _new_grammar(lib, vocab, settings.json_schema) if settings.json_schema else None
        self._chain = _new_chain(lib, self._size, settings)

    def sample(self, context: Any, index: int) -> int:
        """The next token by the logits of output `index` of the last batch (-1: the last one), and remember it.

        Raises:
            ModelError: the schema allows nothing that the model can write.
        """
        if self._grammar is None:
            return int(self._lib.llama_sampler_sample(self._chain, context, index))
        logits = np.ctypeslib.as_array(self._lib.llama_get_logits_ith(context, index), (self._size,))
        token = self._held(logits)
        self._lib.llama_sampler_accept(self._grammar, token)
        self._lib.llama_sampler_accept(self._chain, token)
        return token

    def close(self) -> None:
        """Free the samplers; once is enough, twice does no harm."""
        for sampler in (self._chain, self._grammar):
            if sampler is not None:
                self._lib.llama_sampler_free(sampler)
        self._chain = self._grammar = None

    def _held(self, logits: Any) -> int:
        """As the chain chooses, if the grammar allows it; else as it chooses among what the grammar allows.

        The grammar is asked about one token first: about a whole vocabulary it takes milliseconds.
        """
        token = self._apply(_candidates(logits), self._chain)[0]
        single = np.zeros(1, _CANDIDATE)
        single["id"] = token
        if self._allowed(single):
            return token
        everything = _candidates(logits)
        self._apply(everything, self._grammar)
        token, logit = self._apply(everything, self._chain)
        if not math.isfinite(logit):
            # llama.cpp would end the whole process if it were told to accept what its grammar forbids
            raise ModelError("The JSON schema allows nothing that the model can write here.", "Simplify the schema.")
        return token

    def _allowed(self, single: Any) -> bool:
        self._apply(single, self._grammar)
        return bool(np.isfinite(single["logit"][0]))

    def _apply(self, candidates: Any, sampler: Any) -> tuple[int, float]:
        """What the sampler selects, id and logit; candidates may be sorted and cut by it."""
        lib = self._lib
        pointer = candidates.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
        array = lib.llama_token_data_array(data=pointer, size=len(candidates), selected=-1, sorted=False)
        lib.llama_sampler_apply(sampler, ctypes.byref(array))
        chosen = candidates[max(0, array.selected)]
        return int(chosen["id"]), float(chosen["logit"])


def _candidates(logits: Any) -> Any:
    rows = np.zeros(len(logits), _CANDIDATE)
    rows["id"] = np.arange(len(logits), dtype=np.int32)
    rows["logit"] = logits
    return rows


def _new_grammar(lib: ModuleType, vocab: Any, schema: str) -> Any:
    grammar = lib.llama_sampler_init_grammar(vocab, grammar_of(schema).encode(), b"root")
    if not grammar:
        raise InputError("llama.cpp cannot follow this JSON schema.", "Simplify it: fewer choices, no recursion.")
    return grammar


def _new_chain(lib: ModuleType, vocabulary: int, settings: GenerationSettings) -> Any:
    """The penalty sees generated tokens only: an answer should repeat the words of its sources."""
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())

    def add(sampler: Any) -> None:
        lib.llama_sampler_chain_add(chain, sampler)

    if settings.repeat_penalty != 1.0:
        add(lib.llama_sampler_init_penalties(vocabulary, PENALTY_TOKENS, settings.repeat_penalty, 0.0, 0.0))
    if settings.temperature <= 0:
        add(lib.llama_sampler_init_greedy())
        return chain
    if settings.top_k:
        add(lib.llama_sampler_init_top_k(settings.top_k))
    if settings.top_p < 1:
        add(lib.llama_sampler_init_top_p(settings.top_p, 1))
    if settings.min_p > 0:
        add(lib.llama_sampler_init_min_p(settings.min_p, 1))
    add(lib.llama_sampler_init_temp(settings.temperature))
    add(lib.llama_sampler_init_dist(settings.seed))
    return chain
