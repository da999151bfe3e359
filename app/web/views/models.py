"""The models page for administrators: what runs, what is here, what the catalogue offers, what happened at loading."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import model_choice
from app.other_engines import is_remote
from app.web import dialogs, state
from app.web.failures import shown
from app.web.load_notes import load_note
from app.web.render import label

if TYPE_CHECKING:
    from app.model_choice import ModelRow

FITS = {
    "card": ("models.fits_card", "green"),
    "card and memory": ("models.fits_both", "orange"),
    "memory": ("models.fits_memory", "green"),
    "no": ("models.fits_no", "red"),
}
ROLES = {"llm": "models.role_llm", "embedder": "models.role_embedder", "reranker": "models.role_reranker"}
MOST_EVENTS = 10
COLUMN_WIDTHS = (168, 110, 104, 80, 76, 88, 78)
"""Pixels of the catalogue's columns, so that all of them fit the page."""


def page() -> None:
    """For administrators only, checked at each rerun."""
    alioth = state.alioth()
    alioth.permissions.require_admin(state.principal())
    st.header(state.t("models.title"))
    st.caption(state.t("models.about"))
    rows = model_choice.model_rows(alioth)
    _running()
    st.subheader(state.t("models.here"))
    for row in rows:
        if row.present:
            _present(row)
    st.subheader(state.t("models.catalogue"))
    st.caption(state.t("models.catalogue_about"))
    _catalogue([row for row in rows if not row.present])
    _events()


def _running() -> None:
    """What answers now, with its queue and what did not fit."""
    alioth = state.alioth()
    llm, queue = model_choice.running_llm(alioth), model_choice.queue_figures(alioth)
    if not llm:
        st.info(state.t("models.not_running"), icon=":material/info:")
        return
    with st.container(border=True):
        st.markdown(f"**{label(_name(llm))}**")
        facts = "models.elsewhere_facts" if is_remote(llm["id"]) else "models.running_facts"
        st.caption(state.t(facts, window=f"{llm.get('window') or 0:,}", rate=_rate(llm)))
        if queue:
            with st.container(horizontal=True):
                st.metric(state.t("models.running"), f"{queue.get('running', 0)} / {queue.get('slots', 1)}")
                st.metric(state.t("models.waiting"), str(queue.get("waiting", 0)))
                st.metric(state.t("models.writing"), f"{queue.get('writing_rate', 0):g}")
        for note, said in zip(llm.get("notes") or [], llm.get("note_codes") or [], strict=True):
            text = label(load_note(said["code"], said["values"], note, state.language()))
            if said["code"] == "serves":
                st.caption(f":material/check_circle: {text}")
            else:
                st.warning(text, icon=":material/warning:")


def _name(llm: dict[str, Any]) -> str:
    """The id, or for models on other servers what those call them: a file, where nobody gave a better name."""
    served = [note["values"]["model"] for note in llm.get("note_codes") or [] if note["code"] == "serves"]
    return ", ".join(dict.fromkeys(PurePath(name).name for name in served)) or str(llm["id"])


def _rate(llm: dict[str, object]) -> str:
    rate = llm.get("reading_rate")
    return f"{rate:.0f}" if isinstance(rate, (int, float)) else "–"


def _present(row: ModelRow) -> None:
    entry = row.entry
    with st.container(border=True, gap="small", key=f"model_{entry.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{label(entry.id)}**", width="stretch")
            st.badge(state.t(ROLES[entry.role]), color="blue")
            if row.in_use:
                st.badge(state.t("models.in_use"), color="violet")
            if row.fits in FITS:
                key, color = FITS[row.fits]
                st.badge(state.t(key), color=color)  # type: ignore[arg-type]
        st.caption(label(_facts(row)))
        if not row.pinned:
            st.caption(state.t("models.not_pinned"))
        with st.container(horizontal=True):
            _actions(row)


def _facts(row: ModelRow) -> str:
    languages = ", ".join(row.entry.languages)
    facts = [f"{row.size_bytes / 1e6:,.0f} MB" if row.size_bytes else "", row.entry.licence, languages]
    facts.append(state.t("models.window", tokens=f"{row.entry.window:,}"))
    return " · ".join(fact for fact in facts if fact)


