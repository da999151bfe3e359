"""`alioth serve`: everything on one machine, with what a first start needs. And single processes for containers."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app.locks import OwnerLock
from app.services import SERVICES, require_free_port, run_folder
from app.supervise import Supervisor
from core.errors import AliothError, ConflictError, InputError, NotFoundError
from core.log import configure_logging
from core.settings import Settings
from core.types import Role

if TYPE_CHECKING:
    from app.wiring import Alioth

log = logging.getLogger(__name__)

HELP_COLLECTION = "Alioth help / 使用帮助"


class Serving:
    """One `alioth serve`. say: prints a line for the person."""

    def __init__(self, settings: Settings, say: Callable[[str], None], help_collection: bool = True) -> None:
        self._settings = settings
        self._say = say
        self._help = help_collection
        self._started = time.monotonic()
        self._announced: set[str] = set()
        self._warned: set[str] = set()

    def run(self) -> None:
        """Until SIGINT or SIGTERM.

        Raises:
            SettingsError, InputError, ConflictError, SchemaError: it cannot start; the message says why.
        """
        run = run_folder(self._settings)
        configure_logging(self._settings.log, self._settings.home / "logs", "serve")
        lock = OwnerLock(run, "serve")
        if not lock.acquire():
            raise ConflictError(
                f"Alioth already serves the data directory '{self._settings.home}'.",
                "Stop that one first, or set ALIOTH_HOME to another directory.",
            )
        require_free_port(self._settings.web.host, self._settings.web.port)
        os.environ["ALIOTH_WEB__HOST"] = self._settings.web.host  # the processes read it from there
        os.environ["ALIOTH_WEB__PORT"] = str(self._settings.web.port)
        migrate_database(self._settings)
        self._say(f"Alioth is starting. Data: {self._settings.home}")
        supervisor = Supervisor(self._settings, self._local_services())
        try:
            supervisor.run(self._on_step)
        finally:
            lock.release()
        self._say("Alioth has stopped.")

    def _local_services(self) -> list[str]:
        elsewhere = {"chroma": self._settings.chroma.url, "models": self._settings.models.url}
        return [name for name in ("chroma", "models", "web", "worker") if not elsewhere.get(name)]

    def _on_step(self, supervisor: Supervisor) -> None:
        for child in supervisor.children:
            name = child.service.name
            if child.ready and name not in self._announced:
                self._announced.add(name)
                self._announce(name, time.monotonic() - self._started)
            if child.failures >= 2 and name not in self._warned:
                self._warned.add(name)
                self._say(f"  {name} does not start: {' / '.join(child.last_words[-3:])}")
            elif child.ready:
                self._warned.discard(name)

    def _announce(self, name: str, seconds: float) -> None:
        self._say(f"  {name} is ready after {seconds:.1f} s")
        if name == "web":
            threading.Thread(target=self._first_start, daemon=True).start()

    def _first_start(self) -> None:
        from app.cli.user import setup_url
        from app.wiring import Alioth

        alioth = Alioth(self._settings, start_services=False)
        try:
            base = setup_url(self._settings, "").partition("/setup")[0]
            self._say(f"\n  Open  {base}")
            if alioth.accounts.needs_setup():
                link = setup_url(self._settings, alioth.accounts.create_setup_link())
                self._say(f"  First start: create the administrator (works once)\n        {link}")
            self._say("  Stop with Ctrl-C.\n")
            if self._help:
                add_help(alioth)
        except AliothError as error:
            self._say(f"  {error}")
        except Exception:
            log.exception("the first-start steps failed")
            self._say("  The help collection could not be made; see the log.")
        finally:
            alioth.close()


def help_folder() -> Path | None:
    """Alioth's own documentation, where it is installed beside the program."""
    folder = Path(__file__).resolve().parent.parent / "docs"
    return folder if folder.is_dir() else None


def _of_manual(path: str) -> bool:
    """Pages in either language; not their pictures, nor why the program was made as it is."""
    return path.endswith(".md") and "decisions/" not in path


def add_help(alioth: Alioth) -> None:
    """Keep the collection of Alioth's manual up to date; readable by everyone."""
    folder = help_folder()
    if folder is None:
        log.info("no documentation folder; the help collection is left out")
        return
    try:
        collection = alioth.collections.get(HELP_COLLECTION)
    except NotFoundError:
        collection = alioth.create_collection(HELP_COLLECTION)
        alioth.accounts_store.grant(collection.id, "everyone", "", Role.READ)
    sources = [source for source in alioth.intake.scan([folder], "") if _of_manual(source.logical_path)]
    for source in sources:
        alioth.intake.add(collection, source)
    present = {source.logical_path for source in sources}
    for row in alioth.documents.list(collection.id):
        if row.path not in present:
            alioth.documents.delete(row.id)
    alioth.doorbell.ring()


def migrate_database(settings: Settings) -> str:
    """Bring the database to this program's schema; returns the revision.

    Raises:
        SchemaError: the database is newer than this program.
    """
    from storage.database import Database
    from storage.migrate import known_revisions, migrate

    database = Database(settings.sql_url)
    try:
        migrate(database, run_folder(settings))
    finally:
        database.close()
    return known_revisions()[-1]


def run_service(settings: Settings, name: str, host: str | None, port: int | None) -> None:
    """Become one process, in the foreground, on an address of one's own choice (containers).

    Raises:
        InputError: no such process. ConflictError: it runs already on this data directory.
    """
    if name not in SERVICES:
        raise InputError(f"No process is called '{name}'.", f"Choose one of {', '.join(SERVICES)}.")
    lock = OwnerLock(run_folder(settings), name)
    if not lock.acquire():
        raise ConflictError(
            f"The {name} process already runs on the data directory '{settings.home}'.", "Stop that one first."
        )
    assert lock.fd is not None
    os.set_inheritable(lock.fd, True)  # the lock lives as long as the program we become
    command = _foreground_command(settings, name, host, port)
    with contextlib.suppress(KeyboardInterrupt):
        os.execvpe(command[0], command, {**os.environ, "ALIOTH_HOME": str(settings.home), "PYTHONUNBUFFERED": "1"})


def _foreground_command(settings: Settings, name: str, host: str | None, port: int | None) -> list[str]:
    import sys

    if name == "chroma":
        from storage.chroma_server import chroma_command

        return chroma_command(settings.home / "chroma", host or "127.0.0.1", port or 8000)
    module = {"models": "app.model_server", "worker": "app.worker", "web": "app.server"}[name]
    command = [sys.executable, "-P", "-m", module]
    if name == "worker":
        return [*command, "--supervised"]
    own = settings.web if name == "web" else settings.models
    default_host, default_port = own.host, own.port or 8601
    command += ["--host", host or default_host, "--port", str(port or default_port)]
    return [*command, "--supervised"] if name == "web" else command
