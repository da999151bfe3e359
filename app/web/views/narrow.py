"""The control that narrows a search to some documents: by name, kind, place, date, language."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import streamlit as st

from app.web import state
from app.web.render import label
from core.filters import LANGUAGES, TYPES, Filters, make_filters
from core.types import Collection

MOST_PATHS = 2000
"""Documents to choose from by name; a browser gets all of them."""
_FIRST_DAY = date(1970, 1, 1)


def choose_filters(key: str, collections: Sequence[Collection], before: Filters) -> Filters:
    """Draw the control and give what it says. key: one per conversation; before: what it shows at first."""
    before = st.session_state.setdefault(f"narrow_{key}_before", before)
    current: Filters = st.session_state.get(f"narrow_{key}", before)
    name = state.t("filter.button_set", count=current.count) if current else state.t("filter.button")
    icon = ":material/filter_alt:" if current else ":material/filter_alt_off:"
    with st.popover(name, icon=icon, width="stretch", help=state.t("filter.help"), key=f"narrow_{key}_popover"):
        chosen = _fields(key, collections, before)
    if chosen != current:
        st.session_state[f"narrow_{key}"] = chosen
        st.rerun()
    return chosen


def hand_filters_on(old: str, new: str, filters: Filters) -> None:
    """What was chosen under one key goes on under another; the control of the first begins anew."""
    for name in [name for name in st.session_state if str(name).startswith(f"narrow_{old}")]:
        del st.session_state[name]
    if filters:
        st.session_state[f"narrow_{new}"] = filters
        st.session_state[f"narrow_{new}_before"] = filters


def filters_text(filters: Filters) -> str:
    """What the filters say, in a line for people."""
    parts = [
        *filters.documents[:3],
        *([f"+{len(filters.documents) - 3}"] if len(filters.documents) > 3 else []),
        *(_kind(name) for name in filters.types),
        *filters.paths,
        *(state.t(f"filter.language_{name}") for name in filters.languages),
    ]
    for name, since, until in (
        ("date", filters.since, filters.until),
        ("added", filters.added_since, filters.added_until),
    ):
        if since or until:
            span = f"{since or ''} – {until or ''}".strip()
            parts.append(f"{state.t(f'filter.{name}')} {span}")
    return " · ".join(parts)


def _fields(key: str, collections: Sequence[Collection], before: Filters) -> Filters:
    paths = state.alioth().filtering.paths([c.id for c in collections], MOST_PATHS) if collections else []
    known = list(dict.fromkeys((*before.documents, *paths)))
    documents = st.multiselect(
        state.t("filter.documents"),
        known,
        default=before.documents,
        placeholder=state.t("filter.all_documents"),
        key=f"narrow_{key}_documents",
    )
    if len(paths) == MOST_PATHS:
        st.caption(state.t("filter.too_many", count=MOST_PATHS))
    types = st.multiselect(
        state.t("filter.types"),
        list(dict.fromkeys((*TYPES, *before.types))),
        default=before.types,
        format_func=_kind,
        placeholder=state.t("filter.all_types"),
        key=f"narrow_{key}_types",
    )
    place = st.text_input(
        state.t("filter.path"),
        value="; ".join(before.paths),
        placeholder=state.t("filter.path_example"),
        max_chars=500,
        key=f"narrow_{key}_path",
    )
    own = _span("date", key, before.since, before.until)
    added = _span("added", key, before.added_since, before.added_until)
    languages = st.pills(
        state.t("filter.language"),
        LANGUAGES,
        default=before.languages,
        selection_mode="multi",
        format_func=lambda name: state.t(f"filter.language_{name}"),
        key=f"narrow_{key}_language",
    )
    patterns = place.replace("；", ";").split(";")
    return make_filters(documents, types, patterns, *own, *added, languages)


def _span(name: str, key: str, since: date | None, until: date | None) -> tuple[str, str]:
    """Two dates side by side, as text; a span that ends before it begins drops its end."""
    left, right = st.columns(2)
    with left:
        first = st.date_input(
            state.t(f"filter.{name}_since"), value=since, min_value=_FIRST_DAY, key=f"narrow_{key}_{name}_since"
        )
    with right:
        last = st.date_input(
            state.t(f"filter.{name}_until"), value=until, min_value=_FIRST_DAY, key=f"narrow_{key}_{name}_until"
        )
    if first and last and first > last:
        st.caption(label(state.t("filter.backwards")))
        last = None
    return first.isoformat() if first else "", last.isoformat() if last else ""


def _kind(name: str) -> str:
    return state.t(f"filter.type_{name}") if name in TYPES else f".{name}"
