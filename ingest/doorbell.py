"""The doorbell: wakes workers through huey. It carries no state; what is to do stands in SQL."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.errors import StoreUnavailableError

logger = logging.getLogger(__name__)

MAX_DELAY_S = 0.5
"""Seconds between looks into an empty SQLite queue; huey's own 10 s would make people wait."""
SWEEP_S = 15.0
"""Seconds between looks for versions whose worker is gone and whose ring was lost."""
SCHEMA_TRIES = 5
ENOUGH_RINGS = 8
"""Rings that wait already: more would wake nobody sooner."""


class JsonSerializer:
    """huey's messages as JSON instead of pickle: a queue that someone else can write to must not run code."""

    def serialize(self, data: Any) -> bytes:
        """JSON bytes of a huey message."""
        return json.dumps(list(data)).encode()

    def deserialize(self, data: bytes) -> Any:
        """The huey message in JSON bytes."""
        from huey.registry import Message

        return Message(*json.loads(bytes(data)))


class Doorbell:
    """One bell per database: SQLite rings through `home/queue.db`, PostgreSQL through the database itself.

    Args:
        database_url: SQLAlchemy address, e.g. `sqlite:///…` or `postgresql+psycopg://…`.

    Raises:
        StoreUnavailableError: the queue cannot be opened, e.g. because the disk is full.
    """

    def __init__(self, home: Path, database_url: str) -> None:
        self._place = "the database" if database_url.startswith("postgresql") else repr(str(home / "queue.db"))
        try:
            self._huey = _huey(home, database_url)
        except _faults() as error:
            raise StoreUnavailableError(
                f"Cannot open the queue in {self._place}: {_reason(error)}.",
                "Free space on the disk of the data directory, or make it writable; with PostgreSQL, start the server.",
            ) from error
        self._on_wake: Callable[[], None] = _nothing_to_do
        self._task = self._huey.task(name="wake", retries=0)(self._woken)

    def ring(self, version_ids: Sequence[str] = ()) -> None:
        """Wake the workers. The ids are for the log only: workers claim from SQL whatever is due.

        What is to do stands in SQL already when somebody rings, so a ring that cannot be kept (the disk is full, the
        database away) is no error: the workers' next look finds it, within SWEEP_S seconds.
        """
        try:
            if self._huey.pending_count() < ENOUGH_RINGS:
                self._task()
        except _faults() as error:
            logger.warning("nobody could be woken through %s: %s", self._place, _reason(error))
            with contextlib.suppress(*_faults()):
                self._huey.storage.close()  # a commit that failed may have left it in the middle of a transaction
        logger.debug("rang for %s", version_ids)

    def serve(self, on_wake: Callable[[threading.Event], None], pending: Callable[[], int]) -> None:
        """Call `on_wake(stop)` at every ring, at the start, and when `pending()` shows work that nobody rang for.

        Blocks until SIGTERM or SIGINT; `stop` is set then, and `on_wake` should return soon. Main thread only.
        """
        stop = threading.Event()
        self._on_wake = lambda: on_wake(stop)
        consumer = self._huey.create_consumer(
            workers=1, periodic=False, initial_delay=0.05, max_delay=MAX_DELAY_S, graceful_signal="TERM"
        )
        threads = [
            threading.Thread(target=_copy_flag, args=(consumer.stop_flag, stop), daemon=True, name="doorbell-stop"),
            threading.Thread(target=self._sweep, args=(stop, pending), daemon=True, name="doorbell-sweep"),
        ]
        for thread in threads:
            thread.start()
        try:
            consumer.run()
        finally:
            stop.set()

    def close(self) -> None:
        """Close the queue's connections."""
        self._huey.storage.close()

    def _woken(self) -> None:
        self._on_wake()

    def _sweep(self, stop: threading.Event, pending: Callable[[], int]) -> None:
        while not stop.is_set():
            try:
                if pending():
                    self.ring()
            except Exception:  # the database may be away for a while; the next sweep looks again
                logger.exception("sweep failed")
            stop.wait(SWEEP_S)


def _faults() -> tuple[type[Exception], ...]:
    """What opening or writing the queue can raise when the disk or the database is at fault."""
    import sqlite3

    try:
        import psycopg
    except ImportError:  # only needed with PostgreSQL
        return (sqlite3.Error, OSError)
    return (sqlite3.Error, OSError, psycopg.Error)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _nothing_to_do() -> None:
    logger.warning("rung without a worker behind the bell")


def _copy_flag(source: Any, target: threading.Event) -> None:
    while not source.is_set():
        source.wait(1)
    target.set()


def _huey(home: Path, database_url: str) -> Any:
    if database_url.startswith("postgresql"):
        scheme, _, rest = database_url.partition("://")
        return _postgres_huey(f"{scheme.split('+')[0]}://{rest}")
    from huey import SqliteHuey

    home.mkdir(parents=True, exist_ok=True)
    return SqliteHuey("alioth", filename=str(home / "queue.db"), results=False, serializer=JsonSerializer())


def _postgres_huey(dsn: str) -> Any:
    """Of processes that make the tables at once PostgreSQL lets some fail despite IF NOT EXISTS: they try again."""
    from huey import PostgresHuey
    from psycopg import errors

    for left in reversed(range(SCHEMA_TRIES)):
        try:
            return PostgresHuey("alioth", dsn=dsn, results=False, serializer=JsonSerializer())
        except (errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject):
            if not left:
                raise
            time.sleep(0.1)
    raise AssertionError("unreachable")
