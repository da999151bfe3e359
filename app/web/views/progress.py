"""What the worker is doing right now, read from SQL every second."""

from __future__ import annotations

import streamlit as st

from app.web import state
from app.web.failures import shown
from app.web.render import label
from app.web.views.documents import cancel
from core.types import Collection, DocumentRow, DocumentState, Role

POLL_S = 1.0
SHOWN = 8

WORKING = (
    DocumentState.PARSING,
    DocumentState.CHUNKING,
    DocumentState.EMBEDDING,
    DocumentState.INDEXING,
    DocumentState.QUEUED,
)


def show_progress(collection: Collection, role: Role) -> None:
    """A line per document under way; nothing, and no polling, when there is none."""
    pending = state.alioth().documents.pending(collection.id)
    if pending:
        _follow(collection, pending, _busy(collection), role.rank >= Role.WRITE.rank)


def _busy(collection: Collection) -> list[DocumentRow]:
    """The first few that a worker is at."""
    return state.alioth().documents.list(collection.id, states=WORKING[:-1], limit=SHOWN)


@st.fragment(run_every=POLL_S)
def _follow(collection: Collection, before: int, busy_before: list[DocumentRow], may_cancel: bool) -> None:
    alioth, who = state.alioth(), state.principal()
    if alioth.permissions.role(who, collection.id) is None:
        st.rerun()
    pending = alioth.documents.pending(collection.id)
    under_way = _busy(collection)
    if pending < before or {row.id for row in under_way} != {row.id for row in busy_before}:
        st.rerun()  # the whole page: the list below has new states
    st.markdown(f"**{state.t('progress.under_way', count=pending)}**")
    waiting = alioth.documents.list(collection.id, states=WORKING[-1:], limit=max(0, SHOWN - len(under_way)))
    for document in [*under_way, *waiting]:
        _line(document, may_cancel)
    rest = pending - len(under_way) - len(waiting)
    if rest > 0:
        st.caption(state.t("progress.more", count=rest))


def _line(document: DocumentRow, may_cancel: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", wrap=False):
        text = f"{label(document.path)} — {stage_text(document)}"
        st.progress(min(1.0, max(0.0, document.progress)), text=text)
        if may_cancel and st.button(
            " ",
            key=f"cancel_{document.id}",
            icon=":material/close:",
            type="tertiary",
            help=f"{state.t('progress.cancel')}: {state.t('progress.cancel_help')}",
        ):
            with shown():
                cancel(document)
            st.rerun()


def stage_text(document: DocumentRow) -> str:
    """The stage, and how many pages or passages of it are done."""
    words = state.t(f"state.{document.state.value}")
    if document.state is DocumentState.PARSING and document.pages_done and document.pages > 1:
        words += " · " + state.t("progress.pages", done=document.pages_done, total=document.pages)
    elif document.state in (DocumentState.EMBEDDING, DocumentState.INDEXING) and document.chunks:
        words += " · " + state.t("progress.chunks", done=document.chunks_done, total=document.chunks)
    return words
