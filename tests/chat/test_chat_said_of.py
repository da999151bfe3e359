"""What a word or a name is said of: opposites, names in other places, values that contradict the sentence."""

from __future__ import annotations

# ruff: noqa: E501  samples are read in one line
import pytest

from chat.verification.beside import beside_problem
from chat.verification.bound import bound_problem
from chat.verification.comparison import comparison_problem
from chat.verification.places import parts_of
from chat.verification.roles import apart_problem, role_problem
from chat.verification.verify import problem_of

PLANT = (
    "Norton Mills\nIn May 2021 the mill replaced its boilers, a measure that lowered fuel consumption. The new filters improved "
    "air quality. Operators must report leaks. Several regional suppliers delivered parts. The mill employs more than 340 people."
)
HAN = "北川纺织有限公司\n2021年5月，公司更换锅炉，降低了燃料消耗，提升了产品质量。全部供应商交付了零件。工人应当报告泄漏。仓库存放超过340件货物。"


@pytest.mark.parametrize(
    ("source", "true", "false"),
    [
        (PLANT, "New boilers reduced fuel consumption.", "New boilers increased fuel consumption."),
        (PLANT, "Air quality was improved.", "The filters worsened air quality."),
        (PLANT, "Operators have to report leaks.", "Operators may report leaks."),
        (PLANT, "A number of regional suppliers sent parts.", "All regional suppliers sent parts."),
        (PLANT, "It has over 340 people.", "It has under 340 people."),
        (HAN, "锅炉的更换减少了燃料消耗。", "锅炉的更换增加了燃料消耗。"),
        (HAN, "这些措施提高了产品质量。", "这些措施降低了产品质量。"),
        (HAN, "零件由所有供应商交付。", "零件由部分供应商交付。"),
        (HAN, "仓库有多于340件货物。", "仓库有不足340件货物。"),
    ],
)
def test_a_word_is_wrong_where_the_source_says_its_opposite_of_the_same(source: str, true: str, false: str) -> None:
    texts = [part.text for part in parts_of([source])]
    assert bound_problem(true, texts) == ""
    assert bound_problem(false, texts)


def test_one_place_with_the_word_itself_clears_it() -> None:
    assert bound_problem("Costs rose.", ["Costs fell in May.", "In June costs rose again."]) == ""
    assert bound_problem("成本上升。", ["五月成本下降。", "六月成本上升。"]) == ""


def test_what_is_denied_is_no_statement_of_its_opposite() -> None:
    assert bound_problem("The plan reduced staff costs.", ["The plan did not increase staff costs."]) == ""
    assert bound_problem("该计划减少了人员开支。", ["该计划没有增加人员开支。"]) == ""


@pytest.mark.parametrize(
    ("true", "false"),
    [
        (
            "Alpha had a higher profit of $9 million compared to Beta's $4 million.",
            "Alpha had a lower profit of $9 million compared to Beta's $4 million.",
        ),
        ("Alpha opened earlier, in May 2019, while Beta opened in June 2020.", "Alpha opened later, in May 2019, while Beta opened in June 2020."),
        ("Sales rose from 5% to 7%.", "Sales fell from 5% to 7%."),
        ("甲公司的利润更高，为9亿元，而乙公司为4亿元。", "甲公司的利润更低，为9亿元，而乙公司为4亿元。"),
        ("甲公司的利润为9亿元，高于乙公司的4亿元。", "甲公司的利润为9亿元，低于乙公司的4亿元。"),
        ("利润从5%增长到7%。", "利润从5%下降到7%。"),
    ],
)  # fmt: skip
def test_a_comparison_must_fit_the_two_values_it_compares(true: str, false: str) -> None:
    assert comparison_problem(true) == ""
    assert comparison_problem(false)


@pytest.mark.parametrize(
    "sentence",
    [
        "Compared to Beta's $4 million, Alpha had a higher profit of $9 million.",
        "In 2019 the profit of $4 million was higher than planned.",
        "2017年甲公司的利润更高，为9亿元，而2018年乙公司为4亿元。",
        "The loss is higher than in 2018: $3 million, $4 million and $5 million.",
    ],
)
def test_what_compares_no_two_values_of_its_own_is_left_alone(sentence: str) -> None:
    assert comparison_problem(sentence) == ""


def test_names_stand_beside_each_other_as_in_the_source() -> None:
    source = "The Board of Directors met at Upton, Danbury. James Thompson bought pens by Gucci, Lamy, and Pilot. The Yorktown Bank lent it."
    for true in (
        "The Board of Directors met.",
        "It met in Upton, Danbury.",
        "J. Thompson met them.",
        "Pens by Pilot, Lamy, and Gucci.",
    ):
        assert beside_problem(true, source) == ""
    for false in ("The Directors of Board met.", "It met in Danbury, Upton.", "So James Bank met them."):
        assert beside_problem(false, source)


def test_who_is_bought_does_not_buy() -> None:
    parts = parts_of(
        ["Kestrel Works\nIn May the company acquired Heron Tools. It opened a shop in Leeds and hired forty people."]
    )
    assert role_problem("Kestrel Works acquired Heron Tools.", parts) == ""
    assert role_problem("Heron Tools was acquired in May.", parts) == ""
    assert role_problem("Heron Tools acquired Kestrel Works.", parts)
    assert role_problem("Heron Tools opened a shop in Leeds and hired forty people.", parts)
    han = parts_of(
        ["红岭能源有限公司\n五月，公司完成了对青峰科技有限公司的股权收购。公司在成都开设门店并招聘四十名员工。"]
    )
    assert role_problem("红岭能源有限公司在成都开设门店并招聘员工。", han) == ""
    assert role_problem("青峰科技有限公司在成都开设门店并招聘员工。", han)


def test_names_of_different_sources_are_not_told_of_one_thing() -> None:
    texts = {
        0: "Upton Court sentenced Ann Miller to two years.",
        1: "Danbury Court sentenced Paul Stone to three years.",
    }
    assert apart_problem("The judgment of Upton Court is about the defendant Ann Miller.", texts) == ""
    assert apart_problem("Upton Court sentenced Ann Miller, while Danbury Court sentenced Paul Stone.", texts) == ""
    assert apart_problem("The judgment of Danbury Court is about the defendant Ann Miller.", texts)


def test_another_name_is_found_though_it_is_long() -> None:
    source = "Acme Ltd\nIn June the firm took thirty percent of Data Analytics Group. The fair in Silicon Valley was held in May."
    said = "The firm took thirty percent of {} in June."
    assert problem_of(said.format("Data Analytics Group"), [source]) == ""
    assert problem_of(said.format("Silicon Valley"), [source])


def test_a_clause_of_which_the_source_has_no_word_is_told() -> None:
    assert problem_of("Operators must report leaks, and penguins audit distant volcanoes.", [PLANT])
    assert problem_of("工人应当报告泄漏，企鹅审计遥远火山。", [HAN])
