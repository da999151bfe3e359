"""`alioth eval verification | injection | alarms | modes | followups | ablation`: can the answers be trusted?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.state import JsonOption, print_json, print_table, state_of
from core.types import AnswerMode

DocumentsOption = Annotated[Path, typer.Option("--documents", metavar="FILE", help="JSON Lines of documents.")]
QuestionsOption = Annotated[Path, typer.Option("--questions", metavar="FILE", help="JSON Lines of questions.")]
RowsOption = Annotated[Path | None, typer.Option("--rows", metavar="FILE", help="Write one JSON object per case.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only a sample of this many questions.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the sample.")]
ModesOption = Annotated[list[AnswerMode] | None, typer.Option("--mode", help="Repeat for several; all without.")]


def verification(
    context: typer.Context,
    documents: DocumentsOption,
    questions: QuestionsOption,
    answers: Annotated[bool, typer.Option(help="Reference answers rest on the documents alone.")] = True,
    rows: RowsOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Change one number, unit, date, name, article or negation in true sentences: is it caught, and they left alone?"""
    from app import trust_evaluation
    from app.evaluation import Files

    _show(
        trust_evaluation.verification(
            state_of(context).alioth, Files(documents, questions, limit, seed, rows), answers
        ),
        json,
    )


def injection(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Set whose documents have attack and clean_text.")],
    mode: ModesOption = None,
    rows: RowsOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Answer from documents that give the assistant instructions, with and without the guard against them."""
    from app import trust_evaluation

    asked = mode or trust_evaluation.GENERATING
    _show(trust_evaluation.injection(state_of(context).alioth, folder, limit, seed, rows, asked), json)


def alarms(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Sets with a documents.jsonl.")],
    json: JsonOption = False,
) -> None:
    """Count the chunks of clean documents in which an instruction to an assistant is seen."""
    from app import trust_evaluation

    _show(trust_evaluation.false_alarms(folders), json)


def modes(
    context: typer.Context,
    documents: DocumentsOption,
    questions: QuestionsOption,
    mode: ModesOption = None,
    rows: RowsOption = None,
    limit: LimitOption = 40,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Answer the same questions in each mode and compare."""
    from app import trust_evaluation
    from app.evaluation import Files

    files = Files(documents, questions, limit, seed, rows)
    _show(trust_evaluation.modes(state_of(context).alioth, files, mode or tuple(AnswerMode)), json)


def followups(
    context: typer.Context,
    documents: DocumentsOption,
    questions: QuestionsOption,
    rows: RowsOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """What follow-ups find as typed, condensed, and rewritten by a person (questions with `rewritten`)."""
    from app import trust_evaluation
    from app.evaluation import Files

    _show(trust_evaluation.followups(state_of(context).alioth, Files(documents, questions, limit, seed, rows)), json)


def ablation(
    context: typer.Context,
    documents: DocumentsOption,
    questions: QuestionsOption,
    generated: Annotated[int, typer.Option(min=0, help="Questions for the language model; 0: only quotes.")] = 0,
    limit: LimitOption = 60,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Leave out each stage in turn and measure what that changes."""
    from app import trust_evaluation
    from app.evaluation import Files

    files = Files(documents, questions, limit, seed)
    _show(trust_evaluation.ablation(state_of(context).alioth, files, generated), json)


def _show(report: dict[str, Any], json: bool) -> None:
    if json:
        print_json(report)
        return
    print_table(("figure", "value"), _flat(report))


def _flat(report: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in report.items():
        key = f"{before}{name}"
        rows.extend(_flat(value, f"{key} / ") if isinstance(value, dict) else [(key, value)])
    return rows
