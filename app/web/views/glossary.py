"""The glossary of a collection on the library page: a table to edit, with import and export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.glossary_csv import read_terms, split_words, write_terms
from app.web import dialogs, state
from app.web.failures import shown
from app.web.render import label
from core.types import Collection, GlossaryTerm, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_FILE = 2_000_000
"""Bytes of a CSV file: some ten times what 5,000 terms take."""


def show_glossary(collection: Collection, role: Role) -> None:
    """A button with the number of terms, and the dialog behind it."""
    terms = state.alioth().glossary.terms([collection.id])
    if not terms and role.rank < Role.WRITE.rank:
        return
    name = state.t("glossary.button", count=len(terms))
    if st.button(name, icon=":material/dictionary:", key="open_glossary", help=state.t("glossary.help")):
        dialogs.ask("glossary", collection.id)
    if dialogs.is_open("glossary", collection.id):
        _dialog(collection, role, terms)


def _dialog(collection: Collection, role: Role, terms: Sequence[GlossaryTerm]) -> None:
    @st.dialog(state.t("glossary.title"), width="large", on_dismiss=dialogs.close)
    def edit() -> None:
        who = state.principal()
        held = state.alioth().permissions.role(who, collection.id)
        if held is None:
            st.stop()
        may_write = held.rank >= Role.WRITE.rank and role.rank >= Role.WRITE.rank
        st.caption(label(collection.name))
        st.write(state.t("glossary.explained"))
        rows = _table(collection, terms, may_write)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if may_write and st.button(state.t("page.save"), type="primary", key="save_glossary"):
                with shown():
                    _keep(collection, [_term(row) for row in rows if _filled(row)])
            if terms:
                st.download_button(
                    state.t("glossary.export"),
                    "\ufeff" + write_terms(terms),
                    file_name="alioth-glossary.csv",
                    mime="text/csv",
                    icon=":material/download:",
                )
        if may_write:
            _import(collection)

    edit()


def _table(collection: Collection, terms: Sequence[GlossaryTerm], may_write: bool) -> list[dict[str, Any]]:
    rows = [
        {"term": t.term, "others": "; ".join(t.others), "both_ways": t.both_ways, "note": t.note} for t in terms
    ] or [{"term": "", "others": "", "both_ways": True, "note": ""}]
    text = st.column_config.TextColumn
    edited = st.data_editor(
        rows,
        num_rows="dynamic" if may_write else "fixed",
        disabled=not may_write,
        hide_index=True,
        width="stretch",
        key=f"glossary_{collection.id}_{len(terms)}",
        column_config={
            "term": text(state.t("glossary.term"), max_chars=100, width="small"),
            "others": text(
                state.t("glossary.others"), max_chars=2000, width="large", help=state.t("glossary.others_help")
            ),
            "both_ways": st.column_config.CheckboxColumn(
                state.t("glossary.both_ways"), default=True, help=state.t("glossary.both_ways_help"), width="small"
            ),
            "note": text(state.t("glossary.note"), max_chars=500),
        },
    )
    return list(edited)


def _import(collection: Collection) -> None:
    with st.expander(state.t("glossary.import"), icon=":material/upload_file:"):
        st.caption(label(state.t("glossary.import_help")))
        file = st.file_uploader(
            state.t("glossary.import"), type=["csv", "txt"], label_visibility="collapsed", key="glossary_file"
        )
        if file is not None and st.button(state.t("glossary.import_now"), key="import_glossary"):
            with shown():
                terms = read_terms(file.read(LARGEST_FILE), file.name)
                _require_write(collection)
                state.alioth().glossary.put(collection.id, terms)
                _done(collection, len(terms))


def _keep(collection: Collection, terms: list[GlossaryTerm]) -> None:
    _require_write(collection)
    _done(collection, state.alioth().glossary.replace(collection.id, terms))


def _require_write(collection: Collection) -> None:
    state.alioth().permissions.require(state.principal(), collection.id, Role.WRITE)


def _done(collection: Collection, count: int) -> None:
    state.alioth().audit.record(state.principal().name, "glossary.edit", collection.name, terms=count)
    st.toast(state.t("glossary.saved", count=count), icon=":material/check:")
    dialogs.close()
    st.rerun()


def _filled(row: dict[str, Any]) -> bool:
    return bool(str(row.get("term") or "").strip() or str(row.get("others") or "").strip())


def _term(row: dict[str, Any]) -> GlossaryTerm:
    both = row.get("both_ways")
    return GlossaryTerm(
        str(row.get("term") or ""),
        split_words(str(row.get("others") or "")),
        both is None or bool(both),
        str(row.get("note") or ""),
    )
