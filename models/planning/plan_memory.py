"""The memory a language model takes when it is loaded, on the processor's side and on each card."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from models.engine.llama_native import READ_CHUNK
from models.engine.load_options import CacheType, cache_tokens
from models.files.gguf import GgufHeader

CACHE_BYTES: Final[dict[CacheType, float]] = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Per number kept of a token."""

# measured on the bundled model, see docs/models.md; a vocabulary entry is a text, a score and two look-ups
_VOCABULARY_BYTES: Final = 280
_LIBRARY_BYTES: Final = 8_000_000
_CARD_LIBRARY_BYTES: Final = 450_000_000


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by use; host, card and by_card (one number per card) say where they lie."""

    weights: int
    cache: int
    compute: int
    other: int
    host: int
    card: int
    by_card: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.compute + self.other


def memory(
    header: GgufHeader,
    window: int,
    layers: int,
    cache: CacheType = "f16",
    weights: int | None = None,
    *,
    slots: int = 1,
    shares: Sequence[float] = (1.0,),
    flash: bool = True,
) -> Memory:
    """What a loaded model takes, after it has read a prompt.

    Args:
        window: tokens of one slot; the slots share cache_tokens.
        layers: on the cards; the output counts as one more than the model has, and goes there first, as llama.cpp
            does it.
        weights: bytes of all weights, for another quantisation than the file's.
        shares: of the cards; see LoadOptions.
        flash: without flash attention every head's scores of a whole batch are held at once.
    """
    scale = 1.0 if weights is None else weights / max(1, header.tensor_bytes)
    tokens = cache_tokens(window, slots)
    blocks = min(max(0, layers - 1), header.layers)
    first = header.layers - blocks
    per_layer = [_row(header, number, cache) * tokens for number in range(header.layers)]
    # one table that serves as input and output lies in memory and, for the output, on the card again
    output = int((header.output_bytes or header.embedding_bytes) * scale) if layers else 0
    twice = 0 if header.output_bytes else output
    on_cards = [int(header.layer_bytes[at] * scale) + per_layer[at] for at in range(first, header.layers)]
    compute = _compute(header, tokens, flash) + (READ_CHUNK * header.vocabulary * 4 if layers else 0)
    compute += (slots - 1) * header.vocabulary * 4
    by_card = _spread([*on_cards, output] if layers else [], shares, compute + _CARD_LIBRARY_BYTES)
    used = sum(1 for one in by_card if one)
    all_weights = int(header.tensor_bytes * scale) + twice
    cards_compute = compute * max(1, used)
    other = header.vocabulary * _VOCABULARY_BYTES + _LIBRARY_BYTES + _CARD_LIBRARY_BYTES * used
    total = all_weights + sum(per_layer) + cards_compute + other
    card = sum(by_card)
    return Memory(all_weights, sum(per_layer), cards_compute, other, host=total - card, card=card, by_card=by_card)


def _compute(header: GgufHeader, tokens: int, flash: bool) -> int:
    """Only the last token's logits are wanted: memory is touched as it is used, a card's is taken at once."""
    activations = READ_CHUNK * (8 * header.width + 3 * header.feed_forward) * 4
    scores = READ_CHUNK * tokens * (2 if flash else 4 + 4 * max(1, header.heads))
    return activations + scores


def _row(header: GgufHeader, layer: int, cache: CacheType) -> int:
    """Bytes that one layer keeps of one token."""
    if header.attention_compressed:
        return int(header.attention_compressed * CACHE_BYTES[cache])
    return int(header.kv_heads[layer] * (header.key_length + header.value_length) * CACHE_BYTES[cache])


def _spread(parts: Sequence[int], shares: Sequence[float], besides: int) -> tuple[int, ...]:
    """Bytes on each card when llama.cpp deals the parts out in order; `besides` on each that gets any."""
    ends = [end / max(sum(shares), 1e-9) for end in accumulate(shares)]
    cards = [0] * len(ends)
    for number, size in enumerate(parts):
        at = min(bisect.bisect_right(ends, number / len(parts)), len(ends) - 1)
        cards[at] += size + (besides if not cards[at] else 0)
    return tuple(cards)
