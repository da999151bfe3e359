"""What a model may do wrong: nothing, garbage, marks that do not exist, the same for ever; and what did not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.answer import Answerer
from chat.repetition import FEWEST_ROUNDS, repeats_from
from core.settings import ChatSettings
from core.types import Answer, AnswerMode, Collection, Verdict

QUESTION = "How many days of paid annual leave do employees receive per year?"


@pytest.fixture
def generated(library: Any, shelf: Mapping[str, Collection]) -> Callable[..., Answer]:
    def run(model: Any, **settings: Any) -> Answer:
        answerer = Answerer(ChatSettings(**settings), library.retriever, library.chunks, model)
        events = list(answerer.answer(QUESTION, [shelf["handbook"]], mode=AnswerMode.ANSWER))
        answer: Answer = events[-1].answer  # type: ignore[union-attr]
        return answer

    return run


@pytest.mark.parametrize("said", ["", "   \n ", "%%% ### ***", "[1][2]"])
def test_a_model_that_says_nothing_gives_way_to_quotes_and_that_is_told(
    said: str, generated: Callable[..., Answer], scripted: Any
) -> None:
    answer = generated(scripted(said))
    assert answer.mode is AnswerMode.QUOTE and "model_said_nothing" in answer.notices
    assert "25 days" in answer.text
    assert {check.verdict for check in answer.verification} == {Verdict.SUPPORTED}


def test_garbage_is_shown_as_borne_out_by_nothing(generated: Callable[..., Answer], scripted: Any) -> None:
    answer = generated(scripted("Zorg blib qux wibble frobnicate snark."))
    assert not answer.citations
    assert [check.verdict for check in answer.verification] == [Verdict.UNCITED]


def test_marks_that_were_never_offered_are_dropped_and_the_sentence_is_still_checked(
    generated: Callable[..., Answer], scripted: Any
) -> None:
    answer = generated(scripted("Employees receive 30 days of paid annual leave [77]【88】."))
    assert "77" not in answer.text and "88" not in answer.text
    assert all(check.verdict is not Verdict.SUPPORTED for check in answer.verification)


def test_a_model_that_goes_round_in_circles_is_stopped_and_cut(generated: Callable[..., Answer], scripted: Any) -> None:
    once = "Employees receive 25 days of paid annual leave per year [1]."
    model = scripted(" ".join([once, *["The leave is paid leave that is paid."] * 400]))
    answer = generated(model)
    assert "model_repeated" in answer.notices and not answer.stopped
    assert answer.text.startswith(once)
    assert 1 <= answer.text.count("The leave is paid leave") < FEWEST_ROUNDS


@given(st.text(st.sampled_from("ab. 中"), min_size=1, max_size=30), st.text(st.sampled_from("xyz"), max_size=10))
def test_a_text_that_repeats_is_cut_after_its_first_round(unit: str, before: str) -> None:
    text = before + unit * 100
    cut = repeats_from(text)
    if not unit.strip() or len(text.rstrip()) < 80:
        return
    assert cut is not None and cut <= len(before) + 2 * len(unit)
    assert text.startswith(text[:cut])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "One. Two. Three.",
        "| 0 | 0 | 0 | 0 |",
        "a, b, c, d, e, f, g, h, i, j",
        "- yes\n- yes\n- no\n- yes\n- yes\n- no",
    ],
)
def test_lists_and_tables_are_no_circles(text: str) -> None:
    assert repeats_from(text) is None


def test_what_did_not_fit_is_recorded(generated: Callable[..., Answer], scripted: Any) -> None:
    said = "Employees receive 25 days of paid annual leave per year [1]."
    full = generated(scripted(said))
    assert full.context["passages"] >= 1 and full.context["cut"] == 0
    tight = generated(scripted(said, window=700))
    assert tight.context["left_out"] >= full.context["left_out"]
    assert tight.context["passages"] <= full.context["passages"]


def test_the_start_of_the_prompt_is_the_same_for_every_question(scored: Any) -> None:
    from chat.context import single_sources
    from chat.prompt import build_prompt

    sources = single_sources(scored("The pump is blue.", "The gate is green."), 2)
    one, two = (build_prompt(q, sources, "en", fence="0123abcd") for q in ("What is blue?", "Which one is green?"))
    assert one[0] == two[0]
    head = one[1].content.index("<<end 0123abcd>>")
    assert one[1].content[:head] == two[1].content[:head]
