"""When the topic of a conversation is carried into the next question, and when the conversation goes on elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chat.answer import Answerer
from chat.events import Finished
from chat.retrieval.condense import condense
from chat.retrieval.pointers import Pointing, pointing, topic_serves
from core.settings import ChatSettings
from core.types import Answer, AnswerMode, ChatTurn, Collection

PUMP = [ChatTurn("user", "What must be done before the P-200 pump is cleaned?"), ChatTurn("assistant", "Off.")]
FILM = [ChatTurn("user", "华夏娱乐有限公司的注册地在哪里？"), ChatTurn("assistant", "上海。")]


@pytest.mark.parametrize(
    "question",
    [
        "How much does it cost?",
        "And the second one?",
        "Why?",
        "What about Berlin?",
        "When do they have to be paid?",
        "Is this allowed?",
        "它的净利润是多少？",
        "那上海呢？",
        "该公司成立于哪一年？",
    ],
)
def test_pronouns_and_elliptic_questions_surely_point_back(question: str) -> None:
    assert pointing(question) is Pointing.SURELY


@pytest.mark.parametrize(
    ("question", "how"),
    [
        ("When do employees send their receipts?", Pointing.MAYBE),
        ("What is the merge rights guideline?", Pointing.MAYBE),
        ("Is there a limit for hotel costs in Berlin?", Pointing.MAYBE),
        ("If a contract ends early, what happens to its deposit?", Pointing.MAYBE),
        ("Which is the policy that covers stolen laptops abroad?", Pointing.MAYBE),
        ("How many days of paid annual leave do employees receive?", Pointing.NOWHERE),
        ("华夏娱乐有限公司2020年的净利润是多少？", Pointing.NOWHERE),
        ("年休假天数", Pointing.MAYBE),
    ],
)
def test_a_pronoun_with_its_noun_in_the_question_is_no_sure_sign(question: str, how: Pointing) -> None:
    assert pointing(question) is how


def test_the_topic_serves_where_one_passage_has_question_and_topic() -> None:
    own, carried = {"net", "profit"}, {"acme", "2020"}
    assert topic_serves(Pointing.NOWHERE, own, carried, "The net profit of Acme was 3 million in 2020.")
    assert not topic_serves(Pointing.NOWHERE, own, carried, "Acme was founded in 2020.")
    assert not topic_serves(Pointing.MAYBE, own, carried, "The net profit of Bolt was 5 million.")
    assert topic_serves(Pointing.SURELY, own, carried, "Nothing of either.")


def test_who_names_somebody_new_asks_something_new() -> None:
    question = "What was the net profit of Bolt Industries in the year 2020?"
    assert condense(question, PUMP) == question
    assert condense("What was the net profit in the year 2020?", PUMP).endswith("in the year 2020?")
    assert condense("天空航空有限公司2020年的净利润是多少？", FILM) == "天空航空有限公司2020年的净利润是多少？"


def test_another_topic_is_searched_as_if_nothing_had_been_said_before(
    library: Any, shelf: Mapping[str, Collection]
) -> None:
    for question in ("Which trains does the travel policy allow?", "When must sick leave be reported?"):
        carried = condense(question, PUMP)
        assert carried != question
        found = library.retriever.retrieve(carried, [shelf["handbook"]], 3, typed=question)
        fresh = library.retriever.retrieve(question, [shelf["handbook"]], 3)
        assert found.query == question
        assert [(i.chunk.id, i.score) for i in found.results] == [(i.chunk.id, i.score) for i in fresh.results]
        assert found.evidence == fresh.evidence and found.vectors.keys() == fresh.vectors.keys()


def test_a_question_that_leaves_its_subject_out_is_searched_with_it(
    library: Any, shelf: Mapping[str, Collection]
) -> None:
    asked = "2020年的净利润是多少？"
    history = [ChatTurn("user", "华夏娱乐有限公司2020年的营业收入是多少？"), ChatTurn("assistant", "30亿元。")]
    carried = condense(asked, history)
    found = library.retriever.retrieve(carried, [shelf["reports"]], 3, typed=asked)
    assert "华夏娱乐" in found.query and "净利润为3.5亿元" in found.results[0].chunk.text


def test_an_answer_after_a_change_of_topic_is_that_of_a_new_conversation(
    library: Any, shelf: Mapping[str, Collection], scripted: Any
) -> None:
    answerer = Answerer(ChatSettings(), library.retriever, library.chunks, scripted("Fine."))

    def ask(history: list[ChatTurn]) -> Answer:
        question = "When must sick leave be reported?"
        events = answerer.answer(question, [shelf["handbook"]], history, AnswerMode.QUOTE)
        return next(event.answer for event in events if isinstance(event, Finished))

    fresh, after = ask([]), ask(PUMP)
    assert after.text == fresh.text and after.citations == fresh.citations
    assert after.standalone_question == "When must sick leave be reported?"
