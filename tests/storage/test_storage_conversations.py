"""Conversations: kept whole, rebuilt exactly, and only for the user they belong to."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from core.errors import InputError, ModelError, NotFoundError
from core.types import Answer, AnswerMode, Box, Citation, Locator, SentenceCheck, Verdict
from storage.conversations import ConversationStore
from storage.database import Database
from storage.tables import CitationTable, FeedbackTable, MessageTable

ANSWER = Answer(
    text="年假十天[1]。More[2].",
    language="zh",
    mode=AnswerMode.QUOTE,
    refused=False,
    stopped=True,
    citations=(
        Citation(1, 5, "d", "v", "c", "a.pdf", "Title", Locator(page=2, boxes=(Box(2, 1.0, 2.0, 3.5, 4.0),)), "原文"),
        Citation(2, 9, "e", "w", "c", "b.md", "", Locator(heading=("H",)), "words", "matched"),
    ),
    verification=(
        SentenceCheck("年假十天[1]。", Verdict.SUPPORTED, "", 0, 8, (1,)),
        SentenceCheck("More[2].", Verdict.UNSUPPORTED, "number 3", 8, 16, (2,)),
    ),
    nearest=("c.md",),
    notices=("quote_mode_language",),
    standalone_question="年假几天？",
    timings={"retrieve": 0.25},
)


@pytest.fixture
def store(db: Database) -> ConversationStore:
    return ConversationStore(db)


def test_an_answer_is_rebuilt_exactly_as_it_was(store: ConversationStore) -> None:
    conversation = store.create("anna", ["c"], "Leave")
    store.add_message(conversation.id, "user", "年假？")
    message = store.add_message(conversation.id, "assistant", "", "streaming")
    assert (message.ordinal, message.state, message.answer) == (1, "streaming", None)
    store.finish_message(message.id, "complete", ANSWER.text, ANSWER)
    question, answer = store.messages(conversation.id)
    assert (question.role, question.text, question.answer) == ("user", "年假？", None)
    assert answer.answer == ANSWER
    assert (answer.text, answer.state) == (ANSWER.text, "complete")
    assert store.message(message.id) == answer


def test_finishing_again_replaces_text_and_citations(store: ConversationStore) -> None:
    conversation = store.create("anna", [])
    message = store.add_message(conversation.id, "assistant", "", "streaming")
    store.finish_message(message.id, "complete", ANSWER.text, ANSWER)
    store.finish_message(message.id, "failed", "broken", None, ModelError("It broke.", "Ask again."))
    again = store.message(message.id)
    assert (again.text, again.state, again.answer) == ("broken", "failed", None)
    assert again.error == {"code": "model", "message": "It broke.", "hint": "Ask again."}
    store.finish_message(message.id, "complete", ANSWER.text, ANSWER)
    assert store.message(message.id).error is None


def test_another_users_conversation_is_answered_like_a_missing_one(store: ConversationStore) -> None:
    conversation = store.create("anna", ["c"])
    message = store.add_message(conversation.id, "assistant", "x")
    for call in (
        lambda: store.get(conversation.id, "ben"),
        lambda: store.rename(conversation.id, "ben", "mine"),
        lambda: store.delete(conversation.id, "ben"),
        lambda: store.set_collections(conversation.id, "ben", []),
        lambda: store.feedback(message.id, "ben", 1, ""),
    ):
        with pytest.raises(NotFoundError) as theirs:
            call()
    with pytest.raises(NotFoundError) as missing:
        store.get("0" * 32, "ben")
    assert type(theirs.value) is type(missing.value)
    assert store.list("ben") == []
    assert store.get(conversation.id, "anna").collection_ids == ("c",)


def test_the_last_used_conversation_comes_first(store: ConversationStore) -> None:
    first, second = store.create("anna", []), store.create("anna", [])
    assert [c.id for c in store.list("anna")] == [second.id, first.id]
    store.add_message(first.id, "user", "again")
    assert [c.id for c in store.list("anna")] == [first.id, second.id]
    assert [c.id for c in store.list("anna", limit=1)] == [first.id]


def test_title_and_collections_can_be_changed(store: ConversationStore) -> None:
    conversation = store.create("anna", ["a"])
    store.rename(conversation.id, "anna", "t" * 400)
    store.set_collections(conversation.id, "anna", ["b", "c"])
    changed = store.get(conversation.id, "anna")
    assert (changed.title, changed.collection_ids) == ("t" * 300, ("b", "c"))


def test_deleting_removes_messages_citations_and_feedback(store: ConversationStore, db: Database) -> None:
    conversation = store.create("anna", [])
    message = store.add_message(conversation.id, "assistant", "")
    store.finish_message(message.id, "complete", ANSWER.text, ANSWER)
    store.feedback(message.id, "anna", 1, "good")
    store.delete(conversation.id, "anna")
    with db.read() as session:
        for table in (MessageTable, CitationTable, FeedbackTable):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    with pytest.raises(NotFoundError):
        store.message(message.id)
    with pytest.raises(NotFoundError):
        store.add_message(conversation.id, "user", "late")
    with pytest.raises(NotFoundError):
        store.finish_message(message.id, "complete", "late", None)


def test_feedback_is_one_per_user_can_change_and_be_taken_back(store: ConversationStore) -> None:
    conversation = store.create("anna", [])
    message = store.add_message(conversation.id, "assistant", "x")
    for rating, kept in ((1, 1), (-1, -1), (0, None)):
        store.feedback(message.id, "anna", rating, "why")
        assert store.message(message.id).feedback == kept
    with pytest.raises(InputError, match="must be 1, -1 or 0"):
        store.feedback(message.id, "anna", 5, "")


def test_messages_added_at_once_get_places_of_their_own(store: ConversationStore) -> None:
    conversation = store.create("anna", [])
    threads = [threading.Thread(target=store.add_message, args=(conversation.id, "user", str(n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [m.ordinal for m in store.messages(conversation.id)] == list(range(8))


def expire(db: Database, message_id: str) -> None:
    """Put the sign of life of an answer's process an hour back."""
    with db.write() as session:
        row = session.get_one(MessageTable, message_id)
        assert row.lease_until is not None
        row.lease_until -= timedelta(hours=1)


