"""The library page: collections, uploads, and the documents of one collection."""

from __future__ import annotations

import math

import streamlit as st

from app.web import state
from app.web.failures import shown
from app.web.render import label
from app.web.views.documents import row
from app.web.views.generation import collection_button
from app.web.views.glossary import show_glossary
from app.web.views.progress import show_progress
from app.web.views.sources import show_sources
from app.web.views.upload import show_upload
from core.types import Collection, DocumentState, Principal, Role

PER_PAGE = 20

GROUPS: dict[str, tuple[DocumentState, ...]] = {
    "all": (),
    "ready": (DocumentState.READY,),
    "working": (
        DocumentState.QUEUED,
        DocumentState.PARSING,
        DocumentState.CHUNKING,
        DocumentState.EMBEDDING,
        DocumentState.INDEXING,
    ),
    "failed": (DocumentState.FAILED,),
}


def page() -> None:
    """Choose or create a collection, add documents, see and manage them."""
    who = state.principal()
    st.header(state.t("nav.library"))
    collections = state.readable()
    collection = _choose(collections, who)
    if collection is None:
        return
    role = state.alioth().permissions.role(who, collection.id)
    if role is None:
        return
    with st.container(horizontal=True):
        show_glossary(collection, role)
        collection_button(collection, role)
    with st.container():  # what comes and goes stands in boxes of its own, so that the list below does not jump
        if role.rank >= Role.WRITE.rank:
            show_upload(collection)
    with st.container():
        show_sources(collection)
        show_progress(collection, role)
    _documents(collection, role)


def _choose(collections: list[Collection], who: Principal) -> Collection | None:
    by_id = {collection.id: collection for collection in collections}
    wanted = st.session_state.pop("select_collection", None)
    if wanted in by_id:
        st.session_state["collection"] = wanted
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = None
        if collections:
            chosen = st.selectbox(
                state.t("library.collection"), list(by_id), format_func=lambda key: by_id[key].name, key="collection"
            )
        if who.is_admin:
            _create(who)
            if chosen in by_id:
                _delete(by_id[chosen])
    if chosen is None:
        st.info(state.t("library.none_admin" if who.is_admin else "library.none"), icon=":material/info:")
        return None
    collection = by_id[chosen]
    role = state.alioth().permissions.role(who, collection.id) or Role.READ
    st.caption(
        state.t("library.counts", documents=collection.documents, chunks=collection.chunks)
        + f" · {state.t(f'role.{role.value}')}"
    )
    return collection


def _create(who: Principal) -> None:
    with st.popover(state.t("library.create"), icon=":material/create_new_folder:"):
        name = st.text_input(state.t("library.name"), max_chars=120, key="new_collection")
        if st.button(state.t("library.create"), type="primary", key="create_collection"):
            with shown():
                alioth = state.alioth()
                alioth.permissions.require_admin(state.principal())
                made = alioth.create_collection(name)
                alioth.audit.record(who.name, "collection.create", made.name)
                st.session_state["select_collection"] = made.id
                st.rerun()


def _delete(collection: Collection) -> None:
    with st.popover(state.t("page.delete"), icon=":material/delete:"):
        st.write(state.t("library.delete_question", documents=collection.documents))
        st.caption(label(collection.name))
        if st.button(state.t("library.delete_all"), type="primary", key="delete_collection"):
            with shown():
                alioth, who = state.alioth(), state.principal()
                alioth.permissions.require(who, collection.id, Role.MANAGE)
                alioth.collections.delete(collection.id)
                alioth.audit.record(who.name, "collection.delete", collection.name)
                alioth.doorbell.ring([])
                st.rerun()


def _documents(collection: Collection, role: Role) -> None:
    from storage.versions import VersionStore

    documents = state.alioth().documents
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            state.t("library.search"), icon=":material/search:", key="search", max_chars=200, width="stretch"
        )
        group = st.segmented_control(
            state.t("library.filter"),
            list(GROUPS),
            default="all",
            format_func=lambda name: state.t(f"library.filter_{name}"),
            key="group",
            required=True,
            label_visibility="collapsed",
        )
    states = GROUPS[group or "all"]
    found = documents.named(collection.id, search, states) if search.strip() else None
    total = len(found) if found is not None else documents.count(collection.id, states)
    if not total:
        st.caption(state.t("library.nothing_found" if search.strip() or states else "library.empty"))
        return
    pages = math.ceil(total / PER_PAGE)
    first = (min(st.session_state.get("page_of_list", 1), pages) - 1) * PER_PAGE
    if found is None:
        shown_rows = documents.list(collection.id, offset=first, limit=PER_PAGE, states=states)
    else:
        shown_rows = documents.list(collection.id, ids=found[first : first + PER_PAGE])
    facts = VersionStore(state.alioth().db).facts([document.version_id for document in shown_rows])
    with st.container(border=True, gap="small"):
        for document in shown_rows:
            row(document, role, facts.get(document.version_id, {}))
    if pages > 1:
        st.pagination(pages, key="page_of_list")
    st.caption(state.t("library.total", count=total))
