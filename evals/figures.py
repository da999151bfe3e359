"""Which figures a run has, which way each is better, and how the questions of a run make it up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio of sums over questions: of `over`, by that of `per` or the number of questions that have `over`.

    higher: more of it is better. gated: whether a change for the worse can fail a gate; times are not, as they depend
    on what else the machine does.
    """

    name: str
    over: str
    per: str = ""
    higher: bool = True
    gated: bool = True

    def part(self, row: Row) -> tuple[float, float] | None:
        """(dividend, divisor) of one question; None when it cannot be judged by this."""
        value = row.get(self.over)
        divisor = row.get(self.per) if self.per else 1.0
        if value is None or not divisor:
            return None
        return float(value), float(divisor)

    def of(self, rows: Iterable[Row | None]) -> float | None:
        """The figure over these questions, rounded to 4 places; None when none can be judged."""
        parts = [part for row in rows if row is not None and (part := self.part(row)) is not None]
        whole = sum(divisor for _, divisor in parts)
        return round(sum(value for value, _ in parts) / whole, 4) if whole else None


RETRIEVAL = (
    *(
        Figure(name, name)
        for name in (
            "mrr@10",
            "ndcg@10",
            "hit@1",
            "hit@5",
            "hit@10",
            "recall@10",
            "evidence@5",
            "evidence@10",
        )
    ),
    Figure("seconds_per_question", "seconds", higher=False, gated=False),
)
ANSWERS = (
    Figure("token_f1", "token_f1"),
    Figure("contains", "contains"),
    Figure("rouge_l", "rouge_l"),
    Figure("bleu", "bleu"),
    Figure("citation_precision", "cited_gold", "cited"),
    Figure("citation_recall", "citation_recall"),
    Figure("refusal_recall", "refused_rightly"),
    Figure("refusal_false_rate", "refused_wrongly", higher=False),
    Figure("unsupported_rate", "unsupported", "sentences", higher=False),
    Figure("seconds_per_answer", "seconds", higher=False, gated=False),
)
KINDS: Mapping[str, Sequence[Figure]] = {"retrieval": RETRIEVAL, "answers": ANSWERS}


def kind_of(rows: Iterable[Row]) -> str:
    """What kind of run these rows are of: answers have an answer."""
    return "answers" if any("answer" in row for row in rows) else "retrieval"


def summary(kind: str, rows: Sequence[Row | None]) -> dict[str, float | None]:
    """Every figure of that kind over these rows, by name."""
    return {figure.name: figure.of(rows) for figure in KINDS[kind]}
