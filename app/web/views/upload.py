"""Uploads: files go to the worker at once, archives are unpacked beside the page; an existing name asks first."""

from __future__ import annotations

from html import escape
from typing import BinaryIO

import streamlit as st

from app.web import state
from app.web.failures import shown
from app.web.ingest_reasons import ingest_reason
from app.web.render import label
from app.web.unpacking import Unpacked, unpacking
from app.web.uploads import Waiting, drop, free_name, keep
from core.errors import AliothError
from core.types import Collection, Priority, Role
from ingest.archive import archive_kind
from ingest.archive_names import left_out
from ingest.logical_path import logical_path
from ingest.sync import takes

NEW_VERSION, KEEP_BOTH, SKIP = "new_version", "keep_both", "skip"
FILES, FOLDER = "files", "folder"
POLL_S = 1.0


def show_upload(collection: Collection) -> None:
    """The upload box of a collection and the question about names that exist."""
    turn = st.session_state.setdefault("upload_turn", 0)
    kind = st.segmented_control(
        state.t("upload.label"),
        [FILES, FOLDER],
        default=FILES,
        format_func=lambda name: state.t(f"upload.{name}"),
        key="upload_kind",
        required=True,
        help=state.t("upload.help", megabytes=state.alioth().settings.web.max_upload_mb),
    )
    key = f"upload_{kind}_{collection.id}_{turn}"
    st.file_uploader(
        state.t("upload.label"),
        accept_multiple_files="directory" if kind == FOLDER else True,
        key=key,
        on_change=_take,
        args=(collection, key),
        label_visibility="collapsed",
    )
    under_way = unpacking.under_way(collection.id)  # before those that ended are told, so that none is missed
    _tell_unpacked()
    _problems()
    waiting: list[tuple[str, Waiting]] = st.session_state.get("waiting", [])
    mine = [item for where, item in waiting if where == collection.id]
    if mine:
        _decide(collection, mine)
    if under_way:
        _follow(collection, [job.id for job in under_way])


def _problems() -> None:
    """What could not be taken, until the person has seen it: the page is made anew all the time while work goes on."""
    problems: list[tuple[str, str]] = st.session_state.get("upload_problems", [])
    for name, text in problems:
        st.error(label(f"{name}: {text}"), icon=":material/error:")
    if problems and st.button(state.t("upload.seen"), key="upload_seen", icon=":material/check:", type="tertiary"):
        st.session_state["upload_problems"] = []
        st.rerun()


@st.fragment(run_every=POLL_S)
def _follow(collection: Collection, before: list[str]) -> None:
    """What is being unpacked; the whole page is made anew when one of them has come to its end."""
    alioth, who = state.alioth(), state.principal()
    under_way = unpacking.under_way(collection.id)
    if [job.id for job in under_way] != before or alioth.permissions.role(who, collection.id) is None:
        st.rerun()
    for job in under_way:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(state.t("upload.unpacking"), icon=":material/folder_zip:", color="blue")
            st.markdown(f"{label(job.name)} — {state.t('upload.unpacked', count=job.taken)}")


def _tell_unpacked() -> None:
    """Turn what came of this session's archives into messages, once."""
    mine: list[str] = st.session_state.get("unpacking", [])
    problems: list[tuple[str, str]] = st.session_state.setdefault("upload_problems", [])
    for job in unpacking.ended(mine):
        mine.remove(job.id)
        problems.extend(_refused(job))


def _refused(job: Unpacked) -> list[tuple[str, str]]:
    told = [(name, _reason(error)) for name, error in job.refused]
    return [*told, (job.name, state.t("upload.more_refused", count=job.more))] if job.more else told


def _reason(error: AliothError) -> str:
    return ingest_reason(error.code, error.message, error.hint, state.language())


def _take(collection: Collection, key: str) -> None:
    """Move every uploaded file out of memory, then give the uploader a new key so that it lets go of them."""
    alioth, who = state.alioth(), state.principal()
    problems: list[tuple[str, str]] = []
    taken: set[str] = st.session_state.setdefault("uploads_taken", set())
    passed_over = 0
    for upload in st.session_state.get(key) or []:
        if upload.file_id in taken:  # a rerun that cut in calls this again with the same files
            continue
        taken.add(upload.file_id)
        try:
            alioth.permissions.require(who, collection.id, Role.WRITE)
            name = logical_path(upload.name)
            if "/" in name and (left_out(name) or not takes(name)):
                passed_over += 1
                continue
            if alioth.intake.holds(collection, name):
                kept = keep(alioth.settings.home, name, upload)
                st.session_state.setdefault("waiting", []).append((collection.id, kept))
            else:
                _add(collection, name, upload)
        except AliothError as error:
            problems.append((upload.name, _reason(error)))
    if passed_over:
        st.toast(state.t("upload.passed_over", count=passed_over), icon=":material/info:")
    st.session_state["upload_problems"] = problems
    st.session_state["upload_turn"] = st.session_state.get("upload_turn", 0) + 1


def _add(collection: Collection, name: str, stream: BinaryIO) -> None:
    """Hand a file to the worker; an archive is kept and unpacked beside the page."""
    alioth = state.alioth()
    if archive_kind(stream, name) is None:
        for added in alioth.intake.add_all(collection, name, stream, Priority.UPLOAD):
            if added.error is not None:
                raise added.error
        return
    stream.seek(0)
    _unpack(collection, keep(alioth.settings.home, name, stream))


def _unpack(collection: Collection, waiting: Waiting) -> None:
    started = unpacking.begin(state.alioth(), collection, waiting)
    st.session_state.setdefault("unpacking", []).append(started)


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
                    _add(collection, name, stream)
        drop(item)
    st.session_state["waiting"] = [pair for pair in st.session_state.get("waiting", []) if pair[1] not in mine]
