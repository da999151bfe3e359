"""How well chunks have a question's words, where a word counts by how few of these very chunks have it."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from core.text import segment
from core.types import StoredChunk

K1, B = 1.2, 0.75
"""BM25's saturation and length, as the keyword index has them."""
INSTEAD = 0.5
"""Count of a word of which a chunk only has what the glossary says stands for it."""


def among(
    tokens: Sequence[str],
    chunks: Sequence[StoredChunk],
    stand_for: Mapping[str, tuple[frozenset[str], ...]] | None = None,
) -> dict[int, float]:
    """BM25 by chunk id, with rarities and lengths taken from these chunks instead of the whole index.

    A word that all candidates have, such as the company's name in a question about one company, then says nothing of
    which of them to prefer, however rare it is elsewhere. docs/decisions/0021-rarity-among-candidates.md

    Args:
        tokens: search words of the question. stand_for: as `chat.retrieval.glossary.stand_ins` gives it.
    """
    wanted = Counter(tokens)
    if not wanted or not chunks:
        return {}
    stands = stand_for or {}
    watched = wanted.keys() | {part for sets in stands.values() for other in sets for part in other}
    counts: list[dict[str, float]] = []
    lengths: list[int] = []
    for chunk in chunks:
        words = (*_segmented(chunk.title), *_segmented(chunk.context), *(chunk.tokens.split() or segment(chunk.text)))
        lengths.append(len(words))
        counts.append(_with_stand_ins(Counter(filter(watched.__contains__, words)), wanted, stands))
    mean = sum(lengths) / len(lengths) or 1.0
    having = Counter(word for one in counts for word in one)
    rarity = {word: math.log1p((len(chunks) - n + 0.5) / (n + 0.5)) * wanted[word] for word, n in having.items()}
    scores: dict[int, float] = {}
    for chunk, one, length in zip(chunks, counts, lengths, strict=True):
        room = K1 * (1.0 - B + B * length / mean)
        scores[chunk.id] = sum(rarity[word] * n * (K1 + 1.0) / (n + room) for word, n in one.items())
    return scores


def _with_stand_ins(
    found: Mapping[str, int], wanted: Mapping[str, int], stands: Mapping[str, tuple[frozenset[str], ...]]
) -> dict[str, float]:
    counts = {word: float(n) for word, n in found.items() if word in wanted}
    for word, sets in stands.items():
        if word in wanted and word not in counts and any(other <= found.keys() for other in sets):
            counts[word] = INSTEAD
    return counts


@functools.lru_cache(maxsize=8192)
def _segmented(text: str) -> tuple[str, ...]:
    return tuple(segment(text)) if text else ()
