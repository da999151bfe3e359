"""The folders that a collection follows: whether each is in step, and what keeps it from being so."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.web import state
from app.web.messages import say_or
from app.web.render import label
from core.types import Collection

if TYPE_CHECKING:
    from storage.sources import Source
    from storage.watches import Watch

FAULTS = ("failed", "conflicts", "refused")


def show_sources(collection: Collection) -> None:
    """A closed box with a line for each folder; a trouble stands above it. Nothing when it follows none."""
    alioth = state.alioth()
    sources = alioth.sources.known(collection.id)
    if not sources:
        return
    watches = alioth.watches.all(collection.id)
    for source in sources:
        watch = watches.get(source.id)
        if watch is not None and watch.trouble:
            st.warning(label(_trouble(source, watch.trouble)), icon=":material/folder_off:")
    with st.expander(state.t("sources.title", count=len(sources)), icon=":material/folder_managed:"):
        for source in sources:
            _line(source, watches.get(source.id))


def _line(source: Source, watch: Watch | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
        st.html(f'<div class="al-name">{escape(source.place)}</div><div class="al-meta">{escape(_facts(source))}</div>')
        word, colour = _state(watch)
        st.badge(state.t(f"sources.{word}"), color=colour, help=state.t(f"sources.{word}_help"))  # type: ignore[arg-type]


def _facts(source: Source) -> str:
    words = [state.t("sources.documents", count=source.documents)]
    if source.synced_at is not None:
        words.append(state.t("sources.synced", when=source.synced_at.astimezone().strftime("%Y-%m-%d %H:%M")))
    words += [state.t(f"sources.{name}", count=count) for name in FAULTS if (count := source.result.get(name))]
    return " · ".join(words)


def _state(watch: Watch | None) -> tuple[str, str]:
    if watch is None:
        return "by_hand", "gray"
    if watch.trouble:
        return "trouble", "orange"
    return ("followed", "green") if watch.worker else ("waiting", "gray")


def _trouble(source: Source, trouble: Mapping[str, Any]) -> str:
    text = f"{trouble.get('message', '')} {trouble.get('hint', '')}".strip()
    code, language = trouble.get("code"), state.language()
    known = say_or(f"sources.trouble_{code}", language, say_or(f"error.{code}", language, ""))
    if language == "en" or not known:
        return f"{source.place}: {text}"
    return f"{source.place}：{known}，{state.t('sources.nothing_deleted')}（{text}）"
