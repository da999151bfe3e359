"""What a document task found: coverage of a summary, a table of fields, two columns of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from html import escape
from typing import Any

import streamlit as st

from app.tasks import table_csv
from app.web import places, state
from core.text import HAN
from core.types import Answer, Citation

SHOWN_ROWS = 200


def replaces_text(answer: Answer) -> bool:
    """Whether the result is drawn as a table, in place of the answer's text."""
    return answer.task.get("kind") in ("table", "comparison")


def show_result(answer: Answer, visible: Sequence[Citation], message_id: str) -> None:
    """Draw what the task found beside its text. visible: citations of collections that the person may still read."""
    by_number = {citation.n: citation for citation in visible}
    kind = answer.task.get("kind")
    if kind == "summary":
        _coverage(answer.task["coverage"], hidden=len(visible) < len(answer.citations))
    elif kind == "table":
        _table(answer, by_number, message_id)
    elif kind == "comparison":
        _comparison(answer, by_number, message_id)
    elif kind == "translation" and answer.task["parts_done"] < answer.task["parts"]:
        st.caption(state.t("task.parts_done", done=answer.task["parts_done"], total=answer.task["parts"]))


def _coverage(read: Mapping[str, Any], hidden: bool) -> None:
    text = state.t("task.coverage", read=read["chunks_read"], chunks=read["chunks"], documents=read["documents"])
    st.html(f'<div class="al-meta">{escape(text)}</div>')
    if hidden:
        return
    for row in read["pages_without_text"]:
        pages = ", ".join(str(page) for page in row["pages"])
        line = state.t("task.page_without_text", document=row["document"], pages=pages)
        st.html(f'<div class="al-problem">{escape(line)}</div>')
    for path in read["documents_without_text"]:
        st.html(f'<div class="al-problem">{escape(state.t("task.document_without_text", document=path))}</div>')


def _table(answer: Answer, by_number: Mapping[int, Citation], message_id: str) -> None:
    fields = [str(field["name"]) for field in answer.task["fields"]]
    head = "".join(f"<th>{escape(name)}</th>" for name in (state.t("task.document"), *fields))
    rows = []
    for row in answer.task["rows"][:SHOWN_ROWS]:
        cells = [_cell(cell, by_number) for cell in row["cells"]]
        if any(cell and cell["n"] not in by_number for cell in row["cells"]):
            continue  # its collection is not shared with this person any more
        rows.append(f'<tr><td class="al-name">{escape(row["document"])}</td>{"".join(cells)}</tr>')
    st.html(f'<div class="al-scroll"><table class="al-table"><tr>{head}</tr>{"".join(rows)}</table></div>')
    if len(answer.task["rows"]) > SHOWN_ROWS:
        st.caption(state.t("task.more_rows", count=len(answer.task["rows"]) - SHOWN_ROWS))
    if len(by_number) == len(answer.citations):
        st.download_button(
            state.t("task.csv"),
            table_csv(answer).encode("utf-8-sig"),
            file_name="alioth.csv",
            mime="text/csv",
            icon=":material/download:",
            key=f"csv_{message_id}",
        )


def _cell(cell: Mapping[str, Any] | None, by_number: Mapping[int, Citation]) -> str:
    if cell is None:
        return '<td class="al-none">—</td>'
    citation = by_number.get(cell["n"])
    return f"<td>{escape(cell['value'])}{_link(citation) if citation else ''}</td>"


def _link(citation: Citation) -> str:
    """A mark that opens the document at the place."""
    tip = f"{citation.document} · {places.place_text(citation.locator, state.language())}\n{citation.quote[:200]}"
    return (
        f'<a class="al-cite" href="{escape(places.view_url(citation))}" target="_blank" title="{escape(tip)}">'
        f"{citation.n}</a>"
    )


def _comparison(answer: Answer, by_number: Mapping[int, Citation], message_id: str) -> None:
    counts = {kind: count for kind, count in answer.task["counts"].items() if count}
    if not counts:
        st.success(state.t("task.no_difference"), icon=":material/check:")
        return
    chosen = st.pills(
        state.t("task.changes"),
        list(counts),
        default=list(counts),
        selection_mode="multi",
        format_func=lambda kind: f"{state.t(f'task.change_{kind}')} {counts[kind]}",
        label_visibility="collapsed",
        key=f"changes_{message_id}",
    )
    left, right = answer.task["left"]["document"], answer.task["right"]["document"]
    rows = [f"<tr><th>{escape(left)}</th><th>{escape(right)}</th></tr>"]
    shown = 0
    for change in answer.task["changes"]:
        sides = [by_number.get(change[side]) if change[side] else None for side in ("left", "right")]
        if change["kind"] not in (chosen or ()) or not any(sides):
            continue
        shown += 1
        if shown > SHOWN_ROWS:
            break
        rows.append(_change(change, sides[0], sides[1]))
    st.html(f'<div class="al-scroll"><table class="al-table al-compare">{"".join(rows)}</table></div>')
    left_out = sum(counts.values()) - len(answer.task["changes"]) + max(0, shown - SHOWN_ROWS)
    if left_out:
        st.caption(state.t("task.more_rows", count=left_out))


def _change(change: Mapping[str, Any], left: Citation | None, right: Citation | None) -> str:
    kind = change["kind"]
    badge = f'<span class="al-kind al-kind-{kind}">{escape(state.t(f"task.change_{kind}"))}</span>'
    values = "".join(
        f'<span class="al-value">{escape(before or "—")} → {escape(after or "—")}</span>'
        for before, after in change["values"]
    )
    if left and right:
        old, new = marked_sides(left.quote, right.quote)
    else:
        old, new = (escape(side.quote) if side else "" for side in (left, right))
    cells = "".join(
        f"<td>{text}{_link(citation)}{_place(citation)}</td>" if citation else '<td class="al-none">—</td>'
        for text, citation in ((old, left), (new, right))
    )
    return f'<tr class="al-head"><td colspan="2">{badge}{values}</td></tr><tr>{cells}</tr>'


def _place(citation: Citation) -> str:
    place = places.place_text(citation.locator, state.language())
    return f'<div class="al-meta">{escape(place)}</div>' if place else ""


def marked_sides(left: str, right: str) -> tuple[str, str]:
    """Two versions of a sentence as HTML: what only the left has in <del>, what only the right has in <ins>."""
    one, two = _pieces(left), _pieces(right)
    out: tuple[list[str], list[str]] = ([], [])
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        old, new = escape("".join(one[i1:i2])), escape("".join(two[j1:j2]))
        out[0].append(old if tag == "equal" or not old else f"<del>{old}</del>")
        out[1].append(new if tag == "equal" or not new else f"<ins>{new}</ins>")
    return "".join(out[0]), "".join(out[1])


def _pieces(text: str) -> list[str]:
    """Words with the blanks behind them; Han characters one by one, numbers whole."""
    pieces: list[str] = []
    for character in text:
        joins = pieces and character.isalnum() and not HAN.match(character) and pieces[-1][-1].isalnum()
        if joins and not HAN.match(pieces[-1][-1]):
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces
