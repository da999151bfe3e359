"""One question of a set in a dialog: written anew or changed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.web import dialogs, state
from app.web.failures import shown
from storage.quality import MOST_CHARS, QuestionSet, SetQuestion

MOST_LISTED = 2_000
"""Documents up to which they are offered in a list; beyond, their paths are typed."""


def edit(chosen: QuestionSet, question: SetQuestion | None) -> None:
    """The dialog; `question` is None for a new one."""

    @st.dialog(
        state.t("quality.write" if question is None else "quality.edit"), on_dismiss=dialogs.close, width="medium"
    )
    def ask() -> None:
        _form(chosen, question)

    ask()


def _form(chosen: QuestionSet, question: SetQuestion | None) -> None:
    data: dict[str, Any] = dict(question.data) if question else {}
    text = st.text_area(
        state.t("quality.question"), question.question if question else "", max_chars=MOST_CHARS, key="q_text"
    )
    unanswerable = st.checkbox(state.t("quality.unanswerable"), bool(data.get("unanswerable")), key="q_unanswerable")
    gold: list[str] = []
    answers = evidence = ""
    if not unanswerable:
        gold = _documents(chosen, list(data.get("gold_doc_ids", ())))
        answers = st.text_area(state.t("quality.answers"), _lines(data.get("answers")), key="q_answers", height=90)
        evidence = st.text_area(
            state.t("quality.evidence"),
            _lines(data.get("evidence")),
            help=state.t("quality.evidence_help"),
            key="q_evidence",
            height=90,
        )
    note = st.text_input(state.t("quality.note"), question.note if question else "", max_chars=1000, key="q_note")
    with st.container(horizontal=True):
        if st.button(state.t("page.save"), type="primary", key="q_save"):
            with shown():
                row = {
                    **{key: value for key, value in data.items() if key in ("history", "scope", "expect")},
                    "question": text,
                    "gold_doc_ids": gold,
                    "answers": _answers(answers),
                    "evidence": [line.strip() for line in evidence.splitlines() if line.strip()],
                    "unanswerable": unanswerable,
                }
                _save(chosen, question, row, note)
        if question is not None and st.button(state.t("page.delete"), icon=":material/delete:", key="q_delete"):
            with shown():
                state.alioth().quality.remove(state.principal(), chosen.id, [question.qid])
                dialogs.close()
                st.rerun()


def _save(chosen: QuestionSet, question: SetQuestion | None, row: dict[str, Any], note: str) -> None:
    from evals.question_sets import of_row

    if question is not None:
        row["qid"] = question.qid
    made = of_row(row, state.t("quality.question"), "written" if question is None else question.origin)
    written = SetQuestion(made.qid, made.question, made.data, made.origin, note.strip())
    state.alioth().quality.put(state.principal(), chosen.id, [written])
    dialogs.close()
    st.rerun()


def _documents(chosen: QuestionSet, gold: list[str]) -> list[str]:
    documents = state.alioth().documents
    if documents.count(chosen.collection_id) > MOST_LISTED:
        typed = st.text_area(state.t("quality.documents"), "\n".join(gold), key="q_documents_typed", height=90)
        return [line.strip() for line in typed.splitlines() if line.strip()]
    paths = documents.paths(chosen.collection_id)
    gone = [path for path in gold if path not in paths]
    return st.multiselect(state.t("quality.documents"), [*paths, *gone], default=gold, key="q_documents")


def _lines(values: Any) -> str:
    """One answer a line; strings that must all appear are joined by ` && `."""
    joined = (" && ".join(one) if isinstance(one, list) else str(one) for one in values or ())
    return "\n".join(" ".join(one.split()) for one in joined)


def _answers(text: str) -> list[Any]:
    found: list[Any] = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("&&") if part.strip()]
        if parts:
            found.append(parts[0] if len(parts) == 1 else parts)
    return found
