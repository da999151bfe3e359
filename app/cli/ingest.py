"""`alioth ingest`: add, list, show, retry, cancel, delete."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import sync
from app.cli.state import CollectionOption, JsonOption, print_error, print_json, print_table, say, state_of
from core.errors import AliothError, NotFoundError
from core.types import FINAL_STATES, DocumentRow, DocumentState, Role

if TYPE_CHECKING:
    from app.cli.state import State

app = typer.Typer(help="Documents: add, sync, list, show, retry, cancel, delete.", no_args_is_help=True)
DocumentsArgument = Annotated[list[str], typer.Argument(metavar="DOCUMENT...", help="Paths as `ingest list` shows.")]


def row_json(row: DocumentRow) -> dict[str, Any]:
    """The public JSON form of a document."""
    return {
        "path": row.path,
        "state": row.state.value,
        "version": row.version,
        "pages": row.pages,
        "chunks": row.chunks,
        "problems": [problem.to_dict() for problem in row.problems],
        "error": row.error,
        "id": row.id,
        "title": row.title,
        "media_type": row.media_type,
        "size": row.size,
        "searchable": row.live_version_id is not None,
        "progress": round(row.progress, 3),
        "pages_done": row.pages_done,
        "chunks_done": row.chunks_done,
        "attempts": row.attempts,
        "lost_in": list(row.lost_in),
    }


@app.command()
def add(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    collection: CollectionOption,
    prefix: Annotated[str, typer.Option("--prefix", help="Put before every document's path.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every document is ready.")] = True,
    json: JsonOption = False,
) -> None:
    """Read files or folders into a collection. The same bytes again change nothing."""
    from app.cli.progress import show_progress
    from app.ingestion import Ingestion

    state = state_of(context)
    target = state.collection(collection, Role.WRITE)
    ingestion = Ingestion(state.alioth, target)
    found = state.alioth.intake.survey(paths, prefix)
    refused = ingestion.submit(found.files)
    for _, error in refused:
        print_error(error)
    if wait:
        show_progress(ingestion)
    rows = ingestion.report()
    failed = [row for row in rows if row["state"] == DocumentState.FAILED.value]
    if json:
        skipped = [*map(str, found.skipped), *ingestion.left_out]
        deleted = ingestion.deleted
        print_json(
            {"collection": target.name, "documents": rows, "skipped": skipped, "deleted": deleted, **ingestion.totals()}
        )
    else:
        _say_skipped([*found.skipped, *map(Path, ingestion.left_out)])
        if ingestion.deleted:
            say(f"Deleted {len(ingestion.deleted)} documents that their archive no longer holds.")
        _say_outcome(ingestion.totals(), failed, wait)
    if failed or refused:
        raise typer.Exit(1)


def _say_skipped(skipped: Sequence[Path]) -> None:
    if skipped:
        some = ", ".join(path.name for path in skipped[:5]) + (", …" if len(skipped) > 5 else "")
        say(f"Left out {len(skipped)} files of types that Alioth does not read: {some}")


def _say_outcome(totals: dict[str, Any], failed: list[dict[str, Any]], waited: bool) -> None:
    for row in failed:
        error = row["error"] or {}
        say(f"Failed: {row['path']}: {error.get('message', '')} {error.get('hint', '')}".rstrip())
    if not waited:
        say(f"{totals['submitted']} submitted, {totals['unchanged']} unchanged. See `alioth ingest list`.")
        return
    cancelled = f"{totals['cancelled']} cancelled or replaced, " if totals["cancelled"] else ""
    say(
        f"{totals['ready']} ready, {totals['unchanged']} unchanged, {cancelled}{totals['failed']} failed; "
        f"{totals['chunks']} chunks in {totals['seconds']:.1f} s."
    )


@app.command("list")
def list_(
    context: typer.Context,
    collection: CollectionOption,
    state: Annotated[list[DocumentState] | None, typer.Option("--state", help="Only documents in this state.")] = None,
    json: JsonOption = False,
) -> None:
    """List documents with state, pages, chunks and problems."""
    shared = state_of(context)
    target = shared.collection(collection)
    rows = shared.alioth.documents.list(target.id, states=state or ())
    if json:
        print_json([row_json(row) for row in rows])
        return
    if not rows:
        say(f"No documents in '{target.name}'. Add some: alioth ingest add PATH -c '{target.name}'")
        return
    print_table(
        ("path", "state", "version", "pages", "chunks", "problems"),
        ((r.path, r.state.value, r.version, *_counts(r), _problem_text(r)) for r in rows),
    )


def _counts(row: DocumentRow) -> tuple[str, str]:
    """Pages and chunks; while it is under way, how many of them are done."""
    pages, chunks = str(row.pages), str(row.chunks)
    if row.state is DocumentState.PARSING and row.pages_done:
        pages = f"{row.pages_done}/{row.pages}"
    if row.state in (DocumentState.EMBEDDING, DocumentState.INDEXING):
        chunks = f"{row.chunks_done}/{row.chunks}"
    return pages, chunks


def _problem_text(row: DocumentRow) -> str:
    if row.error:
        waits = "waits: " if row.state is DocumentState.QUEUED else ""
        return waits + row.error.get("message", "")
    if row.lost_in and row.state not in FINAL_STATES:
        from storage.claiming import lost_words

        return f"tried {row.attempts} times; {lost_words(row.lost_in)}"
    return "; ".join(p.message for p in row.problems[:2]) + (" …" if len(row.problems) > 2 else "")


@app.command()
def show(
    context: typer.Context,
    document: Annotated[str, typer.Argument(metavar="DOCUMENT", help="Path as `ingest list` shows.")],
    collection: CollectionOption,
    text: Annotated[bool, typer.Option("--text", help="Also print the chunks.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what happened to one document: the ingest report of its newest version."""
    from app.web.report_text import report_lines
    from ingest.describe import current_report
    from storage.versions import VersionStore

    state = state_of(context)
    row = _find(state, collection, document, Role.READ)
    chunks = state.alioth.chunks.of_version(row.live_version_id) if text and row.live_version_id else []
    detail = row_json(row)
    version = VersionStore(state.alioth.db).get(row.version_id)
    report = current_report(state.alioth.documents, version) if version.facts.get("chunks") else None
    detail["report"] = None if report is None else report.to_dict()
    if text:
        detail["text"] = [{"locator": c.locator.to_dict(), "context": c.context, "text": c.text} for c in chunks]
    if json:
        print_json(detail)
        return
    for key, value in detail.items():
        if key not in ("problems", "text", "report"):
            typer.echo(f"{key:<18} {value}")
    if report is not None:
        for name, words, _ in report_lines(report, "en"):
            typer.echo(f"{name:<18} {words}")
    for problem in row.problems:
        typer.echo(f"{'Remark':<18} {f'page {problem.page}: ' if problem.page else ''}{problem.message}")
    for chunk in chunks:
        typer.echo(f"\n--- {chunk.ordinal} {chunk.locator.to_dict()}\n{chunk.text}")


