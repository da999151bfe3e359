"""Several answers computed together on the bundled model: nobody's text, memory or cancellation touches another's."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import LimitError, ModelError, ModelUnavailableError
from models.engine.llama import LlamaCppModel
from models.engine.llama_native import NativeModel, NoRoom
from models.engine.load_options import LoadOptions
from models.files import catalog, weights
from models.protocols import Delta, GenerationSettings, Lane, Message
from models.queueing.limits import AnswerLimits
from tests.models.conftest import ENDLESS

ID = "smollm2-135m-instruct"
TOPICS = ("the sea", "a library", "bread", "a train journey", "the moon", "a garden")
SHORT = GenerationSettings(max_tokens=24)
LONG = GenerationSettings(max_tokens=700, json_schema=json.dumps(ENDLESS))


def load(home: Path, slots: int, window: int = 1024, limits: AnswerLimits | None = None) -> LlamaCppModel:
    known = catalog.entry(ID)
    return LlamaCppModel(weights.resolve(ID, home), known, LoadOptions(1, window, slots=slots), limits=limits)


@pytest.fixture(scope="module")
def four(models_home: Path) -> Iterator[LlamaCppModel]:
    model = load(models_home, 4)
    yield model
    model.close()


def about(topic: str) -> list[Message]:
    return [Message("system", "You are a helpful writer."), Message("user", f"Write one sentence about {topic}.")]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def begun(model: LlamaCppModel, user: str, cancel: threading.Event | None = None, lane: Lane = Lane.QUESTION) -> object:
    """A long answer that has written something, so that it is in a slot."""
    stream = model.stream(about(user), LONG, cancel, user, lane)
    assert any(delta.text for delta in stream)
    return stream


def test_answers_computed_together_are_about_what_each_one_asked(four: LlamaCppModel) -> None:
    alone = {topic: text_of(list(four.stream(about(topic), SHORT, user=topic))) for topic in TOPICS}
    held = begun(four, "holds the slots together")
    streams = {topic: four.stream(about(topic), SHORT, user=topic) for topic in TOPICS}
    together = {topic: text_of(list(stream)) for topic, stream in streams.items()}
    held.close()  # type: ignore[attr-defined]
    assert len(set(together.values())) == len(TOPICS)
    # other widths of a matrix product round differently, so a likeliest token may change where two are as likely
    same = sum(alone[topic].split()[:3] == together[topic].split()[:3] for topic in TOPICS)
    assert same >= len(TOPICS) - 2, (alone, together)


def test_a_cancelled_answer_leaves_the_others_as_they_were(four: LlamaCppModel) -> None:
    cancel = threading.Event()
    other = begun(four, "the river", cancel)
    streams = {topic: four.stream(about(topic), LONG, user=topic) for topic in TOPICS[:2]}
    first = {topic: next(delta.text for delta in stream if delta.text) for topic, stream in streams.items()}
    cancel.set()
    assert list(other)[-1].finish_reason == "cancelled"  # type: ignore[call-overload]
    for topic, stream in streams.items():
        rest = [delta.text for _, delta in zip(range(20), stream, strict=False)]
        assert len(rest) == 20 and first[topic]
        stream.close()  # type: ignore[attr-defined]


def test_a_prompt_under_way_is_broken_off_beside_others_who_lose_nothing(four: LlamaCppModel) -> None:
    writer = begun(four, "the wind")
    cancel = threading.Event()
    reader = four.stream([Message("user", "word salad " * 300)], SHORT, cancel, "reader")
    deadline = time.monotonic() + 60
    while not any(request.user == "reader" for request in four._slots.running()) and time.monotonic() < deadline:
        next(writer)  # type: ignore[call-overload]
    cancel.set()
    assert [delta.finish_reason for delta in reader if delta.finish_reason] == ["cancelled"]
    assert sum(bool(next(writer).text) for _ in range(10)) >= 8  # type: ignore[call-overload]
    writer.close()  # type: ignore[attr-defined]


def test_what_two_turns_have_in_common_is_not_read_again_though_others_asked_between(four: LlamaCppModel) -> None:
    rules = Message("system", "The rules of the house are many, and everybody keeps them. " * 12)
    turns = [rules, Message("user", "Who cooks today?")]
    list(four.stream(turns, SHORT, user="a"))
    for topic in TOPICS:
        list(four.stream(about(topic), SHORT, user=topic))
    before = four.queue()
    last = list(four.stream([*turns, Message("assistant", "Ann."), Message("user", "And now?")], SHORT, user="a"))[-1]
    reused = four.queue()["reused_tokens"] - before["reused_tokens"]
    common = sum(four.count_tokens([rules.content, turns[1].content]))
    assert reused >= 0.95 * common and last.prompt_tokens > common


def test_the_memory_of_kept_prefixes_has_a_limit(models_home: Path) -> None:
    model = load(models_home, 1, limits=AnswerLimits(keep_mb=10))
    try:
        for number in range(8):
            list(model.stream([Message("user", f"{number} is a number. " * 30)], GenerationSettings(max_tokens=1)))
            figures = model.queue()
            assert figures["kept_bytes"] <= 10_000_000
        assert figures["kept_prefixes"] >= 1
    finally:
        model.close()


def test_a_background_answer_gives_way_and_goes_on_later(four: LlamaCppModel) -> None:
    settings = GenerationSettings(max_tokens=60, repeat_penalty=1.3)
    alone = list(four.stream(about("mountains"), settings))
    background = four.stream(about("mountains"), settings, None, "evaluation", Lane.BACKGROUND)
    beginning = [next(delta for delta in background if delta.text)]
    question = four.stream(about("bread"), GenerationSettings(max_tokens=40, repeat_penalty=1.3), None, "person")
    list(question)
    whole = text_of([*beginning, *background])
    assert whole.split()[:3] == text_of(alone).split()[:3] and len(whole.split()) > 10


def test_a_background_answer_does_not_begin_while_others_are_answered(four: LlamaCppModel) -> None:
    held = begun(four, "patience")
    waiting = four.stream(about("bread"), SHORT, None, "evaluation", Lane.BACKGROUND)
    assert next(waiting).place == 1
    list(four.stream(about("the sea"), SHORT, None, "person"))
    assert [request.user for request in four._slots.running()] == ["patience"]
    held.close()  # type: ignore[attr-defined]
    assert text_of(list(waiting))


def test_nobody_is_failed_when_the_cache_is_full(four: LlamaCppModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an oversubscribed cache answers: no call is computed that has three answers in it."""
    compute = NativeModel.compute

    def full(self: NativeModel, rows: list[tuple[int, int, int, bool]]) -> None:
        if len({row[2] for row in rows}) > 2:
            raise NoRoom
        compute(self, rows)

    monkeypatch.setattr(NativeModel, "compute", full)
    monkeypatch.setattr(four._pace, "width", lambda answers: answers)
    before = four.queue()["preempted"]
    streams = [four.stream(about(topic), GenerationSettings(max_tokens=30), None, topic) for topic in TOPICS[:4]]
    assert [list(stream)[-1].finish_reason in ("stop", "length") for stream in streams] == [True] * 4
    assert four.queue()["preempted"] > before


