"""Question sets: what is read, and what each broken line says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError, NotFoundError
from core.types import ChatTurn
from evals.sets import load_documents, load_questions, sample

CORPUS = Path(__file__).resolve().parents[1] / "corpus"


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_every_field_of_a_question_is_read(tmp_path: Path) -> None:
    row = {
        "qid": "q1",
        "question": "And then?",
        "gold_doc_ids": ["d1"],
        "answers": ["one", ["two", "three"]],
        "history": [{"role": "user", "content": "First?"}, {"role": "agent", "content": "Yes."}],
        "evidence": ["a sentence"],
        "scope": "site",
        "expect": "clarify",
        "unknown": 1,
    }
    [question] = load_questions(write(tmp_path / "q.jsonl", row))
    assert question.answers == (("one",), ("two", "three"))
    assert question.history == (ChatTurn("user", "First?"), ChatTurn("assistant", "Yes."))
    assert (question.gold, question.evidence) == (("d1",), ("a sentence",))
    assert (question.scope, question.expect, question.unanswerable) == ("site", "clarify", False)


def test_optional_fields_may_be_absent_or_null(tmp_path: Path) -> None:
    row = {"qid": "q1", "question": "Why?", "history": None, "unanswerable": True}
    [question] = load_questions(write(tmp_path / "q.jsonl", row, ""))
    assert question.history == () and question.gold == () and question.unanswerable


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{not json", ("line 2", "not JSON")),
        ("[1]", ("line 2", "list")),
        ({"qid": "q2"}, ("line 2", "'question'")),
        ({"qid": "q2", "question": "  "}, ("line 2", "'question'")),
        ({"qid": "q2", "question": "?", "answers": "yes"}, ("line 2", "'answers'", "list")),
        ({"qid": "q2", "question": "?", "history": ["hi"]}, ("line 2", "'history'")),
    ],
    ids=["no-json", "no-object", "no-question", "blank-question", "answers-no-list", "turn-no-object"],
)
def test_a_broken_line_is_named(tmp_path: Path, line: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        load_questions(write(tmp_path / "q.jsonl", {"qid": "q1", "question": "?"}, line))
    for word in words:
        assert word in str(caught.value)
    assert caught.value.hint


def test_a_missing_or_empty_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.jsonl"):
        load_documents(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="no document"):
        load_documents(write(tmp_path / "d.jsonl", ""))


def test_two_documents_with_one_id_are_refused(tmp_path: Path) -> None:
    row = {"doc_id": "d1", "text": "words"}
    with pytest.raises(InputError, match="d1"):
        load_documents(write(tmp_path / "d.jsonl", row, row))


def test_a_sample_depends_on_the_seed_alone() -> None:
    items = list(range(100))
    assert sample(items, 10, 1) == sample(items, 10, 1)
    assert sample(items, 10, 1) != sample(items, 10, 2)
    assert sample(items, 5, 1) == sample(items, 10, 1)[:5]
    assert sample(items, None, 1) == items and sample(items, 200, 1) == items


def test_our_own_corpus_is_sound() -> None:
    documents = {document.doc_id: document for document in load_documents(CORPUS / "documents.jsonl")}
    questions = load_questions(CORPUS / "questions.jsonl")
    assert len(documents) == 16 and len(questions) == 44
    assert sum(question.unanswerable for question in questions) >= 4
    assert sum(bool(question.history) for question in questions) >= 3
    for question in questions:
        assert question.unanswerable == (not question.gold), question.qid
        texts = "\n".join(documents[doc_id].text for doc_id in question.gold)
        assert all(sentence in texts for sentence in question.evidence), question.qid


def test_a_document_without_text_is_kept_so_that_the_set_can_be_measured(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_text('{"doc_id": "page 1", "text": ""}\n{"doc_id": "page 2", "text": "words"}\n', "utf-8")
    assert [document.text for document in load_documents(path)] == ["", "words"]
