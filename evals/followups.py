"""Runner: what follow-ups find as typed, condensed and rewritten, and new questions after another topic."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chat.retrieval.retrieve import Searches
from core.types import ChatTurn
from evals.corpus import CorpusBuilder
from evals.retrieval import Progress, Row, ask, report
from evals.sets import EvalDocument, EvalQuestion, sample

WAYS = ("original", "condensed", "human rewrite")
NEW_WAYS = ("new conversation", "after another topic")


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
    """Retrieval figures by way of asking.

    The first three ways are over the questions with gold documents, a history and a human rewrite; the others over
    those without a history, asked alone and after a question of other documents with its answer: a change of topic
    should change nothing. Ways for which a set has no questions are left out.
    """
    follow = sample([q for q in questions if q.history and q.gold and q.qid in rewrites], limit, seed)
    fresh = sample([q for q in questions if not q.history and q.gold], limit, seed)
    tasks = [(way, _asked(question, way, rewrites)) for way in WAYS for question in follow]
    tasks += [(NEW_WAYS[0], question) for question in fresh]
    tasks += [(NEW_WAYS[1], replace(question, history=before)) for question, before in _after_others(fresh, seed)]
    rows: dict[str, list[Row]] = {}
    with builder.build(documents) as corpus:
        for number, (way, question) in enumerate(tasks, 1):
            row = ask(retriever, corpus, question) | {"way": way}
            rows.setdefault(way, []).append(row)
            if on_row:
                on_row(row)
            if progress:
                progress(number, len(tasks))
    return {way: report(found) for way, found in rows.items()}


def _after_others(
    questions: Sequence[EvalQuestion], seed: int
) -> Iterator[tuple[EvalQuestion, tuple[ChatTurn, ChatTurn]]]:
    """Each question with one of other documents, drawn by the seed, as what was said before."""
    drawn = random.Random(seed)
    for question in questions:
        others = [other for other in questions if not set(other.gold) & set(question.gold)]
        if others:
            other = drawn.choice(others)
            answer = " ".join(other.answers[0]) if other.answers else "OK."
            yield question, (ChatTurn("user", other.question), ChatTurn("assistant", answer))


def _asked(question: EvalQuestion, way: str, rewrites: dict[str, str]) -> EvalQuestion:
    if way == "condensed":
        return question
    text = question.question if way == "original" else rewrites[question.qid]
    return replace(question, question=text, history=())
