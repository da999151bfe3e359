"""The sidebar: pages, the person's conversations, language and sign-out."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from app.web import dialogs, state
from app.web.failures import shown
from app.web.messages import LANGUAGES
from app.web.pages import ASSETS
from app.web.render import label
from core.types import Principal

if TYPE_CHECKING:
    from streamlit.navigation.page import Page

    from storage.conversations import Conversation

SHOWN = 30
TITLE_CHARS = 60


def show(who: Principal, views: Mapping[str, Page]) -> None:
    """Draw the sidebar for this person."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.image(str(ASSETS / "icon.png"), width=36)
        st.html(f'<div class="al-brand"><b>Alioth</b><span>{state.t("app.tagline")}</span></div>')
    for view in views.values():
        st.page_link(view, width="stretch")
    st.divider()
    _conversations(who, views["chat"])
    st.divider()
    _person(who)


def _conversations(who: Principal, chat: Page) -> None:
    if st.button(state.t("chat.new"), icon=":material/add:", width="stretch", key="new_conversation"):
        _go(chat, "")
    found = state.alioth().conversations.list(who.user_id, limit=SHOWN)
    if not found:
        st.caption(state.t("chat.none_yet"))
    current = state.conversation_id()
    with st.container(gap=None):
        for conversation in found:
            _row(conversation, conversation.id == current, who, chat)


def _row(conversation: Conversation, current: bool, who: Principal, chat: Page) -> None:
    title = conversation.title or state.t("chat.untitled")
    short = title if len(title) <= TITLE_CHARS else title[: TITLE_CHARS - 1] + "…"
    with st.container(horizontal=True, vertical_alignment="center", gap=None, wrap=False, key=f"row_{conversation.id}"):
        kind = "secondary" if current else "tertiary"
        if st.button(label(short), key=f"open_{conversation.id}", type=kind, width="stretch"):  # type: ignore[arg-type]
            _go(chat, conversation.id)
        choice = st.menu_button(
            " ",
            ["rename", "delete"],
            key=f"more_{conversation.id}",
            type="tertiary",
            icon=":material/more_horiz:",
            format_func=lambda name: state.t(f"chat.{name}"),
        )
    if choice:
        dialogs.ask(f"conversation.{choice}", conversation.id)
    if dialogs.is_open("conversation.rename", conversation.id):
        _rename(conversation, who)
    elif dialogs.is_open("conversation.delete", conversation.id):
        _delete(conversation, who)


def _go(chat: Page, conversation: str) -> None:
    state.open_conversation(conversation)
    st.switch_page(chat, query_params={"c": conversation} if conversation else {})


def _rename(conversation: Conversation, who: Principal) -> None:
    @st.dialog(state.t("chat.rename"), on_dismiss=dialogs.close)
    def ask() -> None:
        title = st.text_input(state.t("chat.title"), value=conversation.title, max_chars=200)
        if st.button(state.t("page.save"), type="primary") and title.strip():
            state.check_sign_in()
            with shown():
                state.alioth().conversations.rename(conversation.id, who.user_id, title.strip())
                dialogs.close()
                st.rerun()

    ask()


def _delete(conversation: Conversation, who: Principal) -> None:
    @st.dialog(state.t("chat.delete"), on_dismiss=dialogs.close)
    def ask() -> None:
        st.write(state.t("chat.delete_question"))
        st.html(f'<p class="al-name">{escape(conversation.title or state.t("chat.untitled"))}</p>')
        if st.button(state.t("page.delete"), type="primary", icon=":material/delete:"):
            state.check_sign_in()
            with shown():
                state.alioth().conversations.delete(conversation.id, who.user_id)
                if state.conversation_id() == conversation.id:
                    state.open_conversation("")
                dialogs.close()
                st.rerun()

    ask()


def _person(who: Principal) -> None:
    st.html(f'<div class="al-person">{escape(who.name)}</div>')
    with st.container(horizontal=True, vertical_alignment="center"):
        chosen = st.segmented_control(
            state.t("app.language"),
            list(LANGUAGES),
            default=state.language(),
            format_func=LANGUAGES.__getitem__,
            label_visibility="collapsed",
            key="language",
            required=True,
        )
        if chosen and chosen != state.language():
            state.alioth().accounts.set_language(who, chosen)
            st.rerun()
        st.html(f'<a href="/logout" target="_self" class="al-link">{state.t("logout.submit")}</a>')
