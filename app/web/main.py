"""The page script that Streamlit runs: sign-in check, sidebar, one of the views."""

from __future__ import annotations

import streamlit as st

from app.web import sidebar, state
from app.web.failures import shown
from app.web.pages import ASSETS
from app.web.views import admin, chat, library, models, quality, search, tasks
from core.types import Role


def run() -> None:
    """One rerun of the page."""
    st.set_page_config(page_title="Alioth", page_icon=str(ASSETS / "icon.png"), layout="centered")
    st.html(ASSETS / "app.css")
    if state.language() == "zh":
        st.html(ASSETS / "app.zh.css")
    who = state.principal()
    views = {
        "chat": st.Page(chat.page, title=state.t("nav.chat"), icon=":material/forum:", default=True),
        "library": st.Page(
            library.page, title=state.t("nav.library"), icon=":material/library_books:", url_path="library"
        ),
    }
    views["tasks"] = st.Page(tasks.page, title=state.t("task.title"), icon=":material/task:", url_path="tasks")
    if quality.is_for(who):
        views["quality"] = st.Page(
            quality.page, title=state.t("quality.title"), icon=":material/monitoring:", url_path="quality"
        )
    if any(role.rank >= Role.WRITE.rank for role in state.alioth().permissions.roles(who).values()):
        views["search"] = st.Page(
            search.page, title=state.t("nav.search"), icon=":material/manage_search:", url_path="search"
        )
    if who.is_admin:
        views["models"] = st.Page(
            models.page, title=state.t("models.title"), icon=":material/memory:", url_path="models"
        )
        views["admin"] = st.Page(
            admin.page, title=state.t("nav.admin"), icon=":material/admin_panel_settings:", url_path="admin"
        )
    view = st.navigation(list(views.values()), position="hidden")
    with st.sidebar, shown():
        sidebar.show(who, views)
    with shown():
        view.run()


run()
