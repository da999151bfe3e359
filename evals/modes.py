"""Runner: the same questions answered in every mode, over documents that are read in once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chat.retrieval.retrieve import Searches
from core.types import AnswerMode
from evals.answers import Answers, ask, report
from evals.corpus import CorpusBuilder
from evals.retrieval import Progress, Row
from evals.sets import EvalDocument, EvalQuestion, sample


def evaluate_modes(
    builder: CorpusBuilder,
    retriever: Searches,
    answerer_with: Callable[[Searches], Answers],
    documents: Sequence[EvalDocument],
    questions: Sequence[EvalQuestion],
    modes: Sequence[AnswerMode] = tuple(AnswerMode),
    *,
    limit: int | None = None,
    seed: int = 1,
    on_row: Callable[[Row], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """By mode, the report of `evaluate_answers`. All modes see the same documents and the same questions."""
    chosen = sample(questions, limit, seed)
    reports: dict[str, Any] = {}
    with builder.build(documents) as corpus:
        for index, mode in enumerate(modes):
            rows = []
            for number, question in enumerate(chosen, 1):
                rows.append(ask(answerer_with, retriever, corpus, question, mode) | {"mode_asked": mode.value})
                if on_row:
                    on_row(rows[-1])
                if progress:
                    progress(index * len(chosen) + number, len(modes) * len(chosen))
            reports[mode.value] = report(rows)
    return reports