@app.command()
def retry(
    context: typer.Context,
    collection: CollectionOption,
    documents: Annotated[
        list[str] | None, typer.Argument(metavar="[DOCUMENT...]", help="All failed by default.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Try failed documents again."""
    from app.cli.progress import show_progress
    from app.ingestion import Ingestion

    state = state_of(context)
    target = state.collection(collection, Role.WRITE)
    ingestion = Ingestion(state.alioth, target)
    rows = [_find(state, collection, name, Role.WRITE) for name in documents or ()]
    ingestion.retry(rows or state.alioth.documents.list(target.id, states=(DocumentState.FAILED,)))
    show_progress(ingestion)
    report = ingestion.report()
    failed = [row for row in report if row["state"] == DocumentState.FAILED.value]
    if json:
        print_json({"collection": target.name, "documents": report, **ingestion.totals()})
    else:
        _say_outcome(ingestion.totals(), failed, True)
    if failed:
        raise typer.Exit(1)


@app.command()
def cancel(
    context: typer.Context,
    collection: CollectionOption,
    documents: Annotated[
        list[str] | None, typer.Argument(metavar="[DOCUMENT...]", help="All that are queued or under way by default.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Cancel all of them without asking.")] = False,
    json: JsonOption = False,
) -> None:
    """Stop reading documents in. What was ready before goes on answering; new documents are removed again."""
    state = state_of(context)
    target = state.collection(collection, Role.WRITE)
    if documents:
        rows = [_find(state, collection, name, Role.WRITE) for name in documents]
    else:
        unfinished = [one for one in DocumentState if one not in FINAL_STATES]
        rows = state.alioth.documents.list(target.id, states=unfinished)
        if rows and not yes and not typer.confirm(f"Cancel {len(rows)} documents of '{target.name}'?", err=True):
            raise typer.Abort
    cancelled = []
    for row in rows:
        try:
            if state.alioth.documents.cancel(row.id):
                cancelled.append(row.path)
        except NotFoundError:  # it was deleted meanwhile
            continue
    if cancelled:
        state.alioth.audit.record(
            state.principal.name, "document.cancel", target.name, collection=target.name, documents=cancelled[:100]
        )
        state.alioth.doorbell.ring()  # a worker clears up
    if json:
        print_json({"cancelled": cancelled})
    else:
        say(f"Cancelled {len(cancelled)} document{'s' if len(cancelled) != 1 else ''}.")


@app.command()
def delete(
    context: typer.Context, documents: DocumentsArgument, collection: CollectionOption, json: JsonOption = False
) -> None:
    """Delete documents: gone for readers at once, then from every index."""
    state = state_of(context)
    rows = [_find(state, collection, name, Role.WRITE) for name in documents]
    for row in rows:
        state.alioth.documents.delete(row.id)
        state.alioth.audit.record(state.principal.name, "document.delete", row.path, collection=collection)
    _purge_quietly(state)
    if json:
        print_json({"deleted": [row.path for row in rows]})
    else:
        say(f"Deleted {len(rows)} document{'s' if len(rows) != 1 else ''}.")


def _purge_quietly(state: State) -> None:
    """The documents are gone already; a later purge finishes what an absent server prevents now."""
    try:
        state.alioth.pipeline.purge()
    except AliothError as error:
        say(f"Deleted for readers; the indexes are cleaned later: {error.message}")


def _find(state: State, collection: str, path: str, role: Role) -> DocumentRow:
    target = state.collection(collection, role)
    row = state.alioth.documents.find(target.id, path)
    if row is None:
        raise NotFoundError(
            f"No document '{path}' in collection '{target.name}'.", f"See `alioth ingest list -c '{target.name}'`."
        )
    return row


sync.register(app)
