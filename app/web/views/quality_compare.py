"""Two runs side by side on the quality page: what differs for certain, and on which questions."""

from __future__ import annotations

import streamlit as st

from app.web import state
from app.web.render import label
from app.web.views.quality_runs import FIGURES, figure_name, run_title
from core.errors import AliothError
from core.types import Collection, Principal
from evals.compare import Change, Comparison, headline
from evals.figures import KINDS

SHOWN = 50
VERDICTS = {
    "better": ("quality.verdict_better", "🟢"),
    "worse": ("quality.verdict_worse", "🔴"),
    "same": ("quality.verdict_same", "⚪"),
    "unclear": ("quality.verdict_unclear", "⚪"),
    "few": ("quality.verdict_few", "⚪"),
}


def show(collection: Collection, who: Principal) -> None:
    """Choose two runs of one kind and see how they differ."""
    from app.web.failures import show as show_error

    lab = state.alioth().quality
    runs = {run.id: run for run in lab.runs(who, collection.id) if run.state == "done"}
    if len(runs) < 2:
        st.info(state.t("quality.two_runs"), icon=":material/compare_arrows:")
        return
    left, right = st.columns(2)
    with right:
        second = st.selectbox(
            state.t("quality.run_after"), list(runs), format_func=lambda key: run_title(runs[key]), key="quality_b"
        )
    others = [key for key, run in runs.items() if second and key != second and run.kind == runs[second].kind]
    with left:
        first = st.selectbox(
            state.t("quality.run_before"), others, format_func=lambda key: run_title(runs[key]), key="quality_a"
        )
    if not first or not second:
        st.info(state.t("quality.two_runs"), icon=":material/compare_arrows:")
        return
    try:
        comparison = lab.compare(who, first, second)
    except AliothError as error:
        show_error(error)
        return
    _verdict(comparison)
    _differences(comparison)
    _changes(comparison)


def _verdict(comparison: Comparison) -> None:
    worse, better = comparison.worse(), [one for one in comparison.differences if one.verdict == "better" and one.gated]
    if worse:
        names = ", ".join(state.t(FIGURES[one.figure]) for one in worse)
        st.error(state.t("quality.says_worse", names=names), icon=":material/trending_down:")
    if better:
        names = ", ".join(state.t(FIGURES[one.figure]) for one in better)
        st.success(state.t("quality.says_better", names=names), icon=":material/trending_up:")
    if not worse and not better:
        st.info(state.t("quality.says_same"), icon=":material/trending_flat:")


def _differences(comparison: Comparison) -> None:
    rows = []
    for one in comparison.differences:
        key, mark = VERDICTS[one.verdict]
        rows.append(
            {
                state.t("quality.figure"): figure_name(one.figure),
                state.t("quality.before"): f"{one.first:.3f}",
                state.t("quality.after"): f"{one.second:.3f}",
                state.t("quality.difference"): f"{one.delta:+.3f}",
                state.t("quality.interval"): f"{one.low:+.3f} … {one.high:+.3f}",
                state.t("quality.verdict"): f"{mark} {state.t(key)}",
            }
        )
    st.dataframe(rows, hide_index=True, width="stretch")
    st.caption(state.t("quality.compared", pairs=comparison.pairs, left=comparison.left_out))


def _changes(comparison: Comparison) -> None:
    names = [one.figure for one in comparison.differences]
    default = headline(comparison.kind)
    chosen = st.selectbox(
        state.t("quality.by"),
        names,
        index=names.index(default) if default in names else 0,
        format_func=figure_name,
        key=f"quality_by_{comparison.kind}",
    )
    changes = comparison.changes(chosen or default)
    figure = next(one for one in KINDS[comparison.kind] if one.name == (chosen or default))
    wins = [one for one in changes if (one.delta > 0) == figure.higher]
    losses = [one for one in changes if (one.delta > 0) != figure.higher]
    if changes:
        names = [state.t("quality.losses"), state.t("quality.wins")]
        data = {"kind": names, "questions": [len(losses), len(wins)]}
        st.bar_chart(
            data,
            x="kind",
            y="questions",
            x_label="",
            y_label="",
            horizontal=True,
            height=140,
            color="#17507f",
            sort=False,
        )
    for title, found in ((state.t("quality.losses"), losses), (state.t("quality.wins"), wins[::-1])):
        with st.expander(f"{title}: {len(found)}", expanded=bool(found) and len(found) <= 10):
            if not found:
                st.caption(state.t("quality.no_change"))
            for one in found[:SHOWN]:
                _change(one)


def _change(one: Change) -> None:
    st.markdown(f"`{one.first:.3f} → {one.second:.3f}` {label(one.question or one.qid)}")
