"""Whose figure, whose name, which way round: a sentence beside the one of its source that says nearly the same."""

from __future__ import annotations

import pytest

from chat.verification.verify import problem_of

ZH = (
    "创新科技有限公司2020年度报告\n"
    "2020年，公司营业收入为5000万元，净利润为800万元，总资产为20000万元，总负债为9000万元。"
    "2019年3月，公司与云帆软件有限公司签订了合作协议。2020年10月，公司投资8000万元建设新厂房，厂房面积超过3000平方米。"
    "所有员工每年应当参加一次安全培训，部门经理可以批准三天以内的假期。"
    "本年度员工流失率由12%降至7%，市场份额增加了5个百分点。"
)
EN = (
    "Northwind Ltd. annual report 2021\n"
    "In March 2021, Northwind acquired Halden for $40 million to enter the packaging market. "
    "In October 2021, the company sold its shipping unit to Corvus for $15 million. "
    "Domestic orders arrive within 14 days, while orders from abroad arrive within 21 days. "
    "All employees must report incidents before the end of the shift, and managers may approve up to 3 days of leave. "
    "Revenue increased from $310 million in 2020 to $365 million in 2021, and the margin rose by 2 percentage points. "
    "The board approved the dividend after the audit of the accounts."
)


@pytest.mark.parametrize(
    "sentence",
    [
        "2020年，公司营业收入为5000万元，净利润为800万元。",
        "净利润为800万元，总资产为20000万元。",
        "2020年10月，公司投资8000万元建设新厂房。",
        "所有员工每年应当参加一次安全培训。",
        "员工流失率由12%降至7%。",
        "公司与云帆软件有限公司于2019年3月签订了合作协议。",
        "厂房面积超过3000平方米。",
    ],
)
def test_what_a_chinese_source_says_passes(sentence: str) -> None:
    assert problem_of(sentence, [ZH]) == ""


@pytest.mark.parametrize(
    "sentence",
    [
        "公司营业收入为800万元，净利润为5000万元。",
        "净利润为9000万元，总资产为20000万元。",
        "2019年3月，公司投资8000万元建设新厂房。",
        "部分员工每年应当参加一次安全培训。",
        "所有员工每年可以参加一次安全培训。",
        "员工流失率由7%降至12%。",
        "本年度员工流失率由12%升至7%。",
        "市场份额增加了5%。",
        "厂房面积不足3000平方米。",
        "从2020年10月至2019年3月，公司建设了新厂房。",
    ],
)
def test_a_chinese_sentence_that_its_own_passage_contradicts_is_caught(sentence: str) -> None:
    assert problem_of(sentence, [ZH])


@pytest.mark.parametrize(
    "sentence",
    [
        "In March 2021, Northwind acquired Halden for $40 million.",
        "Northwind bought Halden to enter the packaging market.",
        "Orders from abroad arrive within 21 days.",
        "All employees must report incidents before the end of the shift.",
        "Managers may approve up to 3 days of leave.",
        "Revenue increased from $310 million in 2020 to $365 million in 2021.",
        "After the audit of the accounts, the board approved the dividend.",
    ],
)
def test_what_an_english_source_says_passes(sentence: str) -> None:
    assert problem_of(sentence, [EN]) == ""


@pytest.mark.parametrize(
    "sentence",
    [
        "In March 2021, Halden acquired Northwind for $40 million to enter the packaging market.",
        "In March 2021, Northwind acquired Corvus for $40 million to enter the packaging market.",
        "In March 2021, Northwind acquired Halden for $15 million to enter the packaging market.",
        "In October 2021, Northwind acquired Halden for $40 million to enter the packaging market.",
        "Domestic orders arrive within 21 days, while orders from abroad arrive within 14 days.",
        "Some employees must report incidents before the end of the shift.",
        "All employees may report incidents before the end of the shift.",
        "All employees must report incidents after the end of the shift.",
        "Managers may approve at least 3 days of leave.",
        "Revenue decreased from $310 million in 2020 to $365 million in 2021.",
        "Revenue increased from $365 million in 2020 to $310 million in 2021.",
        "The margin rose by 2%.",
        "Employees hardly report incidents before the end of the shift.",
    ],
)
def test_an_english_sentence_that_its_own_passage_contradicts_is_caught(sentence: str) -> None:
    assert problem_of(sentence, [EN])


def test_a_figure_of_one_source_is_not_lent_to_whom_another_names() -> None:
    first = "Northwind\nNorthwind reported operating income of $50 million in its filing."
    second = "Corvus\nCorvus closed two plants in Ohio and had operating income of $90 million."
    assert problem_of("Northwind reported operating income of $50 million.", [first, second]) == ""
    assert problem_of("Northwind reported operating income of $90 million.", [first, second])


def test_members_of_a_list_may_stand_in_any_order() -> None:
    source = "The plant makes valves, pumps and seals for Halden, Corvus and Northwind."
    assert problem_of("The plant makes valves, pumps and seals for Northwind, Halden and Corvus.", [source]) == ""
    assert problem_of("工厂位于上海、北京和广州。", ["该工厂位于北京、上海和广州。"]) == ""


def test_a_name_said_more_fully_is_no_other_name() -> None:
    source = "The Brake Warning Indicator shows that the fluid is low."
    assert problem_of("The Brake Warning Indicator of the car shows that the fluid is low.", [source]) == ""
