"""The SQL database: SQLite in WAL mode or PostgreSQL, one way to read and one way to write."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from core.errors import AliothError, SchemaError, SettingsError, StorageError, StoreUnavailableError
from storage.tables import now

logger = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 30.0
_WAL_ATTEMPTS: Final = 50


class Database:
    """Sessions on one database. Thread-safe; do not carry it over a fork.

    SQLite: WAL, foreign keys on, synchronous=FULL (a `ready` survives a power cut), every write transaction begins
    with BEGIN IMMEDIATE and waits up to 30 seconds for its turn. A read sees one snapshot.
    PostgreSQL: read committed; writers take row locks.

    Raises:
        SettingsError: the address is of no kind that Alioth can use.
        StorageError: the folder of an SQLite file cannot be made.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.url = parsed.render_as_string(hide_password=False)
        self.shown_url = parsed.render_as_string(hide_password=True)
        self.dialect = parsed.get_backend_name()
        if self.dialect == "sqlite":
            _make_folder(Path(parsed.database or ""))
            self.engine = _sqlite_engine(parsed)
        else:
            self.engine = create_engine(parsed, pool_size=8, max_overflow=24, pool_pre_ping=True)
        self._writer = self.engine.execution_options(alioth_write=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading; whatever was changed in it is rolled back.

        Raises:
            StorageError: the database does not answer. SchemaError: it has not been migrated.
        """
        with self._translated(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at exit and rolls back on any error. Keep it short: SQLite has one writer.

        Raises:
            StorageError: the database does not answer, or was locked for 30 seconds. SchemaError: not migrated.
        """
        with self._translated(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            session.connection()  # takes the write lock now, before the first read
            yield session

    @contextmanager
    def connect_for_write(self) -> Iterator[Connection]:
        """A bare connection inside one write transaction, for migrations."""
        with self._translated(), self._writer.begin() as connection:
            yield connection

    def clock(self, session: Session) -> datetime:
        """The time by which leases are judged: the server's on PostgreSQL, so that machines need not agree."""
        if self.dialect == "sqlite":
            return now()
        stamp: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return stamp

    def close(self) -> None:
        """Give every connection back. Using the database again opens new ones."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, ProgrammingError) as error:
            raise self._explain(error) from error
        except DBAPIError as error:
            if type(error).__name__ == "DatabaseError":
                raise self._explain(error) from error
            raise
        except PoolTimeoutError as error:
            raise StoreUnavailableError(
                f"The database {self.shown_url!r} had no free connection for 30 seconds.", "Try again."
            ) from error

    def _explain(self, error: DBAPIError) -> AliothError:
        text = str(error.orig).strip()
        lower = text.lower()
        place = f"the database {self.shown_url!r}"
        if "no such table" in lower or "no such column" in lower or "undefined" in type(error.orig).__name__.lower():
            return SchemaError(f"{place[0].upper()}{place[1:]} is not migrated: {text}.", "Run `alioth migrate`.")
        if "locked" in lower:
            return StoreUnavailableError(
                f"Cannot write to {place}: another process held its lock for {BUSY_TIMEOUT_S:.0f} seconds.",
                "Try again, or end the process that holds it.",
            )
        if "readonly" in lower or "read-only" in lower:
            return StorageError(f"Cannot write to {place}: {text}.", "Make the data directory writable for this user.")
        if "unable to open" in lower:
            return StorageError(
                f"Cannot open {place}: {text}.",
                "ALIOTH_HOME must be a directory in which this user may read and write.",
            )
        if "full" in lower or "no space left" in lower or "disk i/o" in lower:
            return StoreUnavailableError(
                f"Cannot write to {place}: {text}.", "Free space on the disk of the data directory."
            )
        if "malformed" in lower or "not a database" in lower:
            return StorageError(f"{place[0].upper()}{place[1:]} is damaged: {text}.", "Restore it from a backup.")
        return StoreUnavailableError(
            f"{place[0].upper()}{place[1:]} does not answer: {text}.", "Check ALIOTH_DATABASE_URL and the server."
        )


def slices(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` items in order: databases cap the parameters of one statement."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SettingsError(
            "The database address cannot be read; it is not shown because it may hold a password.",
            "ALIOTH_DATABASE_URL looks like postgresql+psycopg://user:password@host/name.",
        ) from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "postgresql+psycopg":
        return parsed
    if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    raise SettingsError(
        f"Cannot use the database {parsed.render_as_string(hide_password=True)!r}: "
        "it must be an SQLite file or PostgreSQL.",
        "ALIOTH_DATABASE_URL looks like postgresql+psycopg://user:password@host/name; empty means SQLite.",
    )


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"Cannot use {str(path.parent)!r} as data directory: {error.strerror}.",
            "Set ALIOTH_HOME to a directory in which this user may write.",
        ) from error


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False, "isolation_level": None},
        pool_size=8,
        max_overflow=-1,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    for attempt in range(_WAL_ATTEMPTS):  # the change to WAL does not wait for locks by itself
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            break
        except Exception as error:
            if "locked" not in str(error) or attempt == _WAL_ATTEMPTS - 1:
                raise
            time.sleep(0.05)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -16000")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("alioth_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
