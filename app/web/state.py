"""What every page asks first: who is here (checked at each rerun), in which language, and the process's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import wiring
from app.web.messages import preferred, say

if TYPE_CHECKING:
    from app.wiring import Alioth
    from auth.accounts import SignIn
    from core.types import Collection, Principal

_SIGN_IN = "_sign_in"


def alioth() -> Alioth:
    """The process's parts."""
    return wiring.get()


def check_sign_in() -> SignIn:
    """The sign-in behind this browser tab, read from SQL now; ends the run with a link to sign in when it is over.

    The gate fixed `st.user` when the WebSocket opened, so a user who was disabled or signed out since must be found
    here, at each rerun of a page and of a fragment.
    """
    sign_in_id, user_id = str(st.user.get("sign_in") or ""), str(st.user.get("user_id") or "")
    found = alioth().accounts.find_sign_in(sign_in_id) if sign_in_id and user_id else None
    if found is None or found.principal.user_id != user_id:
        st.session_state.clear()
        language = preferred(_browser_language())
        st.warning(say("app.signed_out", language), icon=":material/lock:")
        st.html(f'<a href="/login" target="_self" class="al-button">{say("login.submit", language)}</a>')
        st.stop()
    st.session_state[_SIGN_IN] = found
    return found


def principal() -> Principal:
    """Who is acting, checked now."""
    return check_sign_in().principal


def language() -> str:
    """`zh` or `en`: the user's choice, else the browser's."""
    found: SignIn | None = st.session_state.get(_SIGN_IN)
    return found.language if found is not None and found.language else preferred(_browser_language())


def t(key: str, /, **values: object) -> str:
    """The text of a catalogue key in this page's language."""
    return say(key, language(), **values)


def readable() -> list[Collection]:
    """Collections the person may read now, by name."""
    return alioth().permissions.readable(principal())


def conversation_id() -> str:
    """The conversation in the address, or an empty string."""
    return str(st.query_params.get("c", ""))


def open_conversation(conversation: str) -> None:
    """Put a conversation into the address; an empty string for a new one."""
    if conversation:
        st.query_params["c"] = conversation
    else:
        st.query_params.pop("c", None)


def _browser_language() -> str:
    headers = st.context.headers
    return str(headers.get("Accept-Language", "") if headers else "") or str(st.context.locale or "")
