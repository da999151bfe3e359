"""`alioth models adapters`: LoRA adapters of language models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.state import JsonOption, print_json, print_table, say, state_of

if TYPE_CHECKING:
    from models.files.adapter_files import Adapter

app = typer.Typer(help="LoRA adapters: an organisation's own fine-tunes of a language model.", no_args_is_help=True)
AdapterArgument = Annotated[str, typer.Argument(metavar="ADAPTER", help="An id of `alioth models adapters list`.")]


@app.command("list")
def list_(context: typer.Context, json: JsonOption = False) -> None:
    """List the adapters, the model each is for, and who uses it."""
    from models.files.adapter_files import FOLDER, adapters

    alioth = state_of(context).alioth
    used = alioth.answer_settings.adapters_in_use()
    rows = [_row(one) | {"used": used.get(one.id, "")} for one in adapters(alioth.settings.home / FOLDER).values()]
    if json:
        print_json(rows)
    elif not rows:
        say("No adapters. Bring one in: alioth models adapters import FILE")
    else:
        shown = ("id", "base", "rank", "tensors", "size_mb", "used")
        print_table(("id", "base", "rank", "matrices", "MB", "used"), ([row[name] for name in shown] for row in rows))


def _row(one: Adapter) -> dict[str, Any]:
    return asdict(one) | {"size_mb": round(one.size_bytes / 1e6, 1)}


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A LoRA adapter in GGUF.")],
    adapter_id: Annotated[str, typer.Option("--id", help="Its id; default: by the file's name.")] = "",
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="The model it was trained on; default: the one in use."),
    ] = None,
    sha256: Annotated[str, typer.Option(help="Hash that the file must have.")] = "",
    json: JsonOption = False,
) -> None:
    """Take an adapter from a file: checked against its base, hashed, copied, pinned."""
    from models.files.adapter_files import import_adapter

    state = state_of(context)
    state.alioth.permissions.require_admin(state.principal)
    settings = state.alioth.settings
    found = import_adapter(file, settings.home, base or settings.models.llm, adapter_id, sha256)
    state.alioth.audit.record(state.principal.name, "adapter.import", found.id, sha256=found.sha256)
    if json:
        print_json(_row(found))
    else:
        say(f"{found.id} is in: rank {found.rank}, {found.tensors} matrices of {found.base}. sha256 {found.sha256}")


@app.command()
def verify(
    context: typer.Context,
    adapter: Annotated[str | None, typer.Argument(metavar="[ADAPTER]", help="All by default.")] = None,
    json: JsonOption = False,
) -> None:
    """Read adapters again: hash, fit to their base, finite numbers. Exit code 1 when one is wrong."""
    from core.errors import AliothError
    from models.files.adapter_files import FOLDER, adapters, verify_adapter

    home = state_of(context).alioth.settings.home
    rows = []
    for name in [adapter] if adapter else list(adapters(home / FOLDER)):
        try:
            verify_adapter(name, home)
            rows.append({"id": name, "ok": True, "error": ""})
        except AliothError as error:
            rows.append({"id": name, "ok": False, "error": str(error)})
    if json:
        print_json(rows)
    else:
        for row in rows:
            typer.echo(f"{row['id']}: {row['error'] or 'ok'}")
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


@app.command()
def remove(context: typer.Context, adapter: AdapterArgument, json: JsonOption = False) -> None:
    """Delete an adapter; refuses what a collection or conversation asks for."""
    from models.files.adapter_files import remove_adapter

    state = state_of(context)
    state.alioth.permissions.require_admin(state.principal)
    freed = remove_adapter(adapter, state.alioth.settings.home, state.alioth.answer_settings.adapters_in_use())
    state.alioth.audit.record(state.principal.name, "adapter.remove", adapter)
    if json:
        print_json({"id": adapter, "freed_bytes": freed})
    else:
        say(f"{adapter} is gone; {freed / 1e6:.1f} MB are free again.")
