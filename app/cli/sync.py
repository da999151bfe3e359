"""`alioth ingest sync`, `sources` and `unsync`: folders that collections follow."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.state import CollectionOption, JsonOption, print_error, print_json, print_table, say, state_of
from app.cli.sync_words import followed, say_counts, say_faults, show_difference, source_json, when
from core.errors import AliothError, ConflictError, NotFoundError, PermissionDeniedError
from core.types import Collection, DocumentState, Role

if TYPE_CHECKING:
    from app.cli.state import State
    from app.ingestion import Ingestion
    from app.syncing import FolderSync, SyncRequest
    from ingest.sync_plan import Difference
    from storage.sources import Source

REMOVE_WAIT_S = 60.0
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `alioth ingest`."""
    app.command()(sync)
    app.command()(sources)
    app.command()(unsync)


def sync(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="The folder to follow.")] = None,
    collection: Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="The collection.")] = "",
    all_: Annotated[
        bool, typer.Option("--all", help="Every folder that was synced before, one after another.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and follow changes until Ctrl-C.")] = False,
    follow: Annotated[
        bool | None,
        typer.Option("--follow/--no-follow", help="Let `alioth serve` keep it in step from now on; remembered."),
    ] = None,
    poll: Annotated[
        float | None,
        typer.Option(
            "--poll",
            metavar="SECONDS",
            min=0.5,
            help="With --watch or --follow: look so often, for network shares.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="PATTERN", help="Leave out, as in .gitignore; remembered. '' forgets them."),
    ] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Put before every path; remembered.")] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Take over documents that were added otherwise.")] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Delete even if most files are gone.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every document is ready.")] = True,
    json: JsonOption = False,
) -> None:
    """Make a collection follow a folder: additions, changes, moves and deletions.

    Deletes only documents that came from this folder.
    """
    from app.syncing import FolderSync, SyncRequest

    state = state_of(context)
    chosen = None if ignore is None else tuple(ignore)
    request = SyncRequest(prefix, chosen, adopt, allow_mass_delete)
    if all_:
        if folder is not None or collection or watch or follow or prefix is not None or ignore is not None:
            raise typer.BadParameter("--all goes without DIR, --collection, --watch, --follow, --prefix and --ignore.")
        _sync_all(state, request, dry_run, wait, json)
        return
    if folder is None or not collection:
        raise typer.BadParameter("Give DIR and --collection NAME, or --all.")
    if dry_run and (watch or follow is not None):
        raise typer.BadParameter("--dry-run goes without --watch and --follow.")
    if watch and follow is not None:
        raise typer.BadParameter("--watch follows by itself until Ctrl-C; --follow lets `alioth serve` do it.")
    if poll is not None and not watch and not follow:
        raise typer.BadParameter("--poll goes with --watch or --follow.")
    target = state.collection(collection, Role.READ if dry_run else Role.WRITE)
    job = FolderSync(state.alioth, target, folder, request)
    if watch:
        _watch(state, target, job, poll, json)
        return
    if follow is False:
        _follow(state, target, folder, follow, poll)
    result, good = _sync_one(state, target, job, dry_run, wait, json)
    if follow:
        _follow(state, target, folder, follow, poll)
    if follow is not None:
        result["followed"] = follow
    if json:
        print_json(result)
    if not good:
        raise typer.Exit(1)


def sources(context: typer.Context, collection: CollectionOption, json: JsonOption = False) -> None:
    """List the folders that a collection follows."""
    state = state_of(context)
    target = state.collection(collection)
    known = state.alioth.sources.known(target.id)
    watches = state.alioth.watches.all(target.id)
    if json:
        print_json([source_json(source, watches.get(source.id)) for source in known])
        return
    if not known:
        say(f"'{target.name}' follows no folder. Begin: alioth ingest sync DIR -c '{target.name}'")
        return
    print_table(
        ("kind", "place", "documents", "prefix", "ignore", "last sync", "followed"),
        (
            (
                s.kind,
                s.place,
                s.documents,
                s.options.get("prefix"),
                " ".join(s.options.get("ignore", ())),
                when(s),
                followed(watches.get(s.id)),
            )
            for s in known
        ),
    )
    for source in known:
        watch = watches.get(source.id)
        if watch is not None and watch.trouble:
            say(f"{source.place}: {watch.trouble['message']} {watch.trouble['hint']}".rstrip())


