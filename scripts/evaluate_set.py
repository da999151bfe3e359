"""Measure one evaluation set: its documents are read in once, then retrieval and answers in each mode are measured.

`scripts.evaluate` calls this. Reports go to OUT.retrieval.json, OUT.answers.json and OUT.generated.json, rows beside
them.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.evaluation import builder
from app.wiring import Alioth
from core.settings import load_settings
from core.types import AnswerMode
from evals import answers, retrieval
from evals.corpus import Corpus
from evals.sets import EvalQuestion, load_documents, load_questions, sample
from ingest.chunk import CHUNKER_VERSION

MODES = {"answers": AnswerMode.AUTOMATIC, "generated": AnswerMode.ANSWER}
KINDS = ("retrieval", *MODES)
SEED = 1
STRANGERS = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--questions", type=int, default=40, help="answered per mode")
    parser.add_argument("--strangers", type=Path, nargs="*", default=[], help="questions of other sets")
    given = parser.parse_args()
    alioth = Alioth(load_settings())
    try:
        _measure(alioth, given)
    finally:
        alioth.close()
    return 0


def _measure(alioth: Alioth, given: argparse.Namespace) -> None:
    questions = load_questions(given.folder / "questions.jsonl")
    with builder(alioth).build(load_documents(given.folder / "documents.jsonl")) as corpus:
        if "retrieval" in given.kinds:
            _retrieval(alioth, corpus, questions, given)
        for kind, mode in MODES.items():
            if kind in given.kinds:
                _answers(alioth, corpus, sample(questions, given.questions, SEED), kind, mode, given.out)


def _retrieval(alioth: Alioth, corpus: Corpus, questions: Sequence[EvalQuestion], given: argparse.Namespace) -> None:
    alioth.retriever.retrieve(questions[0].question, [corpus.collection])  # the first search after a change catches up
    rows = [retrieval.ask(alioth.retriever, corpus, question) for question in questions]
    share = STRANGERS // max(1, len(given.strangers))
    strangers = [question for path in given.strangers for question in _plain(load_questions(path), share)]
    foreign = [retrieval.ask(alioth.retriever, corpus, question) for question in strangers]
    _write_rows(given.out, "strangers", foreign)
    _write(given.out, "retrieval", rows, retrieval.report, corpus)


def _plain(questions: Sequence[EvalQuestion], count: int) -> list[EvalQuestion]:
    """Some questions that stand alone."""
    return sample([one for one in questions if one.gold and not one.history and not one.scope], count, SEED)


def _answers(
    alioth: Alioth, corpus: Corpus, questions: Sequence[EvalQuestion], kind: str, mode: AnswerMode, out: Path
) -> None:
    make = alioth.answerer_with
    rows = [answers.ask(make, alioth.retriever, corpus, question, mode) for question in questions]
    _write(out, kind, rows, answers.report, corpus)


def _write(
    out: Path, kind: str, rows: list[dict[str, Any]], report: Callable[[list[dict[str, Any]]], Any], corpus: Corpus
) -> None:
    _write_rows(out, kind, rows)
    facts = {"chunker": CHUNKER_VERSION, "date": str(datetime.date.today()), "ingest": asdict(corpus.figures)}
    out.with_name(f"{out.name}.{kind}.json").write_text(json.dumps(report(rows) | facts) + "\n", "utf-8")


def _write_rows(out: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    out.with_name(f"{out.name}.{kind}.rows.jsonl").write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
