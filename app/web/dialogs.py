"""Which dialog is open: one at most per browser tab, kept over reruns, so that a list that renews does not close it."""

from __future__ import annotations

import streamlit as st

_KEY = "_dialog"


def ask(kind: str, subject: str) -> None:
    """Open this dialog from the next look on."""
    st.session_state[_KEY] = (kind, subject)


def is_open(kind: str, subject: str) -> bool:
    """Whether this one is to be drawn in this run."""
    return bool(st.session_state.get(_KEY) == (kind, subject))


def close() -> None:
    """Close whichever is open."""
    st.session_state.pop(_KEY, None)
