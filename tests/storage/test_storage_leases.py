"""Claiming: threads and processes never share a version, and whatever lost its worker comes back once."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from core.types import DocumentState

CLAIM_ALL = """
import sys
from storage.database import Database
from storage.documents import DocumentStore
store = DocumentStore(Database(sys.argv[1]))
while claimed := store.claim(sys.argv[2], 3, 60):
    for version in claimed:
        print(version.version_id, flush=True)
"""

DIE_BEFORE_SWITCH = """
import os, sys
import numpy as np
from core.types import Locator, NewChunk
from storage.database import Database
from storage.documents import DocumentStore
store = DocumentStore(Database(sys.argv[1]))
[version] = store.claim("doomed", 1, 0.5)
store.store_chunks(version.version_id, "doomed", [NewChunk(0, "x", Locator())], ["x"], np.eye(8, dtype=np.float32)[:1])
os.kill(os.getpid(), 9)
"""


def test_threads_and_processes_that_claim_at_once_never_share_a_version(
    bench: Any, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    submitted = {bench.submit(f"{n}.txt", str(n)) for n in range(60)}
    processes = [start_python(CLAIM_ALL, bench.db.url, f"process{n}") for n in range(2)]
    taken: list[str] = []

    def claim_all(worker: str) -> None:
        while claimed := bench.documents.claim(worker, 2, 60):
            taken.extend(version.version_id for version in claimed)

    threads = [threading.Thread(target=claim_all, args=(f"thread{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        taken.extend(out.split())
    assert Counter(taken) == Counter(submitted)


def test_a_worker_killed_between_storing_and_switching_is_replaced_and_the_result_is_once(
    bench: Any, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    version_id = bench.submit("a", "1")
    process = start_python(DIE_BEFORE_SWITCH, bench.db.url)
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert bench.live() == set()
    assert bench.documents.get_many([version_id])[version_id].state is DocumentState.INDEXING
    deadline = time.monotonic() + 10
    while not (claimed := bench.documents.claim("heir", 1, 60)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert claimed[0].attempts == 2
    ids = bench.store(version_id, ["x"], "heir")
    assert bench.documents.switch(version_id, "heir")
    assert bench.live() == set(ids) and len(ids) == 1


def test_higher_priority_comes_first_then_the_oldest(bench: Any) -> None:
    order = [bench.submit("a", "1"), bench.submit("b", "2"), bench.submit("c", "3", priority=5)]
    claimed = bench.documents.claim("w", 2, 60) + bench.documents.claim("w", 2, 60)
    assert [c.version_id for c in claimed] == [order[2], order[0], order[1]]


def test_what_a_claim_says_is_what_was_submitted(bench: Any) -> None:
    version_id = bench.submit("dir/a.txt", "hello")
    [claimed] = bench.documents.claim("w", 1, 60)
    assert (claimed.version_id, claimed.path, claimed.number, claimed.size, claimed.attempts) == (
        version_id,
        "dir/a.txt",
        1,
        5,
        1,
    )
    assert claimed.collection.vector_key == bench.collection.vector_key
    assert claimed.document_id == bench.document_id("dir/a.txt")


def test_a_claim_can_be_limited_to_some_versions_even_to_thousands(bench: Any) -> None:
    bench.submit("a", "1")
    wanted = bench.submit("b", "2")
    assert bench.documents.claim("w", 5, 60, []) == []
    ids = [f"{n:032x}" for n in range(12_000)] + [wanted]
    assert [c.version_id for c in bench.documents.claim("w", 5, 60, ids)] == [wanted]


def test_a_lease_holds_until_it_runs_out_and_renewing_prolongs_it(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id, "first", lease_s=60)
    assert bench.documents.claim("second", 1, 60) == []
    assert bench.documents.renew("first", [version_id, "0" * 32], 0) == [version_id]
    assert bench.documents.renew("first", [version_id], 60) == [version_id]  # late, but nobody took it meanwhile
    assert bench.documents.claim("second", 1, 60) == []
    assert bench.documents.renew("second", [version_id], 60) == []
    bench.documents.renew("first", [version_id], 0)
    assert [c.version_id for c in bench.documents.claim("second", 1, 60)] == [version_id]
    assert bench.documents.renew("first", [version_id], 60) == []


def test_released_versions_can_be_taken_at_once_and_the_attempt_does_not_count(bench: Any) -> None:
    for _ in range(5):
        version_id = bench.submit("a", "1")
        [claimed] = bench.documents.claim("w", 1, 60, max_attempts=2)
        assert (claimed.version_id, claimed.attempts) == (version_id, 1)
        bench.documents.set_state(version_id, "w", DocumentState.EMBEDDING, 0.4)
        bench.documents.release("w")
        assert bench.documents.get_many([version_id])[version_id].state is DocumentState.QUEUED


def test_releasing_leaves_finished_versions_and_those_of_others_alone(bench: Any) -> None:
    bench.ingest("a", "1")
    other = bench.submit("b", "2")
    bench.take(other, "other")
    bench.documents.release("bench")
    assert bench.documents.find(bench.collection.id, "a").state is DocumentState.READY
    assert bench.documents.renew("other", [other], 60) == [other]


def test_a_version_that_kills_every_worker_is_given_up_with_its_reason(bench: Any) -> None:
    poison = bench.submit("a", "1")
    healthy = bench.submit("b", "2")
    for attempt in range(3):
        claimed = bench.documents.claim(f"w{attempt}", 1, 0, [poison], max_attempts=3)
        assert [c.version_id for c in claimed] == [poison]
        bench.documents.set_state(poison, f"w{attempt}", DocumentState.PARSING)
    assert [c.version_id for c in bench.documents.claim("w", 1, 60, max_attempts=3)] == [healthy]
    status = bench.documents.get_many([poison])[poison]
    assert status.state is DocumentState.FAILED
    assert status.error is not None and status.error["code"] == "poison" and status.error["hint"]


@pytest.mark.parametrize("states", [(DocumentState.PARSING,), (DocumentState.CHUNKING, DocumentState.EMBEDDING)])
def test_a_version_lost_in_any_stage_is_taken_over(bench: Any, states: tuple[DocumentState, ...]) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id, "lost", lease_s=0)
    for state in states:
        bench.documents.set_state(version_id, "lost", state)
    assert [c.version_id for c in bench.documents.claim("heir", 1, 60)] == [version_id]


def test_a_worker_that_could_not_renew_in_time_is_not_given_its_own_version_once_more(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id, "slow", lease_s=0)
    bench.documents.set_state(version_id, "slow", DocumentState.PARSING)
    assert bench.documents.claim("slow", 1, 60, holding=[version_id]) == []
    assert [one.version_id for one in bench.documents.claim("other", 1, 60)] == [version_id]


def test_a_worker_that_does_not_know_of_its_claim_gets_the_version_when_the_lease_has_run_out(bench: Any) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id, "worker", lease_s=0)  # as when the database goes away before its answer comes
    assert [one.version_id for one in bench.documents.claim("worker", 1, 60, holding=["another"])] == [version_id]