def test_a_failing_computation_fails_the_answer_it_is_for_and_no_other(
    four: LlamaCppModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, poison = NativeModel.compute, four.count_tokens([""]) and four._native.tokenize("zebra", False)[-1]

    def failing(self: NativeModel, rows: list[tuple[int, int, int, bool]]) -> None:
        if any(row[0] == poison for row in rows):
            raise ModelError("llama.cpp could not compute (code -3).")
        compute(self, rows)

    monkeypatch.setattr(NativeModel, "compute", failing)
    good = begun(four, "bread")
    bad = four.stream([Message("user", "zebra zebra")], SHORT, None, "bad")
    with pytest.raises(ModelError, match="code -3"):
        list(bad)
    assert sum(bool(next(good).text) for _ in range(10)) >= 8  # type: ignore[call-overload]
    good.close()  # type: ignore[attr-defined]


def test_who_waits_is_told_place_and_seconds_and_too_many_are_refused(models_home: Path) -> None:
    limits = AnswerLimits(waiting=2, waiting_per_user=2, wait_s=0.0)
    model = load(models_home, 1, limits=dataclasses.replace(limits, wait_s=1e9))
    try:
        held = begun(model, "holder")
        waiting = [model.stream(about("bread"), SHORT, None, user) for user in ("a", "b")]
        told = next(waiting[1])
        assert told.place == 2 and told.wait_s > 0
        with pytest.raises(LimitError, match=r"2 requests wait.*the limit is 2 in all"):
            model.stream(about("bread"), SHORT, None, "c")
        assert model.queue()["waiting"] == 2 and model.queue()["running"] == 1
        model._limits = limits
        with pytest.raises(LimitError, match="waited"):
            list(waiting[0])
        model._limits = dataclasses.replace(limits, wait_s=1e9)
        held.close()  # type: ignore[attr-defined]
        assert list(waiting[1])[-1].finish_reason in ("stop", "length")
    finally:
        model.close()


def test_an_answer_over_its_time_ends_with_what_it_has(models_home: Path) -> None:
    model = load(models_home, 1, limits=AnswerLimits(answer_s=1e-9))
    try:
        assert list(model.stream(about("bread"), SHORT))[-1].finish_reason == "timeout"
    finally:
        model.close()


def test_when_the_owner_thread_breaks_down_everybody_is_told_and_the_process_may_end(
    models_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died, asked = threading.Event(), threading.Event()

    def break_down() -> None:
        assert asked.wait(60)
        raise ZeroDivisionError

    known = catalog.entry(ID)
    model = LlamaCppModel(weights.resolve(ID, models_home), known, LoadOptions(1, 512, slots=2), on_death=died.set)
    try:
        monkeypatch.setattr(model._slots, "step", break_down)
        streams = [model.stream(about(topic), SHORT, None, topic) for topic in TOPICS[:3]]
        asked.set()
        for stream in streams:
            with pytest.raises(ModelError, match="ZeroDivisionError"):
                list(stream)
        assert died.wait(60)
        with pytest.raises(ModelUnavailableError, match="broke down"):
            model.stream(about("bread"), SHORT)
    finally:
        model.close()


def test_answers_under_way_end_on_the_old_model_when_it_is_changed(models_home: Path, four: LlamaCppModel) -> None:
    old = load(models_home, 2)
    running = [begun(old, topic) for topic in TOPICS[:2]]
    waiting = old.stream(about("bread"), SHORT, None, "late")
    thread = threading.Thread(target=old.hand_over, args=(four,))
    thread.start()
    assert text_of(list(waiting))
    assert all(next(stream).text for stream in running)  # type: ignore[call-overload]
    for stream in running:
        stream.close()  # type: ignore[attr-defined]
    thread.join(120)
    assert not thread.is_alive()
