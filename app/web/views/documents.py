"""One document of the library: its row, its details with the ingest report, retry, cancel and delete."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.web import dialogs, places, state
from app.web.failures import shown
from app.web.ingest_reasons import ingest_reason
from app.web.messages import say_or
from app.web.render import label
from core.types import FINAL_STATES, DocumentRow, DocumentState, Problem, Role

if TYPE_CHECKING:
    from storage.versions import StoredVersion

COLOURS = {DocumentState.READY: "green", DocumentState.FAILED: "red", DocumentState.QUEUED: "gray"}


POOR_OCR = 0.8
"""Mean confidence of recognised text below which its mark is a warning."""


def row(document: DocumentRow, role: Role, facts: Mapping[str, Any]) -> None:
    """One line: name, state, size, and a menu for those who may change it. facts: of its newest version."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False, key=f"doc_{document.id}"):
        st.html(
            f'<div class="al-name">{escape(document.path)}</div><div class="al-meta">{escape(_facts(document))}</div>'
        )
        st.badge(
            _state_text(document.state),
            color=COLOURS.get(document.state, "blue"),  # type: ignore[arg-type]
            help=label(_reason(document.error)) or None,
        )
        _ocr_mark(facts)
        if document.problems and document.state is DocumentState.READY:
            count, remark = str(len(document.problems)), state.t("document.problems")
            st.badge(count, icon=":material/warning:", color="orange", help=remark)
        actions = ["details"]
        if role.rank >= Role.WRITE.rank:
            actions += ["retry"] if document.state is DocumentState.FAILED else []
            actions += ["cancel"] if document.state not in FINAL_STATES else []
            actions += ["delete"]
        choice = st.menu_button(
            " ",
            actions,
            key=f"menu_{document.id}",
            type="tertiary",
            icon=":material/more_vert:",
            format_func=lambda name: state.t(f"document.{name}"),
        )
    if document.state is DocumentState.FAILED and _failure(document, role):
        choice = "retry"
    with shown():
        if choice == "retry":
            _retry(document)
            st.rerun()
        elif choice == "cancel":
            cancel(document)
            st.rerun()
        elif choice:
            dialogs.ask(f"document.{choice}", document.id)
        if dialogs.is_open("document.details", document.id):
            _details(document)
        elif dialogs.is_open("document.delete", document.id):
            _delete(document)


def _state_text(which: DocumentState) -> str:
    """What the list says; the stages of work change by the second and stand in the progress lines alone."""
    settled = which in FINAL_STATES or which is DocumentState.QUEUED
    return state.t(f"state.{which.value}") if settled else state.t("library.filter_working")


def _ocr_mark(facts: Mapping[str, Any]) -> None:
    """A badge on documents of which pages were read by text recognition."""
    found = facts.get("ocr") or {}
    if not found.get("pages"):
        return
    confidence = float(found.get("confidence") or 0.0)
    st.badge(
        state.t("document.ocr", confidence=round(100 * confidence)),
        icon=":material/document_scanner:",
        color="violet" if confidence >= POOR_OCR else "orange",
        help=state.t("document.ocr_help", pages=found["pages"], confidence=round(100 * confidence)),
    )


