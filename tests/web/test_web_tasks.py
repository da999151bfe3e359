"""The tasks page over a real database: start, result, what others may see; a comparison needs no model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from streamlit.testing.v1 import AppTest

from app.tasks import Tasks, table_csv
from app.web.views.task_result import marked_sides
from app.web.views.tasks import page_span
from chat.events import AnswerEvent
from chat.running import RunningAnswers
from core.errors import InputError, NotFoundError
from core.types import Answer, AnswerMode, Contradiction, Locator, NewChunk
from tests.web.conftest import Person, World
from tests.web.test_web_pages import everything, html_of

if TYPE_CHECKING:
    from core.types import Collection


@pytest.fixture
def owner(world: World) -> Person:
    return world.person("owner")


@pytest.fixture(autouse=True)
def patient(world: World) -> None:
    """Tasks that no slow machine stops because nobody looked at them for a while."""

    def no_answers(*_: object) -> Iterator[AnswerEvent]:
        raise AssertionError("only tasks run here")

    world.alioth.__dict__["running"] = RunningAnswers(no_answers, world.alioth.conversations, 1000.0)


@pytest.fixture
def rules(world: World, owner: Person) -> Collection:
    made = world.collection("Rules", owner)
    for path, text in (("old.md", "Bids are due within 20 days."), ("new.md", "Bids are due within 30 days.")):
        world.document(made, path, text.encode(), [NewChunk(0, text, Locator(heading=("Bids",)))])
    return made


def compared(world: World, owner: Person, rules: Collection) -> str:
    """The conversation of a finished comparison."""
    tasks = Tasks(world.alioth)
    left, right = tasks.documents(owner.principal, rules.id, ["old.md", "new.md"])
    conversation = tasks.start(owner.principal, tasks.compare(owner.principal, left, right))
    wait_for(world, conversation)
    return conversation


def wait_for(world: World, conversation: str) -> None:
    """Until the task of a conversation is done."""
    [message_id] = [m.id for m in world.alioth.conversations.messages(conversation) if m.role == "assistant"]
    *_, last = world.alioth.running.attach(message_id)
    assert last.done and not last.error


def task_page(person: Person, conversation: str = "") -> AppTest:
    return World.page(person, "tasks", **({"t": conversation} if conversation else {}))


def test_a_comparison_is_stored_and_shown_in_two_columns(world: World, owner: Person, rules: Collection) -> None:
    conversation = compared(world, owner, rules)
    shown = html_of(task_page(owner, conversation))
    assert "<del>20</del>" in shown and "<ins>30</ins>" in shown
    assert "20 days → 30 days" in shown
    assert "old.md" in shown and "new.md" in shown and "/view?chunk=" in shown


def test_another_person_sees_neither_the_result_nor_the_documents(
    world: World, owner: Person, rules: Collection
) -> None:
    conversation = compared(world, owner, rules)
    stranger = world.person("stranger")
    shown = everything(task_page(stranger, conversation))
    assert "20 days" not in shown and "old.md" not in shown and "Rules" not in shown
    with pytest.raises(NotFoundError):
        Tasks(world.alioth).documents(stranger.principal, rules.id)
    with pytest.raises(NotFoundError):
        Tasks(world.alioth).documents(stranger.principal, rules.id, ["old.md"])


def test_a_result_whose_documents_are_no_longer_shared_is_not_shown(
    world: World, owner: Person, rules: Collection
) -> None:
    conversation = compared(world, owner, rules)
    world.alioth.accounts_store.revoke(rules.id, "user", owner.principal.user_id)
    shown = html_of(task_page(owner, conversation))
    assert "Bids are due" not in shown


def test_the_form_begins_with_summaries_and_offers_readable_collections_only(
    world: World, owner: Person, rules: Collection
) -> None:
    world.collection("Secret")
    at = task_page(owner)
    assert not at.exception
    assert at.session_state["task_kind"] == "summary"
    assert at.selectbox(key="task_collection_summary").options == ["Rules"]


def test_starting_a_comparison_from_the_form_gives_its_page(world: World, owner: Person, rules: Collection) -> None:
    at = task_page(owner)
    at.session_state["task_kind"] = "comparison"
    at.run()
    at.selectbox(key=f"task_before_{rules.id}").set_value("old.md")
    at.selectbox(key=f"task_after_{rules.id}").set_value("new.md")
    at.button(key="task_go").click().run()
    assert not at.exception
    [conversation] = world.alioth.conversations.list(owner.principal.user_id)
    assert at.query_params["t"] in (conversation.id, [conversation.id])
    wait_for(world, conversation.id)
    message = world.alioth.conversations.messages(conversation.id)[-1]
    assert message.answer is not None and message.answer.task["counts"]["values"] == 1


def test_a_comparison_with_one_document_or_with_itself_is_refused(
    world: World, owner: Person, rules: Collection
) -> None:
    tasks = Tasks(world.alioth)
    [one] = tasks.documents(owner.principal, rules.id, ["old.md"])
    with pytest.raises(InputError, match="itself"):
        tasks.compare(owner.principal, one, one)
    at = task_page(owner)
    at.session_state["task_kind"] = "comparison"
    at.run()
    at.button(key="task_go").click().run()
    assert at.error and world.alioth.conversations.list(owner.principal.user_id) == []


def test_the_table_escapes_documents_and_its_csv_disarms_formulas(
    world: World, owner: Person, rules: Collection
) -> None:
    document = world.alioth.documents.find(rules.id, "old.md")
    assert document is not None
    citation = world.citation(document, quote="=1+1 <b>x</b>")
    answer = Answer(
        "", "en", AnswerMode.QUOTE, citations=(citation,),
        task={"kind": "table", "fields": [{"name": "<i>f</i>", "kind": "text"}],
              "rows": [{"document": "old.md", "document_id": document.id,
                        "cells": [{"value": "=1+1 <b>x</b>", "n": 1, "how": "label"}]},
                       {"document": "new.md", "document_id": "", "cells": [None]}]},
    )  # fmt: skip
    made = world.alioth.conversations.create(owner.principal.user_id, [rules.id])
    world.alioth.conversations.add_message(made.id, "user", "table")
    message = world.alioth.conversations.add_message(made.id, "assistant", "", "streaming")
    world.alioth.conversations.finish_message(message.id, "complete", "", answer)
    shown = html_of(task_page(owner, made.id))
    assert "=1+1 &lt;b&gt;x&lt;/b&gt;" in shown and "&lt;i&gt;f" in shown and "<b>x" not in shown
    lines = table_csv(answer).splitlines()
    assert lines == ["document,<i>f</i>,<i>f</i> (source)", "old.md,'=1+1 <b>x</b>,", "new.md,,"]


def test_a_contradiction_shows_both_documents_with_their_dates(world: World, owner: Person, rules: Collection) -> None:
    documents = [world.alioth.documents.find(rules.id, path) for path in ("old.md", "new.md")]
    citations = [
        world.citation(document, n, f"Bids are due within {days} days.")
        for n, (document, days) in enumerate(zip(documents, (20, 30), strict=True), start=1)
    ]
    message = world.answered(owner, rules, "Within 20 days. [1]", citations)
    told = Answer(
        "Within 20 days. [1]", "en", AnswerMode.QUOTE, citations=tuple(citations),
        contradictions=(Contradiction(1, 2, "20 days", "30 days"),),
    )  # fmt: skip
    world.alioth.conversations.finish_message(message.id, "complete", told.text, told)
    shown = html_of(World.page(owner, c=message.conversation_id))
    assert "al-conflict" in shown and "30 days" in shown and "old.md" in shown and "new.md" in shown
    day = documents[0].created_at.date().isoformat()
    assert f"added {day}" in shown


def test_changed_words_are_marked_and_everything_is_escaped() -> None:
    assert marked_sides("最短二十日", "最短三十日") == ("最短<del>二</del>十日", "最短<ins>三</ins>十日")
    old, new = marked_sides("a <script> 15 days", "a <script> 20 days")
    assert old == "a &lt;script&gt; <del>15</del> days" and new == "a &lt;script&gt; <ins>20</ins> days"


def test_pages_are_read_as_written() -> None:
    assert [page_span(text) for text in ("", "3", " 3 - 7 ", "3–7")] == [None, (3, 3), (3, 7), (3, 7)]
    for wrong in ("x", "7-3", "0", "-2", "1-2-3"):
        with pytest.raises(InputError):
            page_span(wrong)