def unsync(
    context: typer.Context,
    folder: FolderArgument,
    collection: CollectionOption,
    keep: Annotated[
        bool, typer.Option("--keep-documents/--delete-documents", help="What becomes of its documents.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Stop following a folder. Its documents stay unless told otherwise."""
    state = state_of(context)
    target = state.collection(collection, Role.WRITE)
    source = _source_of(state, target, folder)
    deleted = [] if keep else _delete_documents(state, source)
    state.alioth.watches.end(source.id)
    kept = _removed(state, source)
    state.alioth.audit.record(state.principal.name, "source.remove", source.place, collection=target.name, kept=kept)
    _clear_up(state)
    if json:
        print_json({"source": source.place, "kept": kept, "deleted": deleted})
    else:
        say(f"'{target.name}' no longer follows '{source.place}': {kept} documents kept, {len(deleted)} deleted.")


def _removed(state: State, source: Source) -> int:
    """How many documents it leaves. A worker that followed it may be in the middle of a pass, which soon ends."""
    until = time.monotonic() + REMOVE_WAIT_S
    while True:
        try:
            with state.alioth.sources.exclusive(source.id):
                return state.alioth.sources.remove(source.id)
        except ConflictError:
            if time.monotonic() > until:
                raise
        time.sleep(0.2)


def _follow(state: State, target: Collection, folder: Path, follow: bool, poll: float | None) -> None:
    from ingest.folder_source import FolderSource

    source = state.alioth.sources.find(target.id, FolderSource.kind, FolderSource(folder).place)
    if source is None:
        return
    if follow:
        state.alioth.watches.begin(source.id, poll)
        say(f"'{source.place}' is kept in step from now on, while `alioth serve` runs.")
    else:
        state.alioth.watches.end(source.id)
    state.alioth.audit.record(
        state.principal.name, "source.follow", source.place, collection=target.name, follow=follow
    )


# ---------------------------------------------------------------- one pass


def _sync_one(
    state: State, target: Collection, job: FolderSync, dry_run: bool, wait: bool, json: bool
) -> tuple[dict[str, Any], bool]:
    """Result in its JSON form, and whether nothing failed."""
    from app.cli.progress import show_progress
    from app.ingestion import Ingestion

    head = {"collection": target.name, "source": job.remote.place, "dry_run": dry_run}
    if dry_run:
        difference = job.preview()
        if not json:
            show_difference(difference)
        say_counts(difference)
        say_faults(difference)
        return {**head, **difference.to_dict()}, True
    ingestion = Ingestion(state.alioth, target)
    difference = job.run(ingestion.note)
    _record(state, target, job, difference)
    say_counts(difference)
    say_faults(difference)
    if wait:
        show_progress(ingestion)
    _clear_up(state)
    result = {**head, **difference.to_dict()}
    broken = _failed_documents(ingestion)
    result["failed"] += broken
    for row in broken:
        say(f"Failed: {row['path']}: {row['error'].get('message', '')} {row['error'].get('hint', '')}".rstrip())
    totals = ingestion.totals()
    if wait and totals["submitted"]:
        say(f"{totals['ready']} ready; {totals['chunks']} chunks in {totals['seconds']:.1f} s.")
    result |= {key: totals[key] for key in ("ready", "chunks", "seconds")}
    return result, not result["failed"] and not difference.refused


def _sync_all(state: State, request: SyncRequest, dry_run: bool, wait: bool, json: bool) -> None:
    from app.syncing import FolderSync

    results: list[dict[str, Any]] = []
    good = True
    for source in state.alioth.sources.known():
        target = state.alioth.collections.get_by_id(source.collection_id)
        try:
            state.alioth.permissions.require(state.principal, target.id, Role.READ if dry_run else Role.WRITE)
        except (PermissionDeniedError, NotFoundError):
            continue
        say(f"{target.name}: {source.place}")
        try:
            result, fine = _sync_one(
                state, target, FolderSync(state.alioth, target, Path(source.place), request), dry_run, wait, json
            )
        except AliothError as error:
            print_error(error)
            fault = {"code": error.code, "message": error.message, "hint": error.hint}
            result, fine = {"collection": target.name, "source": source.place, "error": fault}, False
        results.append(result)
        good = good and fine
    if json:
        print_json(results)
    elif not results:
        say("No folder was synced yet. Begin: alioth ingest sync DIR -c NAME")
    if not good:
        raise typer.Exit(1)


def _failed_documents(ingestion: Ingestion) -> list[dict[str, Any]]:
    failed = DocumentState.FAILED.value
    return [{"path": row["path"], "error": row["error"] or {}} for row in ingestion.report() if row["state"] == failed]


def _clear_up(state: State) -> None:
    """The documents are gone already; a later purge finishes what an absent server prevents now."""
    try:
        if state.alioth.documents.purgeable(1):
            state.alioth.pipeline.purge()
    except AliothError as error:
        say(f"Deleted for readers; the indexes are cleaned later: {error.message}")


# ---------------------------------------------------------------- watching


def _watch(state: State, target: Collection, job: FolderSync, poll: float | None, json: bool) -> None:
    def report(difference: Difference) -> None:
        if not difference.empty:
            _record(state, target, job, difference)
        if json:
            print_json({"collection": target.name, "source": job.remote.place, **difference.to_dict()})
        say_counts(difference, datetime.now().strftime("%H:%M:%S "))
        say_faults(difference)

    say(f"Watching '{job.remote.place}' for '{target.name}'. Ctrl-C ends it.")
    with _stopped_by_signals() as stop:
        job.watch(stop, poll, report, print_error)
    say("Stopped. What was under way goes on with the next worker or sync.")


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------- what is shown


def _record(state: State, target: Collection, job: FolderSync, difference: Difference) -> None:
    if not difference.empty:
        counts = {name: len(getattr(difference, name)) for name in ("added", "changed", "moved", "deleted")}
        state.alioth.audit.record(
            state.principal.name, "source.sync", job.remote.place, collection=target.name, **counts
        )


def _source_of(state: State, target: Collection, folder: Path) -> Source:
    from ingest.folder_source import FolderSource

    place = FolderSource(folder).place
    source = state.alioth.sources.find(target.id, FolderSource.kind, place)
    if source is None:
        raise NotFoundError(
            f"'{target.name}' does not follow '{place}'.", f"See `alioth ingest sources -c '{target.name}'`."
        )
    return source


def _delete_documents(state: State, source: Source) -> list[str]:
    deleted: list[str] = []
    for path, document in sorted(state.alioth.sources.documents(source.id).items()):
        state.alioth.documents.delete(document.id, source=source.id)
        deleted.append(path)
    return deleted