def _failure(document: DocumentRow, role: Role) -> bool:
    """Why it failed and what helps, with a button to try again. True when that was pressed."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
        st.html(f'<div class="al-problem">{escape(_reason(document.error))}</div>')
        if role.rank < Role.WRITE.rank:
            return False
        words = state.t("document.retry")
        return bool(st.button(words, key=f"retry_{document.id}", icon=":material/refresh:", type="tertiary"))


def cancel(document: DocumentRow) -> None:
    """Stop reading it in; what answers now goes on."""
    alioth, who = state.alioth(), state.principal()
    alioth.permissions.require(who, document.collection_id, Role.WRITE)
    if alioth.documents.cancel(document.id):
        alioth.audit.record(who.name, "document.cancel", document.path, document=document.id)


def _retry(document: DocumentRow) -> None:
    """Queue a failed version again, with the bytes it was uploaded with."""
    alioth = state.alioth()
    alioth.permissions.require(state.principal(), document.collection_id, Role.WRITE)
    submission = alioth.documents.retry(document.id)
    alioth.doorbell.ring([submission.version_id])


def _delete(document: DocumentRow) -> None:
    @st.dialog(state.t("document.delete"), on_dismiss=dialogs.close)
    def ask() -> None:
        st.write(state.t("document.delete_question"))
        st.html(f'<p class="al-name">{escape(document.path)}</p>')
        if st.button(state.t("page.delete"), type="primary", icon=":material/delete:"):
            with shown():
                alioth, who = state.alioth(), state.principal()
                alioth.permissions.require(who, document.collection_id, Role.WRITE)
                alioth.documents.delete(document.id)
                alioth.audit.record(who.name, "document.delete", document.path, document=document.id)
                alioth.doorbell.ring([])
                dialogs.close()
                st.rerun()

    ask()


def _details(document: DocumentRow) -> None:
    from storage.versions import VersionStore

    @st.dialog(state.t("document.details"), width="medium", on_dismiss=dialogs.close)
    def view() -> None:
        alioth = state.alioth()
        alioth.permissions.require(state.principal(), document.collection_id, Role.READ)
        st.html(f'<p class="al-name">{escape(document.path)}</p><p class="al-meta">{escape(document.title)}</p>')
        with st.container(horizontal=True):
            st.link_button(state.t("source.original"), places.original_url(document.id), icon=":material/download:")
            if document.live_version_id:
                st.link_button(state.t("document.text"), f"/files/{document.id}/view", icon=":material/article:")
        for version in VersionStore(alioth.db).of_document(document.id):
            _version(version)

    view()


def _version(version: StoredVersion) -> None:
    with st.container(border=True):
        mark = f" · {state.t('document.live')}" if version.live else ""
        st.markdown(f"**{state.t('document.version', number=version.number)}**{mark}")
        st.caption(
            state.t(
                "document.figures",
                state=state.t(f"state.{version.state.value}"),
                pages=version.pages,
                chunks=version.chunks,
                size=_size(version.size),
                date=f"{version.created_at.astimezone():%Y-%m-%d %H:%M}",
            )
        )
        if version.error:
            st.error(label(_reason(version.error)), icon=":material/error:")
        if version.facts.get("chunks"):
            _report(version)
        if version.problems:
            with st.expander(state.t("document.remarks", count=len(version.problems)), icon=":material/warning:"):
                st.html("".join(f'<p class="al-remark">{escape(_problem(one))}</p>' for one in version.problems))


def _report(version: StoredVersion) -> None:
    """What happened to this version, as a list of label and text."""
    from app.web.report_text import report_lines
    from ingest.describe import current_report

    rows = []
    for name, text, worry in report_lines(current_report(state.alioth().documents, version), state.language()):
        css = ' class="al-worry"' if worry else ""
        rows.append(f"<dt>{escape(name)}</dt><dd{css}>{escape(text)}</dd>")
    st.html(f'<dl class="al-report">{"".join(rows)}</dl>')


def _facts(document: DocumentRow) -> str:
    facts = [_size(document.size)]
    if document.state in FINAL_STATES and document.chunks:
        facts.append(state.t("document.pages_chunks", pages=document.pages, chunks=document.chunks))
    if document.version > 1:
        facts.append(state.t("document.version", number=document.version))
    return " · ".join(facts)


def _reason(error: Mapping[str, Any] | None) -> str:
    if not error:
        return ""
    code, message, hint = (str(error.get(name) or "") for name in ("code", "message", "hint"))
    return ingest_reason(code, message, hint, state.language())


def _problem(problem: Problem) -> str:
    text = problem.message
    if state.language() == "zh":
        text = f"{say_or(f'problem.{problem.code}', 'zh', problem.code)}（{problem.message}）"
    return f"{state.t('place.page', page=problem.page)}: {text}" if problem.page else text


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} KB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
