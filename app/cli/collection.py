"""`alioth collection`: create, list, show, delete, settings, reindex, grant, revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import generation, reindex
from app.cli.state import JsonOption, print_json, print_table, say, state_of
from core.errors import InputError, NotFoundError
from core.types import Collection, Role

if TYPE_CHECKING:
    from app.cli.state import State

app = typer.Typer(help="Collections (knowledge bases).", no_args_is_help=True)
app.command("reindex")(reindex.reindex)
app.command("settings")(generation.settings)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The collection.")]


def _json(collection: Collection) -> dict[str, object]:
    return {
        "id": collection.id,
        "name": collection.name,
        "documents": collection.documents,
        "chunks": collection.chunks,
        "embedder": collection.fingerprint.embedder_id,
        "dimension": collection.fingerprint.dimension,
        "chunker": collection.fingerprint.chunker_version,
        "settings": dict(collection.settings),
        "created_at": collection.created_at.isoformat(),
    }


@app.command()
def create(
    context: typer.Context,
    name: NameArgument,
    chunk_tokens: Annotated[
        int | None, typer.Option("--chunk-tokens", help="Target size of a chunk, in tokens of the embedder.")
    ] = None,
    chunk_overlap: Annotated[
        int | None, typer.Option("--chunk-overlap", help="Tokens of whole sentences repeated between chunks.")
    ] = None,
    embedder: Annotated[str | None, typer.Option("--embedder", metavar="ID", help="Embedder of the catalogue.")] = None,
    exist_ok: Annotated[bool, typer.Option("--exist-ok", help="No error when it exists already.")] = False,
    json: JsonOption = False,
) -> None:
    """Create a collection. What is not given follows the settings of the instance."""
    state = state_of(context)
    state.alioth.permissions.require_admin(state.principal)
    collection = _find(state, name) if exist_ok else None
    if collection is None:
        collection = state.alioth.create_collection(name, embedder, chunk_tokens, chunk_overlap)
        state.alioth.audit.record(state.principal.name, "collection.create", collection.name)
    if json:
        print_json(_json(collection))
    else:
        say(f"Created collection '{collection.name}'. Add documents: alioth ingest add PATH -c '{collection.name}'")


def _find(state: State, name: str) -> Collection | None:
    try:
        return state.alioth.collections.get(name)
    except NotFoundError:
        return None


@app.command()
def show(context: typer.Context, name: NameArgument, json: JsonOption = False) -> None:
    """Show one collection: its index, its settings, a reindex under way, an index that is kept."""
    from app.reindex import status

    state = state_of(context)
    collection = state.collection(name)
    found = _json(collection) | {k: v for k, v in status(state.alioth, collection).items() if k != "collection"}
    if json:
        print_json(found)
        return
    for key, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {one}" for name, one in value.items() if one not in ([], {}))
        typer.echo(f"{key:<12} {'-' if value in (None, '') else value}")


@app.command("list")
def list_(context: typer.Context, json: JsonOption = False) -> None:
    """List the collections that you may read."""
    state = state_of(context)
    collections = state.alioth.permissions.readable(state.principal)
    if json:
        print_json([_json(collection) for collection in collections])
    elif not collections:
        say("No collections yet. Create one: alioth collection create NAME")
    else:
        print_table(
            ("name", "documents", "chunks", "embedder", "chunker"),
            (
                (c.name, c.documents, c.chunks, c.fingerprint.embedder_id, c.fingerprint.chunker_version)
                for c in collections
            ),
        )


@app.command()
def delete(
    context: typer.Context,
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete a collection with all its documents, at once for readers."""
    state = state_of(context)
    collection = state.collection(name, Role.MANAGE)
    if not yes:
        typer.confirm(f"Delete '{collection.name}' with {collection.documents} documents?", abort=True, err=True)
    state.alioth.collections.delete(collection.id)
    state.alioth.audit.record(state.principal.name, "collection.delete", collection.name)
    state.alioth.pipeline.purge()
    if json:
        print_json({"deleted": collection.name})
    else:
        say(f"Deleted collection '{collection.name}'.")


UserOption = Annotated[str | None, typer.Option("--user", metavar="USER", help="A user.")]
EveryoneOption = Annotated[bool, typer.Option("--everyone", help="All signed-in users.")]


def _principal(context: typer.Context, user: str | None, everyone: bool) -> tuple[str, str]:
    if bool(user) == everyone:
        raise InputError("Name one principal.", "Give --user USER or --everyone.")
    if everyone:
        return ("everyone", "")
    return ("user", state_of(context).alioth.principal(user).user_id)


@app.command()
def grant(
    context: typer.Context,
    name: NameArgument,
    role: Annotated[Role, typer.Argument(help="read, write or manage.")],
    user: UserOption = None,
    everyone: EveryoneOption = False,
) -> None:
    """Allow a user, or everyone, to read, write or manage a collection."""
    state = state_of(context)
    collection = state.collection(name, Role.MANAGE)
    kind, principal_id = _principal(context, user, everyone)
    state.alioth.accounts_store.grant(collection.id, kind, principal_id, role)
    state.alioth.audit.record(state.principal.name, "grant", collection.name, to=user or kind, role=role.value)
    say(f"{user or 'Everyone'} may now {role.value} '{collection.name}'.")


@app.command()
def revoke(
    context: typer.Context, name: NameArgument, user: UserOption = None, everyone: EveryoneOption = False
) -> None:
    """Take a grant back."""
    state = state_of(context)
    collection = state.collection(name, Role.MANAGE)
    kind, principal_id = _principal(context, user, everyone)
    state.alioth.accounts_store.revoke(collection.id, kind, principal_id)
    state.alioth.audit.record(state.principal.name, "revoke", collection.name, to=user or kind)
    say(f"{user or 'Everyone'} has no direct grant on '{collection.name}' any more.")
