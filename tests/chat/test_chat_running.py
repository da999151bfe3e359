"""Answers in the background: buffers, stop, neglect, limits and what is stored."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from chat.events import AnswerEvent, Finished, Stage, Text, Waiting
from chat.running import RunningAnswers
from core.errors import ConflictError, InputError, LimitError, ModelUnavailableError, NotFoundError
from core.types import Answer, AnswerMode
from storage.tables import MessageTable


class Slow:
    """Writes a word each time `go` is released, until told to stop."""

    def __init__(self, words: int = 3) -> None:
        self.go = threading.Semaphore(0)
        self.words = words

    def __call__(
        self, question: str, collections: Any, history: Any, mode: AnswerMode, cancel: threading.Event, user: str
    ) -> Iterator[AnswerEvent]:
        if not question:
            raise InputError("The question '' has no word in it.", "Type a question.")
        return self._events(cancel)

    def _events(self, cancel: threading.Event) -> Iterator[AnswerEvent]:
        yield Stage("retrieve")
        yield Waiting(2)
        text = ""
        for index in range(self.words):
            while not self.go.acquire(timeout=0.02):
                if cancel.is_set():
                    yield Finished(Answer(text, "en", AnswerMode.ANSWER, stopped=True))
                    return
            text += f"word{index} "
            yield Text(f"word{index} ")
        yield Finished(Answer(text.strip(), "en", AnswerMode.ANSWER))


@pytest.fixture
def run(library: Any) -> Iterator[Callable[..., tuple[RunningAnswers, str]]]:
    """Start running answers over the real conversation store: (answers, conversation id)."""
    made: list[RunningAnswers] = []

    def build(make_answer: Any, **settings: Any) -> tuple[RunningAnswers, str]:
        answers = RunningAnswers(make_answer, library.conversations, **settings)
        made.append(answers)
        return answers, library.conversations.create("u1", []).id

    yield build
    for answers in made:
        answers.close()


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_a_page_can_leave_and_come_back_to_the_text_so_far(run: Any, library: Any) -> None:
    slow = Slow()
    answers, conversation = run(slow)
    message_id = answers.start(conversation, "u1", "What?", [])
    wait_for(lambda: answers.snapshot(message_id).place == 2)
    slow.go.release()
    wait_for(lambda: answers.snapshot(message_id).text == "word0 ")
    assert not answers.snapshot(message_id).done
    stored = library.conversations.messages(conversation)
    assert [(m.role, m.text, m.state) for m in stored] == [
        ("user", "What?", "complete"),
        ("assistant", "", "streaming"),
    ]
    for _ in range(2):
        slow.go.release()
    wait_for(lambda: answers.snapshot(message_id).done)
    snapshot = answers.snapshot(message_id)
    assert snapshot.answer is not None and snapshot.text == "word0 word1 word2"
    stored = library.conversations.messages(conversation)
    assert (stored[1].state, stored[1].text) == ("complete", "word0 word1 word2")
    assert answers.running() == []


def test_attach_streams_every_change_to_the_end(run: Any) -> None:
    slow = Slow()
    answers, conversation = run(slow)
    message_id = answers.start(conversation, "u1", "What?", [])
    for _ in range(3):
        slow.go.release()
    texts = [snapshot.text for snapshot in answers.attach(message_id)]
    assert texts[-1] == "word0 word1 word2"
    assert all(later.startswith(earlier.strip()) for earlier, later in itertools.pairwise(texts))


def test_stop_keeps_the_partial_text_and_marks_it(run: Any, library: Any) -> None:
    slow = Slow()
    answers, conversation = run(slow)
    message_id = answers.start(conversation, "u1", "What?", [])
    slow.go.release()
    wait_for(lambda: answers.snapshot(message_id).text == "word0 ")
    answers.stop(message_id)
    wait_for(lambda: answers.snapshot(message_id).done)
    stored = library.conversations.messages(conversation)[1]
    assert (stored.state, stored.text.strip()) == ("stopped", "word0")


def test_an_answer_nobody_looks_at_is_stopped_and_one_looked_at_goes_on(run: Any, library: Any) -> None:
    answers, conversation = run(Slow(), unattached_s=0.4)
    other = library.conversations.create("u1", []).id
    left = answers.start(conversation, "u1", "What?", [])
    watched = answers.start(other, "u1", "What?", [])
    end = time.monotonic() + 20
    while library.conversations.messages(conversation)[1].state == "streaming":
        assert time.monotonic() < end
        answers.touch(watched)
        time.sleep(0.05)
    assert library.conversations.messages(conversation)[1].state == "stopped"
    assert answers.running() == [watched]
    assert left != watched


def test_a_user_has_two_answers_at_a_time_and_a_conversation_one(run: Any, library: Any) -> None:
    answers, first = run(Slow())
    second, third = (library.conversations.create("u1", []).id for _ in range(2))
    answers.start(first, "u1", "What?", [])
    with pytest.raises(ConflictError):
        answers.start(first, "u2", "What?", [])
    answers.start(second, "u1", "What?", [])
    with pytest.raises(LimitError, match="limit is 2"):
        answers.start(third, "u1", "What?", [])
    assert library.conversations.messages(third) == []
    answers.start(third, "u2", "What?", [])
    assert len(answers.running("u1")) == 2


def test_a_refused_question_stores_nothing(run: Any, library: Any) -> None:
    answers, conversation = run(Slow())
    with pytest.raises(InputError):
        answers.start(conversation, "u1", "", [])
    assert library.conversations.messages(conversation) == []


@pytest.mark.parametrize("error", [ModelUnavailableError("Gone.", "Wait."), RuntimeError("a bug")])
def test_a_failing_answer_ends_with_an_error_and_keeps_its_text(run: Any, library: Any, error: Exception) -> None:
    def failing(*_: Any) -> Iterator[AnswerEvent]:
        yield Text("So far ")
        raise error

    answers, conversation = run(failing)
    message_id = answers.start(conversation, "u1", "What?", [])
    wait_for(lambda: answers.snapshot(message_id).done)
    snapshot = answers.snapshot(message_id)
    assert snapshot.answer is None and snapshot.error and snapshot.text == "So far "
    assert "a bug" not in snapshot.error
    stored = library.conversations.messages(conversation)[1]
    assert (stored.state, stored.text.strip()) == ("failed", "So far")
    assert stored.error and f"{stored.error['message']} {stored.error['hint']}" == snapshot.error


def test_an_unknown_answer_is_not_found_and_stopping_it_is_harmless(run: Any) -> None:
    answers, _ = run(Slow())
    answers.stop("nothing")
    answers.touch("nothing")
    with pytest.raises(NotFoundError):
        answers.snapshot("nothing")


def test_closing_stops_and_stores_everything(run: Any, library: Any) -> None:
    answers, conversation = run(Slow())
    answers.start(conversation, "u1", "What?", [])
    answers.close()
    assert library.conversations.messages(conversation)[1].state == "stopped"


def test_web_processes_over_one_database_stop_only_what_a_dead_one_left(
    run: Any, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.running.RENEW_S", 0.05)
    ours, conversation = run(Slow())
    alive = ours.start(conversation, "u1", "What?", [])
    dead = library.conversations.add_message(library.conversations.create("u2", []).id, "assistant", "a", "streaming")
    begun = lease(library, alive)
    with library.db.write() as session:
        session.get_one(MessageTable, dead.id).lease_until -= timedelta(hours=1)
    other, _ = run(Slow())
    other.watch()
    wait_for(lambda: library.conversations.message(dead.id).state == "stopped")
    wait_for(lambda: lease(library, alive) > begun)
    assert library.conversations.message(alive).state == "streaming"


def lease(library: Any, message_id: str) -> Any:
    with library.db.read() as session:
        return session.get_one(MessageTable, message_id).lease_until
