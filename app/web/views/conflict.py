"""Where documents contradict each other on what was asked: said, and both shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st

from app.web import places, state
from app.web.places import DateText
from core.types import Answer, Citation


def show_contradictions(answer: Answer, visible: Sequence[Citation], dates: Mapping[str, DateText]) -> None:
    """A box for each contradiction of which both sides may be read: the two values, documents, dates and sentences."""
    by_number = {citation.n: citation for citation in visible}
    for found in answer.contradictions:
        first, second = by_number.get(found.first), by_number.get(found.second)
        if first is None or second is None:
            continue
        head = escape(state.t("contradiction.head"))
        sides = "".join(
            _side(value, citation, dates)
            for value, citation in ((found.first_value, first), (found.second_value, second))
        )
        st.html(f'<div class="al-conflict"><b>⚠ {head}</b><div class="al-sides">{sides}</div></div>')


def _side(value: str, citation: Citation, dates: Mapping[str, DateText]) -> str:
    place = places.place_text(citation.locator, state.language())
    meta = " · ".join(part for part in (dates.get(citation.version_id, ""), place) if part)
    return (
        f'<div><div class="al-value">{escape(value)} <sup class="al-cite">{citation.n}</sup></div>'
        f'<div class="al-name">{escape(citation.document)}</div><div class="al-meta">{escape(meta)}</div>'
        f'<blockquote class="al-quote">{escape(citation.quote)}</blockquote></div>'
    )
