"""What the worker is doing right now, read from SQL every second."""

from __future__ import annotations

import streamlit as st

from app.web import state
from app.web.render import label
from core.types import Collection, DocumentState

POLL_S = 1.0
SHOWN = 8

WORKING = (
    DocumentState.PARSING,
    DocumentState.CHUNKING,
    DocumentState.EMBEDDING,
    DocumentState.INDEXING,
    DocumentState.QUEUED,
)


def show_progress(collection: Collection) -> None:
    """A line per document under way; nothing, and no polling, when there is none."""
    pending = state.alioth().documents.pending(collection.id)
    if pending:
        _follow(collection, pending)


@st.fragment(run_every=POLL_S)
def _follow(collection: Collection, before: int) -> None:
    alioth, who = state.alioth(), state.principal()
    if alioth.permissions.role(who, collection.id) is None:
        st.rerun()
    pending = alioth.documents.pending(collection.id)
    if pending < before:
        st.rerun()  # the whole page: the list below has new states
    st.markdown(f"**{state.t('progress.under_way', count=pending)}**")
    under_way = alioth.documents.list(collection.id, states=WORKING[:-1], limit=SHOWN)
    waiting = alioth.documents.list(collection.id, states=WORKING[-1:], limit=max(0, SHOWN - len(under_way)))
    for document in [*under_way, *waiting]:
        text = f"{label(document.path)} — {state.t(f'state.{document.state.value}')}"
        st.progress(min(1.0, max(0.0, document.progress)), text=text)
    rest = pending - len(under_way) - len(waiting)
    if rest > 0:
        st.caption(state.t("progress.more", count=rest))
