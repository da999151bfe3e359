"""Alioth in LangChain programs: documents and answers, with filters and with the rights of one user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.runnables import RunnableLambda

from chat.events import Finished, Text
from chat.langchain import AliothAnswers, AliothRetriever
from core.errors import InputError, NotFoundError
from core.filters import Filters, make_filters
from core.types import Answer, AnswerMode, Collection

if TYPE_CHECKING:
    from pathlib import Path

    from app.wiring import Alioth


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Alioth]:
    from app.wiring import Alioth
    from core.settings import Settings

    made = Alioth(Settings(home=tmp_path / "data"))
    yield made
    made.close()


class Recorder:
    """A retriever and an answerer that keep what they were asked with."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], Any]] = []

    def retrieve(self, query: str, collections: list[Collection], k: int, filters: Filters) -> Any:
        self.asked.append((query, [c.name for c in collections], filters))
        return type("Found", (), {"results": []})()

    def answer(self, question: str, collections: list[Collection], history: Any, filters: Filters) -> Iterator[Any]:
        self.asked.append((question, [c.name for c in collections], filters))
        yield Text("Thirty ")
        yield Text("days.")
        yield Finished(Answer("Thirty days.", "en", AnswerMode.QUOTE, filters=filters.to_dict()))


def test_a_grant_that_is_taken_back_holds_at_the_next_question(parts: Alioth, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.chains import answers_for, retriever_for
    from core.types import Fingerprint, Role

    recorder = Recorder()
    parts.__dict__["retriever"] = parts.__dict__["answerer"] = recorder
    made = parts.collections.create("Handbook", Fingerprint("test", "0" * 64, 8, True, "", "1"))
    user = parts.accounts_store.add_user("ann", "x", False)
    with pytest.raises(NotFoundError):
        retriever_for(parts, ["Handbook"], user="ann")
    with pytest.raises(NotFoundError):
        answers_for(parts, ["Handbook"], user="nobody")
    parts.accounts_store.grant(made.id, "user", user.id, Role.READ)
    only = make_filters(types=["pdf"])
    retriever = retriever_for(parts, ["handbook"], user="ann", filters=only)
    answers = answers_for(parts, ["Handbook"], user="ann")
    assert retriever.invoke("leave?") == [] and answers.invoke("leave?")["answer"] == "Thirty days."
    assert recorder.asked == [("leave?", ["Handbook"], only), ("leave?", ["Handbook"], Filters())]
    parts.accounts_store.revoke(made.id, "user", user.id)
    for chain in (retriever, answers):
        with pytest.raises(NotFoundError):
            chain.invoke("leave?")
    recorder.asked.clear()
    parts.__dict__.pop("retriever")
    parts.__dict__.pop("answerer")


def test_answers_stream_and_compose_with_other_runnables() -> None:
    recorder = Recorder()
    answers = AliothAnswers(recorder.answer, lambda: [])
    parts = list(answers.stream({"question": "leave?", "filters": {"types": ["pdf"]}, "history": [("user", "hi")]}))
    assert [part["text"] for part in parts[:-1]] == ["Thirty ", "days."]
    assert parts[-1]["answer"] == "Thirty days." and parts[-1]["filters"] == {"types": ["pdf"]}
    chain = answers | RunnableLambda(lambda answer: answer["answer"].upper())
    assert chain.invoke("leave?") == "THIRTY DAYS."


def test_an_empty_question_is_refused_as_everywhere() -> None:
    with pytest.raises(InputError):
        AliothRetriever(retriever=Recorder(), collections=[]).invoke(" ?! ")
