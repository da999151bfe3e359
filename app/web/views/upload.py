"""Uploads: each file goes to disk and to the worker at once; an existing name asks first."""

from __future__ import annotations

from html import escape
from typing import BinaryIO

import streamlit as st

from app.web import state
from app.web.failures import shown
from app.web.messages import error_text
from app.web.render import label
from app.web.uploads import Waiting, drop, free_name, keep
from core.errors import AliothError
from core.types import Collection, Priority, Role
from ingest.logical_path import logical_path

NEW_VERSION, KEEP_BOTH, SKIP = "new_version", "keep_both", "skip"
REFUSED_SHOWN = 10
"""Members of one archive that are named when they cannot be taken; the others are counted."""


def show_upload(collection: Collection) -> None:
    """The upload box of a collection and the question about names that exist."""
    turn = st.session_state.setdefault("upload_turn", 0)
    st.file_uploader(
        state.t("upload.label"),
        accept_multiple_files=True,
        key=f"upload_{collection.id}_{turn}",
        on_change=_take,
        args=(collection, f"upload_{collection.id}_{turn}"),
        help=state.t("upload.help", megabytes=state.alioth().settings.web.max_upload_mb),
    )
    for name, text in st.session_state.pop("upload_problems", []):
        st.error(label(f"{name}: {text}"), icon=":material/error:")
    waiting: list[tuple[str, Waiting]] = st.session_state.get("waiting", [])
    mine = [item for where, item in waiting if where == collection.id]
    if mine:
        _decide(collection, mine)


def _take(collection: Collection, key: str) -> None:
    """Move every uploaded file out of memory, then give the uploader a new key so that it lets go of them."""
    alioth, who = state.alioth(), state.principal()
    problems: list[tuple[str, str]] = st.session_state.setdefault("upload_problems", [])
    taken: set[str] = st.session_state.setdefault("uploads_taken", set())
    for upload in st.session_state.get(key) or []:
        if upload.file_id in taken:  # a rerun that cut in calls this again with the same files
            continue
        taken.add(upload.file_id)
        try:
            alioth.permissions.require(who, collection.id, Role.WRITE)
            name = logical_path(upload.name)
            if alioth.intake.holds(collection, name):
                kept = keep(alioth.settings.home, name, upload)
                st.session_state.setdefault("waiting", []).append((collection.id, kept))
            else:
                problems.extend(_add(collection, name, upload))
        except AliothError as error:
            problems.append((upload.name, error_text(error, state.language())))
    st.session_state["upload_turn"] = st.session_state.get("upload_turn", 0) + 1


def _add(collection: Collection, name: str, stream: BinaryIO) -> list[tuple[str, str]]:
    """Hand a file to the intake; gives what was refused, with the reason, of an archive the first few."""
    refused: list[tuple[str, str]] = []
    more = 0
    for added in state.alioth().intake.add_all(collection, name, stream, Priority.UPLOAD):
        if added.error is not None and len(refused) < REFUSED_SHOWN:
            refused.append((added.path, error_text(added.error, state.language())))
        elif added.error is not None:
            more += 1
    return [*refused, (name, state.t("upload.more_refused", count=more))] if more else refused


def _decide(collection: Collection, mine: list[Waiting]) -> None:
    with st.container(border=True):
        st.markdown(f"**{state.t('upload.exists', count=len(mine))}**")
        st.html("".join(f'<div class="al-meta">{escape(item.name)}</div>' for item in mine))
        with st.container(horizontal=True):
            for choice in (NEW_VERSION, KEEP_BOTH, SKIP):
                if st.button(
                    state.t(f"upload.{choice}"),
                    key=f"decide_{choice}",
                    type="primary" if choice == NEW_VERSION else "secondary",
                    help=state.t(f"upload.{choice}_help"),
                ):
                    _carry_out(collection, mine, choice)
                    st.rerun()


def _carry_out(collection: Collection, mine: list[Waiting], choice: str) -> None:
    alioth, who = state.alioth(), state.principal()
    alioth.permissions.require(who, collection.id, Role.WRITE)
    for item in mine:
        with shown():
            if choice != SKIP:
                name = item.name
                if choice == KEEP_BOTH:
                    name = free_name(name, lambda path: alioth.intake.holds(collection, path))
                with item.file.open("rb") as stream:
                    found = _add(collection, name, stream)
                st.session_state.setdefault("upload_problems", []).extend(found)
        drop(item)
    st.session_state["waiting"] = [pair for pair in st.session_state.get("waiting", []) if pair[1] not in mine]
