"""`alioth eval sets`: the question sets of a collection."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.state import CollectionOption, JsonOption, State, print_json, print_table, say, state_of
from core.errors import InputError
from core.types import Role

if TYPE_CHECKING:
    from app.quality import Imported
    from storage.quality import QuestionSet

app = typer.Typer(help="Question sets of a collection.", no_args_is_help=True)

SetArgument = Annotated[str, typer.Argument(metavar="SET", help="Name of the question set.")]


@app.command("list")
def list_(context: typer.Context, collection: CollectionOption, json: JsonOption = False) -> None:
    """List the sets of a collection."""
    state = state_of(context)
    found = state.alioth.quality.sets(state.principal, state.collection(collection, Role.WRITE).id)
    if json:
        print_json([{"id": one.id, "name": one.name, "questions": one.questions} for one in found])
        return
    print_table(
        ("name", "questions", "changed"),
        ((one.name, one.questions, f"{one.updated_at:%Y-%m-%d %H:%M}") for one in found),
    )


@app.command("import")
def import_(
    context: typer.Context,
    name: SetArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines, or CSV with a first row of names.")],
    collection: CollectionOption,
    json: JsonOption = False,
) -> None:
    """Put the questions of a file into a set, made when absent; a known qid is replaced."""
    state = state_of(context)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read '{file}': {error.strerror}.", "Check the path.") from error
    chosen = _open(state, collection, name)
    _show(state.alioth.quality.import_file(state.principal, chosen.id, data, file.name), json)


@app.command()
def generate(
    context: typer.Context,
    name: SetArgument,
    collection: CollectionOption,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most questions to make.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="Which documents and passages are asked about.")] = 1,
    model: Annotated[bool, typer.Option("--model", help="Let the language model word them where it can.")] = False,
    json: JsonOption = False,
) -> None:
    """Make questions from the documents, each with the sentence it rests on; look them through afterwards."""
    state = state_of(context)
    chosen = _open(state, collection, name)
    if model and not state.alioth.quality.can_write_questions():
        say("The language model is not up to it; templates are used.")
    _show(state.alioth.quality.generate(state.principal, chosen.id, limit, seed, model), json)


@app.command()
def feedback(context: typer.Context, name: SetArgument, collection: CollectionOption, json: JsonOption = False) -> None:
    """Put the questions into a set whose answers readers judged with a thumb."""
    state = state_of(context)
    chosen = _open(state, collection, name)
    judged = state.alioth.quality.feedback(state.principal, chosen.collection_id)
    ids = [one.message_id for one in judged]
    _show(state.alioth.quality.take_feedback(state.principal, chosen.id, ids), json)


@app.command()
def export(
    context: typer.Context,
    name: SetArgument,
    collection: CollectionOption,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV instead of JSON Lines.")] = False,
    json: JsonOption = False,
) -> None:
    """Print a set; JSON Lines is what `import` and `eval retrieval --questions` read."""
    state = state_of(context)
    found = state.collection(collection, Role.WRITE)
    chosen = state.alioth.quality.named_set(state.principal, found.id, name)
    if json:
        from evals.question_sets import to_row

        print_json([to_row(one) for one in state.alioth.quality.questions(state.principal, chosen.id)])
        return
    sys.stdout.write(state.alioth.quality.export(state.principal, chosen.id, csv))


@app.command()
def remove(
    context: typer.Context,
    name: SetArgument,
    collection: CollectionOption,
    qids: Annotated[list[str], typer.Argument(metavar="[QID]...", help="Only these questions.")] = [],  # noqa: B006
    json: JsonOption = False,
) -> None:
    """Delete a set, or some of its questions."""
    state = state_of(context)
    found = state.collection(collection, Role.WRITE)
    chosen = state.alioth.quality.named_set(state.principal, found.id, name)
    if qids:
        count = state.alioth.quality.remove(state.principal, chosen.id, qids)
    else:
        count = chosen.questions
        state.alioth.quality.delete_set(state.principal, chosen.id)
    if json:
        print_json({"removed": count})
    else:
        say(f"Removed {count} questions" + ("." if qids else f" with the set '{chosen.name}'."))


def _open(state: State, collection: str, name: str) -> QuestionSet:
    """The set of that name, made when absent."""
    found = state.collection(collection, Role.WRITE)
    return state.alioth.quality.open_set(state.principal, found.id, name)


def _show(imported: Imported, json: bool) -> None:
    if json:
        print_json(
            {"added": imported.added, "replaced": imported.replaced, "missing_documents": list(imported.missing)}
        )
        return
    say(f"{imported.added} questions added, {imported.replaced} replaced.")
    if imported.missing:
        shown = ", ".join(f"'{name}'" for name in imported.missing[:5])
        say(f"{len(imported.missing)} documents are named that are not in the collection, e.g. {shown}.")
