"""Turns between users, and questions before ingestion."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from models.queueing.lanes import ComputeGate, FairQueue
from tests.models.odd_server import wait_until

WAIT_S = 60.0  # far longer than it takes

steps = st.lists(st.one_of(st.tuples(st.just("put"), st.sampled_from("abc")), st.just(("take", ""))), max_size=60)


@given(steps)
def test_no_user_is_served_twice_while_another_waits(script: list[tuple[str, str]]) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    waiting: list[tuple[str, int]] = []
    served_since: dict[str, list[str]] = {}
    for number, (verb, user) in enumerate([*script, *[("take", "")] * 60]):
        if verb == "put":
            if not any(name == user for name, _ in waiting):
                served_since[user] = []
            queue.put(user, (user, number))
            waiting.append((user, number))
            continue
        expected = queue.order()
        item = queue.take(timeout=0)
        assert item == (expected[0] if expected else None)
        if item is None:
            assert not waiting
            continue
        assert item == next(w for w in waiting if w[0] == item[0]), "each user's own are first in, first out"
        waiting.remove(item)
        for name, others in served_since.items():
            if name != item[0] and any(w[0] == name for w in waiting):
                assert item[0] not in others
                others.append(item[0])
        served_since[item[0]] = []


@given(st.lists(st.sampled_from("abcd"), max_size=30))
def test_order_tells_how_everything_will_be_served(users: list[str]) -> None:
    queue: FairQueue[int] = FairQueue()
    for number, user in enumerate(users):
        queue.put(user, number)
    order = queue.order()
    assert [queue.take(0) for _ in users] == order
    assert sorted(order) == list(range(len(users)))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.data())
def test_a_waiter_who_leaves_is_not_served(users: list[str], data: st.DataObject) -> None:
    queue: FairQueue[int] = FairQueue()
    for number, user in enumerate(users):
        queue.put(user, number)
    gone = data.draw(st.integers(0, len(users) - 1))
    expected = [number for number in queue.order() if number != gone]
    assert queue.remove(gone)
    assert not queue.remove(gone)
    assert len(queue) == len(users) - 1
    assert sorted([queue.take(0) for _ in expected]) == sorted(expected)  # type: ignore[type-var]


def test_a_waiting_question_goes_before_waiting_ingestion() -> None:
    gate = ComputeGate(patience_s=60)
    order: list[str] = []
    first_in, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with gate.ingest():
            first_in.set()
            go_on.wait(WAIT_S)

    def ingest() -> None:
        with gate.ingest():
            order.append("ingest")

    def question() -> None:
        with gate.question():
            order.append("question")

    threads = [threading.Thread(target=hold)]
    threads[0].start()
    assert first_in.wait(WAIT_S)
    for target in (ingest, ingest, question):
        threads.append(threading.Thread(target=target))
        threads[-1].start()
    wait_until(lambda: (len(gate._ingest), gate._questions) == (2, 1))
    go_on.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert order == ["question", "ingest", "ingest"]


def test_ingestion_waits_for_an_answer_but_never_longer_than_its_patience() -> None:
    gate = ComputeGate(patience_s=0.3)
    with gate.answer():
        started = time.monotonic()
        with gate.ingest():  # while the answer goes on
            waited = time.monotonic() - started
    assert waited >= 0.3


def test_ingestion_goes_on_as_soon_as_the_answer_is_done() -> None:
    gate = ComputeGate(patience_s=60)
    went = threading.Event()

    def ingest() -> None:
        with gate.ingest():
            went.set()

    with gate.answer():
        thread = threading.Thread(target=ingest)
        thread.start()
        assert not went.wait(0.2)
    assert went.wait(WAIT_S)
    thread.join(WAIT_S)


def test_a_failure_inside_a_turn_frees_the_gate() -> None:
    gate = ComputeGate()
    for turn in (gate.ingest, gate.question):
        try:
            with turn():
                raise RuntimeError
        except RuntimeError:
            pass
    with gate.question():
        pass


def test_the_gate_is_quiet_only_some_time_after_the_last_question() -> None:
    now = [100.0]
    gate = ComputeGate(clock=lambda: now[0])
    assert gate.quiet(5)
    with gate.question():
        pass
    now[0] += 4
    assert not gate.quiet(5)
    now[0] += 1
    assert gate.quiet(5)
    with gate.answer():
        assert not gate.quiet(0)
