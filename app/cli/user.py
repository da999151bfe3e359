"""`alioth user`: add, list, disable, enable, reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.state import JsonOption, print_json, print_table, say, state_of

if TYPE_CHECKING:
    from core.settings import Settings

app = typer.Typer(help="People who may sign in.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(metavar="USER", help="The name used to sign in.")]


def setup_url(settings: Settings, token: str) -> str:
    """Address of a one-time link."""
    host = "127.0.0.1" if settings.web.host in ("0.0.0.0", "::") else settings.web.host
    base = settings.web.public_url.rstrip("/") or f"http://{host}:{settings.web.port}"
    return f"{base}/setup?token={token}"


@app.command()
def add(
    context: typer.Context,
    name: NameArgument,
    admin: Annotated[bool, typer.Option("--admin", help="May manage users and collections.")] = False,
    json: JsonOption = False,
) -> None:
    """Create a user and print the one-time link that sets the password."""
    state = state_of(context)
    state.alioth.permissions.require_admin(state.principal)
    link = state.alioth.accounts.add_user(name, admin, state.principal)
    _print_link(state.alioth.settings, link, json, f"'{name}' sets a password here")


@app.command("list")
def list_(context: typer.Context, json: JsonOption = False) -> None:
    """List users."""
    state = state_of(context)
    state.alioth.permissions.require_admin(state.principal)
    users = state.alioth.accounts.users()
    if json:
        print_json([{"name": u.name, "admin": u.is_admin, "disabled": u.disabled} for u in users])
    elif not users:
        say("No users yet. `alioth user reset` prints the link that creates the administrator.")
    else:
        rows = ((u.name, "yes" if u.is_admin else "", "yes" if u.disabled else "") for u in users)
        print_table(("name", "admin", "disabled"), rows)


@app.command()
def disable(context: typer.Context, name: NameArgument) -> None:
    """Lock a user out at once."""
    state = state_of(context)
    state.alioth.permissions.require_admin(state.principal)
    state.alioth.accounts.set_disabled(name, True, state.principal)
    say(f"'{name}' is disabled and signed out everywhere.")


@app.command()
def enable(context: typer.Context, name: NameArgument) -> None:
    """Let a disabled user in again."""
    state = state_of(context)
    state.alioth.permissions.require_admin(state.principal)
    state.alioth.accounts.set_disabled(name, False, state.principal)
    say(f"'{name}' may sign in again.")


@app.command()
def reset(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[USER]", help="Without one: the first administrator.")] = None,
    json: JsonOption = False,
) -> None:
    """Print a new one-time link: a new password, or the first administrator when there is none."""
    state = state_of(context)
    state.alioth.permissions.require_admin(state.principal)
    accounts = state.alioth.accounts
    link = accounts.reset_link(name, state.principal) if name else accounts.create_setup_link()
    what = f"'{name}' sets a new password here" if name else "Create the administrator here"
    _print_link(state.alioth.settings, link, json, what)


def _print_link(settings: Settings, token: str, json: bool, what: str) -> None:
    from auth.accounts import LINK_HOURS

    url = setup_url(settings, token)
    if json:
        print_json({"url": url})
    else:
        say(f"{what} (works once, for {LINK_HOURS:.0f} hours):")
        typer.echo(url)
