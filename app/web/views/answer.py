"""A finished answer: notices, text with its checks, sources that can be opened, feedback."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from app.web import dialogs, places, state
from app.web.failures import shown
from app.web.messages import kept_error_text, say_or
from app.web.reasons import reason_text
from app.web.render import answer_html, label, quote_html, unchecked_html
from app.web.views.conflict import show_contradictions
from app.web.views.narrow import filters_text
from app.web.views.task_result import replaces_text, show_result
from core.filters import Filters
from core.types import Answer, Citation, Principal, Verdict

if TYPE_CHECKING:
    from storage.conversations import Message

QUOTE_TOOLTIP_CHARS = 160
MOST_SOURCES = 60


def show_answer(message: Message, who: Principal) -> None:
    """Draw one answer of the assistant inside its chat message."""
    answer = message.answer
    if message.state == "failed" or answer is None:
        if message.text:
            st.html(unchecked_html(message.text, state.t("chat.not_checked")))
        st.caption(f":material/info: {_why_unfinished(message)}")
        return
    _notices(answer, message.state)
    readable = {collection.id for collection in state.readable()}
    visible = [citation for citation in answer.citations if citation.collection_id in readable]
    explain = partial(reason_text, language=state.language())
    dates = places.date_texts(state.alioth(), visible, state.language())
    if answer.task:
        show_result(answer, visible, message.id)
    if not replaces_text(answer):
        st.html(answer_html(message.text, answer.verification, _tooltips(visible), explain))
    show_contradictions(answer, visible, dates)
    _legend(answer)
    if visible and answer.task.get("kind") != "comparison":  # there each side links to its place
        with st.expander(state.t("source.sources", count=len(visible)), icon=":material/menu_book:"):
            for citation in visible[:MOST_SOURCES]:
                _source(citation, message.id, dates.get(citation.version_id, ""))
                if citation.n in answer.suspicious:
                    st.warning(state.t("source.suspicious"), icon=":material/gpp_maybe:")
            if len(visible) > MOST_SOURCES:
                st.caption(state.t("task.more_rows", count=len(visible) - MOST_SOURCES))
            if answer.context.get("left_out"):
                st.caption(state.t("source.left_out", count=answer.context["left_out"]))
    if len(visible) < len(answer.citations):
        st.caption(state.t("source.no_longer_readable"))
    _feedback(message, who)


def _why_unfinished(message: Message) -> str:
    if message.state != "failed":
        return state.t("chat.stopped")
    if message.error is None:
        return state.t("chat.failed")
    return state.t("chat.failed_because", why=label(kept_error_text(message.error, state.language())))


def _notices(answer: Answer, message_state: str) -> None:
    if answer.filters:
        shown_filters = filters_text(Filters.from_dict(answer.filters))
        st.caption(f":material/filter_alt: {label(state.t('filter.applied', filters=shown_filters))}")
    for notice in answer.notices:
        text = say_or(f"notice.{notice}", state.language(), notice)
        st.html(f'<div class="al-notice">{escape(text)}</div>')
    if answer.stopped or message_state == "stopped":
        st.caption(f":material/stop_circle: {state.t('chat.stopped')}")


def _tooltips(citations: Sequence[Citation]) -> dict[int, str]:
    return {
        citation.n: f"{citation.document} · {places.place_text(citation.locator, state.language())}\n"
        f"{citation.quote[:QUOTE_TOOLTIP_CHARS]}"
        for citation in citations
    }


def _legend(answer: Answer) -> None:
    marked = sum(check.verdict is Verdict.UNSUPPORTED for check in answer.verification)
    if marked:
        st.badge(
            state.t("verdict.count", count=marked),
            icon=":material/warning:",
            color="orange",
            help=state.t("verdict.help"),
        )


def _source(citation: Citation, message_id: str, date: str) -> None:
    place = places.place_text(citation.locator, state.language())
    title = citation.title if citation.title and citation.title != citation.document else ""
    meta = escape(" · ".join(filter(None, (title, date, place))))
    st.html(
        f'<div><sup class="al-cite">{citation.n}</sup> <b>{escape(citation.document)}</b> '
        f'<span class="al-meta">{meta}</span></div>{quote_html(citation.quote)}'
    )
    with st.container(horizontal=True, gap="small"):
        if places.has_page_image(citation):
            key = f"p_{message_id}_{citation.n}"
            if st.button(state.t("source.page_image"), icon=":material/image_search:", key=key):
                dialogs.ask("page", key)
            if dialogs.is_open("page", key):
                _page_dialog(citation, message_id)
        else:
            st.link_button(state.t("source.view"), places.view_url(citation), icon=":material/article:")
        st.link_button(
            state.t("source.original"), places.original_url(citation.document_id), icon=":material/download:"
        )


def _page_dialog(citation: Citation, message_id: str) -> None:
    @st.dialog(state.t("source.page_image"), width="large", on_dismiss=dialogs.close)
    def view() -> None:
        state.check_sign_in()
        page = citation.locator.page or 1
        address = places.page_image_url(citation, message_id, page)
        st.html(
            f'<p class="al-name">{escape(citation.document)}</p>'
            f'<p class="al-meta">{escape(places.place_text(citation.locator, state.language()))}</p>'
            f'<img class="al-page" src="{escape(address)}" alt="{escape(state.t("place.page", page=page))}">'
        )

    view()


def _feedback(message: Message, who: Principal) -> None:
    """Thumbs and, once given, a reason."""
    key = f"thumbs_{message.id}"
    given = {1: 1, -1: 0}.get(message.feedback or 0)
    with st.container(horizontal=True, vertical_alignment="center"):
        thumb = st.feedback("thumbs", default=given, key=key)
        if thumb is not None and thumb != given:
            with shown():
                state.alioth().conversations.feedback(message.id, who.user_id, 1 if thumb else -1, "")
                st.toast(state.t("feedback.thanks"), icon=":material/check:")
        if thumb is None:
            return
        with st.popover(state.t("feedback.why"), type="tertiary", icon=":material/rate_review:"):
            reason = st.text_area(state.t("feedback.reason"), max_chars=2000, key=f"reason_{message.id}")
            if st.button(state.t("feedback.send"), key=f"send_{message.id}", icon=":material/send:") and reason.strip():
                with shown():
                    state.alioth().conversations.feedback(message.id, who.user_id, 1 if thumb else -1, reason.strip())
                    st.toast(state.t("feedback.thanks"), icon=":material/check:")
