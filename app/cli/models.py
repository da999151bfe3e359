"""`alioth models`: list and verify; the other commands are in `models_plan` and `models_store`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import adapters, models_plan, models_store
from app.cli.state import JsonOption, print_json, print_table, state_of
from core.errors import AliothError

app = typer.Typer(help="Models: what the catalogue names, what is here, what fits.", no_args_is_help=True)
app.command("plan")(models_plan.plan)
app.command("pull")(models_store.pull)
app.command("import")(models_store.import_)
app.command("use")(models_plan.use)
app.command("remove")(models_store.remove)
app.command("bench")(models_plan.bench)
app.add_typer(adapters.app, name="adapters")


@app.command("list")
def list_(context: typer.Context, json: JsonOption = False) -> None:
    """List the catalogue, with what is present on this machine."""
    from app.model_choice import model_rows

    rows = [
        {
            "id": row.entry.id,
            "role": row.entry.role,
            "languages": list(row.entry.languages),
            "licence": row.entry.licence,
            "window": row.entry.window,
            "parameters": row.entry.parameters,
            "size_mb": round(row.size_bytes / 1e6),
            "thinking": row.entry.thinking,
            "template": row.entry.template if row.entry.role == "llm" else "",
            "fits": row.fits,
            "present": row.present,
            "pinned": row.pinned,
            "in_use": row.in_use,
        }
        for row in model_rows(state_of(context).alioth)
    ]
    if json:
        print_json(rows)
        return
    headers = ("id", "role", "languages", "licence", "window", "10^9", "fits here", "here", "in use")
    print_table(headers, (_cells(row) for row in rows))


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    ticks = (_tick(row[name]) for name in ("present", "in_use"))
    return (
        row["id"],
        row["role"],
        " ".join(row["languages"]),
        row["licence"],
        row["window"],
        row["parameters"],
        row["fits"],
        *ticks,
    )


def _tick(value: object) -> str:
    return "yes" if value else ""


@app.command()
def verify(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Those in use by default.")] = None,
    json: JsonOption = False,
) -> None:
    """Check the sha256 of model files again, whatever was remembered."""
    from app.other_engines import is_remote
    from models.files.weights import forget_verified, resolve

    settings = state_of(context).alioth.settings
    forget_verified(settings.home)
    chosen = (settings.models.llm, settings.models.embedder, settings.models.reranker)
    names = [model] if model else [name for name in chosen if name and not is_remote(name)]
    rows = []
    for name in names:
        try:
            path = resolve(name, settings.home)
            rows.append({"id": name, "ok": True, "detail": str(path)})
        except AliothError as error:
            rows.append({"id": name, "ok": False, "detail": str(error)})
    if json:
        print_json(rows)
    else:
        print_table(("id", "", "detail"), ((r["id"], "ok" if r["ok"] else "FAILED", r["detail"]) for r in rows))
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)
