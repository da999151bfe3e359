"""Contradictions between documents: found where two passages say one thing differently, and hardly ever elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from chat.verification.contradict import find_contradictions
from core.types import Citation, Locator, ScoredChunk, StoredChunk


@dataclass(frozen=True)
class Case:
    """A question and what two documents say; `title` of each may tell what it is about."""

    question: str
    one: str
    two: str
    expected: tuple[str, str, str] | None = None
    titles: tuple[str, str] = ("", "")


def found(case: Case) -> list[tuple[str, str, str]]:
    results = [
        ScoredChunk(StoredChunk(n, "c", f"d{n}", f"v{n}", 0, f"{n}.md", title, "", text, Locator()), 1.0 / n)
        for n, text, title in ((1, case.one, case.titles[0]), (2, case.two, case.titles[1]))
    ]
    citation = Citation(1, 1, "d1", "v1", "c", "1.md", case.titles[0], Locator(), case.one)
    contradictions, added = find_contradictions(case.question, [citation], results)
    assert [c.document_id for c in added] == ["d2"] * len(added)
    assert {c.second for c in contradictions} <= {c.n for c in added}
    return [(c.first_value, c.second_value, c.kind) for c in contradictions]


TRUE = [
    Case(
        "How many days of annual leave do employees get?",
        "Employees receive 25 days of paid annual leave per year.",
        "Each staff member is entitled to 20 days of annual leave per year.",
        ("25 days", "20 days", "number"),
    ),
    Case("年假有几天？", "员工每年享有15天带薪年假。", "公司员工每年可休带薪年假10天。", ("15天", "10天", "number")),
    Case(
        "When was the company founded?",
        "The company was founded on March 5, 2001.",
        "The company was founded on 7 March 2001.",
        ("March 5, 2001", "7 March 2001", "date"),
    ),
    Case("公司什么时候成立的？", "公司成立于2001年5月。", "公司成立于2003年6月。", ("2001年5月", "2003年6月", "date")),
    Case(
        "What is the hotel limit per night?",
        "The hotel limit is $150 per night.",
        "The hotel limit per night is $180.",
        ("$150", "$180", "number"),
    ),
    Case(
        "报销期限是多少天？",
        "出差报销须在30天内提交。",
        "出差报销应在45天内提交。",
        ("30天", "45天", "number"),
    ),
    Case("违约金比例是多少？", "违约金为合同总额的5%。", "违约金按合同总额的百分之十计算。", ("5%", "10%", "number")),
    Case(
        "注册资本是多少？",
        "公司注册资本为5000万元。",
        "公司注册资本为八千万元人民币。",
        ("5000万元", "8000万元", "number"),
    ),
    Case(
        "How much does the company pay for a hotel in Berlin?",
        "The company pays hotel costs up to 120 euros per night in Berlin.",
        "The company pays hotel costs up to 140 euros per night in Berlin.",
        ("120", "140", "number"),
        titles=("Travel policy 2023", "Travel guide"),
    ),
    Case(
        "年假几天？",
        "员工年假15天。",
        "员工年假20天。",
        ("15天", "20天", "number"),
        titles=("员工手册2023年版", "员工手册"),
    ),
]
FALSE = [
    Case("公司营业收入是多少？", "2020年公司营业收入为30亿元。", "公司营业收入为35亿元。"),
    Case(
        "What was the revenue?",
        "Revenue of the whole group was 30 million.",
        "The revenue came to 35 million after the sale.",
        titles=("Annual report 2020", ""),
    ),
    Case(
        "How many days of leave?",
        "Employees get 10 days of sick leave per year.",
        "Employees get 25 days of annual leave per year.",
    ),
    Case("员工有几天假？", "员工每年享有15天带薪年假。", "员工每年享有10天病假。"),
    Case("What was revenue?", "Revenue was $30 million in 2020.", "Revenue was $35 million in 2021."),
    Case("营业收入是多少？", "2020年，公司营业收入为30亿元。", "2021年，公司营业收入为35亿元。"),
    Case("How much is the deposit?", "The deposit is at least 100 euros.", "The deposit is at most 500 euros."),
    Case("公司营业收入是多少？", "华夏娱乐有限公司营业收入为30亿元。", "蓝天旅游有限公司营业收入为25亿元。"),
    Case("What was the profit?", "Net profit was about 3.5 million.", "Net profit was 3.46 million."),
    Case("年假几天？", "员工年假15天。", "员工年假20天。", titles=("员工手册2023年版", "员工手册2024年版")),
    Case("How long is leave?", "Annual leave is 25 days.", "Annual leave is 20 days.", titles=("Rules v1", "Rules v2")),
    Case(
        "How many days of annual leave?",
        "Employees receive 25 days of paid annual leave per year.",
        "Employees receive twenty-five days of paid annual leave per year.",
    ),
    Case("注册资本是多少？", "公司注册资本为5000万元。", "公司注册资本为五千万元人民币。"),
    Case(
        "What is the fee for pets?",
        "The fee for pets in the cabin is $95.",
        "The fee for pets in the hold is $150.",
    ),
    Case(
        "Who leads the team?",
        "The pump costs 300 euros per month of rent.",
        "The pump costs 400 euros per month of rent.",
    ),
    Case("第一季度收入是多少？", "第一季度收入为30万元。", "第二季度收入为35万元。"),
]


@pytest.mark.parametrize("case", TRUE, ids=lambda case: case.question)
def test_two_values_for_one_thing_are_a_contradiction(case: Case) -> None:
    assert found(case) == [case.expected]


@pytest.mark.parametrize("case", FALSE, ids=lambda case: f"{case.question} {case.two}")
def test_other_kinds_years_bounds_and_roundings_are_none(case: Case) -> None:
    assert found(case) == []


def test_passages_of_one_document_are_not_set_against_each_other(scored: Any) -> None:
    results = scored("Leave is 25 days per year.", "Leave is 20 days per year.", path="one.md")
    chunk = results[0].chunk
    citation = Citation(1, chunk.id, chunk.document_id, chunk.version_id, "c1", "one.md", "", Locator(), chunk.text)
    assert find_contradictions("How many days of leave per year?", [citation], results) == ([], [])


def test_both_sides_that_the_answer_cites_already_get_no_further_citation(scored: Any) -> None:
    results = scored("Annual leave is 25 days per year.", "Annual leave is 20 days per year.")
    citations = [
        Citation(
            n, r.chunk.id, r.chunk.document_id, r.chunk.version_id, "c1", r.chunk.path, "", Locator(), r.chunk.text
        )
        for n, r in enumerate(results, start=1)
    ]
    contradictions, added = find_contradictions("How many days of annual leave per year?", citations, results)
    assert added == []
    assert (contradictions[0].first, contradictions[0].second) == (1, 2)


def test_an_answer_shows_the_contradicting_document_beside_its_own(library: Any, scripted: Any) -> None:
    from chat.answer import Answerer
    from chat.events import Finished
    from core.settings import ChatSettings
    from core.types import AnswerMode
    from models.protocols import fingerprint_of

    made = library.collections.create("contradicting", fingerprint_of(library.embedder, "1"))
    library.add(made, "handbook.md", ["The hotel limit is 150 euros per night. Meals are paid separately."])
    library.add(made, "travel.md", ["The hotel limit is 180 euros per night. Taxis need a receipt."])
    answerer = Answerer(ChatSettings(), library.retriever, library.chunks, scripted("x"))
    question = "What is the hotel limit in euros per night?"
    answer = [e for e in answerer.answer(question, [made], mode=AnswerMode.QUOTE) if isinstance(e, Finished)][-1].answer
    [contradiction] = answer.contradictions
    by_number = {citation.n: citation for citation in answer.citations}
    assert {contradiction.first_value, contradiction.second_value} == {"150", "180"}
    documents = {by_number[contradiction.first].document, by_number[contradiction.second].document}
    assert documents == {"handbook.md", "travel.md"}
    thread = library.conversations.create("someone", [made.id])
    message = library.conversations.add_message(thread.id, "assistant", "", "streaming")
    library.conversations.finish_message(message.id, "complete", answer.text, answer)
    assert library.conversations.message(message.id).answer.contradictions == answer.contradictions
