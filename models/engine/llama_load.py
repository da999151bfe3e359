"""Opens a GGUF model with what fits: fewer layers on the card, a smaller cache, fewer slots, a smaller window."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol, TypeVar

from core.errors import ModelError, WeightsError
from models.engine.load_note import LoadNote
from models.engine.load_options import LoadOptions
from models.files.gguf import GgufHeader, read_header, require_language_model

log = logging.getLogger(__name__)

SMALLEST_WINDOW: Final = 1024
"""Tokens; under that no passage fits beside a question."""
_CACHE_BLOCK: Final = 32  # numbers of a head that a quantised cache packs together

T = TypeVar("T", covariant=True)


class Opener(Protocol[T]):
    """Loads a model, or raises WeightsError (the file) or ModelError (no memory for the window)."""

    def __call__(self, path: Path, options: LoadOptions) -> T: ...


def load_what_fits(path: Path, options: LoadOptions, *, opener: Opener[T], card: bool) -> tuple[T, tuple[str, ...]]:
    """The model, and a sentence for each step down that was needed.

    Args:
        card: whether llama.cpp can use one; without, nothing is put there and nothing is said about it.

    Raises:
        WeightsError: the file is no language model, or llama.cpp cannot load it even without a card.
        ModelError: no memory even for one slot of SMALLEST_WINDOW.
    """
    header = read_header(path)
    require_language_model(header)
    # one more than the layers: the output is counted as one
    everything = header.layers + 1
    layers = (everything if options.gpu_layers < 0 else min(options.gpu_layers, everything)) if card else 0
    wanted = dataclasses.replace(options, gpu_layers=layers, window=min(options.window, header.context))
    failure: ModelError | None = None
    for step in _steps(wanted, can_pack_cache(header)):
        try:
            loaded = opener(path, step)
        except WeightsError as error:
            if step.gpu_layers == 0:
                raise failure or error from error
            failure = error
        except ModelError as error:
            failure = error
        else:
            return loaded, tuple(_notes(path.name, wanted, step))
        log.warning(
            "%s does not fit with %d layers on the card, %d slots, a window of %d and a cache in %s",
            path.name, step.gpu_layers, step.slots, step.window, step.cache_type,
        )  # fmt: skip
    assert failure is not None
    raise failure


def can_pack_cache(header: GgufHeader) -> bool:
    """Whether llama.cpp can keep this model's keys and values in a quantised type."""
    return not (header.key_length % _CACHE_BLOCK or header.value_length % _CACHE_BLOCK)


def _steps(wanted: LoadOptions, packable: bool) -> Iterator[LoadOptions]:
    """From what is wanted to the least."""
    step = wanted
    yield step
    while step.gpu_layers > 0:
        step = dataclasses.replace(step, gpu_layers=step.gpu_layers * 3 // 4 if step.gpu_layers > 3 else 0)
        yield step
    if step.cache_type == "f16" and packable and step.flash_attention != "off":
        step = dataclasses.replace(step, cache_type="q8_0")
        yield step
    while step.slots > 1:
        step = dataclasses.replace(step, slots=step.slots // 2)
        yield step
    while step.window > SMALLEST_WINDOW:
        step = dataclasses.replace(step, window=max(SMALLEST_WINDOW, step.window // 2))
        yield step


def _notes(name: str, wanted: LoadOptions, got: LoadOptions) -> Iterator[LoadNote]:
    if got.gpu_layers < wanted.gpu_layers:
        yield LoadNote(
            f"The card has room for {got.gpu_layers} of {wanted.gpu_layers} layers of {name}; the rest is computed on "
            "the processor.",
            "layers",
            got=got.gpu_layers,
            wanted=wanted.gpu_layers,
        )
    if got.cache_type != wanted.cache_type:
        yield LoadNote(
            f"The cache of {name} is kept in {got.cache_type}, not {wanted.cache_type}, to save memory.",
            "cache",
            got=got.cache_type,
            wanted=wanted.cache_type,
        )
    if got.slots < wanted.slots:
        yield LoadNote(
            f"The memory is enough for {got.slots} answers of {name} side by side, not {wanted.slots}.",
            "slots",
            got=got.slots,
            wanted=wanted.slots,
        )
    if got.window < wanted.window:
        yield LoadNote(
            f"The memory is enough for a window of {got.window} tokens, not {wanted.window}, with {name}.",
            "window",
            got=got.window,
            wanted=wanted.window,
        )
