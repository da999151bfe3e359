"""A company's own words: what is met in a question, what is looked for besides, and that none changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from chat.retrieval.condense import condense
from chat.retrieval.glossary import expand, named_by, stand_ins, tokens_of, widened
from chat.retrieval.retrieve import Retriever
from core.text import segment
from core.types import ChatTurn, Collection, GlossaryTerm
from models.protocols import fingerprint_of

LEAVE = GlossaryTerm("年假", ("annual leave", "带薪休假"))
OKR = GlossaryTerm("OKR", ("objectives and key results", "目标与关键成果"), both_ways=False)


@dataclass
class Terms:
    """A glossary of every collection."""

    known: Sequence[GlossaryTerm]

    def terms(self, collection_ids: Sequence[str]) -> list[GlossaryTerm]:
        return list(self.known)


@pytest.mark.parametrize(
    ("question", "met"),
    [
        ("年假怎么计算？", [("年假", ("annual leave", "带薪休假"))]),
        ("How many days of Annual  Leave?", [("annual  leave", ("年假", "带薪休假"))]),
        ("What are our OKRs?", [("okrs", ("objectives and key results", "目标与关键成果"))]),
        ("What are objectives and key results?", []),
        ("Is OKRA a vegetable? annual leaves of a plan", [("annual leaves", ("年假", "带薪休假"))]),
        (
            "ＯＫＲ与年假",
            [("okr", ("objectives and key results", "目标与关键成果")), ("年假", ("annual leave", "带薪休假"))],
        ),
        ("", []),
    ],
)
def test_words_are_met_whole_whatever_their_case_and_width(
    question: str, met: list[tuple[str, tuple[str, ...]]]
) -> None:
    assert [(one.found, one.others) for one in expand(question, [LEAVE, OKR])] == met


def test_the_longest_word_wins_and_two_sayings_of_one_word_add_up() -> None:
    terms = [GlossaryTerm("云", ("cloud",)), GlossaryTerm("云上大模型", ("LLM",)), GlossaryTerm("云上大模型", ("GPT",))]
    [one] = expand("如何申请云上大模型服务", terms)
    assert one.found == "云上大模型" and one.others == ("LLM", "GPT")


def test_a_chinese_word_of_the_glossary_is_one_word_of_the_question() -> None:
    terms = [GlossaryTerm("天权网关", ("gateway",))]
    question = "如何重启天权网关"
    tokens = tokens_of(question, expand(question, terms))
    assert "天权网关" in tokens and "天权网关" not in segment(question)
    assert tokens_of("重启网关", ()) == segment("重启网关")


def test_without_a_glossary_nothing_is_changed() -> None:
    assert expand("年假 OKR", []) == () and stand_ins(()) == {} and widened("年假", ()) == "年假"


def test_an_answer_text_is_known_by_the_other_word_whole() -> None:
    found = expand("年假", [LEAVE])
    assert named_by("25 days of annual leave", found) and not named_by("leave the room", found)
    assert widened("年假几天", found) == "年假几天 annual leave 带薪休假"


def test_an_exact_word_stands_before_another_word_for_it(
    chunk: Callable[..., Any], collection: Callable[..., Any], fake_store: Callable[..., Any]
) -> None:
    texts = ["申请带薪休假需要提前三天", "申请年假需要提前三天", "申请电脑需要提前三天"]
    store = fake_store([chunk(i, text, path=f"{i}") for i, text in enumerate(texts)])
    plain = Retriever(store, store, store, lambda _: store.embedder)
    with_terms = Retriever(store, store, store, lambda _: store.embedder, glossary=Terms([LEAVE]))
    found = with_terms.retrieve("年假要提前几天申请", [collection()])
    assert [item.chunk.id for item in found.results][:2] == [1, 0]
    assert [one.term for one in found.trace.expansions] == ["年假"]
    empty = Retriever(store, store, store, lambda _: store.embedder, glossary=Terms([]))
    for question in ("年假要提前几天申请", "computer"):
        without, nothing = plain.retrieve(question, [collection()]), empty.retrieve(question, [collection()])
        assert [(i.chunk.id, i.score) for i in without.results] == [(i.chunk.id, i.score) for i in nothing.results]
        assert without.evidence == nothing.evidence
    for retriever in (plain, with_terms, empty):
        retriever.close()


def test_a_question_finds_documents_of_the_other_language_through_the_glossary(
    library: Any, shelf: Mapping[str, Collection]
) -> None:
    parts = library.chunks, library.vectors, library.keyword, lambda _: library.embedder
    plain, known = (
        Retriever(*parts),
        Retriever(*parts, glossary=Terms([LEAVE, GlossaryTerm("净利润", ("net profit",))])),
    )
    question = "How high was the net profit?"
    assert plain.retrieve(question, [shelf["reports"]]).evidence.too_little
    found = known.retrieve(question, [shelf["reports"]])
    assert "净利润为3.5亿元" in found.results[0].chunk.text and not found.evidence.too_little
    back = known.retrieve("年假有多少天？", [shelf["handbook"]])
    assert "annual leave" in back.results[0].chunk.text and not back.evidence.too_little
    plain.close()
    known.close()


def test_a_glossary_of_one_collection_does_not_speak_in_another(library: Any) -> None:
    from storage.glossary import GlossaryStore

    store = GlossaryStore(library.db)
    one, two = (library.collections.create(f"glossary {n}", fingerprint_of(library.embedder, "1")) for n in (1, 2))
    store.put(one.id, [LEAVE])
    retriever = Retriever(library.chunks, library.vectors, library.keyword, lambda _: library.embedder, glossary=store)
    assert retriever.retrieve("年假", [one]).trace.expansions and not retriever.retrieve("年假", [two]).trace.expansions
    retriever.close()


def test_a_short_question_with_a_term_of_its_own_stands_alone_and_a_pointing_one_does_not() -> None:
    history = [ChatTurn("user", "出差住宿标准是多少？"), ChatTurn("assistant", "450元。")]
    assert condense("年假几天", history) != "年假几天"
    assert condense("年假几天", history, terms=[LEAVE]) == "年假几天"
    assert condense("年假呢？", history, terms=[LEAVE]).startswith("出差")
    assert condense("它包括年假吗", history, terms=[LEAVE]) != "它包括年假吗"


def test_of_the_topic_before_the_glossary_words_come_first() -> None:
    many = " ".join(f"word{n}" for n in range(20))
    history = [ChatTurn("user", f"Explain {many} and our OKR process")]
    assert "OKR" not in condense("why is it so?", history)
    assert condense("why is it so?", history, terms=[OKR]).startswith("OKR ")
