"""The command tree, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from app.cli import ask, collection, evaluate, glossary, index, ingest, models, serve, tasks, user
from app.cli.state import State, print_error
from core.errors import AliothError

app = typer.Typer(
    name="alioth",
    help="Private-knowledge chat: ingest documents, ask, get cited answers. 玉衡：企业私有知识问答。",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(ingest.app, name="ingest")
app.add_typer(collection.app, name="collection")
app.add_typer(evaluate.app, name="eval")
app.add_typer(glossary.app, name="glossary")
app.add_typer(index.app, name="index")
app.add_typer(models.app, name="models")
app.add_typer(user.app, name="user")
app.command("search")(ask.search)
app.command("ask")(ask.ask)
app.command("verify")(ask.verify)
app.command("summarise")(tasks.summarise)
app.command("translate")(tasks.translate)
app.command("extract")(tasks.extract)
app.command("compare")(tasks.compare)
app.command("serve")(serve.serve)
app.command("service")(serve.service)
app.command("migrate")(serve.migrate)
app.command("doctor")(index.doctor)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"alioth {version('alioth')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    as_user: Annotated[
        str | None, typer.Option("--as", metavar="USER", help="Act as this user instead of the system.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    context.obj = State(as_user=as_user)


def main() -> NoReturn:
    """Run the command line. Exit codes: 0 done, 1 an error with a message, 2 wrong usage, 130 interrupted."""
    try:
        result = app(standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except AliothError as error:
        print_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("Interrupted. Nothing is lost; run the command again to go on.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        _exit_on_framework_error(error)
        logging.getLogger(__name__).exception("unexpected error")
        print_error(AliothError(f"Unexpected {type(error).__name__}: {error}.", _log_hint()))
        sys.exit(1)
    finally:
        State.close_all()


def _exit_on_framework_error(error: Exception) -> None:
    """Usage errors of the option parser know how to show themselves, and end with code 2."""
    show = getattr(error, "show", None)
    code = getattr(error, "exit_code", None)
    if callable(show) and isinstance(code, int):
        show()
        sys.exit(code)
    if type(error).__name__ == "Abort":
        typer.echo("Aborted.", err=True)
        sys.exit(1)


def _log_hint() -> str:
    return "The traceback is in ALIOTH_HOME/logs/cli.log; please report it."
