"""Opens a GGUF model with what fits: fewer layers on the card, then a smaller window, each step said aloud."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol, TypeVar

from core.errors import ModelError, WeightsError
from models.gguf import read_header, require_language_model

log = logging.getLogger(__name__)

SMALLEST_WINDOW: Final = 1024
"""Tokens; under that no passage fits beside a question."""

T = TypeVar("T", covariant=True)


class Opener(Protocol[T]):
    """Loads a model, or raises WeightsError (the file) or ModelError (no memory for the window)."""

    def __call__(self, path: Path, *, threads: int, window: int, gpu_layers: int) -> T: ...


def load_what_fits(
    path: Path, *, threads: int, window: int, gpu_layers: int, opener: Opener[T], card: bool
) -> tuple[T, tuple[str, ...]]:
    """The model, and a sentence for each step down that was needed.

    Args:
        gpu_layers: wanted on the card; -1 is all.
        card: whether llama.cpp can use one; without, nothing is put there and nothing is said about it.

    Raises:
        WeightsError: the file is no language model, or llama.cpp cannot load it even without a card.
        ModelError: no memory even for SMALLEST_WINDOW.
    """
    header = read_header(path)
    require_language_model(header)
    # one more than the layers: the output is counted as one
    everything = header.layers + 1
    wanted = (everything if gpu_layers < 0 else min(gpu_layers, everything)) if card else 0
    window = min(window, header.context)
    failure: ModelError | None = None
    for layers, tokens in _steps(wanted, window):
        try:
            loaded = opener(path, threads=threads, window=tokens, gpu_layers=layers)
        except WeightsError as error:
            if layers == 0:
                raise failure or error from error
            failure = error
        except ModelError as error:
            failure = error
        else:
            return loaded, tuple(_notes(path.name, wanted, layers, window, tokens))
        log.warning("%s does not fit with %d layers on the card and a window of %d", path.name, layers, tokens)
    assert failure is not None
    raise failure


def _steps(layers: int, window: int) -> Iterator[tuple[int, int]]:
    """Layers and window, from what is wanted to the least."""
    yield layers, window
    while layers > 0:
        layers = layers * 3 // 4 if layers > 3 else 0
        yield layers, window
    while window > SMALLEST_WINDOW:
        window = max(SMALLEST_WINDOW, window // 2)
        yield 0, window


def _notes(name: str, wanted: int, layers: int, window: int, tokens: int) -> Iterator[str]:
    if layers < wanted:
        yield f"The card has room for {layers} of {wanted} layers of {name}; the rest is computed on the processor."
    if tokens < window:
        yield f"The memory is enough for a window of {tokens} tokens, not {window}, with {name}."
