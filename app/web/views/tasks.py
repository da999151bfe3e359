"""The tasks page: choose documents and what to do with them; the work goes on in the process, the page shows it."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from app.tasks import MOST_DOCUMENTS, Task, Tasks
from app.web import state
from app.web.failures import shown
from app.web.render import unchecked_html
from app.web.views.answer import show_answer
from app.web.views.following import follow, queue_text
from core.errors import InputError, NotFoundError
from core.types import Collection, Principal

if TYPE_CHECKING:
    from chat.running import Snapshot
    from storage.conversations import Message

KINDS = ("summary", "table", "comparison", "translation")
ICONS = {"summary": "summarize", "table": "table", "comparison": "compare", "translation": "translate"}
_KEY = "t"


def page() -> None:
    """The task of the address, or the form for a new one."""
    who = state.principal()
    st.header(state.t("task.title"))
    message = _message(who)
    if message is not None:
        _show(message, who)
        return
    st.caption(state.t("task.about"))
    collections = state.readable()
    if not collections:
        st.info(state.t("chat.no_collection"), icon=":material/info:")
        return
    kind = st.segmented_control(
        state.t("task.title"),
        list(KINDS),
        default=KINDS[0],
        format_func=lambda name: f":material/{ICONS[name]}: {state.t(f'task.kind_{name}')}",
        label_visibility="collapsed",
        required=True,
        key="task_kind",
    )
    st.caption(state.t(f"task.help_{kind}"))
    with shown():
        task = {"summary": _summary, "table": _table, "comparison": _comparison, "translation": _translation}[
            kind or KINDS[0]
        ](who, collections)
        if task is not None:
            st.query_params[_KEY] = _tasks().start(who, task)
            st.rerun()


def _message(who: Principal) -> Message | None:
    """The stored result behind the address, if it is this person's."""
    wanted = str(st.query_params.get(_KEY, ""))
    if not wanted:
        return None
    conversations = state.alioth().conversations
    try:
        messages = conversations.messages(conversations.get(wanted, who.user_id).id)
    except NotFoundError:
        st.query_params.pop(_KEY, None)
        st.toast(state.t("chat.not_there"), icon=":material/info:")
        return None
    return next((message for message in messages if message.role == "assistant"), None)


def _show(message: Message, who: Principal) -> None:
    asked = state.alioth().conversations.messages(message.conversation_id)[0].text
    st.html(f'<div class="al-name">{escape(asked)}</div>')
    if message.state == "streaming":
        follow(message, _growing)
    else:
        show_answer(message, who)
    if st.button(state.t("task.another"), icon=":material/add:", key="task_new"):
        st.query_params.pop(_KEY, None)
        st.rerun()


def _growing(snapshot: Snapshot | None) -> None:
    if snapshot is None:
        st.caption(state.t("stage.read"))
        return
    show_progress(snapshot)
    if snapshot.text:
        st.html(unchecked_html(snapshot.text, state.t("chat.not_checked_yet"), growing=True))


def show_progress(snapshot: Snapshot) -> None:
    """How far a task is, with the estimate of the time left."""
    text = queue_text(snapshot) or state.t(f"stage.{snapshot.stage or 'read'}")
    done = snapshot.progress
    if done is None or not done.total:
        st.caption(text)
        return
    text += " " + state.t("task.progress", done=done.done, total=done.total)
    if done.seconds_left is not None and done.done < done.total:
        text += " " + state.t("task.time_left", seconds=max(1, round(done.seconds_left)))
    st.progress(min(1.0, done.done / done.total), text=text)


def _summary(who: Principal, collections: list[Collection]) -> Task | None:
    chosen, paths = _documents(collections, "summary")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        length = st.selectbox(
            state.t("task.length"),
            ["short", "medium", "long"],
            index=1,
            format_func=lambda name: state.t(f"task.length_{name}"),
            key="task_length",
        )
        go = st.button(state.t("task.start"), type="primary", icon=":material/play_arrow:", key="task_go")
    if not go:
        return None
    tasks = _tasks()
    return tasks.summarise(who, tasks.documents(who, chosen.id, paths), length or "medium")


