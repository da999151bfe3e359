"""Runner: are the answers to the questions of a set right, cited, and refused when they must be?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from chat.events import AnswerEvent, Finished
from chat.retrieval.retrieve import Searches
from core.types import Answer, AnswerMode, ChatTurn, Collection, Verdict
from evals import metrics
from evals.corpus import CorpusBuilder
from evals.live import Measured
from evals.retrieval import Progress, Row
from evals.scoped import ScopedRetriever
from evals.sets import EvalDocument, EvalQuestion, sample


class Answers(Protocol):
    """What `chat.answer.Answerer` offers."""

    def answer(
        self,
        question: str,
        collections: Sequence[Collection],
        history: Sequence[ChatTurn] = ...,
        mode: AnswerMode = ...,
    ) -> Iterator[AnswerEvent]:
        """Events, the last one `Finished`."""
        ...


def evaluate_answers(
    builder: CorpusBuilder,
    retriever: Searches,
    answerer_with: Callable[[Searches], Answers],
    documents: Sequence[EvalDocument],
    questions: Sequence[EvalQuestion],
    *,
    limit: int | None = None,
    seed: int = 1,
    mode: AnswerMode = AnswerMode.AUTOMATIC,
    on_row: Callable[[Row], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Read the documents in, let every question be answered, score.

    Args:
        answerer_with: makes an answerer that searches through the given retriever.

    Returns:
        The report of DESIGN's contract. token_f1 and contains: over answerable questions with known answers.
        refusal: recall over unanswerable questions, false_rate over answerable ones; questions whose set expects
        small talk or a question back are in neither. citation_precision: share of all citations that name a gold
        document. unsupported_rate: share of all sentences of answers that the check marks unsupported.
    """
    chosen = sample(questions, limit, seed)
    with builder.build(documents) as corpus:
        rows: list[Row] = []
        for number, question in enumerate(chosen, 1):
            rows.append(ask(answerer_with, retriever, corpus, question, mode))
            if on_row:
                on_row(rows[-1])
            if progress:
                progress(number, len(chosen))
        return report(rows) | {"ingest": asdict(corpus.figures)}


def ask(
    answerer_with: Callable[[Searches], Answers],
    retriever: Searches,
    corpus: Measured,
    question: EvalQuestion,
    mode: AnswerMode,
) -> Row:
    """How one question is answered, with its figures; those it cannot be judged by are left out."""
    if question.scope:
        retriever = ScopedRetriever(retriever, corpus.scope(question.scope))
    answerer = answerer_with(retriever)
    started = time.perf_counter()
    answer = _finished(answerer.answer(question.question, [corpus.collection], question.history, mode))
    seconds = time.perf_counter() - started
    return {
        "qid": question.qid,
        "question": question.question,
        "answer": answer.text,
        "mode": answer.mode.value,
        "notices": list(answer.notices),
        "refused": answer.refused,
        "citations": [
            {"n": c.n, "document": corpus.doc_id(c.document), "quote": c.quote, "origin": c.origin}
            for c in answer.citations
        ],
        "verification": [
            {"sentence": check.sentence, "verdict": check.verdict.value, "reason": check.reason}
            for check in answer.verification
        ],
        "timings": {name: round(value, 4) for name, value in answer.timings.items()},
        "seconds": round(seconds, 4),
    } | _figures(question, answer, corpus)


def _finished(events: Iterator[AnswerEvent]) -> Answer:
    for event in events:
        if isinstance(event, Finished):
            return event.answer
    raise AssertionError("an answer ends with Finished")


def _figures(question: EvalQuestion, answer: Answer, corpus: Measured) -> Row:
    """What this one question adds to the means; a figure it cannot be judged by is left out."""
    verdicts = [check.verdict for check in answer.verification] if not answer.refused else []
    figures: Row = {"sentences": len(verdicts), "unsupported": verdicts.count(Verdict.UNSUPPORTED)}
    if question.unanswerable:
        return figures | {"refused_rightly": float(answer.refused)}
    if question.expect:
        return figures
    figures["refused_wrongly"] = float(answer.refused)
    if question.answers:
        text = metrics.without_marks(answer.text)
        figures["token_f1"] = 0.0 if answer.refused else metrics.best_f1(text, question.answers)
        figures["contains"] = 0.0 if answer.refused else metrics.contains(text, question.answers)
        figures["rouge_l"] = 0.0 if answer.refused else metrics.rouge_l(text, question.answers)
        figures["bleu"] = 0.0 if answer.refused else metrics.bleu(text, question.answers)
    if question.gold and not answer.refused:
        cited = [corpus.doc_id(citation.document) for citation in answer.citations]
        figures["cited"] = len(cited)
        figures["cited_gold"] = sum(document in question.gold for document in cited)
        figures["citation_recall"] = metrics.recall(cited, question.gold, len(cited))
    return figures


def report(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of DESIGN's contract from the rows."""
    checks = [check["verdict"] for row in rows if not row["refused"] for check in row["verification"]]
    cited = sum(row.get("cited", 0) for row in rows)
    return {
        "questions": len(rows),
        "token_f1": metrics.mean(row.get("token_f1") for row in rows),
        "contains": metrics.mean(row.get("contains") for row in rows),
        "refusal": {
            "recall": metrics.mean(row.get("refused_rightly") for row in rows),
            "false_rate": metrics.mean(row.get("refused_wrongly") for row in rows),
        },
        "citation_precision": round(sum(row.get("cited_gold", 0) for row in rows) / cited, 4) if cited else None,
        "unsupported_rate": _share(checks, Verdict.UNSUPPORTED),
        "seconds_per_answer": metrics.mean(row["seconds"] for row in rows),
    }


def _share(checks: Sequence[str], verdict: Verdict) -> float | None:
    return round(checks.count(verdict.value) / len(checks), 4) if checks else None
