"""Bring the tables to the newest revision, under a lock; refuse a database that is newer than the program."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from core.errors import SchemaError, StorageError
from storage.database import Database

logger = logging.getLogger(__name__)

FOLDER: Final = Path(__file__).parent / "migrations"
_ADVISORY_KEY: Final = 4_181_020_261


def known_revisions() -> list[str]:
    """Every revision this program has, oldest first, without loading Alembic."""
    return sorted(path.name[:4] for path in (FOLDER / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def migrate(database: Database, lock_folder: Path) -> None:
    """Upgrade to the newest revision. Any number of processes may call it at once; one does the work.

    Args:
        lock_folder: where `migrate.lock` stands (SQLite; PostgreSQL takes an advisory lock).

    Raises:
        SchemaError: the database is newer than this program.
        StorageError: the folder or the database cannot be written.
    """
    if _current(database) == known_revisions()[-1]:
        return
    with _file_lock(database, lock_folder), database.connect_for_write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
        current = _revision(connection, database)
        if current == known_revisions()[-1]:
            return
        logger.info("migrating the database from %s to %s", current or "nothing", known_revisions()[-1])
        _upgrade(connection)


def require_current(database: Database) -> None:
    """Check that the tables are of this program's revision.

    Raises:
        SchemaError: not migrated, older, or newer than this program.
    """
    current = _current(database)
    head = known_revisions()[-1]
    if current != head:
        found = f"is at revision {current!r}" if current else "has no tables yet"
        raise SchemaError(
            f"The database {database.shown_url!r} {found}; this Alioth needs {head!r}.", "Run `alioth migrate`."
        )


def _current(database: Database) -> str | None:
    with database.read() as session:
        return _revision(session.connection(), database)


def _revision(connection: Connection, database: Database) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and found not in known_revisions():
        raise SchemaError(
            f"The database {database.shown_url!r} is at revision {found!r}, which is newer than the newest "
            f"that this Alioth knows, {known_revisions()[-1]!r}.",
            "Install the Alioth that made it or a newer one, or restore a backup from before that upgrade.",
        )
    return None if found is None else str(found)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _file_lock(database: Database, folder: Path) -> Iterator[None]:
    if database.dialect != "sqlite":
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / "migrate.lock").open("a")
    except OSError as error:
        raise StorageError(
            f"Cannot write to the data directory {str(folder)!r}: {error.strerror}.",
            "Set ALIOTH_HOME to a directory in which this user may write.",
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
