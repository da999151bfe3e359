"""`alioth serve`, and single processes for containers: `alioth service`, `alioth migrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.state import JsonOption, print_json, say

HostOption = Annotated[str | None, typer.Option("--host", help="Address to listen on; 0.0.0.0 means every network.")]
PortOption = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="TCP port to listen on.")]


def serve(
    host: HostOption = None,
    port: PortOption = None,
    help_collection: Annotated[
        bool, typer.Option("--help-collection/--no-help-collection", help="Keep Alioth's own manual as a collection.")
    ] = True,
) -> None:
    """Run everything on this machine: web page, worker, models, Chroma."""
    from app.serving import Serving
    from core.settings import load_settings

    settings = load_settings()
    web = settings.web.model_copy(update={k: v for k, v in (("host", host), ("port", port)) if v is not None})
    Serving(settings.model_copy(update={"web": web}), say, help_collection).run()


def service(
    name: Annotated[str, typer.Argument(metavar="NAME", help="chroma, models, worker or web.")],
    host: HostOption = None,
    port: PortOption = None,
) -> None:
    """Run one process in the foreground, as a container does."""
    from app.serving import run_service
    from core.settings import load_settings

    run_service(load_settings(), name, host, port)


def migrate(
    help_collection: Annotated[
        bool, typer.Option("--help-collection", help="Also keep Alioth's own manual as a collection.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Bring the database to this program's schema."""
    from app.serving import add_help, migrate_database
    from app.wiring import Alioth
    from core.settings import load_settings

    settings = load_settings()
    revision = migrate_database(settings)
    if help_collection:
        alioth = Alioth(settings, start_services=False)
        try:
            add_help(alioth)
        finally:
            alioth.close()
    if json:
        print_json({"revision": revision})
    else:
        say(f"The database is at revision {revision}.")
