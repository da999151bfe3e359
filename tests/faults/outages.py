"""Faults that are no kills at a random place: a part is away, a disk is full, a document kills whoever reads it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.types import DocumentState
from tests.faults.failpoints import Arm
from tests.faults.inspection import Finding
from tests.faults.roles import HASTE
from tests.faults.scenario import Scenario, ballast
from tests.faults.town import Town

ATTEMPTS = 3
"""Of a document that kills its workers."""
_BUSY_S = HASTE["storage.database", "BUSY_TIMEOUT_S"]
_AWAY_S = 4.0
"""Seconds for which a part is away at least; nothing depends on what happens within them."""


@dataclass
class Record:
    """What came of one of them. deaths: of workers or parsers at the hand of a document. told: what a person reads."""

    name: str
    documents: int = 0
    deaths: int = 0
    told: str = ""
    findings: list[Finding] = field(default_factory=list)


def _ended(record: Record, scenario: Scenario) -> Record:
    record.findings += scenario.rest()
    record.findings += [Finding("wrong", f"{name} ended by itself") for name in scenario.ended_workers()]
    for home in scenario.town.homes:
        record.told = record.told.replace(str(home), "ALIOTH_HOME")
    record.documents = len(scenario.town.alioth.documents.list(scenario.collection.id))
    return record


def chroma_away(folder: Path, disk: Path | None = None) -> Record:
    """The vector server is killed and comes back after a while."""
    return _away(folder, 1, "the vector server was away", "chroma", Town.start_chroma)


def models_away(folder: Path, disk: Path | None = None) -> Record:
    """The models process is killed and comes back after a while."""
    return _away(folder, 2, "the models process was away", "models", Town.start_models)


def _away(folder: Path, seed: int, name: str, role: str, start_again: Callable[[Town], object]) -> Record:
    record = Record(name)
    with Town(folder) as town:
        scenario = Scenario(town, seed)
        scenario.add(6, "sections")
        town.kill(role)
        record.findings += [Finding("wrong", error) for error in scenario.add(6)]
        time.sleep(_AWAY_S)
        start_again(town)
        return _ended(record, scenario)


def database_locked(folder: Path, disk: Path | None = None) -> Record:
    """Somebody holds the database's write lock for longer than writers wait."""
    record = Record("the database was locked")
    with Town(folder) as town:
        scenario = Scenario(town, 3)
        scenario.add(12, "sections")
        holder = sqlite3.connect(town.settings.home / "alioth.db", isolation_level=None, timeout=600)
        holder.execute("BEGIN IMMEDIATE")
        try:
            record.told = _first(scenario.add(1))
            if "another process held its lock" not in record.told:
                record.findings.append(Finding("wrong", f"not told that the database is locked: {record.told!r}"))
            time.sleep(_BUSY_S * 2)
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        record.findings += [Finding("wrong", error) for error in scenario.add(2)]
        return _ended(record, scenario)


def disk_full(folder: Path, disk: Path | None) -> Record:
    """No room for what people add; there is room again later."""
    record = Record("the disk was full while documents were added")
    assert disk is not None
    with Town(folder, disk=disk) as town:
        scenario = Scenario(town, 4)
        record.findings += [Finding("wrong", error) for error in scenario.add(8)]
        record.findings += scenario.rest()  # nothing else writes or frees anything from here on
        with ballast(disk, 40_000):
            errors = scenario.add(8, "long", "late")
            record.told = _first(errors)
            if not errors:
                record.findings.append(Finding("wrong", "the disk was not full"))
            unclear = [error for error in errors if "space" not in error.lower() and "full" not in error.lower()]
            record.findings += [Finding("wrong", f"does not say that the disk is full: {error}") for error in unclear]
        record.findings += [Finding("wrong", error) for error in scenario.add(4, prefix="after")]
        return _ended(record, scenario)


def disk_fills_up(folder: Path, disk: Path | None) -> Record:
    """No room for what workers, the vector server and the database write about documents that were taken in."""
    record = Record("the disk filled up while documents were indexed")
    assert disk is not None
    with Town(folder, disk=disk) as town:
        scenario = Scenario(town, 5)
        record.findings += [Finding("wrong", error) for error in scenario.add(16, "long")]
        with ballast(disk, 200_000):
            time.sleep(_AWAY_S)
        return _ended(record, scenario)


def poison_for_workers(folder: Path, disk: Path | None = None) -> Record:
    """A document ends whatever worker reads it, as one does that makes a library crash."""
    record = Record("a document killed every worker that read it")
    with Town(folder, max_attempts=ATTEMPTS) as town:
        arm = Arm("parse", 1, after=False, only="poison")
        scenario = Scenario(town, 6, arm=arm)

        def keep_running() -> None:
            for process in town.look():
                if process.role == "worker":
                    town.start_worker(process.name, arm)

        scenario.keep_running = keep_running
        _add_poison(scenario)
        scenario.wait(lambda: town.alioth.documents.pending() == 0)
        keep_running()
        record.deaths = len((town.folder / "journal.jsonl").read_text().splitlines())
        _look_at_poison(record, scenario, "poison")
        if record.deaths != ATTEMPTS:
            record.findings.append(Finding("wrong", f"{record.deaths} workers died, {ATTEMPTS} attempts are allowed"))
        return _ended(record, scenario)


def poison_for_parsers(folder: Path, disk: Path | None = None) -> Record:
    """A document ends the parser process that reads it, each time."""
    record = Record("a document killed every parser that read it")
    with Town(folder, max_attempts=ATTEMPTS) as town:
        scenario = Scenario(town, 7, arm=Arm("parser", 1, after=False, only="poison", parser=True))
        _add_poison(scenario)
        scenario.wait(lambda: town.alioth.documents.pending() == 0)
        _look_at_poison(record, scenario, "unreadable")
        row = town.alioth.documents.find(scenario.collection.id, "poison")
        assert row is not None
        town.alioth.documents.retry(row.id)
        town.alioth.doorbell.ring()
        scenario.wait(lambda: town.alioth.documents.pending() == 0)
        _look_at_poison(record, scenario, "unreadable")
        record.deaths = (town.folder / "journal.jsonl").read_text().count('"parser": true')
        if record.deaths != 2:
            record.findings.append(Finding("wrong", f"its parser died {record.deaths} times in two attempts"))
        return _ended(record, scenario)


OUTAGES: tuple[Callable[[Path, Path | None], Record], ...] = (
    chroma_away,
    models_away,
    database_locked,
    poison_for_workers,
    poison_for_parsers,
    disk_full,
    disk_fills_up,
)
ON_A_SMALL_DISK = (disk_full, disk_fills_up)


def _first(errors: list[str]) -> str:
    return errors[0] if errors else ""


def _add_poison(scenario: Scenario) -> None:
    """Among others that come before and after it, and are to be read all the same."""
    scenario.add(6)
    content = scenario.make("note")
    scenario.submit([("poison", content)])
    scenario.add(6)
    scenario.ledger.gave_up("poison")


def _look_at_poison(record: Record, scenario: Scenario, code: str) -> None:
    rows = scenario.town.alioth.documents.list(scenario.collection.id)
    [row] = [row for row in rows if row.path == "poison"]
    error = row.error or {}
    record.told = str(error.get("message", ""))
    if row.state is not DocumentState.FAILED or error.get("code") != code or not record.told:
        record.findings.append(Finding("wrong", f"the document is {row.state.value}: {error}"))
