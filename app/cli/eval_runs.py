"""`alioth eval run|runs|show|compare|delete`: runs over the question sets of collections, and what was kept."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.state import CollectionOption, JsonOption, print_json, print_table, say, state_of
from core.types import AnswerMode, Role

if TYPE_CHECKING:
    from evals.compare import Comparison
    from storage.quality_runs import Run

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Name or id; of several of one name the newest.")]


def run(
    context: typer.Context,
    collection: CollectionOption,
    question_set: Annotated[str, typer.Option("--set", metavar="SET", help="The question set.")],
    answers: Annotated[bool, typer.Option("--answers", help="Measure answers instead of retrieval.")] = False,
    mode: Annotated[AnswerMode, typer.Option("--mode", help="How to answer.")] = AnswerMode.AUTOMATIC,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only a sample of this many questions.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample.")] = 1,
    save: Annotated[str, typer.Option("--save", metavar="NAME", help="Name of the run; that of the set if none.")] = "",
    gate: Annotated[
        str | None, typer.Option("--gate", metavar="BASELINE", help="Exit 1 when a figure is worse than in this run.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure a collection as it is with one of its question sets, and keep the run."""
    state = state_of(context)
    found = state.collection(collection, Role.WRITE)
    lab = state.alioth.quality
    chosen = lab.named_set(state.principal, found.id, question_set)
    baseline = lab.run(state.principal, gate) if gate else None
    kind = "answers" if answers else "retrieval"
    made = lab.start(state.principal, chosen.id, kind, save or chosen.name, mode, limit, seed)
    done = _settled(context, made.id)
    _show_run(done, json)
    if done.state != "done":
        say(f"Error: the run ended as {done.state}. {done.error}")
        raise typer.Exit(1)
    if baseline is not None and gate:
        judge(lab.compare(state.principal, baseline.id, done.id), gate)


def _settled(context: typer.Context, run_id: str) -> Run:
    """The run once it is over; done here, unless the worker of a server was quicker to begin it."""
    import time

    from app.quality_work import work_one

    state = state_of(context)
    while True:
        worked = work_one(state.alioth, threading.Event(), run_id)
        found = state.alioth.quality.run(state.principal, run_id)
        if found.state not in ("queued", "running"):
            return found
        if not worked:
            time.sleep(0.5)


def runs(
    context: typer.Context,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", metavar="NAME", help="Only runs of this collection.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the runs that were kept, the newest first."""
    state = state_of(context)
    only = state.collection(collection, Role.WRITE).id if collection else None
    found = state.alioth.quality.runs(state.principal, only)
    if json:
        print_json([_brief(one) for one in found])
        return
    names = {one.id: one.name for one in state.alioth.quality.collections(state.principal)}
    print_table(
        ("id", "name", "kind", "collection", "set", "state", "questions", "made"),
        (
            (
                one.id[:12],
                one.name,
                one.kind,
                names.get(one.collection_id or "", ""),
                one.set_name,
                one.state,
                f"{one.done}/{one.total}",
                f"{one.created_at:%Y-%m-%d %H:%M}",
            )
            for one in found
        ),
    )


def show(
    context: typer.Context,
    name: RunArgument,
    rows: Annotated[
        Path | None, typer.Option("--rows", metavar="FILE", help="Write one JSON object per question.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the figures of a run, its settings and what it measured."""
    state = state_of(context)
    found = state.alioth.quality.run(state.principal, name)
    if rows is not None:
        _write_rows(rows, [result for _, result in state.alioth.quality.rows(state.principal, found.id) if result])
    _show_run(found, json)


def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="The run before.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The run after.")],
    by: Annotated[str, typer.Option("--by", metavar="FIGURE", help="List wins and losses by this figure.")] = "",
    json: JsonOption = False,
) -> None:
    """Compare two runs question by question: differences with 95 % intervals (paired bootstrap), wins, losses."""
    from evals.compare import headline

    state = state_of(context)
    comparison = state.alioth.quality.compare(state.principal, first, second)
    result = comparison.to_dict(by or headline(comparison.kind))
    if json:
        print_json(result)
        return
    _show_comparison(comparison)
    for name in ("losses", "wins"):
        say(f"\n{name} by {result['by']}: {len(result[name])}")
        if result[name]:
            print_table(("qid", "A", "B", "question"), (_change(row) for row in result[name][:20]))


def delete(context: typer.Context, name: RunArgument, json: JsonOption = False) -> None:
    """Forget a run with its results."""
    state = state_of(context)
    found = state.alioth.quality.run(state.principal, name)
    state.alioth.quality.delete_run(state.principal, found.id)
    if json:
        print_json({"deleted": found.id})
    else:
        say(f"Deleted the run '{found.name}' ({found.id}).")


def judge(comparison: Comparison, baseline: str) -> None:
    """Say what is worse than the baseline; exit 1 when something is."""
    worse = comparison.worse()
    for one in worse:
        say(
            f"Worse than '{baseline}': {one.figure} {one.first:.4f} -> {one.second:.4f} "
            f"({one.delta:+.4f}, 95 % interval {one.low:+.4f} to {one.high:+.4f}, {one.questions} questions)."
        )
    few = [one.figure for one in comparison.differences if one.gated and one.verdict == "few"]
    if few:
        say(f"Too few questions to judge: {', '.join(few)}.")
    if worse:
        raise typer.Exit(1)
    say(f"Not worse than '{baseline}': {comparison.pairs} questions compared, {comparison.left_out} left out.")


def _show_comparison(comparison: Comparison) -> None:
    print_table(
        ("figure", "A", "B", "B - A", "95 % interval", "p", "questions", "verdict"),
        (
            (
                one.figure,
                f"{one.first:.4f}",
                f"{one.second:.4f}",
                f"{one.delta:+.4f}",
                f"{one.low:+.4f} .. {one.high:+.4f}",
                f"{one.p:.4f}",
                one.questions,
                one.verdict,
            )
            for one in comparison.differences
        ),
    )
    say(f"{comparison.pairs} questions in both, {comparison.left_out} left out.")


def _change(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["qid"], f"{row['first']:.3f}", f"{row['second']:.3f}", row["question"][:100]


def _brief(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind,
        "set": run.set_name,
        "collection": run.collection_id,
        "state": run.state,
        "done": run.done,
        "questions": run.total,
        "created_at": run.created_at.isoformat(),
    }


def _show_run(run: Run, json: bool) -> None:
    if json:
        print_json(
            _brief(run)
            | {
                "settings": dict(run.settings),
                "facts": dict(run.facts),
                "figures": dict(run.report),
                "error": run.error,
            }
        )
        return
    facts = {key: run.facts.get(key) for key in ("alioth", "sources", "llm", "embedder") if run.facts.get(key)}
    say(f"{run.name} ({run.id}): {run.kind} on '{run.set_name}', {run.state}, {run.done} of {run.total} questions")
    say(", ".join(f"{key} {value}" for key, value in facts.items()))
    print_table(("figure", "value"), ((name, value) for name, value in run.report.items()))


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    import json

    from core.errors import InputError

    try:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"Cannot write '{path}': {error.strerror}.", "Give --rows a file in a folder that exists."
        ) from error
