"""Two runs question by question: which figures differ for certain, and on which questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from evals.figures import KINDS, Figure, Row

RESAMPLES = 10_000
SEED = 20_261_122
LEVEL = 0.95
FEWEST = 20
"""Questions below which no difference is called certain: the bootstrap is too sure of itself with so few."""
_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure in both runs. delta: second minus first; low, high: its 95 % interval.

    verdict: better, worse (with certainty), same (not one question differs), unclear, or few (too few questions).
    """

    figure: str
    first: float
    second: float
    delta: float
    low: float
    high: float
    p: float
    questions: int
    verdict: str
    gated: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One question that came out differently. first, second: its figure in each run."""

    qid: str
    question: str
    first: float
    second: float

    @property
    def delta(self) -> float:
        return self.second - self.first


@dataclass(frozen=True, slots=True)
class Comparison:
    """kind: retrieval or answers. pairs: questions in both runs. left_out: in one only, or no longer the same."""

    kind: str
    pairs: int
    left_out: int
    differences: tuple[Difference, ...]
    rows: tuple[tuple[Row, Row], ...]

    def worse(self) -> list[Difference]:
        """What a gate fails on."""
        return [one for one in self.differences if one.gated and one.verdict == "worse"]

    def changes(self, figure_name: str) -> list[Change]:
        """Questions whose figure differs, what got worse most first.

        Raises:
            InputError: runs of this kind have no such figure.
        """
        figure = next((one for one in KINDS[self.kind] if one.name == figure_name), None)
        if figure is None:
            names = ", ".join(one.name for one in KINDS[self.kind])
            raise InputError(f"A run of {self.kind} has no figure '{figure_name}'.", f"Choose one of {names}.")
        found = []
        for first, second in self.rows:
            a, b = figure.part(first), figure.part(second)
            if a is None or b is None or a[0] / a[1] == b[0] / b[1]:
                continue
            found.append(Change(str(first["qid"]), str(first.get("question", "")), a[0] / a[1], b[0] / b[1]))
        return sorted(found, key=lambda change: (change.delta, change.qid))

    def to_dict(self, figure_name: str) -> dict[str, Any]:
        """JSON form; wins and losses by this figure."""
        changes = self.changes(figure_name)
        figure = next(one for one in KINDS[self.kind] if one.name == figure_name)
        better = [change for change in changes if (change.delta > 0) == figure.higher]
        return {
            "kind": self.kind,
            "questions": self.pairs,
            "left_out": self.left_out,
            "figures": [asdict(one) for one in self.differences],
            "by": figure_name,
            "wins": [asdict(one) for one in better],
            "losses": [asdict(one) for one in changes if one not in better],
        }


def compare(kind: str, first: Iterable[Row], second: Iterable[Row]) -> Comparison:
    """Pair the questions of two runs and judge every figure by a paired bootstrap (Efron and Tibshirani 1993).

    Questions are drawn with replacement 10,000 times from a fixed seed; a figure differs for certain when 95 % of the
    differences lie on one side of zero.

    Raises:
        InputError: no question is in both.
    """
    a, b = ({str(row["qid"]): row for row in rows} for rows in (first, second))
    both = [qid for qid in a if qid in b and _same(a[qid], b[qid])]
    if not both:
        raise InputError("The two runs have no question in common.", "Compare runs of one question set.")
    pairs = tuple((a[qid], b[qid]) for qid in both)
    weights = _draws(len(pairs))
    differences = [one for figure in KINDS[kind] if (one := _difference(figure, pairs, weights)) is not None]
    return Comparison(kind, len(pairs), len(a.keys() | b.keys()) - len(pairs), tuple(differences), pairs)


def _same(first: Row, second: Row) -> bool:
    """A question that was rewritten, or is judged by other documents now, is another question."""
    return first.get("question") == second.get("question") and first.get("gold") == second.get("gold")


def _draws(n: int) -> list[NDArray[np.float64]]:
    """How often each of `n` questions is drawn, (RESAMPLES, n) in batches."""
    rng = np.random.default_rng(SEED)
    offsets = np.arange(_BATCH)[:, None] * n
    batches = (rng.integers(n, size=(_BATCH, n)) + offsets for _ in range(RESAMPLES // _BATCH))
    return [np.bincount(batch.ravel(), minlength=_BATCH * n).reshape(_BATCH, n).astype(np.float64) for batch in batches]


def _difference(
    figure: Figure, pairs: Sequence[tuple[Row, Row]], weights: Sequence[NDArray[np.float64]]
) -> Difference | None:
    parts = np.array([[*(figure.part(a) or (0.0, 0.0)), *(figure.part(b) or (0.0, 0.0))] for a, b in pairs])
    whole = parts.sum(axis=0)
    if not whole[1] or not whole[3]:
        return None
    sums = np.concatenate([weight @ parts for weight in weights])
    sums = sums[(sums[:, 1] > 0) & (sums[:, 3] > 0)]
    deltas = sums[:, 2] / sums[:, 3] - sums[:, 0] / sums[:, 1]
    first, second = float(whole[0] / whole[1]), float(whole[2] / whole[3])
    low, high = (float(value) for value in np.quantile(deltas, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    judged = int(((parts[:, 1] > 0) | (parts[:, 3] > 0)).sum())
    same = bool(np.array_equal(parts[:, :2], parts[:, 2:]))
    return Difference(
        figure.name,
        round(first, 4),
        round(second, 4),
        round(second - first, 4),
        round(low, 4),
        round(high, 4),
        1.0 if same else round(_p(deltas), 4),
        judged,
        _verdict(figure, low, high, judged, same),
        figure.gated,
    )


def _p(deltas: NDArray[np.float64]) -> float:
    """Two-sided: how often the resampled difference does not have the sign of most."""
    against = min(int((deltas <= 0).sum()), int((deltas >= 0).sum()))
    return min(1.0, 2 * (against + 1) / (len(deltas) + 1))


def _verdict(figure: Figure, low: float, high: float, judged: int, same: bool) -> str:
    if same:
        return "same"
    if judged < FEWEST:
        return "few"
    if low > 0 or high < 0:
        return "better" if (low > 0) == figure.higher else "worse"
    return "unclear"


def headline(kind: str) -> str:
    """The figure by which wins and losses are listed when nobody chose one."""
    return {"retrieval": "mrr@10", "answers": "token_f1"}[kind]


def as_rows(results: Iterable[Mapping[str, Any] | None]) -> list[Row]:
    """The rows of a run without questions that were not measured."""
    return [row for row in results if row is not None]
