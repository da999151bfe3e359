"""A worker that slept through its lease, with what it was about to write, does no harm when it wakes."""

from __future__ import annotations

import time

import pytest

from tests.faults.failpoints import Arm
from tests.faults.scenario import Scenario
from tests.faults.town import LEASE_S, Town


def _frozen(scenario: Scenario) -> bool:
    journal = scenario.town.folder / "journal.jsonl"
    return journal.exists() and '"freeze": true' in journal.read_text()


@pytest.mark.parametrize("point", ["store_chunks", "vectors.upsert", "switch"])
def test_a_document_that_was_deleted_while_its_worker_slept_leaves_nothing(town: Town, point: str) -> None:
    scenario = Scenario(town, 6, workers=0)
    town.start_worker("worker0", Arm(point, 1, after=False, freeze=True))
    assert scenario.add(1, "sections") == []
    scenario.wait(lambda: _frozen(scenario))
    [row] = town.alioth.documents.list(scenario.collection.id)
    town.alioth.documents.delete(row.id)
    scenario.ledger.done(row.path, None, True)
    time.sleep(LEASE_S + 0.5)
    town.start_worker("worker1")  # clears the document away
    scenario.wait(lambda: not town.alioth.documents.purgeable(1))
    (town.folder / "thaw").touch()
    assert scenario.add(2, "sections") == []
    assert scenario.rest() == []
    assert town.stop("worker0") == 0


def test_a_collection_that_was_dropped_while_its_worker_slept_leaves_nothing(town: Town) -> None:
    scenario = Scenario(town, 7, workers=0)
    other = town.collection("Dropped")
    town.start_worker("worker0", Arm("vectors.upsert", 1, after=False, freeze=True))
    source = scenario.sources / "note.txt"
    source.write_text("A note that nobody will read.")
    with source.open("rb") as stream:
        town.alioth.intake.add_bytes(other, "note.txt", stream)
    scenario.wait(lambda: _frozen(scenario))
    town.alioth.collections.delete(other.id)
    time.sleep(LEASE_S + 0.5)
    town.start_worker("worker1")
    scenario.wait(lambda: not town.alioth.collections.dropped())
    (town.folder / "thaw").touch()
    assert scenario.add(2, "sections") == []
    assert scenario.rest() == []
    assert town.stop("worker0") == 0


def test_a_document_that_another_worker_finished_meanwhile_stays_as_that_one_left_it(town: Town) -> None:
    scenario = Scenario(town, 8, workers=0)
    town.start_worker("worker0", Arm("vectors.upsert", 1, after=False, freeze=True))
    assert scenario.add(1, "sections") == []
    scenario.wait(lambda: _frozen(scenario))
    time.sleep(LEASE_S + 0.5)
    town.start_worker("worker1")
    scenario.wait(lambda: town.alioth.documents.pending() == 0)
    (town.folder / "thaw").touch()
    assert scenario.add(2, "sections") == []
    assert scenario.rest() == []
    assert town.stop("worker0") == 0


def test_vectors_that_a_worker_wrote_too_late_and_died_before_it_could_take_them_back_are_cleared(town: Town) -> None:
    scenario = Scenario(town, 9, workers=0)
    town.start_worker("worker0", Arm("vectors.upsert", 1, after=False, freeze=True, dies=True))
    assert scenario.add(1, "sections") == []
    scenario.wait(lambda: _frozen(scenario))
    [row] = town.alioth.documents.list(scenario.collection.id)
    town.alioth.documents.delete(row.id)
    scenario.ledger.done(row.path, None, True)
    time.sleep(LEASE_S + 0.5)
    town.start_worker("worker1")
    key = scenario.collection.vector_key
    scenario.wait(lambda: town.alioth.documents.count_rows(scenario.collection.index_id) == 0)
    town.stop("worker1")  # or it could clear them away before they are seen
    (town.folder / "thaw").touch()
    scenario.wait(lambda: not town.processes["worker0"].alive)
    assert town.alioth.vectors.count(key) > 0, "there is nothing to clear"
    town.start_worker("worker1")
    assert scenario.rest() == []
    assert town.alioth.vectors.count(key) == 0
