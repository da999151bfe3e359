"""An answer under way, as a page shows it: looked at again and again until it has ended."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING

import streamlit as st

from app.web import state
from core.errors import NotFoundError

if TYPE_CHECKING:
    from chat.running import Snapshot
    from storage.conversations import Message

POLL_S = 0.3
"""Between two looks at what is being written, or was stopped this moment."""
NEXT_POLL_S, FAR_POLL_S = 1.0, 3.0
"""The same for those who wait. A look costs the process some 20 ms, and many may wait."""
FAR = 4
"""How many are ahead of those who look seldom."""
_STOPPED = "_stopped_answer"


def follow(message: Message, show: Callable[[Snapshot | None], None]) -> None:
    """Show a growing answer with a button that stops it, and run the page again when it has ended.

    Each look tells the answer that somebody is there; a closed tab stops looking, and that stops the answer.

    Args:
        show: draws what there is; gets None for an answer that another process writes.
    """
    try:
        place = state.alioth().running.snapshot(message.id).place
    except NotFoundError:
        place = 0
    every_s = _every_s(message.id, place)
    st.fragment(_look, run_every=every_s)(message.id, message.conversation_id, show, every_s)


def queue_text(snapshot: Snapshot) -> str:
    """How many are ahead and, once it can be told, for how long; empty for one that does not wait."""
    if not snapshot.place:
        return ""
    if snapshot.wait_s < 1:
        return state.t("chat.queue", place=snapshot.place)
    return state.t("chat.queue_wait", place=snapshot.place, seconds=ceil(snapshot.wait_s))


def _look(message_id: str, conversation_id: str, show: Callable[[Snapshot | None], None], every_s: float) -> None:
    who = state.principal()
    alioth = state.alioth()
    alioth.conversations.get(conversation_id, who.user_id)
    try:
        snapshot = alioth.running.snapshot(message_id)
    except NotFoundError:  # it ended over a minute ago, or another web process writes it
        if alioth.conversations.message(message_id).state != "streaming":
            st.rerun()
        show(None)
        return
    if snapshot.done or _every_s(message_id, snapshot.place) != every_s:
        st.rerun()  # the whole page: only then does Streamlit take another pause
    show(snapshot)
    if st.button(state.t("chat.stop"), icon=":material/stop_circle:", key=f"stop_{message_id}"):
        alioth.running.stop(message_id)
        st.session_state[_STOPPED] = message_id
        st.rerun()


def _every_s(message_id: str, place: int) -> float:
    """Seconds between two looks."""
    if not place or st.session_state.get(_STOPPED) == message_id:
        return POLL_S
    return NEXT_POLL_S if place < FAR else FAR_POLL_S
