"""What commands share: the parts, who acts, and how results are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from core.errors import AliothError
from core.types import Collection, Principal, Role

if TYPE_CHECKING:
    from app.wiring import Alioth

JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
CollectionOption = Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="The collection.")]
CollectionsOption = Annotated[
    list[str], typer.Option("--collection", "-c", metavar="NAME", help="The collection; may be given several times.")
]


@dataclass
class State:
    """One run of the command line."""

    as_user: str | None = None
    _open: ClassVar[list[Alioth]] = []

    @cached_property
    def alioth(self) -> Alioth:
        from app import wiring
        from core.log import configure_logging
        from core.settings import load_settings

        settings = load_settings()
        alioth = wiring.Alioth(settings)
        quiet = settings.log.model_copy(update={"stderr": False})  # stderr is for the person here
        configure_logging(quiet, settings.home / "logs", "cli")
        wiring.use(alioth)
        State._open.append(alioth)
        return alioth

    @cached_property
    def principal(self) -> Principal:
        return self.alioth.principal(self.as_user)

    def collection(self, name: str, role: Role = Role.READ) -> Collection:
        """The collection of that name, if the principal has that role on it."""
        collection = self.alioth.collections.get(name)
        self.alioth.permissions.require(self.principal, collection.id, role)
        return collection

    @classmethod
    def close_all(cls) -> None:
        for alioth in cls._open:
            alioth.close()
        cls._open.clear()


def state_of(context: typer.Context) -> State:
    state = context.find_root().obj
    assert isinstance(state, State)
    return state


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_error(error: AliothError) -> None:
    """Message and hint on stderr."""
    typer.echo(f"Error: {error.message}", err=True)
    if error.hint:
        typer.echo(f"  {error.hint}", err=True)


def say(text: str = "") -> None:
    """A line for the person, on stderr, so that stdout holds results only."""
    typer.echo(text, err=True)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A plain table on stdout, wide characters aligned."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console(soft_wrap=False, markup=False, highlight=False).print(table)
