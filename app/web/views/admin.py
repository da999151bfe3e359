"""The administration page: users with their one-time links, and who may do what with a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import streamlit as st

from app.web import state
from app.web.failures import shown
from app.web.render import label
from core.types import Collection, Principal, Role

if TYPE_CHECKING:
    from storage.accounts import User


def page() -> None:
    """For administrators only, checked at each rerun."""
    who = state.principal()
    state.alioth().permissions.require_admin(who)
    st.header(state.t("nav.admin"))
    users, grants = st.tabs([state.t("admin.users"), state.t("admin.grants")])
    with users:
        _link_once()
        _add_user(who)
        _users(who)
    with grants:
        _grants(who)


def _address(token: str) -> str:
    base = state.alioth().settings.web.public_url or str(st.context.url or "")
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}/setup?token={token}" if parts.netloc else f"/setup?token={token}"


def _link_once() -> None:
    made = st.session_state.pop("one_time_link", None)
    if made:
        name, token = made
        st.success(state.t("admin.link_for", name=label(name)), icon=":material/key:")
        st.code(_address(token), language=None, wrap_lines=True)


def _add_user(who: Principal) -> None:
    form = st.form("add_user", clear_on_submit=True, border=True)
    with form, st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(state.t("admin.user_name"), max_chars=200)
        is_admin = st.checkbox(state.t("admin.is_admin"))
        sent = st.form_submit_button(state.t("admin.add"), icon=":material/person_add:")
    if sent:
        with shown():
            token = state.alioth().accounts.add_user(name, is_admin, who)
            st.session_state["one_time_link"] = (name.strip(), token)
            st.rerun()


def _users(who: Principal) -> None:
    with st.container(border=True, gap="small"):
        for user in state.alioth().accounts.users():
            with st.container(horizontal=True, vertical_alignment="center", key=f"user_{user.id}"):
                st.markdown(f"**{label(user.name)}**", width="stretch")
                if user.is_admin:
                    st.badge(state.t("admin.is_admin"), color="violet")
                if user.disabled:
                    st.badge(state.t("admin.disabled"), color="red")
                _user_actions(user, who)


def _user_actions(user: User, who: Principal) -> None:
    accounts = state.alioth().accounts
    if st.button(state.t("admin.reset"), key=f"reset_{user.id}", icon=":material/key:"):
        with shown():
            st.session_state["one_time_link"] = (user.name, accounts.reset_link(user.name, who))
            st.rerun()
    word = "enable" if user.disabled else "disable"
    if st.button(state.t(f"admin.{word}"), key=f"switch_{user.id}", disabled=user.id == who.user_id):
        with shown():
            accounts.set_disabled(user.name, not user.disabled, who)
            st.rerun()


def _grants(who: Principal) -> None:
    alioth = state.alioth()
    collections = {collection.id: collection for collection in alioth.collections.list()}
    if not collections:
        st.info(state.t("library.none_admin"))
        return
    chosen = st.selectbox(
        state.t("library.collection"), list(collections), format_func=lambda key: collections[key].name, key="granted"
    )
    collection = collections[chosen]
    users = {user.id: user.name for user in alioth.accounts.users()}
    groups = {group.id: group.name for group in alioth.accounts_store.groups()}
    names = {("everyone", ""): state.t("admin.everyone")}
    names |= {("user", key): name for key, name in users.items()}
    names |= {("group", key): f"{name} ({state.t('admin.group')})" for key, name in groups.items()}
    _grant_form(collection, names, who)
    held = alioth.accounts_store.grants(collection.id)
    if not held:
        st.caption(state.t("admin.only_admins"))
    for grant in held:
        with st.container(horizontal=True, vertical_alignment="center"):
            name = names.get((grant.kind, grant.principal_id), grant.principal_id)
            st.markdown(f"**{label(name)}** — {state.t(f'role.{grant.role}')}", width="stretch")
            if st.button(state.t("admin.revoke"), key=f"revoke_{grant.kind}_{grant.principal_id}"):
                with shown():
                    alioth.accounts_store.revoke(collection.id, grant.kind, grant.principal_id)
                    alioth.audit.record(who.name, "grant.revoke", collection.name, to=name)
                    st.rerun()


def _grant_form(collection: Collection, names: dict[tuple[str, str], str], who: Principal) -> None:
    with st.form("grant", border=True), st.container(horizontal=True, vertical_alignment="bottom"):
        to = st.selectbox(state.t("admin.who"), list(names), format_func=names.__getitem__)
        role = st.selectbox(
            state.t("admin.role"), [role.value for role in Role], format_func=lambda value: state.t(f"role.{value}")
        )
        sent = st.form_submit_button(state.t("admin.grant"), icon=":material/lock_open:")
    if sent and role is not None and to is not None:
        with shown():
            state.alioth().accounts_store.grant(collection.id, to[0], to[1], Role(role))
            state.alioth().audit.record(who.name, "grant", collection.name, to=names[to], role=role)
            st.rerun()
