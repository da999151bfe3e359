"""Question sets as JSON Lines: documents `{doc_id,title,text,…}` and questions `{qid,question,gold_doc_ids,…}`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from core.errors import InputError, NotFoundError
from core.types import ChatTurn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EvalDocument:
    """parent: what a question's `scope` names; empty where the set has none."""

    doc_id: str
    title: str
    text: str
    parent: str = ""


@dataclass(frozen=True, slots=True)
class EvalQuestion:
    """One question and what is known about it.

    answers: acceptable answers, each a tuple of strings that must all appear. scope: search only documents with this
    `parent`. expect: `clarify` or `chat` where neither an answer nor a refusal is the right reply, else empty.
    """

    qid: str
    question: str
    gold: tuple[str, ...] = ()
    answers: tuple[tuple[str, ...], ...] = ()
    unanswerable: bool = False
    history: tuple[ChatTurn, ...] = ()
    evidence: tuple[str, ...] = ()
    scope: str = ""
    expect: str = ""


def load_documents(path: Path) -> list[EvalDocument]:
    """Documents in file order.

    Raises:
        NotFoundError: no such file. InputError: a line breaks the format; names the line.
    """
    documents: dict[str, EvalDocument] = {}
    for place, row in _rows(path):
        document = EvalDocument(
            doc_id=_text(place, row, "doc_id"),
            title=str(row.get("title") or ""),
            text=_text(place, row, "text", empty=True),  # an empty page of a PDF, say; it counts as not read
            parent=str(row.get("parent") or ""),
        )
        if document.doc_id in documents:
            raise InputError(
                f"{place}: doc_id '{document.doc_id}' stands there twice.", "Give every document its own id."
            )
        documents[document.doc_id] = document
    if not documents:
        raise InputError(f"'{path}' holds no document.", "Write one JSON object per line.")
    return list(documents.values())


def load_questions(path: Path) -> list[EvalQuestion]:
    """Questions in file order.

    Raises:
        NotFoundError: no such file. InputError: a line breaks the format; names the line.
    """
    questions = [question_of(row, place) for place, row in _rows(path)]
    if not questions:
        raise InputError(f"'{path}' holds no question.", "Write one JSON object per line.")
    return questions


def sample(items: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """All items, or `limit` of them: the first after a shuffle that depends on `seed` alone."""
    if limit is None or limit >= len(items):
        return list(items)
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    return shuffled[:limit]


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place for messages, object) of every line that is not blank."""
    try:
        stream = path.open(encoding="utf-8")
    except OSError as error:
        raise NotFoundError(f"Cannot read '{path}': {error.strerror}.", "Check the path.") from error
    with stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            place = f"'{path}', line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{place} is not JSON: {error}.", "Write one JSON object per line.") from error
            if not isinstance(row, dict):
                raise InputError(
                    f"{place} is a {type(row).__name__}, not an object.", "Write one JSON object per line."
                )
            yield place, row


def question_of(row: Mapping[str, Any], place: str) -> EvalQuestion:
    """One question from its object. place: for the message of an InputError, where the object stands."""
    return EvalQuestion(
        qid=_text(place, row, "qid"),
        question=_text(place, row, "question"),
        gold=tuple(map(str, _list(place, row, "gold_doc_ids"))),
        answers=tuple(
            tuple(map(str, answer)) if isinstance(answer, list) else (str(answer),)
            for answer in _list(place, row, "answers")
        ),
        unanswerable=bool(row.get("unanswerable", False)),
        history=tuple(_turn(place, turn) for turn in _list(place, row, "history")),
        evidence=tuple(map(str, _list(place, row, "evidence"))),
        scope=str(row.get("scope") or ""),
        expect=str(row.get("expect") or ""),
    )


def row_of(question: EvalQuestion) -> dict[str, Any]:
    """The object that `question_of` reads, without fields that say nothing."""
    row = {
        "qid": question.qid,
        "question": question.question,
        "gold_doc_ids": list(question.gold),
        "answers": [answer[0] if len(answer) == 1 else list(answer) for answer in question.answers],
        "unanswerable": question.unanswerable,
        "history": [{"role": turn.role, "content": turn.text} for turn in question.history],
        "evidence": list(question.evidence),
        "scope": question.scope,
        "expect": question.expect,
    }
    return {name: value for name, value in row.items() if value or name == "gold_doc_ids"}


def _turn(place: str, turn: Any) -> ChatTurn:
    if not isinstance(turn, dict) or "content" not in turn:
        raise InputError(f"{place}: a turn of 'history' is {turn!r}.", 'Write it as {"role": …, "content": …}.')
    return ChatTurn("user" if turn.get("role") == "user" else "assistant", str(turn["content"]))


def _text(place: str, row: Mapping[str, Any], key: str, empty: bool = False) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not (empty or value.strip()):
        raise InputError(f"{place}: '{key}' is {value!r}.", f"Every line needs a text under '{key}'.")
    return value


def _list(place: str, row: Mapping[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"{place}: '{key}' is {value!r}.", f"Write '{key}' as a list.")
    return value
