"""MinHash of a document's text, to find other documents that say nearly the same.

One permutation hashing (Li, Owen, Zhang 2012) with optimal densification (Shrivastava 2017) over character shingles;
sizes, bands and threshold are measured in docs/decisions/0011-near-duplicates.md.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from storage.sketches import BANDS, LANE_BITS, LANES

HAN_SHINGLE = 3
"""Characters of a shingle that begins with a Chinese character or kana."""
SHINGLE = 9
"""Characters of any other shingle, blanks and punctuation not counted."""
MIN_SHINGLES = 60
"""Texts with fewer distinct shingles are all alike by chance, such as two one-line notes: they get no sketch."""
_LOOKED_AT = 20_000
"""Shingles among which that many must differ; sorting all of a long text would take longer than the sketch."""
_BINS = BANDS * LANES
_PIECE = 1_000_000
"""Characters worked on at once: the arrays of a whole book would take half a gigabyte."""
_NO_LETTER = re.compile(r"[\W_]+")
_FACTOR = 0x9E3779B97F4A7C15
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


def sketch(texts: Iterable[str]) -> tuple[int, ...]:
    """The bands of a text as numbers of 63 bits, BANDS of them, or none for a text too short to tell.

    Case, full and half width, blanks and punctuation do not matter; two texts with equal parts in another order are
    alike. Linear in the text: some five million characters a second.
    """
    least = np.full(_BINS, _EMPTY, dtype=np.uint64)
    distinct = np.zeros(0, dtype=np.uint64)
    for letters in _pieces(texts):
        shingles = _shingles(letters)
        if len(distinct) < MIN_SHINGLES:
            distinct = np.unique(np.concatenate([distinct, shingles]))
        np.minimum(least, _least(shingles), out=least)
    if len(distinct) < MIN_SHINGLES:
        return ()
    lanes = (_densified(least) & np.uint64((1 << LANE_BITS) - 1)).reshape(BANDS, LANES)
    packed = np.zeros(BANDS, dtype=np.uint64)
    for lane in range(LANES):
        packed = (packed << np.uint64(LANE_BITS)) | lanes[:, lane]
    return tuple(int(value) for value in packed.view(np.int64))


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """The letters of the texts, some at a time; a piece begins with those of the last shingles of the one before."""
    carried = ""
    waiting: list[str] = []
    size = 0
    for text in itertools.chain(texts, [None]):
        if text is not None:
            waiting.append(text)
            size += len(text)
        if text is None or size >= _PIECE:
            letters = carried + _NO_LETTER.sub("", unicodedata.normalize("NFKC", "\n".join(waiting)).lower())
            yield letters
            carried = letters[1 - SHINGLE :]
            waiting, size = [], 0


def _shingles(letters: str) -> NDArray[np.uint64]:
    """Hash of the shingle that begins at each character, (n,) uint64; of a length by the script it begins with."""
    codes = np.frombuffer(letters.encode("utf-32-le", "replace"), dtype="<u4").astype(np.uint64)
    if len(codes) < SHINGLE:
        return np.zeros(0, dtype=np.uint64)
    sums = np.zeros(len(codes), dtype=np.uint64)  # polynomial of HAN_SHINGLE characters, then of SHINGLE
    short = sums
    for step in range(SHINGLE):
        moved = np.zeros(len(codes), dtype=np.uint64)
        moved[: len(codes) - step] = codes[step:]
        sums = sums * np.uint64(_FACTOR) + moved + np.uint64(1)
        if step + 1 == HAN_SHINGLE:
            short = sums
    dense = (codes >= 0x3040) & (codes <= 0x9FFF)
    whole = len(codes) - SHINGLE + 1
    return _mixed(np.where(dense, short, sums)[:whole])


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: every bit of the input moves every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _least(shingles: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The least hash in each bin, (bins,) uint64; empty bins are all ones."""
    least = np.full(_BINS, _EMPTY, dtype=np.uint64)
    np.minimum.at(least, (shingles >> np.uint64(40)) % np.uint64(_BINS), shingles << np.uint64(24))
    return least


def _densified(least: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Empty bins borrow from a filled one, the same one in every sketch where it is filled; bits mixed."""
    filled = least != _EMPTY
    out = least.copy()
    for place in np.flatnonzero(~filled):
        out[place] = next(least[other] for other in _probes(int(place)) if filled[other])
    numbers: NDArray[np.uint64] = np.arange(_BINS, dtype=np.uint64)
    return _mixed(out + numbers)


@cache
def _probes(place: int) -> Sequence[int]:
    """Bins in the order in which an empty one asks them."""
    return [int(other) for other in np.random.default_rng(place).permutation(_BINS)]
