"""Runs on the quality page: those under way with their progress, those done with their figures and questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.web import state
from app.web.failures import shown
from app.web.render import label
from core.types import Collection, Principal
from evals.figures import KINDS
from storage.quality_runs import OPEN, Run

POLL_S = 1.0
FIGURES = {
    "mrr@10": "figure.mrr",
    "ndcg@10": "figure.ndcg",
    "hit@1": "figure.hit_one",
    "hit@5": "figure.hit_five",
    "hit@10": "figure.hit_ten",
    "recall@10": "figure.recall",
    "evidence@5": "figure.evidence_five",
    "evidence@10": "figure.evidence_ten",
    "token_f1": "figure.token_f",
    "contains": "figure.contains",
    "rouge_l": "figure.rouge",
    "bleu": "figure.bleu",
    "citation_precision": "figure.citation_precision",
    "citation_recall": "figure.citation_recall",
    "refusal_recall": "figure.refusal_recall",
    "refusal_false_rate": "figure.refusal_false",
    "unsupported_rate": "figure.unsupported",
    "seconds_per_question": "figure.seconds",
    "seconds_per_answer": "figure.seconds",
}
STATES = {
    "queued": "quality.state_queued",
    "running": "quality.state_running",
    "done": "quality.state_done",
    "failed": "quality.state_failed",
    "cancelled": "quality.state_cancelled",
}
KIND_NAMES = {"retrieval": "quality.kind_retrieval", "answers": "quality.kind_answers"}


def figure_name(name: str) -> str:
    """A figure in words, with its technical name."""
    return f"{state.t(FIGURES[name])} ({name})"


def run_title(run: Run) -> str:
    """A run in one line."""
    stamp = f"{run.created_at.astimezone():%Y-%m-%d %H:%M}"
    return f"{run.name} · {state.t(KIND_NAMES[run.kind])} · {run.set_name} · {stamp}"


def show(collection: Collection, who: Principal) -> None:
    """The runs of one collection, and the chosen one."""
    runs = state.alioth().quality.runs(who, collection.id)
    if not runs:
        st.info(state.t("quality.no_run"), icon=":material/monitoring:")
        return
    under_way = [run.id for run in runs if run.state in OPEN]
    if under_way:
        _follow(collection.id, under_way)
    by_id = {run.id: run for run in runs if run.state not in OPEN}
    if not by_id:
        return
    chosen = st.selectbox(
        state.t("quality.run"),
        list(by_id),
        format_func=lambda key: run_title(by_id[key]),
        key=f"quality_run_{collection.id}",
    )
    if chosen in by_id:
        _show(by_id[chosen], who)


@st.fragment(run_every=POLL_S)
def _follow(collection_id: str, before: list[str]) -> None:
    """A line per run under way; the whole page runs again when one has ended."""
    lab, who = state.alioth().quality, state.principal()
    with shown():
        runs = [run for run in lab.runs(who, collection_id) if run.state in OPEN]
        if {run.id for run in runs} != set(before):
            st.rerun()
        for run in runs:
            with st.container(horizontal=True, vertical_alignment="bottom", gap="small", wrap=False):
                words = state.t(STATES[run.state]) + f" · {run.done} / {run.total}"
                st.progress(run.done / max(1, run.total), text=f"{label(run.name)} — {words}")
                stop = state.t("chat.stop")
                if st.button(" ", icon=":material/close:", type="tertiary", key=f"stop_run_{run.id}", help=stop):
                    lab.cancel(who, run.id)
                    st.rerun()


def _show(run: Run, who: Principal) -> None:
    lab = state.alioth().quality
    with st.container(horizontal=True, vertical_alignment="center"):
        colour = {"done": "green", "failed": "red"}.get(run.state, "gray")
        st.badge(state.t(STATES[run.state]), color=colour)  # type: ignore[arg-type]
        st.markdown(f"{state.t('quality.questions')}: {run.done} / {run.total}", width="stretch")
        with st.popover(state.t("page.delete"), icon=":material/delete:"):
            st.write(state.t("quality.delete_run"))
            if st.button(state.t("page.delete"), type="primary", key=f"delete_run_{run.id}"):
                with shown():
                    lab.delete_run(state.principal(), run.id)
                    st.rerun()
    if run.error:
        st.error(label(run.error), icon=":material/error:")
    rows = lab.rows(who, run.id)
    results = [result for _, result in rows if result]
    if results:
        _figures(run, results)
        _questions(run, results)
    with st.expander(state.t("quality.measured"), icon=":material/info:"):
        st.json({"settings": dict(run.settings), **run.facts}, expanded=2)


def _figures(run: Run, results: list[dict[str, Any]]) -> None:
    figures = [(one, one.of(results)) for one in KINDS[run.kind]]
    known = [(one, value) for one, value in figures if value is not None]
    columns = st.columns(4)
    for place, (one, value) in enumerate(known[:4]):
        columns[place].metric(state.t(FIGURES[one.name]), f"{value:.3f}", help=one.name, border=True)
    shares = [(state.t(FIGURES[one.name]), value) for one, value in known if one.gated]
    data = {"figure": [name for name, _ in shares], "value": [value for _, value in shares]}
    size = 60 + 34 * len(shares)
    st.bar_chart(
        data, x="figure", y="value", x_label="", y_label="", horizontal=True, height=size, color="#17507f", sort=False
    )
    st.caption(" · ".join(f"{state.t(FIGURES[one.name])} {value:.3f}" for one, value in known))


def _questions(run: Run, results: list[dict[str, Any]]) -> None:
    """A table of the questions with the figures of each, for sorting."""
    st.subheader(state.t("quality.questions"))
    shown_figures = [one for one in KINDS[run.kind] if one.of(results) is not None]
    table = []
    for result in results:
        row: dict[str, Any] = {state.t("quality.question"): result.get("question", "")}
        for one in shown_figures:
            part = one.part(result)
            row[one.name] = None if part is None else round(part[0] / part[1], 3)
        row[state.t("quality.found")] = _found(result)
        table.append(row)
    st.dataframe(table, hide_index=True, height=min(460, 40 + 35 * len(table)), width="stretch")


def _found(result: Mapping[str, Any]) -> str:
    """What came of a question: the answer, the first documents, or the error."""
    if result.get("error"):
        return str(result["error"])
    if "answer" in result:
        return str(result["answer"])
    return ", ".join(map(str, result.get("documents", [])[:3]))
