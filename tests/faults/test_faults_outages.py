"""Nothing is lost, doubled or failed because a part was away for a while."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.roles import HASTE
from tests.faults.scenario import Scenario, ballast
from tests.faults.town import Town

BUSY_S = HASTE["storage.database", "BUSY_TIMEOUT_S"]


def test_chroma_down_for_a_while_delays_documents_and_loses_none(town: Town) -> None:
    scenario = Scenario(town, 1)
    scenario.add(6)
    town.kill("chroma")
    assert scenario.add(6) == []
    time.sleep(4)
    town.start_chroma()
    assert scenario.rest() == []
    assert scenario.ended_workers() == []


def test_models_down_for_a_while_delays_documents_and_loses_none(town: Town) -> None:
    scenario = Scenario(town, 2)
    scenario.add(6, "sections")
    town.kill("models")
    assert scenario.add(6) == []
    time.sleep(4)
    town.start_models()
    assert scenario.rest() == []
    assert scenario.ended_workers() == []


def test_a_database_locked_beyond_the_patience_of_writers_fails_no_document(town: Town) -> None:
    scenario = Scenario(town, 3)
    scenario.add(12, "sections")
    holder = sqlite3.connect(town.settings.home / "alioth.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        errors = scenario.add(1)
        assert errors and "another process held its lock" in errors[0]
        time.sleep(BUSY_S * 2)
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert scenario.add(2) == []
    assert scenario.rest() == []
    assert scenario.ended_workers() == []


def test_a_full_disk_is_named_and_everything_goes_on_when_there_is_room_again(
    small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    disk = small_disk(96)
    with Town(tmp_path / "town", disk=disk) as town:
        scenario = Scenario(town, 4)
        assert scenario.add(8) == []
        with ballast(disk, 40_000):
            errors = scenario.add(8, "long", "late")
            assert errors, "the disk was not full"
            assert all("space" in error.lower() or "full" in error.lower() for error in errors), errors
            time.sleep(3)
        assert scenario.add(4, prefix="after") == []
        assert scenario.rest() == []
        assert scenario.ended_workers() == []


def test_a_disk_that_fills_up_while_documents_are_indexed_fails_none_of_them(
    small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    disk = small_disk(96)
    with Town(tmp_path / "town", disk=disk) as town:
        scenario = Scenario(town, 5)
        assert scenario.add(16, "long") == []
        with ballast(disk, 200_000):
            time.sleep(6)
        assert scenario.rest() == []
        assert scenario.ended_workers() == []
