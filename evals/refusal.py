"""The refusal's whole curve: what is refused of answerable, unanswerable and foreign questions at any limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.metrics import mean

Row = Mapping[str, Any]
TARGETS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Shares of answerable questions refused at which the curve is shown."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The `evidence` of retrieval rows of one set, by what its questions are. foreign: questions of another set."""

    answerable: tuple[Row, ...]
    unanswerable: tuple[Row, ...]
    foreign: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """Shares refused at one limit, means over sets; None where no set has such questions. limit 0 is in force."""

    limit: float
    answerable: float | None
    unanswerable: float | None
    foreign: float | None


def judged(rows: Sequence[Row], unanswerable: set[str], foreign: Sequence[Row]) -> Judged:
    """Sort the rows of a retrieval run; those that neither have gold documents nor are unanswerable are left out."""
    return Judged(
        tuple(row["evidence"] for row in rows if row["gold"] and "evidence" in row),
        tuple(row["evidence"] for row in rows if row["qid"] in unanswerable and "evidence" in row),
        tuple(row["evidence"] for row in foreign if "evidence" in row),
    )


def refused(evidence: Row, limit: float) -> bool:
    """Whether a question with this evidence is refused when the limit is moved by so much."""
    if evidence["always"]:
        return bool(evidence["always"] == "refuse")
    return bool(evidence["score"] < limit)


def share_refused(evidence: Sequence[Row], limit: float = 0.0) -> float | None:
    """Share refused; None without questions."""
    return mean(float(refused(one, limit)) for one in evidence)


def point(sets: Sequence[Judged], limit: float) -> Point:
    """The means over sets at one limit."""
    return Point(
        limit,
        mean(share_refused(one.answerable, limit) for one in sets),
        mean(share_refused(one.unanswerable, limit) for one in sets),
        mean(share_refused(one.foreign, limit) for one in sets),
    )


def curve(sets: Sequence[Judged]) -> list[Point]:
    """The highest limit that refuses no more of the answerable than each of `TARGETS`, by rising limit."""
    limits = sorted({row["score"] for one in sets for kind in (one.answerable, one.unanswerable) for row in kind})
    found: dict[float, Point] = {}
    for target in TARGETS:
        low, high, best = 0, len(limits) - 1, None
        while low <= high:  # the share only rises with the limit
            middle = (low + high) // 2
            here = point(sets, limits[middle])
            if here.answerable is not None and here.answerable <= target:
                best, low = here, middle + 1
            else:
                high = middle - 1
        if best is not None:
            found[best.limit] = best
    return [found[limit] for limit in sorted(found)]
