"""Figures from rankings and answers. Pure functions."""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from core.text import HAN

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

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


def rouge_l(answer: str, answers: Sequence[Sequence[str]]) -> float:
    """ROUGE-L (Lin 2004), F with beta 1, over `words`, against the answer that fits best; 0.0 when there is none.

    With L the longest common subsequence of n and m tokens that F is 2 L / (n + m), which is what rapidfuzz calls the
    normalised indel similarity. `rouge-score` gives the same figures for the same tokens, but by itself drops every
    Chinese character, and loads nltk.
    """
    from rapidfuzz.distance import Indel

    have = words(answer)
    if not have:
        return 0.0
    return max((float(Indel.normalized_similarity(have, words(" ".join(one)))) for one in answers), default=0.0)


def bleu(answer: str, answers: Sequence[Sequence[str]]) -> float:
    """Sentence BLEU of sacrebleu, 0.0-1.0, against all acceptable answers; orders that a short text lacks left out.

    Chinese is cut into characters (its tokeniser `zh`), all else as WMT does (`13a`).
    """
    wanted = [" ".join(one) for one in answers if " ".join(one).strip()]
    if not answer.strip() or not wanted:
        return 0.0
    tokeniser = "zh" if HAN.search(answer) or any(HAN.search(one) for one in wanted) else "13a"
    return float(_bleu(tokeniser).sentence_score(answer, wanted).score) / 100


@functools.cache
def _bleu(tokeniser: str) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokeniser, effective_order=True)


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
