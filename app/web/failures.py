"""What a person sees when something goes wrong: the message and the remedy, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app.web import state
from app.web.messages import error_text
from app.web.render import label
from core.errors import AliothError

log = logging.getLogger(__name__)


def show(error: Exception) -> bool:
    """Show an error on the page; True, as Streamlit's error hook wants it."""
    if isinstance(error, AliothError):
        log.info("shown to the person: %s: %s", error.code, error)
        st.error(label(error_text(error, state.language())), icon=":material/error:")
    else:
        log.error("a page failed", exc_info=error)
        st.error(state.t("error.unexpected"), icon=":material/error:")
    return True


@contextmanager
def shown() -> Iterator[None]:
    """Show an Alioth error of the block in its place and go on with the page."""
    try:
        yield
    except AliothError as error:
        show(error)
