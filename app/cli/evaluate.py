"""`alioth eval`: measure retrieval and answers, keep the runs, compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import eval_runs, eval_sets, eval_trust
from app.cli.state import JsonOption, State, print_json, print_table, say, state_of
from core.types import AnswerMode

if TYPE_CHECKING:
    from app.evaluation import Measured

app = typer.Typer(help="Measure quality on question sets.", no_args_is_help=True)
app.add_typer(eval_sets.app, name="sets")
app.command("run")(eval_runs.run)
app.command("runs")(eval_runs.runs)
app.command("show")(eval_runs.show)
app.command("compare")(eval_runs.compare)
app.command("delete")(eval_runs.delete)
for command in ("verification", "injection", "alarms", "modes", "followups", "ablation"):
    app.command(command)(getattr(eval_trust, command))

DocumentsOption = Annotated[Path, typer.Option("--documents", metavar="FILE", help="JSON Lines of documents.")]
QuestionsOption = Annotated[Path, typer.Option("--questions", metavar="FILE", help="JSON Lines of questions.")]
RowsOption = Annotated[Path | None, typer.Option("--rows", metavar="FILE", help="Write one JSON object per question.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only a sample of this many questions.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the sample.")]
SaveOption = Annotated[str | None, typer.Option("--save", metavar="NAME", help="Keep the run under this name.")]
GateOption = Annotated[
    str | None,
    typer.Option(
        "--gate",
        metavar="BASELINE",
        help="Exit 1 when a figure is worse, with 95 % certainty, than in this saved run or --rows file.",
    ),
]
MoreOption = Annotated[bool, typer.Option("--more", help="Also ROUGE-L, BLEU and citation recall.")]


@app.command()
def retrieval(
    context: typer.Context,
    documents: DocumentsOption,
    questions: QuestionsOption,
    rows: RowsOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    save: SaveOption = None,
    gate: GateOption = None,
    json: JsonOption = False,
) -> None:
    """Ingest documents into a temporary collection and measure what questions find."""
    from app.evaluation import Files, measure_retrieval

    state = state_of(context)
    before = _baseline(state, gate, "retrieval")
    measured = measure_retrieval(state.alioth, Files(documents, questions, limit, seed, rows))
    _show(measured.report, json)
    _keep_and_judge(state, measured, save, gate, before)


@app.command()
def answers(
    context: typer.Context,
    documents: DocumentsOption,
    questions: QuestionsOption,
    mode: Annotated[AnswerMode, typer.Option("--mode", help="How to answer.")] = AnswerMode.AUTOMATIC,
    rows: RowsOption = None,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    save: SaveOption = None,
    gate: GateOption = None,
    more: MoreOption = False,
    json: JsonOption = False,
) -> None:
    """Ask every question and measure the answers."""
    from app.evaluation import Files, measure_answers

    state = state_of(context)
    before = _baseline(state, gate, "answers")
    measured = measure_answers(state.alioth, Files(documents, questions, limit, seed, rows), mode)
    _show(measured.figures() if more else measured.report, json)
    _keep_and_judge(state, measured, save, gate, before)


def _show(report: dict[str, Any], json: bool) -> None:
    if json:
        print_json(report)
        return
    print_table(("figure", "value"), ((name, value) for name, value in report.items()))


def _baseline(state: State, gate: str | None, kind: str) -> list[dict[str, Any]]:
    """The rows to compare with, before anything is measured: a wrong name must not cost an hour."""
    from app.evaluation import baseline_rows

    return baseline_rows(state.alioth, state.principal, gate, kind) if gate else []


def _keep_and_judge(
    state: State, measured: Measured, save: str | None, gate: str | None, before: list[dict[str, Any]]
) -> None:
    from app.evaluation import keep
    from evals.compare import compare

    if save:
        say(f"Saved as run '{save}' ({keep(state.alioth, state.principal, save, measured)}).")
    if gate:
        eval_runs.judge(compare(measured.kind, before, measured.results), gate)