def _table(who: Principal, collections: list[Collection]) -> Task | None:
    chosen, paths = _documents(collections, "table")
    fields = st.text_input(
        state.t("task.fields"), placeholder=state.t("task.fields_example"), max_chars=1000, key="task_fields"
    )
    if not st.button(state.t("task.start"), type="primary", icon=":material/play_arrow:", key="task_go"):
        return None
    tasks = _tasks()
    return tasks.extract(who, tasks.documents(who, chosen.id, paths), fields)


def _comparison(who: Principal, collections: list[Collection]) -> Task | None:
    sides = []
    for column, side in zip(st.columns(2), ("before", "after"), strict=True):
        with column:
            collection = _collection(collections, f"comparison_{side}")
            path = st.selectbox(
                state.t(f"task.{side}"), _paths(collection), index=None, key=f"task_{side}_{collection.id}"
            )
            sides.append((collection, path))
    if not st.button(state.t("task.start"), type="primary", icon=":material/play_arrow:", key="task_go"):
        return None
    if not all(path for _, path in sides):
        raise InputError("Two documents are needed for a comparison.", "Choose one on either side.")
    tasks = _tasks()
    left, right = (tasks.documents(who, collection.id, [str(path)])[0] for collection, path in sides)
    return tasks.compare(who, left, right)


def _translation(who: Principal, collections: list[Collection]) -> Task | None:
    source = st.segmented_control(
        state.t("task.source"),
        ["text", "document"],
        default="text",
        format_func=lambda name: state.t(f"task.source_{name}"),
        label_visibility="collapsed",
        required=True,
        key="task_source",
    )
    tasks, document, pages, text = _tasks(), None, None, ""
    path: str | None = None
    collection = collections[0]
    if source == "text":
        text = st.text_area(state.t("task.text"), max_chars=20_000, height=180, key="task_text")
    else:
        collection = _collection(collections, "translation")
        path = st.selectbox(state.t("task.document"), _paths(collection), index=None, key=f"task_tr_{collection.id}")
        wanted = st.text_input(state.t("task.pages"), placeholder="3-7", max_chars=20, key="task_pages")
        pages = page_span(wanted)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        target = st.selectbox(
            state.t("task.target"),
            ["zh", "en"],
            index=1 if state.language() == "zh" else 0,
            format_func={"zh": "中文", "en": "English"}.__getitem__,
            key="task_target",
        )
        go = st.button(state.t("task.start"), type="primary", icon=":material/play_arrow:", key="task_go")
    if not go:
        return None
    if path:
        document = tasks.documents(who, collection.id, [path])[0]
    return tasks.translate(who, target or "en", text, document, pages)


def page_span(text: str) -> tuple[int, int] | None:
    """Pages as written, `3` or `3-7`; None for an empty text. Raises InputError for anything else."""
    if not text.strip():
        return None
    match = re.fullmatch(r"\s*(\d{1,6})\s*(?:[-–]\s*(\d{1,6})\s*)?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last:
        raise InputError(f"'{text}' names no pages.", "Write 3 or 3-7.")
    return first, last


def _tasks() -> Tasks:
    return Tasks(state.alioth(), lambda kind: state.t(f"task.kind_{kind}"))


def _documents(collections: list[Collection], key: str) -> tuple[Collection, list[str]]:
    """A collection and some of its documents; none chosen means all."""
    collection = _collection(collections, key)
    paths = st.multiselect(
        state.t("task.documents"),
        _paths(collection),
        placeholder=state.t("task.all_documents"),
        max_selections=MOST_DOCUMENTS,
        key=f"task_documents_{key}_{collection.id}",
    )
    return collection, list(paths)


def _collection(collections: list[Collection], key: str) -> Collection:
    by_id = {collection.id: collection for collection in collections}
    chosen = st.selectbox(
        state.t("task.collection"), list(by_id), format_func=lambda cid: by_id[cid].name, key=f"task_collection_{key}"
    )
    return by_id[chosen or next(iter(by_id))]


def _paths(collection: Collection) -> list[str]:
    return state.alioth().documents.paths(collection.id, answering=True)
