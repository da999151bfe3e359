"""Nothing that the passages do not bear out is shown as if they did: stream, stored message, JSON and page."""

from __future__ import annotations

# ruff: noqa: E501  samples are read in one line
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli.ask import answer_json
from app.web.render import answer_html
from chat.answer import Answerer
from chat.cite import MARK, MarkParser
from chat.context import Source, whole_source
from chat.events import Finished, Text
from chat.support import Supported, support
from core.settings import ChatSettings
from core.types import Answer, AnswerMode, Collection, Locator, SentenceCheck, StoredChunk, Verdict

MARKED = ("al-unsupported", "al-uncited")

TRUE = {
    1: "Employees receive 25 days of paid annual leave per year. Unused days expire on 31 March of the next year.",
    2: "2020年，公司营业收入为30亿元，净利润为3.5亿元。公司没有发生重大诉讼。员工每年享有15天带薪年假。",
}
BORNE_OUT = (
    ("Employees receive 25 days of paid annual leave per year", 1),
    ("Unused days expire on 31 March of the next year", 1),
    ("2020年，公司营业收入为30亿元", 2),
    ("员工每年享有15天带薪年假", 2),
)
FALSE = (
    "Employees receive 37 days of paid annual leave per year",
    "Unused days never expire on 31 March of the next year",
    "The moon consists of green cheese",
    "Quarterly penguins audit distant volcanoes",
    "2020年，公司营业收入为47亿元",
    "公司发生过重大诉讼",
    "月亮由绿色奶酪构成",
    "员工每年享有51天带薪年假",
)
MARKS = ("", " [1]", " [2]", "[1][2]", " 【1】", "［2］", " [1,2]", " [1-2]", " [9]", " [1", " 2]", " [ ]")
LINES = ("{}{}.", "{}{}。", "{}{}", "[1] {}{}", "- {}{}", "* {}{}.", "1. {}{}", "12) {}{}", "## {}{}", "> {}{}", "**{}**{}.",
         "`{}`{}", "| {} | {} |", "    {}{}", "```\n{}{}\n```", "```text\n{}{}", "{}{}!", "“{}”{}", "{}{} …", "• {}{}；")  # fmt: skip
BETWEEN = ("\n", "\n\n", " ", "  \n")
TELLING = ("37", "never", "cheese", "penguins", "47", "发生过", "奶酪", "51")
"""A word of each false sentence that no true one has."""


def sources() -> list[Source]:
    return [
        whole_source(
            n,
            StoredChunk(n, "c1", f"d{n}", f"v{n}", 0, f"{n}.md", "", "", text, Locator(page=1)),
        )
        for n, text in TRUE.items()
    ]


@dataclass(frozen=True)
class Line:
    """What a model writes of one sentence."""

    shape: str
    said: str
    mark: str
    after: str

    def __str__(self) -> str:
        written = self.shape.format(self.said, self.mark)
        # without a full stop nobody can say where one sentence ends and the next one on the line begins
        return written + (
            self.after if written.endswith((".", "。", "!", "…", "；")) else self.after.strip(" ") or "\n"
        )


lines = st.builds(
    Line,
    st.sampled_from(LINES),
    st.sampled_from([*(said for said, _ in BORNE_OUT), *FALSE]),
    st.sampled_from(MARKS),
    st.sampled_from(BETWEEN),
)
answers = st.lists(lines, min_size=1, max_size=6).map(lambda parts: "".join(map(str, parts)))


def shown(written: str, step: int = 3) -> str:
    """What the reader sees of it while it comes."""
    parser = MarkParser(TRUE)
    return "".join(parser.feed(written[i : i + step]) for i in range(0, len(written), step)) + parser.finish()


