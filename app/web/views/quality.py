"""The quality page: question sets and runs of the collections that one may change, and how two runs differ."""

from __future__ import annotations

import streamlit as st

from app.web import state
from app.web.views import quality_compare, quality_runs, quality_sets
from core.types import Collection, Principal

PARTS = {"sets": "quality.sets", "runs": "quality.runs", "compare": "quality.compare"}


def is_for(who: Principal) -> bool:
    """Whether there is anything on the page for this person."""
    return bool(state.alioth().quality.collections(who))


def page() -> None:
    """Choose a collection, then one of the three parts."""
    who = state.principal()
    st.header(state.t("quality.title"))
    st.caption(state.t("quality.about"))
    collection = _choose(state.alioth().quality.collections(who))
    if collection is None:
        return
    part = st.segmented_control(
        state.t("quality.part"),
        list(PARTS),
        default="sets",
        format_func=lambda name: state.t(PARTS[name]),
        key="quality_part",
        required=True,
        label_visibility="collapsed",
    )
    if part == "runs":
        quality_runs.show(collection, who)
    elif part == "compare":
        quality_compare.show(collection, who)
    else:
        quality_sets.show(collection, who)


def _choose(collections: list[Collection]) -> Collection | None:
    if not collections:
        st.info(state.t("quality.none"), icon=":material/info:")
        return None
    by_id = {collection.id: collection for collection in collections}
    chosen = st.selectbox(
        state.t("library.collection"), list(by_id), format_func=lambda key: by_id[key].name, key="quality_collection"
    )
    return by_id.get(chosen or "")
