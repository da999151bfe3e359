"""Question sets: what goes out comes back, broken lines are named, documents are matched by path or clear file name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.types import ChatTurn, Citation, Locator
from evals.question_sets import (
    match_documents,
    of_feedback,
    read_questions,
    to_csv,
    to_eval,
    to_jsonl,
    to_row,
)
from storage.feedback import JudgedAnswer
from storage.quality import ORIGINS, SetQuestion
from storage.tables import now

FULL = SetQuestion(
    "q-1",
    "年假几天？",
    {
        "gold_doc_ids": ["a.md", "b.md"],
        "answers": ["十天", ["十", "天"]],
        "history": [{"role": "user", "content": "请假"}],
        "evidence": ["年假为十天。"],
        "scope": "hr",
        "type": "number",
    },
    "generated",
    "checked",
)
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).map(str.strip).filter(bool)


def test_json_lines_come_back_whole() -> None:
    assert read_questions(to_jsonl([FULL]).encode(), "set.jsonl") == [FULL]


@given(st.lists(WORDS, min_size=1, max_size=4, unique_by=str.casefold), st.sampled_from(ORIGINS))
def test_any_words_survive_json_lines(texts: list[str], origin: str) -> None:
    questions = [SetQuestion(f"q{n}", text, {"gold_doc_ids": [text]}, origin) for n, text in enumerate(texts)]
    assert read_questions(to_jsonl(questions).encode(), "a.jsonl") == questions


def test_a_table_comes_back_without_its_history() -> None:
    [back] = read_questions(to_csv([FULL]).encode("utf-8-sig"), "set.csv")
    kept = {key: FULL.data[key] for key in ("gold_doc_ids", "answers", "evidence", "scope")}
    assert (back.qid, back.question, back.data, back.note) == ("q-1", "年假几天？", kept, "checked")


@pytest.mark.parametrize("start", ["=1+1", "+49", "-5", "@here"])
def test_nothing_in_an_exported_table_is_a_formula_and_it_comes_back(start: str) -> None:
    text = to_csv([SetQuestion("q", f"{start} days?")])
    assert f",{start}" not in text and f",'{start}" in text
    assert read_questions(text.encode(), "a.csv")[0].question == f"{start} days?"


def test_a_table_of_a_spreadsheet_is_read_with_chinese_names_and_in_its_encoding() -> None:
    table = "问题;文档;答案;无答案\n差旅费多久报销？;a.md || b.md;三十天;\n食堂几点开门？;;;是\n;;;\n"
    first, second = read_questions(table.encode("gb18030"), "题集.csv")
    assert first.data == {"gold_doc_ids": ["a.md", "b.md"], "answers": ["三十天"]}
    assert second.data == {"gold_doc_ids": [], "unanswerable": True}
    assert first.qid != second.qid and first.origin == "imported"


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", "a.jsonl", "no question"),
        (b"{oops", "a.jsonl", "line 1"),
        (b"[1]", "a.jsonl", "list"),
        (b'{"qid": "q"}', "a.jsonl", "'question'"),
        (b"name,value\n1,2\n", "a.csv", "no column 'question'"),
        (b'question,answers\n"open', "a.csv", "no CSV"),
        (b"question,documents\n ,a.md\n", "a.csv", "row 2"),
    ],
    ids=["empty", "no-json", "list", "no-question", "no-column", "open-quote", "blank"],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(data: bytes, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_questions(data, name)
    assert caught.value.hint


def test_the_same_words_get_the_same_id() -> None:
    one, two, three = read_questions(
        "".join(json.dumps({"question": text}) + "\n" for text in ("How long?", "how long? ", "How far?")).encode(), "a"
    )
    assert one.qid == two.qid != three.qid


def test_documents_match_by_path_then_by_name_where_that_is_clear() -> None:
    paths = ["hr/leave.md", "hr/travel.docx", "old/travel.docx"]
    asked = SetQuestion("q", "?", {"gold_doc_ids": ["leave", "HR/Travel.docx", "travel.docx", "none.md"]})
    [matched], missing = match_documents([asked], paths)
    assert matched.data["gold_doc_ids"] == ["hr/leave.md", "hr/travel.docx", "travel.docx", "none.md"]
    assert missing == ["travel.docx", "none.md"]


def test_what_runners_take_is_what_the_set_holds() -> None:
    question = to_eval(FULL)
    assert question.gold == ("a.md", "b.md") and question.answers == (("十天",), ("十", "天"))
    assert question.history == (ChatTurn("user", "请假"),)
    assert to_row(FULL)["origin"] == "generated"


def judged(rating: int, refused: bool = False) -> JudgedAnswer:
    citations = (
        Citation(1, 1, "d", "v", "here", "a.md", "", Locator(), "ten days"),
        Citation(2, 2, "e", "v", "there", "b.md", "", Locator(), "more"),
    )
    history = (ChatTurn("user", "Leave?"),)
    return JudgedAnswer("m" * 32, "How long?", "Ten days [1].", refused, rating, "why", history, citations, now())


def test_a_thumb_up_brings_answer_and_documents_of_this_collection() -> None:
    question = of_feedback(judged(1), "here")
    assert question.data["gold_doc_ids"] == ["a.md"] and question.data["answers"] == ["Ten days ."]
    assert question.data["evidence"] == ["ten days"] and question.origin == "feedback" and question.note == "why"
    assert question.data["history"] == [{"role": "user", "content": "Leave?"}]


def test_a_thumb_down_brings_the_question_alone_and_a_praised_refusal_means_no_answer() -> None:
    assert set(of_feedback(judged(-1), "here").data) == {"gold_doc_ids", "history"}
    assert of_feedback(judged(1, refused=True), "here").data["unanswerable"] is True
    assert "unanswerable" not in of_feedback(judged(-1, refused=True), "here").data
