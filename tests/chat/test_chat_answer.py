"""Answers end to end: real retrieval with a scripted model, and one with the bundled model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from chat.answer import Answerer
from chat.events import Finished, Stage, Text, Waiting
from chat.retrieval.refuse import refusal_text
from core.errors import ContextOverflowError, InputError, LimitError, ModelUnavailableError
from core.settings import ChatSettings
from core.types import Answer, AnswerMode, ChatTurn, Collection, Verdict
from models.protocols import Lane

LEAVE_QUESTION = "How many days of paid annual leave do employees receive per year?"
SUPPORTED = "Employees receive 25 days of paid annual leave per year [1]."


@pytest.fixture
def ask(library: Any, shelf: Mapping[str, Collection]) -> Callable[..., tuple[list[Any], Answer]]:
    """Ask a model over the shelf: all events and the finished answer."""

    def run(
        model: Any, question: str, *names: str, settings: ChatSettings | None = None, **more: Any
    ) -> tuple[list[Any], Answer]:
        answerer = Answerer(settings or ChatSettings(), library.retriever, library.chunks, model)
        events = list(answerer.answer(question, [shelf[name] for name in names or ("handbook",)], **more))
        assert isinstance(events[-1], Finished)
        assert sum(isinstance(event, Finished) for event in events) == 1
        return events, events[-1].answer

    return run


def streamed(events: Sequence[Any]) -> str:
    return "".join(event.delta for event in events if isinstance(event, Text))


def test_a_generated_answer_streams_and_is_cited_and_checked(ask: Any, scripted: Any) -> None:
    model = scripted(SUPPORTED, places=(2, 1))
    events, answer = ask(model, LEAVE_QUESTION)
    assert streamed(events) == answer.text == SUPPORTED
    assert [event.place for event in events if isinstance(event, Waiting)] == [2, 1]
    assert [e.name for e in events if isinstance(e, Stage)] == ["retrieve", "read", "generate", "verify"]
    [citation] = answer.citations
    assert citation.quote == "Employees receive 25 days of paid annual leave per year."
    assert (citation.n, citation.document, citation.origin) == (1, "leave.md", "model")
    assert citation.locator.page == 1
    assert [check.verdict for check in answer.verification] == [Verdict.SUPPORTED]
    assert {"retrieve", "first_token", "generate", "verify", "total"} <= set(answer.timings)
    assert answer.mode is AnswerMode.ANSWER


def test_an_invented_number_is_marked_unsupported(ask: Any, scripted: Any) -> None:
    _, answer = ask(scripted("Employees receive 30 days of paid annual leave per year [1]."), LEAVE_QUESTION)
    assert answer.verification[0].verdict is Verdict.UNSUPPORTED
    assert "30" in answer.verification[0].reason


def test_a_sentence_without_a_mark_gets_one_only_when_a_passage_bears_it_out(ask: Any, scripted: Any) -> None:
    said = "Employees receive 25 days of paid annual leave per year. The moon is made of green cheese."
    events, answer = ask(scripted(said), LEAVE_QUESTION)
    assert streamed(events) == said
    assert answer.text.startswith("Employees receive 25 days of paid annual leave per year. [1]")
    assert [c.origin for c in answer.citations] == ["matched"]
    assert [c.verdict for c in answer.verification] == [Verdict.SUPPORTED, Verdict.UNCITED]
    assert answer.text.endswith("green cheese.")


def test_marks_that_were_never_offered_do_not_appear(ask: Any, scripted: Any) -> None:
    events, answer = ask(scripted("Employees receive 25 days of paid annual leave per year [9]."), LEAVE_QUESTION)
    assert "[9]" not in streamed(events)
    assert all(c.n <= 6 for c in answer.citations)


def test_too_little_evidence_is_refused_in_the_language_of_the_question(ask: Any, scripted: Any) -> None:
    _, english = ask(scripted("x"), "Which spacecraft landed on Titan in 2005?")
    assert english.refused and english.text == refusal_text("en", english.nearest)
    assert not english.citations
    _, chinese = ask(scripted("x"), "哪艘飞船于2005年在土卫六着陆？", "reports")
    assert chinese.refused and chinese.text.startswith("在所选知识库的文档中没有找到")
    assert chinese.language == "zh"


def test_a_language_the_model_lacks_is_answered_with_quotes_and_says_so(ask: Any, scripted: Any, library: Any) -> None:
    model = scripted("never used", languages=("en",))
    _, answer = ask(model, "华夏娱乐2020年的净利润是多少？", "reports")
    assert answer.mode is AnswerMode.QUOTE
    assert answer.notices == ("quote_mode_language",)
    assert "净利润为3.5亿元" in answer.text
    assert answer.citations[0].origin == "quote"
    assert any(answer.citations[0].quote in chunk.text for chunk in _stored(library, answer))
    assert all(check.verdict is Verdict.SUPPORTED for check in answer.verification)
    assert model.prompts == []


def _stored(library: Any, answer: Answer) -> list[Any]:
    return [chunk for c in answer.citations for chunk in library.chunks.of_version(c.version_id)]


def test_a_small_model_quotes_unless_asked_to_generate(ask: Any, scripted: Any) -> None:
    _, automatic = ask(scripted(SUPPORTED, small=True), LEAVE_QUESTION)
    assert automatic.mode is AnswerMode.QUOTE and "quote_mode_small" in automatic.notices
    _, asked = ask(scripted(SUPPORTED, small=True), LEAVE_QUESTION, mode=AnswerMode.ANSWER)
    assert asked.mode is AnswerMode.ANSWER and asked.text == SUPPORTED


def test_without_the_model_quotes_answer_visibly(ask: Any, scripted: Any) -> None:
    gone = ModelUnavailableError("The models process does not answer.")
    _, before = ask(scripted(SUPPORTED, error=gone), LEAVE_QUESTION)
    assert before.mode is AnswerMode.QUOTE and before.notices == ("model_unavailable",)
    assert "25 days" in before.text
    events, during = ask(scripted(SUPPORTED, error=gone, fail_after=3), LEAVE_QUESTION)
    assert during.notices == ("model_unavailable",)
    assert streamed(events) == during.text
    assert during.text.startswith("Employees receive 25")
    assert "25 days of paid annual leave per year" in during.text
    assert during.verification[0].verdict is Verdict.UNCITED
    assert during.verification[-1].verdict is Verdict.SUPPORTED


def test_cancelling_keeps_what_was_written(ask: Any, scripted: Any, library: Any, shelf: Any) -> None:
    cancel = threading.Event()
    answerer = Answerer(ChatSettings(), library.retriever, library.chunks, scripted(SUPPORTED))
    text = ""
    answer = None
    for event in answerer.answer(LEAVE_QUESTION, [shelf["handbook"]], cancel=cancel):
        if isinstance(event, Text):
            text += event.delta
            cancel.set()
        elif isinstance(event, Finished):
            answer = event.answer
    assert answer is not None and answer.stopped
    assert 0 < len(text) < len(SUPPORTED)
    assert answer.text.startswith(text)


def test_cancelled_before_anything_was_written_is_an_empty_stopped_answer(ask: Any, scripted: Any) -> None:
    cancel = threading.Event()
    cancel.set()
    _, answer = ask(scripted(SUPPORTED), LEAVE_QUESTION, cancel=cancel)
    assert answer.stopped and answer.text == ""


def test_a_follow_up_sees_the_history_and_a_full_question_does_not(ask: Any, scripted: Any) -> None:
    history = [ChatTurn("user", "Who leads the maintenance group for the pump?"), ChatTurn("assistant", "Maria.")]
    model = scripted("It was bought for 48,000 euros [1].")
    _, answer = ask(model, "And what did it cost?", history=history)
    assert "pump" in answer.standalone_question
    assert answer.citations[0].document == "pump.md"
    assert "Earlier user: Who leads" in model.prompts[-1][-1].content
    _, alone = ask(model, LEAVE_QUESTION, history=history)
    assert alone.standalone_question == LEAVE_QUESTION
    assert "Earlier" not in model.prompts[-1][-1].content


@pytest.mark.parametrize("question", ["", "   ", "？！…", "\x00"])
def test_a_question_without_a_word_is_refused_at_once(ask: Any, scripted: Any, question: str) -> None:
    with pytest.raises(InputError, match="no word"):
        ask(scripted("x"), question)


def test_a_question_over_the_limit_is_refused_with_both_numbers(ask: Any, scripted: Any) -> None:
    with pytest.raises(InputError, match=r"100,000 characters, over the limit of 4,000") as caught:
        ask(scripted("x"), "a" * 100_000)
    assert len(str(caught.value)) < 300


def test_no_collection_and_too_many_collections_are_refused(
    scripted: Any, library: Any, collection: Callable[..., Collection]
) -> None:
    answerer = Answerer(ChatSettings(max_collections=2), library.retriever, library.chunks, scripted("x"))
    with pytest.raises(InputError, match="No collection"):
        answerer.answer("leave", [])
    with pytest.raises(LimitError, match="over the limit of 2"):
        answerer.answer("leave", [collection(f"c{i}") for i in range(3)])


def test_an_answerer_for_the_background_asks_in_that_lane(
    library: Any, shelf: Mapping[str, Collection], scripted: Any
) -> None:
    model = scripted(SUPPORTED)
    for lane in Lane.QUESTION, Lane.BACKGROUND:
        answerer = Answerer(ChatSettings(), library.retriever, library.chunks, model, lane=lane)
        assert list(answerer.answer(LEAVE_QUESTION, [shelf["handbook"]]))
    assert model.lanes == [Lane.QUESTION, Lane.BACKGROUND]


def test_a_prompt_too_long_for_the_window_is_tried_with_fewer_passages(ask: Any, scripted: Any) -> None:
    class Narrow(scripted):  # type: ignore[misc]
        def stream(self, messages: Any, *rest: Any) -> Iterator[Any]:
            if messages[-1].content.count("<<end") > 1:
                raise ContextOverflowError("The prompt is longer than the window.")
            return super().stream(messages, *rest)  # type: ignore[no-any-return]

    _, answer = ask(Narrow(SUPPORTED), LEAVE_QUESTION, "handbook", "reports")
    assert answer.text == SUPPORTED


def test_the_bundled_model_gives_a_finished_answer_within_its_budget(ask: Any, tmp_path_factory: Any) -> None:
    from models.engine.llama import LlamaCppModel
    from models.engine.load_options import LoadOptions
    from models.files.catalog import entry
    from models.files.weights import resolve

    name = "smollm2-135m-instruct"
    model = LlamaCppModel(resolve(name, tmp_path_factory.mktemp("llm")), entry(name), LoadOptions(1, 2048))
    try:
        _, quoted = ask(model, LEAVE_QUESTION)
        assert quoted.mode is AnswerMode.QUOTE and "25 days" in quoted.text
        events, answer = ask(
            model, LEAVE_QUESTION, mode=AnswerMode.ANSWER, settings=ChatSettings(answer_tokens=32, first_token_s=1.0)
        )
    finally:
        model.close()
    assert answer.mode is AnswerMode.ANSWER and answer.text
    assert answer.text.startswith(streamed(events)[:10])
    assert len(answer.verification) >= 1
