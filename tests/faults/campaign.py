"""Many episodes one after the other, until so many processes were killed."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.coverage import Coverage
from tests.faults.episode import Episode, Outcome
from tests.faults.inspection import temporary_files
from tests.faults.town import Town

PER_EPISODE = 15
EPISODES_PER_TOWN = 4
CLOSING = 3
"""Episodes at most that are added to come to the places where nothing died yet."""


def campaign(
    folder: Path,
    kills: int,
    seed: int,
    database_url: Callable[[], str] = lambda: "",
    homes: int = 1,
    say: Callable[[Outcome], None] = lambda outcome: None,
    everywhere: bool = False,
) -> list[Outcome]:
    """Episodes with the seeds `seed`, `seed` + 1, … until at least `kills` processes were killed.

    Four episodes share one data directory.

    Args:
        database_url: called for each data directory.
        everywhere: go on until something died at every failpoint; the last outcome's `due` has what was not come to.
    """
    outcomes: list[Outcome] = []
    first = database_url()
    addresses = itertools.chain([first], (database_url() for _ in itertools.count()))
    coverage = Coverage("postgresql" if first else "sqlite")
    closed = 0

    def left() -> int:
        return kills - sum(len(outcome.kills) for outcome in outcomes)

    def goes_on() -> bool:
        return left() > 0 or (everywhere and closed < CLOSING and bool(coverage.due()))

    while goes_on():
        place = folder / f"town-{len(outcomes)}"
        with Town(place, next(addresses), homes) as town:
            for _ in range(EPISODES_PER_TOWN):
                if not goes_on():
                    break
                closing = left() <= 0
                closed += closing
                wanted = PER_EPISODE if closing else min(PER_EPISODE, left())
                outcomes.append(Episode(town, seed + len(outcomes), wanted, coverage, closing).run())
                outcomes[-1].due = coverage.due()
                say(outcomes[-1])
            outcomes[-1].findings += temporary_files(town)
        if all(outcome.clean for outcome in outcomes):  # else somebody wants to look at it
            shutil.rmtree(place)
    return outcomes


@contextlib.contextmanager
def postgres() -> Iterator[Callable[[], str] | None]:
    """Gives addresses of empty databases on a throw-away PostgreSQL; None where it is not installed."""
    import os
    import signal

    from sqlalchemy import create_engine, text

    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        yield None
        return
    as_postgres: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    home = Path(tempfile.mkdtemp(prefix="alioth-pg-"))
    if as_postgres:
        shutil.chown(home, "postgres", "postgres")
    data = home / "data"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": home, **as_postgres}
    make: list[Any] = [folders[-1] / "initdb", "-D", data, "-A", "trust", "-U", "alioth", "-E", "UTF8", "--no-sync"]
    serve: list[Any] = [folders[-1] / "postgres", "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off"]
    subprocess.run(make, check=True, **quiet)
    server = subprocess.Popen(serve, **quiet)
    address = f"postgresql+psycopg://alioth@/NAME?host={home}"

    def fresh() -> str:
        engine = create_engine(address.replace("NAME", "postgres"), isolation_level="AUTOCOMMIT")
        name = f"d{uuid.uuid4().hex}"
        for attempt in range(200):
            try:
                with engine.connect() as connection:
                    connection.execute(text(f"CREATE DATABASE {name}"))
                break
            except Exception:
                if attempt == 199:
                    raise
                time.sleep(0.05)
        engine.dispose()
        return address.replace("NAME", name)

    try:
        yield fresh
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(120)
        shutil.rmtree(home, ignore_errors=True)