class Words(HTMLParser):
    """The text of a page, and which of its characters stand inside a mark."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[bool] = []
        self.text, self.inside = "", ""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.open.append(dict(attrs).get("class") in MARKED)

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        self.inside += ("x" if any(self.open) else "-") * len(data)


def unmarked_on_the_page(text: str, checks: Sequence[SentenceCheck]) -> list[str]:
    page = Words()
    page.feed(answer_html(text, checks, {1: "one", 2: "two"}))
    page.close()
    return [word for word in TELLING for at in places(page.text, word) if "-" in page.inside[at : at + len(word)]]


def places(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def unmarked(text: str, checks: Sequence[SentenceCheck]) -> list[str]:
    """False words of a text that no check of another verdict than supported covers."""
    doubtful = [(check.start, check.end) for check in checks if check.verdict is not Verdict.SUPPORTED]
    return [
        word
        for word in TELLING
        for at in places(text, word)
        if not any(start <= at and at + len(word) <= end for start, end in doubtful)
    ]


def left_out(done: Supported) -> str:
    """Letters of a text that belong to no sentence that was checked."""
    text = MARK.sub(lambda match: " " * len(match.group()), done.text)
    for check in done.checks:
        text = text[: check.start] + " " * (check.end - check.start) + text[check.end :]
    return "".join(c for c in text if c.isalpha())


@settings(max_examples=40)
@given(answers)
def test_whatever_shape_a_false_sentence_has_it_is_marked(written: str) -> None:
    text = shown(written)
    done = support(text, sources())
    assert not unmarked(done.text, done.checks)
    assert not unmarked_on_the_page(done.text, done.checks)
    assert not left_out(done)


@pytest.mark.parametrize("said", FALSE)
@pytest.mark.parametrize("shape", LINES)
def test_each_shape_of_line_shows_the_mark_of_a_false_sentence(shape: str, said: str) -> None:
    done = support(shown(shape.format(said, " [1]")), sources())
    assert not unmarked(done.text, done.checks)
    assert not unmarked_on_the_page(done.text, done.checks)


@given(st.lists(st.sampled_from(BORNE_OUT), min_size=1, max_size=4), st.sampled_from(BETWEEN))
def test_sentences_that_the_passages_have_are_left_alone(said: list[tuple[str, int]], between: str) -> None:
    written = between.join(f"{text} [{n}]{'。' if n == 2 else '.'}" for text, n in said)
    done = support(shown(written), sources())
    assert {check.verdict for check in done.checks} == {Verdict.SUPPORTED}


@pytest.mark.parametrize(
    "written",
    [
        "Employees receive 25 days of paid annual leave per year, and the moon consists of green cheese [1].",
        "Employees receive 25 days of paid annual leave per year; quarterly penguins audit distant volcanoes [1].",
        "Employees receive 25 days of paid annual leave per year.The moon consists of green cheese [1].",
        "员工每年享有15天带薪年假，月亮由绿色奶酪构成 [2]。",
    ],
)
def test_a_true_half_does_not_carry_a_false_one(written: str) -> None:
    done = support(shown(written), sources())
    assert not unmarked(done.text, done.checks)
    assert not unmarked_on_the_page(done.text, done.checks)


@pytest.mark.parametrize("written", ["No [1].", "不可以 [2]。", "Yes.", "It is so [1].", "是的。"])
def test_a_sentence_without_a_word_to_compare_is_not_borne_out_by_a_mark(written: str) -> None:
    done = support(shown(written), sources())
    assert [check.verdict for check in done.checks] != [Verdict.SUPPORTED]


MIXED = (
    "# Annual leave\n\nEmployees receive 25 days of paid annual leave per year [1]. Employees receive 37 days of paid annual "
    "leave per year [1].\n\n- The moon consists of green cheese\n- Unused days expire on 31 March of the next year [1]\n\n"
    "```\nQuarterly penguins audit distant volcanoes [1]\n```\n月亮由绿色奶酪构成【1】"
)
NOT_SAID = (
    "The documents do not mention what the moon is made of. The moon consists of green cheese. "
    "Quarterly penguins audit distant volcanoes."
)


@pytest.fixture
def answered(library: Any, shelf: Mapping[str, Collection], scripted: Any) -> Callable[[str], tuple[str, Answer]]:
    def run(written: str) -> tuple[str, Answer]:
        answerer = Answerer(ChatSettings(), library.retriever, library.chunks, scripted(written))
        question = "How many days of paid annual leave do employees receive per year?"
        events = list(answerer.answer(question, [shelf["handbook"]], mode=AnswerMode.ANSWER))
        assert isinstance(events[-1], Finished)
        return "".join(event.delta for event in events if isinstance(event, Text)), events[-1].answer

    return run


@pytest.mark.parametrize("written", [MIXED, NOT_SAID])
def test_stream_stored_message_json_and_page_carry_the_same_marks(
    written: str, answered: Any, library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from app.cli.ask import print_sources

    streamed, answer = answered(written)
    assert all(word in streamed for word in TELLING if word in written)  # what was seen while it came is in the answer
    assert all(word in answer.text for word in TELLING if word in streamed)
    assert not unmarked(answer.text, answer.verification)

    talk = library.conversations.create("marks", [])
    message = library.conversations.add_message(talk.id, "assistant", "", "streaming")
    library.conversations.finish_message(message.id, "complete", answer.text, answer)
    stored = library.conversations.message(message.id)
    assert stored.answer.verification == answer.verification
    assert not unmarked(stored.text, stored.answer.verification)
    assert not unmarked_on_the_page(stored.text, stored.answer.verification)

    state = SimpleNamespace(alioth=SimpleNamespace(db=library.db))
    told = answer_json(replace(answer, citations=(), contradictions=()), state)  # type: ignore[arg-type]
    doubtful = " ".join(row["sentence"] for row in told["verification"] if row["verdict"] != "supported")
    assert told["answer"] == answer.text
    assert all(word in doubtful for word in TELLING if word in told["answer"])

    print_sources(replace(answer, citations=(), contradictions=()), state)  # type: ignore[arg-type]
    printed = "".join(capsys.readouterr())
    assert all(word in printed for word in TELLING if word in answer.text)