def _actions(row: ModelRow) -> None:
    name = row.entry.id
    usable = row.entry.role == "llm" and not row.in_use and not state.alioth().settings.models.llm_urls
    if usable and st.button(state.t("models.use"), key=f"use_{name}", icon=":material/play_arrow:", type="primary"):
        dialogs.ask("use_model", name)
    if st.button(state.t("models.verify"), key=f"verify_{name}", icon=":material/fingerprint:"):
        _verify(name)
    if not (row.entry.bundled or row.in_use) and st.button(
        state.t("models.remove"), key=f"remove_{name}", icon=":material/delete:"
    ):
        dialogs.ask("remove_model", name)
    if dialogs.is_open("use_model", name):
        _confirm_use(name)
    if dialogs.is_open("remove_model", name):
        _confirm_remove(row)


def _verify(name: str) -> None:
    alioth, who = state.alioth(), state.principal()
    alioth.permissions.require_admin(who)
    with shown(), st.spinner(state.t("models.verifying")):
        model_choice.verify_model(alioth, name)
        st.toast(state.t("models.verified", model=label(name)), icon=":material/check:")


def _confirm_use(name: str) -> None:
    @st.dialog(state.t("models.use_title"), on_dismiss=dialogs.close)
    def ask() -> None:
        st.write(state.t("models.use_question", model=label(name)))
        if st.button(state.t("models.use"), type="primary", key="confirm_use"):
            alioth, who = state.alioth(), state.principal()
            alioth.permissions.require_admin(who)
            with shown(), st.spinner(state.t("models.loading")):
                model_choice.use_model(alioth, name)
                alioth.audit.record(who.name, "model.use", name)
                st.toast(state.t("models.used", model=label(name)), icon=":material/check:")
                dialogs.close()
                st.rerun()

    ask()


def _confirm_remove(row: ModelRow) -> None:
    name = row.entry.id

    @st.dialog(state.t("models.remove_title"), on_dismiss=dialogs.close)
    def ask() -> None:
        st.write(state.t("models.remove_question", model=label(name), size=f"{row.size_bytes / 1e6:,.0f}"))
        if st.button(state.t("models.remove"), type="primary", key="confirm_remove"):
            alioth, who = state.alioth(), state.principal()
            alioth.permissions.require_admin(who)
            with shown():
                model_choice.remove_model(alioth, name)
                alioth.audit.record(who.name, "model.remove", name)
                st.toast(state.t("models.removed", model=label(name)), icon=":material/check:")
                dialogs.close()
                st.rerun()

    ask()


def _catalogue(rows: list[ModelRow]) -> None:
    table = [
        {
            state.t("models.id"): row.entry.id,
            state.t("models.role"): state.t(ROLES[row.entry.role]),
            state.t("models.fits"): state.t(FITS[row.fits][0]) if row.fits in FITS else "–",
            state.t("models.parameters"): f"{row.entry.parameters:g}",
            state.t("models.languages"): ", ".join(row.entry.languages),
            state.t("models.licence"): row.entry.licence,
            state.t("models.window_column"): f"{row.entry.window:,}",
        }
        for row in rows
    ]
    named = zip(table[0], COLUMN_WIDTHS, strict=True) if table else ()
    widths = {name: st.column_config.Column(width=pixels) for name, pixels in named}
    st.dataframe(table, hide_index=True, width="stretch", column_config=widths)


def _events() -> None:
    from models.serving.llm_record import load_events

    events = load_events(state.alioth().settings.home)[:MOST_EVENTS]
    if not events:
        return
    st.subheader(state.t("models.events"))
    for event in events:
        again = f" ×{event.count}" if event.count > 1 else ""
        st.markdown(f"{label(event.at[:16].replace('T', ' '))} UTC · **{label(event.model)}**{again}")
        st.caption(label(load_note(event.code, event.values, event.text, state.language())))
