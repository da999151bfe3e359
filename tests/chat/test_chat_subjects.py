"""Organisations and people that a question names, and whether texts name them at all."""

from __future__ import annotations

import pytest

from chat.retrieval.refuse import refusal_text, weigh
from chat.retrieval.subjects import subjects_of, unnamed
from core.text import segment
from core.types import Locator, ScoredChunk, StoredChunk


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("根据喜乐娱乐集团2017年7月的公告，谁离任？", ["喜乐娱乐集团"]),
        ("根据薄雾市樟树区人民法院的判决书，谈某的职业是什么？", ["谈某", "薄雾市樟树区人民法院"]),
        ("比较拓远科技有限公司与盛达能源有限公司的总负债", ["拓远科技有限公司", "盛达能源有限公司"]),
        ("公司2018年度公司治理报告说了什么？", []),
        ("某公司可以解除合同吗？", []),
        ("甲公司解散，乙公司怎么办？", []),
        ("年假有几天？", []),
        ("How did Hudson Consumer Goods Co. do in 2017?", ["Hudson Consumer Goods Co."]),
        ("What is J. Hill's sentence according to the Court Judgment?", ["J. Hill"]),
        ("Compare Acme Government Solutions and EduCorp. Which grew?", ["Acme Government Solutions"]),
        ("Based on InnovateTech, Inc.'s 2019 Corporate Governance Report, who left?", ["InnovateTech, Inc."]),
        ("What does the Talent Assessment Program do?", ["Talent Assessment Program"]),
        ("Who may take annual leave?", []),
        ("Which Monday is free?", []),
    ],
)
def test_names_of_organisations_and_people_are_found_and_common_words_are_not(
    question: str, expected: list[str]
) -> None:
    assert sorted(subjects_of(question)) == sorted(expected)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("拓远科技有限公司", "拓远2021年的营业收入增长。"),
        ("喜乐娱乐集团", "喜 乐 娱 乐 集团有限公司年度报告"),
        ("谈某", "被告人谈某，男，无业。"),
        ("Hudson Consumer Goods Co.", "HUDSON reported higher sales."),
        ("J. Hill", "the defendant Hill was seen"),
        ("Ｈｕｄｓｏｎ Consumer", "hudson consumer"),
    ],
)
def test_a_name_counts_as_named_also_in_its_short_form(subject: str, text: str) -> None:
    assert unnamed([subject], [text, "其他内容 other words"]) == ()


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("旅游乐园有限公司", "公司从事旅游业务。"),
        ("喜乐娱乐集团", "天空娱乐集团年度报告"),
        ("谈某", "被告人贝某某"),
        ("Hudson Consumer Goods Co.", "Stellar sells consumer goods."),
        ("J. Hill", "the uphill road of J. Torres"),
    ],
)
def test_a_name_that_stands_nowhere_is_unnamed(subject: str, text: str) -> None:
    assert unnamed([subject], [text]) == (subject,)


def test_a_question_about_someone_nobody_names_is_refused_however_well_the_words_fit() -> None:
    text = "根据天空航空有限公司2017年的公司治理报告，公司修订了治理政策，并召开了股东大会。"
    ranked = [ScoredChunk(StoredChunk(1, "c", "d", "v", 0, "报告.md", "", "", text, Locator()), 1.0)]

    def refused(question: str) -> bool:
        return weigh(segment(question), ranked, None, subjects=subjects_of(question)).too_little

    assert not refused("根据天空航空有限公司2017年的公司治理报告，公司如何修订治理政策？")
    assert refused("根据喜乐娱乐集团2017年的公司治理报告，公司如何修订治理政策？")


def test_the_refusal_says_who_is_not_mentioned() -> None:
    assert "其中没有提到喜乐娱乐集团。" in refusal_text("zh", ["a.md"], ["喜乐娱乐集团"])
    assert "they do not mention Hudson Co." in refusal_text("en", [], ["Hudson Co"])
