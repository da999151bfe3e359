"""`alioth index verify|rebuild` and `alioth doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.state import JsonOption, print_json, print_table, say, state_of
from core.types import Role

app = typer.Typer(help="The vector and keyword indexes.", no_args_is_help=True)
OneCollection = Annotated[
    str | None, typer.Option("--collection", "-c", metavar="NAME", help="Only this collection; all by default.")
]


@app.command()
def verify(context: typer.Context, collection: OneCollection = None, json: JsonOption = False) -> None:
    """Compare SQL, Chroma and the keyword index. Exit code 1 when they differ."""
    from app.checks import index_findings

    state = state_of(context)
    targets = [state.collection(collection)] if collection else state.alioth.permissions.readable(state.principal)
    findings = index_findings(state.alioth, targets)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.collection}: {finding.detail}")
        say(f"{len(targets)} collections checked, {len(findings)} findings.")
    if findings:
        if not json:
            say("Repair with: alioth index rebuild")
        raise typer.Exit(1)


@app.command()
def rebuild(
    context: typer.Context,
    collection: OneCollection = None,
    keyword_only: Annotated[bool, typer.Option("--keyword", help="Only the keyword index.")] = False,
    vectors_only: Annotated[bool, typer.Option("--vectors", help="Only the vectors.")] = False,
    json: JsonOption = False,
) -> None:
    """Build both indexes again from SQL, without embedding anything."""
    from app.checks import rebuild_indexes

    state = state_of(context)
    if collection:
        targets = [state.collection(collection, Role.MANAGE)]
    else:
        state.alioth.permissions.require_admin(state.principal)
        targets = state.alioth.collections.list()
    counts = rebuild_indexes(state.alioth, targets, vectors=not keyword_only, keyword=not vectors_only)
    if json:
        print_json(counts)
    else:
        for row in counts:
            say(f"{row['collection']}: {row['vectors']} vectors, {row['keyword']} keyword entries")


def doctor(context: typer.Context, json: JsonOption = False) -> None:
    """What is installed, which models and devices, is everything consistent. Exit code 1 on a failed check."""
    from app.checks import doctor as examine

    state = state_of(context)
    checks = examine(state.alioth)
    if json:
        print_json([check.to_dict() for check in checks])
    else:
        print_table(("check", "", "found"), ((c.name, "ok" if c.ok else "FAILED", c.detail) for c in checks))
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
