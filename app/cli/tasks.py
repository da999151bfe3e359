"""alioth summarise, translate, extract and compare: document tasks with their sources."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.ask import answer_json, print_sources
from app.cli.state import CollectionOption, JsonOption, State, print_json, print_table, say, state_of
from core.errors import InputError

if TYPE_CHECKING:
    from app.tasks import Task, Tasks
    from core.types import Answer

DocumentsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[DOCUMENT]...", help="Paths of documents; all of the collection if none.")
]


def summarise(
    context: typer.Context,
    collection: CollectionOption,
    documents: DocumentsArgument = None,
    length: Annotated[str, typer.Option("--length", metavar="short|medium|long", help="How much to say.")] = "medium",
    language: Annotated[
        str, typer.Option("--language", metavar="zh|en", help="Language of the summary; the documents' own if none.")
    ] = "",
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="automatic|generate|extract",
            help="generate asks the language model, extract picks sentences, automatic chooses.",
        ),
    ] = "automatic",
    json: JsonOption = False,
) -> None:
    """Summarise documents, all of their text, with a source for each sentence."""
    state, tasks = _tasks(context)
    target = state.collection(collection)
    chosen = tasks.documents(state.principal, target.id, documents or ())
    answer = _run(tasks, tasks.summarise(state.principal, chosen, length, language, method), show=not json)
    _print(state, answer, json)
    if not json:
        read = answer.task["coverage"]
        say(f"\nRead {read['chunks_read']} of {read['chunks']} chunks in {read['documents']} documents.")
        for row in read["pages_without_text"]:
            say(f"No text on page {', '.join(map(str, row['pages']))} of {row['document']}.")
        for path in read["documents_without_text"]:
            say(f"No text in {path}.")


def translate(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="[TEXT]", help="The text; - reads stdin.")] = "",
    to: Annotated[str, typer.Option("--to", metavar="zh|en", help="Language to translate to.")] = "en",
    collection: Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="The document's.")] = "",
    document: Annotated[str, typer.Option("--document", metavar="PATH", help="Translate this document instead.")] = "",
    pages: Annotated[str, typer.Option("--pages", metavar="FIRST[-LAST]", help="Only these pages of it.")] = "",
    json: JsonOption = False,
) -> None:
    """Translate a text, or a document or some of its pages; numbers and dates are checked."""
    if bool(text) == bool(document) or bool(document) != bool(collection):
        raise typer.BadParameter("Give either a TEXT, or --document with its --collection.")
    span = _pages(pages)
    state, tasks = _tasks(context)
    chosen = None
    if document:
        chosen = tasks.documents(state.principal, state.collection(collection).id, [document])[0]
    said = sys.stdin.read() if text == "-" else text
    answer = _run(tasks, tasks.translate(state.principal, to, said, chosen, span), show=not json)
    _print(state, answer, json)


def extract(
    context: typer.Context,
    collection: CollectionOption,
    fields: Annotated[str, typer.Option("--fields", metavar="NAMES", help="Names between commas, or NAME:KIND.")],
    documents: DocumentsArgument = None,
    csv: Annotated[str, typer.Option("--csv", metavar="FILE", help="Write the table there as CSV; - to stdout.")] = "",
    json: JsonOption = False,
) -> None:
    """Extract fields into a table: a row per document, a source for each value."""
    from app.tasks import place_short, table_csv

    if csv and json:
        raise typer.BadParameter("Give one of --csv and --json.")
    state, tasks = _tasks(context)
    target = state.collection(collection)
    chosen = tasks.documents(state.principal, target.id, documents or ())
    answer = _run(tasks, tasks.extract(state.principal, chosen, fields), show=False, progress=not json)
    if json:
        _print(state, answer, json)
    elif csv == "-":
        sys.stdout.write(table_csv(answer))
    elif csv:
        _write(Path(csv), table_csv(answer))
        say(f"Wrote {len(answer.task['rows'])} rows to '{csv}'.")
    else:
        names = [field["name"] for field in answer.task["fields"]]
        rows = [
            [row["document"], *(f"{cell['value']} [{cell['n']}]" if cell else "" for cell in row["cells"])]
            for row in answer.task["rows"]
        ]
        print_table(["document", *names], rows)
        typer.echo()
        for citation in answer.citations:
            where = place_short(citation)
            typer.echo(f"[{citation.n}] {citation.document}{' — ' + where if where else ''}")
    _notices(answer)


def compare(
    context: typer.Context,
    left: Annotated[str, typer.Argument(metavar="BEFORE", help="Path of the earlier document.")],
    right: Annotated[str, typer.Argument(metavar="AFTER", help="Path of the later document.")],
    collection: CollectionOption,
    with_collection: Annotated[
        str, typer.Option("--with-collection", metavar="NAME", help="Where AFTER is, if elsewhere.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Compare two documents: changed figures, dates and names first, then what was added and removed."""
    state, tasks = _tasks(context)
    one = tasks.documents(state.principal, state.collection(collection).id, [left])[0]
    two = tasks.documents(state.principal, state.collection(with_collection or collection).id, [right])[0]
    answer = _run(tasks, tasks.compare(state.principal, one, two), show=not json)
    _print(state, answer, json)


def _tasks(context: typer.Context) -> tuple[State, Tasks]:
    from app.tasks import Tasks

    state = state_of(context)
    return state, Tasks(state.alioth)


def _run(tasks: Tasks, task: Task, show: bool, progress: bool | None = None) -> Answer:
    """The finished answer; text as it comes on stdout, progress on stderr."""
    from chat.events import Finished, Progress, Text, Waiting

    streamed = ""
    answer: Answer | None = None
    speak = show if progress is None else progress
    for event in tasks.run(task):
        if isinstance(event, Finished):
            answer = event.answer
        elif isinstance(event, Text) and show:
            streamed += event.delta
            sys.stdout.write(event.delta)
            sys.stdout.flush()
        elif isinstance(event, Waiting) and speak and event.place:
            say(f"Waiting: {event.place} ahead")
        elif isinstance(event, Progress) and speak and event.done < event.total:
            left = f", about {event.seconds_left:.0f} s left" if event.seconds_left is not None else ""
            say(f"{event.done} of {event.total}{left}")
    assert answer is not None
    if show:
        sys.stdout.write("\n")
        if answer.text.strip() != streamed.strip():
            sys.stdout.write(f"\n{answer.text.strip()}\n")
    return answer


def _print(state: State, answer: Answer, json: bool) -> None:
    if json:
        print_json(answer_json(answer, state) | {"task": dict(answer.task)})
        return
    print_sources(answer, state)


def _notices(answer: Answer) -> None:
    from app.web.messages import say_or

    for notice in answer.notices:
        say(f"\n{say_or(f'notice.{notice}', answer.language, notice)}")


def _pages(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text.strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last:
        raise InputError(f"'{text}' names no pages.", "Write --pages 3 or --pages 3-7.")
    return first, last


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8-sig")  # with its mark, spreadsheets read Chinese right
    except OSError as error:
        raise InputError(f"Cannot write '{path}': {error.strerror}.", "Choose another file.") from error
