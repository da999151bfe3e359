"""`alioth collection reindex`: another embedder or chunk size without an outage."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.state import JsonOption, print_json, say, state_of
from core.errors import InputError
from core.types import Collection, Role

if TYPE_CHECKING:
    from app.cli.state import State
    from app.reindex import Progress, Reindex
    from storage.reindex import Switched


def reindex(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The collection.")],
    embedder: Annotated[
        str | None, typer.Option("--embedder", metavar="ID", help="Embedder of the catalogue; as it is by default.")
    ] = None,
    chunk_tokens: Annotated[
        int | None, typer.Option("--chunk-tokens", help="Target size of a chunk, in tokens; as it is by default.")
    ] = None,
    chunk_overlap: Annotated[
        int | None, typer.Option("--chunk-overlap", help="Tokens repeated between chunks; as it is by default.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Switch even if documents fail; these then do not answer.")
    ] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to the index before.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show how far it is, and which index is kept.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give up the one under way.")] = False,
    forget_previous: Annotated[
        bool, typer.Option("--forget-previous", help="Let the kept index go; there is no return then.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make the index anew beside the one that answers, then switch; the old one is kept for --rollback.

    Stopped or killed, it loses nothing: the same command goes on.
    """
    from app.reindex import Reindex

    state = state_of(context)
    actions = {"--rollback": rollback, "--status": status, "--cancel": cancel, "--forget-previous": forget_previous}
    chosen = [option for option, given in actions.items() if given]
    if len(chosen) > 1 or (chosen and (embedder or chunk_tokens is not None or chunk_overlap is not None)):
        raise InputError(f"{chosen[0]} stands alone.", "Give either one of these options or what the new index is.")
    collection = state.collection(name, Role.READ if status else Role.MANAGE)
    if status:
        _show(state, collection, json)
    elif cancel or forget_previous:
        _drop(state, collection, cancel, json)
    else:
        run = Reindex(state.alioth, collection)
        if rollback:
            run.begin_return()
        elif not run.begin(embedder, chunk_tokens, chunk_overlap):
            if not json:
                say(f"The index of '{collection.name}' is made so already; nothing to do.")
            _show(state, collection, json, quiet=not json)
            return
        state.alioth.audit.record(state.principal.name, "collection.reindex", collection.name, rollback=rollback)
        _end(state, collection, _followed(run, allow_missing), json)


def _followed(run: Reindex, allow_missing: bool) -> Switched | None:
    """Follow to the end with a line on stderr. Ctrl-C stops cleanly and raises KeyboardInterrupt."""
    stop = threading.Event()
    shown = _Line()
    try:
        return run.follow(stop, allow_missing=allow_missing, on_progress=shown)
    finally:
        stop.set()
        shown.end()


class _Line:
    """Progress and estimate: one line rewritten on a terminal, else a line for each tenth."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._tenth = -1

    def __call__(self, progress: Progress) -> None:
        state = progress.state
        share = state.done_chunks / state.chunks if state.chunks else 1.0
        left = "" if progress.seconds_left is None else f", about {_spoken(progress.seconds_left)} left"
        failed = f", {len(state.failed)} failed" if state.failed else ""
        text = f"{share:4.0%}  {state.done} of {state.documents} documents{failed}{left}"
        if self._terminal:
            sys.stderr.write(f"\r{text:<79}")
            sys.stderr.flush()
        elif int(share * 10) > self._tenth:
            say(text)
        self._tenth = int(share * 10)

    def end(self) -> None:
        if self._terminal and self._tenth >= 0:
            sys.stderr.write("\n")


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _end(state: State, before: Collection, done: Switched | None, json: bool) -> None:
    if done is None:
        return
    state.alioth.pipeline.purge()
    now = state.alioth.collections.get_by_id(before.id)
    state.alioth.audit.record(state.principal.name, "collection.switch", now.name, embedder=now.fingerprint.embedder_id)
    if json:
        _show(state, now, True, switched=True, missing=list(done.missing))
        return
    say(
        f"'{now.name}' answers from its new index: {done.documents} documents, {now.fingerprint.embedder_id}, "
        f"chunker {now.fingerprint.chunker_version}."
    )
    for path in done.missing:
        say(f"Failed, and does not answer any more: {path}")
    say(f"The index before is kept. Return: alioth collection reindex '{now.name}' --rollback")


def _drop(state: State, collection: Collection, cancel: bool, json: bool) -> None:
    store = state.alioth.reindexes
    done = store.cancel(collection.id) if cancel else store.forget_previous(collection.id)
    if done:
        action = "collection.reindex_cancel" if cancel else "collection.reindex_forget"
        state.alioth.audit.record(state.principal.name, action, collection.name)
        state.alioth.pipeline.purge()
    if json:
        _show(state, collection, True, dropped=done)
    elif cancel:
        say("Cancelled." if done else "No reindex was under way.")
    else:
        say("The kept index is gone." if done else "No earlier index was kept.")


def _show(state: State, collection: Collection, json: bool, quiet: bool = False, **more: Any) -> None:
    from app.reindex import status

    found = status(state.alioth, collection) | more
    if json:
        print_json(found)
        return
    if quiet:
        return
    typer.echo(f"answers    {_described(found)}")
    under_way, previous = found["reindex"], found["previous"]
    if under_way:
        word = "returning" if under_way["state"] == "returning" else "building"
        failed = f", {len(under_way['failed'])} failed" if under_way["failed"] else ""
        typer.echo(
            f"{word:<10} {_described(under_way)}: {under_way['progress']:.0%}, {under_way['done']} of "
            f"{under_way['documents']} documents{failed}"
        )
        for one in under_way["failed"][:20]:
            typer.echo(f"           {one['path']}: {one['message']}")
        say("It goes on with the same command; give it up with --cancel.")
    if previous:
        typer.echo(f"kept       {_described(previous)}")


def _described(index: dict[str, Any]) -> str:
    return f"{index['embedder']}, {index['dimension']} dimensions, chunker {index['chunker']}"
