"""The sentences that best cover a document: centrality by keywords and stored embeddings, then variety (MMR)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chat.facts.values import values_of
from chat.injection import kinds_of
from chat.tasks.documents import PlacedSentence, sentences_in
from core.text import HAN, segment
from core.types import StoredChunk

VARIETY = 0.45
KEYWORD_WEIGHT = 1.0
EMBEDDING_WEIGHT = 0.35
PLACE_WEIGHT = 0.25
FACT_WEIGHT = 0.15
MOST_CHARS = 420
_BACKWARD = re.compile(
    r"^(?:however|finally|lastly|firstly|secondly|in this (?:report|section|document)|"
    r"but|and|so|then|this|that|these|those|it|they|he|she|such|also|thus|therefore|moreover|furthermore|"
    r"in addition|for example|e\.g\.|see|note|figure|table)\b|"
    r"^(?:但|而|且|并|此外|另外|因此|所以|然而|同时|其中|其次|首先|最后|例如|在?此|该|这|那|以上|如下|见|"
    r"通过(?:对)?(?:这|该|上述|以上))",
    re.IGNORECASE,
)
_ENDS = re.compile(r"[.!。！;；…][\"”’」』)）\]】》]*$")
_NOT_PROSE = re.compile(r"https?://|www\.|@\w|\.{4,}|…{3,}|_{3,}|©|\bISBN\b|\bdoi\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Candidate:
    sentence: PlacedSentence
    tokens: Mapping[str, float]
    score: float


def central_sentences(
    chunks: Sequence[StoredChunk], most: int, embeddings: NDArray[np.float32] | None = None
) -> list[PlacedSentence]:
    """At most `most` sentences, in document order.

    A sentence scores by its cosine to the document's keyword centroid, by how central its chunk is among the stored
    embeddings (n, dim), and by its place; then maximal marginal relevance (Carbonell and Goldstein 1998) picks.

    Args:
        embeddings: of `chunks`, in order; None when the embedder does not read the language.
    """
    sentences = sentences_in(chunks)
    candidates = _candidates(sentences, chunks, embeddings)
    chosen: list[_Candidate] = []
    left = list(candidates)
    while left and len(chosen) < most:
        best = max(left, key=lambda c: (_marginal(c, chosen), -c.sentence.index))
        chosen.append(best)
        left = [c for c in left if c is not best and _cosine(c.tokens, best.tokens) < 0.8]
    return sorted((c.sentence for c in chosen), key=lambda s: s.index)


def _marginal(candidate: _Candidate, chosen: Sequence[_Candidate]) -> float:
    near = max((_cosine(candidate.tokens, other.tokens) for other in chosen), default=0.0)
    crowd = sum(other.sentence.chunk.id == candidate.sentence.chunk.id for other in chosen)
    return candidate.score - VARIETY * near - 0.12 * crowd


def _candidates(
    sentences: Sequence[PlacedSentence], chunks: Sequence[StoredChunk], embeddings: NDArray[np.float32] | None
) -> list[_Candidate]:
    worth = [(s, _prose(s)) for s in sentences]
    usable = [(s, value) for s, value in worth if value > 0]
    if not usable:  # tables and lists only: better their lines than nothing
        usable = [(s, 0.5) for s in sentences if len(s.text) <= MOST_CHARS]
    tokens = [Counter(t for t in segment(s.text) if not t.isdigit()) for s, _ in usable]
    frequency = Counter(t for counts in tokens for t in counts)
    titles = set(segment(" ".join(f"{c.title} {' '.join(c.locator.heading)}" for c in chunks)))
    weights = {t: math.log1p(n) * (1.5 if t in titles else 1.0) for t, n in frequency.items() if n > 1 or t in titles}
    vectors = [{t: weights.get(t, 0.4) for t in counts} for counts in tokens]
    centroid = {t: weight * frequency[t] for t, weight in weights.items()}
    central = _chunk_centrality(chunks, embeddings)
    opening = _places(usable)
    out = []
    for (sentence, prose), vector, place in zip(usable, vectors, opening, strict=True):
        score = KEYWORD_WEIGHT * _cosine(vector, centroid) + EMBEDDING_WEIGHT * central.get(sentence.chunk.id, 0.0)
        score += PLACE_WEIGHT * place + FACT_WEIGHT * _has_fact(sentence)
        out.append(_Candidate(sentence, vector, prose * score))
    return out


def _prose(sentence: PlacedSentence) -> float:
    """0 for what does not stand on its own, 1 for a whole sentence."""
    text = sentence.text
    han = bool(HAN.search(text))
    letters = len(re.findall(r"[^\W\d_]", text))
    if sentence.is_row or _NOT_PROSE.search(text) or text.endswith((":", "：", "?", "？")):
        return 0.0
    if len(text) > MOST_CHARS or letters < (8 if han else 25) or letters < 0.5 * len(text.replace(" ", "")):
        return 0.0
    if kinds_of(text):  # it speaks to an assistant, not to a reader
        return 0.0
    value = 1.0 if _ENDS.search(text) else 0.55
    if _BACKWARD.search(text):
        value *= 0.7
    return value


def _has_fact(sentence: PlacedSentence) -> bool:
    """A number or a date: what a person would have to look up."""
    found = values_of(sentence.text)
    return bool(found.numbers or found.dates)


def _places(usable: Sequence[tuple[PlacedSentence, float]]) -> list[float]:
    """1 for the first sentences of the document, less for those that open a section, 0 elsewhere."""
    seen: set[tuple[str, ...]] = set()
    out = []
    for number, (sentence, _) in enumerate(usable):
        heading = sentence.chunk.locator.heading
        opens = bool(heading) and heading not in seen
        seen.add(heading)
        out.append(1.0 if number < 2 else (0.6 if opens else (0.2 if sentence.lead else 0.0)))
    return out


def _chunk_centrality(chunks: Sequence[StoredChunk], embeddings: NDArray[np.float32] | None) -> dict[int, float]:
    """Chunk id to 0–1: cosine to the mean embedding, stretched over the document."""
    if embeddings is None or len(embeddings) < 3 or len(embeddings) != len(chunks):
        return {}
    near = embeddings @ embeddings.mean(axis=0)
    low, high = float(near.min()), float(near.max())
    spread = max(high - low, 1e-6)
    return {chunk.id: (float(value) - low) / spread for chunk, value in zip(chunks, near, strict=True)}


def _cosine(left: Mapping[str, float], right: Mapping[str, float]) -> float:
    if len(left) > len(right):
        left, right = right, left
    dot = sum(weight * right[t] for t, weight in left.items() if t in right)
    if not dot:
        return 0.0
    return dot / math.sqrt(sum(w * w for w in left.values()) * sum(w * w for w in right.values()))
