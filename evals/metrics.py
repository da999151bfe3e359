"""Figures from rankings and answers. Pure functions."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from core.text import HAN

_NOT_WORD = re.compile(r"[\W_]+")
_ARTICLES = frozenset(("a", "an", "the"))
_MARK = re.compile(r"[\[【［]\s*\d+(?:\s*[,，、]\s*\d+)*\s*[\]】］]")
EVIDENCE_PREFIX = 30
"""An evidence sentence counts as found when its first 30 letters and digits are: chunks may cut its end."""
SHORTEST_EVIDENCE = 6


def squash(text: str) -> str:
    """Only letters and digits, NFKC, lower case: what two printings of one text have in common."""
    return _NOT_WORD.sub("", unicodedata.normalize("NFKC", text).lower())


def words(text: str) -> list[str]:
    """Tokens to compare answers by: characters when the text has Chinese, else words without articles."""
    if HAN.search(text):
        return list(squash(text))
    folded = _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", text).lower())
    return [word for word in folded.split() if word not in _ARTICLES]


def without_marks(answer: str) -> str:
    """The answer without its citation marks, which are no part of what it says."""
    return _MARK.sub("", answer)


# ---------------------------------------------------------------- rankings


def hit(ranked: Sequence[str], gold: Iterable[str], k: int) -> float:
    """1.0 when one of the first `k` is gold, else 0.0."""
    return float(not set(gold).isdisjoint(ranked[:k]))


def recall(ranked: Sequence[str], gold: Iterable[str], k: int) -> float:
    """Share of the gold ids among the first `k`; 0.0 without gold."""
    wanted = set(gold)
    return len(wanted.intersection(ranked[:k])) / max(1, len(wanted))


def reciprocal_rank(ranked: Sequence[str], gold: Iterable[str], k: int) -> float:
    """1 / rank of the first gold id among the first `k`, else 0.0."""
    wanted = set(gold)
    return next((1.0 / rank for rank, item in enumerate(ranked[:k], 1) if item in wanted), 0.0)


def ndcg(ranked: Sequence[str], gold: Iterable[str], k: int) -> float:
    """Normalised discounted cumulative gain with gain 1 for gold (Järvelin and Kekäläinen 2002); 0.0 without gold."""
    wanted = set(gold)
    gain = sum(1.0 / math.log2(rank + 1) for rank, item in enumerate(ranked[:k], 1) if item in wanted)
    best = sum(1.0 / math.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))
    return gain / best if best else 0.0


def evidence_recall(chunks: Sequence[str], evidence: Sequence[str]) -> float | None:
    """Share of the evidence sentences that stand in the chunks; None when no sentence is long enough to judge by."""
    wanted = [squash(sentence)[:EVIDENCE_PREFIX] for sentence in evidence if len(squash(sentence)) >= SHORTEST_EVIDENCE]
    if not wanted:
        return None
    text = "\0".join(squash(chunk) for chunk in chunks)
    return sum(sentence in text for sentence in wanted) / len(wanted)


# ---------------------------------------------------------------- answers


def f1(answer: str, wanted: str) -> float:
    """Harmonic mean of precision and recall over `words`, as in SQuAD (Rajpurkar 2016)."""
    have, want = Counter(words(answer)), Counter(words(wanted))
    common = sum((have & want).values())
    return 2 * common / (sum(have.values()) + sum(want.values())) if common else 0.0


def best_f1(answer: str, answers: Sequence[Sequence[str]]) -> float:
    """Against the acceptable answer that fits best; 0.0 when there is none."""
    return max((f1(answer, " ".join(parts)) for parts in answers), default=0.0)


def contains(answer: str, answers: Sequence[Sequence[str]]) -> float:
    """1.0 when all strings of one acceptable answer appear, letters and digits only."""
    text = squash(answer)
    return float(any(all(squash(part) in text for part in parts) for parts in answers))


# ---------------------------------------------------------------- over questions


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of those that are not None, rounded to 4 places; None when there is none."""
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """Nearest-rank percentile, `share` 0.0–1.0; None for no values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
