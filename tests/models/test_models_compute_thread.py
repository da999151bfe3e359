"""The thread that torch computes in: one for all calls, gone when an answer is written, there again when needed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.embedding.compute_thread import ComputeThread
from models.queueing.lanes import ComputeGate


def test_calls_share_one_thread_while_nobody_answers() -> None:
    compute = ComputeThread("t", ComputeGate())
    with ThreadPoolExecutor(4) as callers:
        names = set(callers.map(lambda _: compute.run(lambda: threading.current_thread().name), range(20)))
    assert len(names) == 1 and compute.alive


def test_the_thread_ends_when_an_answer_begins_and_comes_again() -> None:
    gate = ComputeGate()
    compute = ComputeThread("t", gate)
    first = compute.run(threading.current_thread)
    with gate.answer():
        assert not compute.alive
        first.join(30)
        assert not first.is_alive()
        second = compute.run(threading.current_thread)
        second.join(30)
        assert not second.is_alive() and not compute.alive
    third = compute.run(threading.current_thread)
    assert third.is_alive() and compute.alive


def test_a_call_under_way_is_finished_when_an_answer_begins() -> None:
    gate = ComputeGate()
    compute = ComputeThread("t", gate)
    begun, go_on = threading.Event(), threading.Event()

    def call() -> str:
        begun.set()
        assert go_on.wait(30)
        return "done"

    with ThreadPoolExecutor(1) as caller:
        waiting = caller.submit(compute.run, call)
        assert begun.wait(30)
        with gate.answer():
            go_on.set()
            assert waiting.result(30) == "done"


def test_errors_reach_the_caller() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ComputeThread("t", ComputeGate()).run(fail)
