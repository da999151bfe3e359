"""Runner: what follow-ups find as typed, condensed, and rewritten by a person."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chat.retrieve import Searches
from evals.corpus import CorpusBuilder
from evals.retrieval import Progress, Row, ask, report
from evals.sets import EvalDocument, EvalQuestion, sample

WAYS = ("original", "condensed", "human rewrite")


def human_rewrites(path: Path) -> dict[str, str]:
    """The stand-alone form that a person wrote, by qid, of the questions that have one."""
    rows = (json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip())
    return {str(row["qid"]): str(row["rewritten"]) for row in rows if row.get("rewritten")}


def evaluate_followups(
    builder: CorpusBuilder,
    retriever: Searches,
    documents: Sequence[EvalDocument],
    questions: Sequence[EvalQuestion],
    rewrites: dict[str, str],
    *,
    limit: int | None = None,
    seed: int = 1,
    on_row: Callable[[Row], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Retrieval figures by way of asking, over the questions with gold documents, a history and a human rewrite."""
    chosen = sample([q for q in questions if q.history and q.gold and q.qid in rewrites], limit, seed)
    reports: dict[str, Any] = {}
    with builder.build(documents) as corpus:
        for index, way in enumerate(WAYS):
            rows = []
            for number, question in enumerate(chosen, 1):
                rows.append(ask(retriever, corpus, _asked(question, way, rewrites)) | {"way": way})
                if on_row:
                    on_row(rows[-1])
                if progress:
                    progress(index * len(chosen) + number, len(WAYS) * len(chosen))
            reports[way] = report(rows)
    return reports


def _asked(question: EvalQuestion, way: str, rewrites: dict[str, str]) -> EvalQuestion:
    if way == "condensed":
        return question
    text = question.question if way == "original" else rewrites[question.qid]
    return replace(question, question=text, history=())
