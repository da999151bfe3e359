"""How quotes of tables and lists look on the chat page."""

from __future__ import annotations

from app.web.render import answer_html


def test_rows_and_items_are_lists_with_their_citation() -> None:
    rows = answer_html("- 职级: 经理 | 上限: 700\n- 职级: 总监 | 上限: 900 [1]", (), {1: "差旅标准.xlsx"})
    assert rows.count("<li>") == 2 and rows.count("<ul>") == 1
    assert "职级: 经理 | 上限: 700" in rows and 'title="差旅标准.xlsx"' in rows
    steps = answer_html("Follow these steps:\n\n1. Open the page.\n2. Confirm. [1]", (), {1: "plans.md"})
    assert "<p>Follow these steps:</p>" in steps and steps.count("<li>") == 2
    item = answer_html("必须停机：\n- 压力低于0.1MPa [1]", (), {1: "规程.html"})
    assert "<p>必须停机：</p><ul><li>压力低于0.1MPa" in item
