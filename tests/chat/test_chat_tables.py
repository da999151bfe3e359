"""Tables in passages: what is a row, what its columns are called, and how a row is told."""

from __future__ import annotations

import pytest

from chat.quoting.tables import tables_of, told
from core.text import segment

PLAN = """Capital plan of the group.

Item | 2018 | 2019 | Owner
Capital expenditure | 41.2 | 57.8 | CFO office
Depreciation | 12.4 | 13.9 | Controller

Figures are in million dollars."""


def test_a_table_is_lines_of_cells_and_its_header_is_no_row() -> None:
    [table] = tables_of(PLAN)
    assert PLAN[table.start : table.end].startswith("Item |")
    assert PLAN[table.start : table.end].endswith("| Controller")
    assert [row.cells[0] for row in table.rows] == ["Capital expenditure", "Depreciation"]
    assert all(row.columns == ("Item", "2018", "2019", "Owner") for row in table.rows)
    assert PLAN[table.rows[0].start : table.rows[0].end] == "Capital expenditure | 41.2 | 57.8 | CFO office"


def test_one_line_with_bars_is_no_table_and_a_blank_line_ends_one() -> None:
    assert tables_of("Press Start | Stop to go on.\nThen wait.") == []
    first, second = tables_of("A | B\n1 | 2\n\nC | D\n3 | 4")
    assert [first.rows[0].columns, second.rows[0].columns] == [("A", "B"), ("C", "D")]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What was the 2019 capital expenditure?", "Item: Capital expenditure | 2019: 57.8"),
        ("Who is the owner of capital expenditure?", "Item: Capital expenditure | Owner: CFO office"),
        ("What about capital expenditure?", "Item: Capital expenditure | 2018: 41.2 | 2019: 57.8 | Owner: CFO office"),
    ],
)
def test_a_row_is_told_with_the_columns_that_are_asked_for(question: str, expected: str) -> None:
    [table] = tables_of(PLAN)
    assert told([table.rows[0]], segment(question)) == [expected]


def test_a_column_under_a_cell_that_spans_several_has_both_names() -> None:
    across = (
        "Machine | Maximum load |  | Interval\nMachine | Indoors | Outdoors | Interval\nF20 | 2 t | 1.6 t | 6 months"
    )
    [table] = tables_of(across)
    [row] = table.rows
    assert row.columns == ("Machine", "Maximum load Indoors", "Maximum load Outdoors", "Interval")
    assert told([row], segment("maximum load outdoors")) == ["Machine: F20 | Maximum load Outdoors: 1.6 t"]
    for first, second in (
        ("Machine | Load | ", " | Indoors | Outdoors"),
        ("Machine | Load", "Machine | Indoors | Outdoors"),
    ):
        [table] = tables_of(f"{first}\n{second}\nF20 | 2 t | 1.6 t")
        assert [row.columns for row in table.rows] == [("Machine", "Load Indoors", "Load Outdoors")]


def test_a_form_of_two_columns_has_no_header_and_a_price_list_has_one() -> None:
    [form] = tables_of("Company | Harrow Pumps\nOffice | Kassel\nDirector | Petra Vogel")
    assert told([form.rows[2]], segment("Who is the director?")) == ["Director: Petra Vogel"]
    assert len(form.rows) == 3
    [prices] = tables_of("Plan | Price\nBasic | $5\nTeam | $12")
    assert [told([row], ["price"]) for row in prices.rows] == [["Plan: Basic | Price: $5"], ["Plan: Team | Price: $12"]]


def test_a_first_line_with_figures_is_a_row_and_rows_without_names_are_told_as_they_stand() -> None:
    [table] = tables_of("Oslo | 12 | north\nRome | 41 | south")
    assert told([table.rows[0]], segment("Oslo")) == ["Oslo | 12 | north"]


def test_rows_told_together_keep_what_tells_them_apart_and_are_told_once() -> None:
    text = "职级 | 城市 | 住宿费上限(元) | 备注\n经理 | 一线 | 700 | 无\n经理 | 其他 | 500 | 无\n经理 | 其他 | 500 | 无"
    [table] = tables_of(text)
    assert told(table.rows, segment("经理的住宿费上限是多少")) == [
        "职级: 经理 | 城市: 一线 | 住宿费上限(元): 700",
        "职级: 经理 | 城市: 其他 | 住宿费上限(元): 500",
    ]


def test_a_running_number_is_not_what_a_row_is_called_and_digits_of_a_figure_are_no_words() -> None:
    [table] = tables_of("No. | Part | Price | Stock\n1 | Wiper | 570.2 | 4\n2 | Lamp | 48.0 | 2,570")
    assert told([table.rows[0]], segment("price of wiper 2")) == ["Part: Wiper | Price: 570.2"]


def test_of_a_long_cell_the_sentence_that_is_asked_for_is_told() -> None:
    long = "The depth of insight is meant. " * 9 + "Judgment is a key element. " + "More follows here. " * 5
    [table] = tables_of(f"Pillar | Meaning | Owner\nAwareness | {long}| Ann\nDrive | Will to act. | Bob")
    assert told([table.rows[0]], segment("meaning of judgment")) == [
        "Pillar: Awareness | Meaning: Judgment is a key element."
    ]


def test_a_table_of_plain_markdown_is_read_too() -> None:
    [table] = tables_of("| Plan | Price | Storage |\n|---|---|---|\n| Basic | $5 | 10 GB |")
    assert [row.cells for row in table.rows] == [("Basic", "$5", "10 GB")]
