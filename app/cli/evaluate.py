"""`alioth eval`: measure retrieval and answers on question sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.state import JsonOption, print_json, print_table, state_of
from core.types import AnswerMode

app = typer.Typer(help="Measure quality on question sets.", no_args_is_help=True)

DocumentsOption = Annotated[Path, typer.Option("--documents", metavar="FILE", help="JSON Lines of documents.")]
QuestionsOption = Annotated[Path, typer.Option("--questions", metavar="FILE", help="JSON Lines of questions.")]
RowsOption = Annotated[Path | None, typer.Option("--rows", metavar="FILE", help="Write one JSON object per question.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only a sample of this many questions.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the sample.")]


@app.command()
def retrieval(
    context: typer.Context,
    documents: DocumentsOption,
    questions: QuestionsOption,
    rows: RowsOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Ingest documents into a temporary collection and measure what questions find."""
    from app.evaluation import evaluate_retrieval

    report = evaluate_retrieval(state_of(context).alioth, documents, questions, limit, seed, rows)
    _show(report, json)


@app.command()
def answers(
    context: typer.Context,
    documents: DocumentsOption,
    questions: QuestionsOption,
    mode: Annotated[AnswerMode, typer.Option("--mode", help="How to answer.")] = AnswerMode.AUTOMATIC,
    rows: RowsOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Ask every question and measure the answers."""
    from app.evaluation import evaluate_answers

    report = evaluate_answers(state_of(context).alioth, documents, questions, limit, seed, rows, mode)
    _show(report, json)


def _show(report: dict[str, Any], json: bool) -> None:
    if json:
        print_json(report)
        return
    print_table(("figure", "value"), ((name, value) for name, value in report.items()))