def test_messages_that_a_dead_process_left_streaming_are_stopped(store: ConversationStore, db: Database) -> None:
    conversation = store.create("anna", [])
    done = store.add_message(conversation.id, "user", "x")
    streaming = store.add_message(conversation.id, "assistant", "half", "streaming")
    expire(db, streaming.id)
    assert store.fail_streaming() == 1
    assert store.fail_streaming() == 0
    assert store.message(streaming.id).state == "stopped"
    assert store.message(done.id).state == "complete"


def test_an_answer_that_another_living_process_writes_is_left_alone(store: ConversationStore, db: Database) -> None:
    conversation = store.create("anna", [])
    streaming = store.add_message(conversation.id, "assistant", "half", "streaming")
    assert ConversationStore(db).fail_streaming() == 0, "begun a moment ago by another replica"
    expire(db, streaming.id)
    store.renew([streaming.id])
    assert ConversationStore(db).fail_streaming() == 0, "renewed by its replica"
    assert store.message(streaming.id).state == "streaming"


def test_a_message_of_before_the_leases_is_an_orphan(store: ConversationStore, db: Database) -> None:
    conversation = store.create("anna", [])
    streaming = store.add_message(conversation.id, "assistant", "half", "streaming")
    with db.write() as session:
        session.get_one(MessageTable, streaming.id).lease_until = None
    assert store.fail_streaming() == 1


def test_renewing_brings_no_finished_answer_back(store: ConversationStore, db: Database) -> None:
    conversation = store.create("anna", [])
    streaming = store.add_message(conversation.id, "assistant", "half", "streaming")
    store.finish_message(streaming.id, "complete", "whole", None)
    store.renew([streaming.id])
    assert store.message(streaming.id).state == "complete"


def test_odd_text_from_a_model_is_kept_on_both_databases(store: ConversationStore) -> None:
    conversation = store.create("anna", [])
    message = store.add_message(conversation.id, "user", "a\x00\ud800")
    assert store.message(message.id).text == "a\ufffd?"
