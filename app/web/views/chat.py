"""The chat page: a question goes to a task of the process, the page only shows what that task has written so far."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import streamlit as st

from app.answering import resolved
from app.web import state
from app.web.failures import shown
from app.web.render import question_html, unchecked_html
from app.web.views.answer import show_answer
from app.web.views.following import follow, queue_text
from app.web.views.generation import conversation_button, keep_for
from app.web.views.narrow import choose_filters, hand_filters_on
from core.errors import AliothError, NotFoundError
from core.filters import Filters
from core.types import AnswerMode, ChatTurn, Collection, Principal

if TYPE_CHECKING:
    from chat.events import AnswerEvent
    from chat.running import Snapshot
    from storage.conversations import Conversation, Message

TITLE_CHARS = 60
HISTORY = 8
"""Earlier messages a follow-up may refer to."""


def page() -> None:
    """Show the conversation of the address, or an empty one, and take a question."""
    who = state.principal()
    conversation = _conversation(who)
    collections = state.readable()
    messages = state.alioth().conversations.messages(conversation.id) if conversation else []
    running = messages[-1] if messages and messages[-1].state == "streaming" else None
    if not messages:
        _welcome(bool(collections), who)
    for message in messages:
        _show(message, who)
    if not collections:
        return
    with st.bottom:
        with st.container(key="ask_with"):
            wide, middle, narrow, last = st.columns((2.6, 1.2, 1.5, 1.2), vertical_alignment="bottom")
        with wide:
            chosen = _choose(conversation, collections, who)
        with middle:
            filters = choose_filters(_filter_key(conversation), chosen, _last_filters(messages))
        with narrow:
            mode = _mode()
        with last:
            conversation_button(conversation, chosen)
    # outside `st.bottom`: only then does Streamlit keep the page at its newest message
    question = st.chat_input(
        state.t("chat.placeholder"),
        max_chars=state.alioth().settings.chat.max_question_chars,
        disabled=running is not None or not chosen,
        key="question",
    )
    if question and question.strip():
        with shown():
            _ask(question.strip(), conversation, chosen, who, mode, filters)


def _filter_key(conversation: Conversation | None) -> str:
    return f"chat_{conversation.id if conversation else 'new'}"


def _last_filters(messages: list[Message]) -> Filters:
    """Those of the last answer, so that follow-ups keep them."""
    answers = [message.answer for message in messages if message.answer is not None]
    return Filters.from_dict(answers[-1].filters) if answers else Filters()


def _conversation(who: Principal) -> Conversation | None:
    wanted = state.conversation_id()
    if not wanted:
        return None
    try:
        return state.alioth().conversations.get(wanted, who.user_id)
    except NotFoundError:
        state.open_conversation("")
        st.toast(state.t("chat.not_there"), icon=":material/info:")
        return None


def _welcome(any_collection: bool, who: Principal) -> None:
    if any_collection:
        text = state.t("chat.welcome_text")
    else:
        text = state.t("chat.no_collection_admin" if who.is_admin else "chat.no_collection")
    st.html(f'<div class="al-empty"><h1>{state.t("chat.welcome")}</h1><p>{text}</p></div>')


def _show(message: Message, who: Principal) -> None:
    if message.role == "user":
        with st.chat_message("user", avatar=":material/person:"):
            st.html(question_html(message.text))
        return
    with st.chat_message("assistant", avatar=":material/auto_awesome:"):
        if message.state == "streaming":
            follow(message, _growing)
        else:
            show_answer(message, who)


def _growing(snapshot: Snapshot | None) -> None:
    """What is written so far, or else what is being done or waited for."""
    if snapshot is not None and snapshot.text:
        st.html(unchecked_html(snapshot.text, state.t("chat.not_checked_yet"), growing=True))
    elif snapshot is None:
        st.caption(state.t("stage.generate"))
    else:
        st.caption(queue_text(snapshot) or state.t(f"stage.{snapshot.stage or 'retrieve'}"))


def _choose(conversation: Conversation | None, collections: list[Collection], who: Principal) -> list[Collection]:
    """Which collections are searched: the conversation's own, for a new one the choice made last."""
    most = state.alioth().settings.chat.max_collections
    by_id = {collection.id: collection for collection in collections}
    before = conversation.collection_ids if conversation else st.session_state.get("last_collections", list(by_id))
    default = [key for key in before if key in by_id][:most] or list(by_id)[:most]
    chosen = st.multiselect(
        state.t("chat.collections"),
        list(by_id),
        default=default,
        format_func=lambda key: by_id[key].name,
        max_selections=most,
        placeholder=state.t("chat.collections_none"),
        label_visibility="collapsed",
        key=f"collections_{conversation.id if conversation else 'new'}",
    )
    st.session_state["last_collections"] = chosen
    if conversation and chosen and tuple(chosen) != conversation.collection_ids:
        state.alioth().conversations.set_collections(conversation.id, who.user_id, chosen)
    return [by_id[key] for key in chosen]


def _mode() -> AnswerMode:
    """How to answer, kept while the page is open."""
    chosen = st.selectbox(
        state.t("chat.mode"),
        list(AnswerMode),
        format_func=lambda mode: state.t(f"chat.mode_{mode.value}"),
        help=state.t("chat.mode_help"),
        label_visibility="collapsed",
        key="answer_mode",
    )
    return chosen or AnswerMode.AUTOMATIC


def _ask(
    question: str,
    conversation: Conversation | None,
    chosen: list[Collection],
    who: Principal,
    mode: AnswerMode,
    filters: Filters,
) -> None:
    alioth = state.alioth()
    allowed = alioth.permissions.readable_of(who, [collection.id for collection in chosen])
    fresh = conversation is None
    if conversation is None:
        title = question if len(question) <= TITLE_CHARS else question[: TITLE_CHARS - 1] + "…"
        conversation = alioth.conversations.create(who.user_id, [c.id for c in allowed], title=" ".join(title.split()))
    earlier = [m for m in alioth.conversations.messages(conversation.id) if m.state != "streaming" and m.text]
    history = [ChatTurn(message.role, message.text) for message in earlier[-HISTORY:]]

    try:
        if fresh:
            keep_for(conversation)
        how = resolved(alioth, allowed, conversation.id)

        def answer(stop: threading.Event) -> Iterator[AnswerEvent]:
            return alioth.answerer.answer(question, allowed, history, mode, stop, who.user_id, filters, how)

        alioth.running.start(
            conversation.id,
            who.user_id,
            question,
            allowed,
            history,
            mode,
            make=answer if filters or how != resolved(alioth, []) else None,
        )
    except AliothError:
        if fresh:
            alioth.conversations.delete(conversation.id, who.user_id)
        raise
    if fresh:
        hand_filters_on(_filter_key(None), _filter_key(conversation), filters)
    state.open_conversation(conversation.id)
    st.rerun()
