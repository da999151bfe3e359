"""Real office files with tables and lists, read in by the product: what a quoted answer shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chat.events import Finished
from core.settings import Settings
from core.types import Answer, AnswerMode, Verdict

if TYPE_CHECKING:
    from tests.app.cli_driver import CommandLine

HTML = """<html><head><meta charset="utf-8"><title>设备维护规程</title></head><body><h1>设备维护规程</h1>
<table><tr><th rowspan="2">设备名称</th><th colspan="2">保养周期</th><th rowspan="2">责任人</th></tr>
<tr><th>日常保养</th><th>年度大修</th></tr><tr><td>空压机</td><td>每周一次</td><td>每年3月</td><td>王建国</td></tr>
<tr><td>冷却塔</td><td>每两周一次</td><td>每年4月</td><td>李秀英</td></tr></table>
<h2>停机条件</h2><p>出现下列情形之一的，必须立即停机：</p>
<ul><li>轴承温度超过85℃</li><li>润滑油压力低于0.1MPa</li><li>出现异常振动或冒烟</li></ul>
<p>停机后应在30分钟内通知设备部。</p></body></html>"""
PLANS = """# Service plans

| Plan | Price | Storage | Data retention |
|------|-------|---------|----------------|
| Basic | $5 | 10 GB | 30 days |
| Enterprise | $29 | 1 TB | 365 days |

## Cancellation

To cancel a subscription, follow these steps:

1. Open the billing page.
2. Choose "Cancel plan".
3. Confirm the link in the mail.
"""


def _write(folder: Path) -> None:
    import docx
    import openpyxl

    folder.mkdir()
    (folder / "设备.html").write_text(HTML, encoding="utf-8")
    (folder / "plans.md").write_text(PLANS, encoding="utf-8")
    names = [f"Supplier {n:03d} {('Aldgate', 'Brook', 'Corvid')[n % 3]},{30 + n} days" for n in range(1, 61)]
    (folder / "suppliers.csv").write_text("Supplier,Payment term,Buyer\n" + "".join(f"{n},Ann\n" for n in names))
    book: Any = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "差旅标准"
    sheet.append(["职级", "城市类别", "住宿费上限(元/晚)", "餐补(元/天)"])
    for row in (
        ["总监及以上", "一线城市", 1200, 200],
        ["总监及以上", "其他城市", 900, 160],
        ["经理", "一线城市", 700, 150],
    ):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    book.save(folder / "差旅标准.xlsx")
    paper: Any = docx.Document()
    paper.add_heading("Lifting equipment", 1)
    table = paper.add_table(rows=2, cols=3)
    table.rows[0].cells[0].merge(table.rows[1].cells[0]).text = "Machine"
    table.rows[0].cells[1].merge(table.rows[0].cells[2]).text = "Maximum load"
    table.rows[1].cells[1].text, table.rows[1].cells[2].text = "Indoors", "Outdoors"
    for line in (["Forklift F20", "2,000 kg", "1,600 kg"], ["Pallet jack P5", "500 kg", "450 kg"]):
        for cell, text in zip(table.add_row().cells, line, strict=True):
            cell.text = text
    paper.save(folder / "warehouse.docx")


@pytest.fixture(scope="module")
def ask(alioth: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Answer]]:
    from app.wiring import Alioth

    folder = tmp_path_factory.mktemp("tables") / "files"
    _write(folder)
    alioth.ok("collection", "create", "tables")
    alioth.ok("ingest", "add", folder, "--collection", "tables")
    product = Alioth(Settings(home=alioth.home))
    collection = product.collections.get("tables")

    def answered(question: str) -> Answer:
        for event in product.answerer.answer(question, [collection], mode=AnswerMode.QUOTE):
            if isinstance(event, Finished):
                return event.answer
        raise AssertionError("an answer ends with Finished")

    yield answered
    product.close()


@pytest.mark.parametrize(
    ("question", "document", "first"),
    [
        (
            "经理出差到一线城市，住宿费上限是多少？",
            "差旅标准.xlsx",
            "职级: 经理 | 城市类别: 一线城市 | 住宿费上限(元/晚): 700 [1]",
        ),
        (
            "总监在其他城市的住宿费上限是多少？",
            "差旅标准.xlsx",
            "职级: 总监及以上 | 城市类别: 其他城市 | 住宿费上限(元/晚): 900 [1]",
        ),
        ("冷却塔的年度大修在什么时候？", "设备.html", "设备名称: 冷却塔 | 保养周期 年度大修: 每年4月 [1]"),
        (
            "What is the maximum load of the forklift outdoors?",
            "warehouse.docx",
            "Machine: Forklift F20 | Maximum load Outdoors: 1,600 kg [1]",
        ),
        (
            "How long is data retention on the Enterprise plan?",
            "plans.md",
            "Plan: Enterprise | Data retention: 365 days [1]",
        ),
        (
            "What is the payment term of Supplier 044 Corvid?",
            "suppliers.csv",
            "Supplier: Supplier 044 Corvid | Payment term: 74 days [1]",
        ),
    ],
)
def test_the_row_and_the_column_that_are_asked_for(
    question: str, document: str, first: str, ask: Callable[[str], Answer]
) -> None:
    answer = ask(question)
    assert answer.text.split("\n")[0] == first
    assert answer.citations[0].document.endswith(document)
    assert {check.verdict for check in answer.verification} == {Verdict.SUPPORTED}


@pytest.mark.parametrize(
    ("question", "all_of"),
    [
        ("哪些情形必须立即停机？", ["必须立即停机：", "轴承温度", "润滑油压力", "冒烟"]),
        ("How do I cancel a subscription?", ["follow these steps:", "Open the billing page", "Confirm the link"]),
        ("差旅住宿费的上限是多少？", ["1200", "900", "700"]),
    ],
)
def test_a_list_or_a_table_that_is_asked_for_as_a_whole(
    question: str, all_of: list[str], ask: Callable[[str], Answer]
) -> None:
    answer = ask(question)
    assert all(part in answer.text for part in all_of)
    assert "30分钟" not in answer.text
