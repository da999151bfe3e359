"""Accounts: names, sign-ins, one-time links, grants, and the audit log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from core.errors import ConflictError, InputError, NotFoundError
from core.types import Fingerprint, Role
from storage.accounts import AccountStore
from storage.audit import AuditLog
from storage.database import Database
from storage.tables import now


@pytest.fixture
def store(db: Database) -> AccountStore:
    return AccountStore(db)


def later(hours: float = 1) -> Any:
    return now() + timedelta(hours=hours)


def test_a_user_is_found_by_name_in_any_case_and_names_are_unique(store: AccountStore) -> None:
    anna = store.add_user("Anna", "hash", is_admin=True)
    assert store.user_by_name(" ANNA ") == anna == store.user_by_id(anna.id)
    assert store.user_by_name("ben") is None and store.user_by_id("0" * 32) is None
    with pytest.raises(ConflictError):
        store.add_user("anna", "hash")
    with pytest.raises(InputError):
        store.add_user(" ", "hash")
    assert store.users() == [anna]


def test_an_administrator_exists_only_while_one_is_enabled(store: AccountStore) -> None:
    assert not store.has_admin()
    store.add_user("ben", "h")
    assert not store.has_admin()
    anna = store.add_user("anna", "h", is_admin=True)
    assert store.has_admin()
    store.set_disabled(anna.id, True)
    assert not store.has_admin()


def test_disabling_ends_every_sign_in_at_once_and_enabling_does_not_bring_them_back(store: AccountStore) -> None:
    anna = store.add_user("anna", "h")
    store.add_sign_in("t1", anna.id, later())
    store.add_sign_in("t2", anna.id, later())
    assert store.sign_in_user("t1") == anna
    store.set_disabled(anna.id, True)
    assert store.sign_in_user("t1") is None and store.sign_in_user("t2") is None
    store.set_disabled(anna.id, False)
    assert store.sign_in_user("t1") is None


def test_expired_revoked_and_unknown_sign_ins_are_nobody(store: AccountStore) -> None:
    anna = store.add_user("anna", "h")
    store.add_sign_in("old", anna.id, later(-1))
    store.add_sign_in("a", anna.id, later())
    store.add_sign_in("b", anna.id, later())
    assert store.sign_in_user("old") is None and store.sign_in_user("") is None
    store.revoke_sign_in("a")
    assert store.sign_in_user("a") is None and store.sign_in_user("b") == anna
    store.revoke_all(anna.id)
    assert store.sign_in_user("b") is None
    with pytest.raises(NotFoundError):
        store.add_sign_in("c", "0" * 32, later())


def test_a_new_password_ends_all_sign_ins(store: AccountStore) -> None:
    anna = store.add_user("anna", "h")
    store.add_sign_in("a", anna.id, later())
    store.set_password_hash(anna.id, "h2")
    assert store.password_hash_of(anna.id) == "h2"
    assert store.sign_in_user("a") is None


def test_wrong_passwords_in_a_row_lock_the_account_for_a_while(store: AccountStore) -> None:
    anna = store.add_user("anna", "h")
    assert [store.note_failed_sign_in(anna.id, limit=3) for _ in range(2)] == [None, None]
    store.clear_failed_sign_ins(anna.id)
    assert [store.note_failed_sign_in(anna.id, limit=3, lock_s=60) for _ in range(2)] == [None, None]
    until = store.note_failed_sign_in(anna.id, limit=3, lock_s=60)
    assert until is not None and until == store.locked_until(anna.id)
    store.clear_failed_sign_ins(anna.id)
    assert store.locked_until(anna.id) is None
    store.note_failed_sign_in(anna.id, limit=1, lock_s=-1)
    assert store.locked_until(anna.id) is None
    assert store.note_failed_sign_in("0" * 32) is None


def test_a_link_is_used_by_exactly_one_of_many(store: AccountStore) -> None:
    anna = store.add_user("anna", "h")
    store.add_link("link", anna.id, later())
    assert store.link_valid("link")
    results: list[tuple[bool, str | None]] = []
    threads = [threading.Thread(target=lambda: results.append(store.use_link("link"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == [(False, None)] * 7 + [(True, anna.id)]
    assert not store.link_valid("link")


def test_expired_unknown_and_replaced_links_do_nothing(store: AccountStore) -> None:
    anna = store.add_user("anna", "h")
    store.add_link("expired", None, later(-1))
    store.add_link("first", None, later())
    store.add_link("reset", anna.id, later())
    store.add_link("second", None, later())
    for token in ("expired", "unknown", "first"):
        assert not store.link_valid(token)
        assert store.use_link(token) == (False, None)
    assert store.use_link("second") == (True, None)
    assert store.use_link("reset") == (True, anna.id)


def test_the_strongest_of_direct_group_and_common_roles_counts(
    bench: Any, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    store = AccountStore(bench.db)
    first, second, third = (bench.collections.create(name, make_fingerprint()).id for name in "abc")
    anna, ben = store.add_user("anna", "h"), store.add_user("ben", "h")
    group = store.add_group("Finance")
    store.add_member(group.id, anna.id)
    store.add_member(group.id, anna.id)
    store.grant(first, "everyone", "ignored", Role.READ)
    store.grant(first, "group", group.id, Role.MANAGE)
    store.grant(first, "user", anna.id, Role.WRITE)
    store.grant(second, "user", ben.id, Role.READ)
    store.grant(second, "user", ben.id, Role.WRITE)
    assert store.roles_of(anna.id) == {first: Role.MANAGE}
    assert store.roles_of(ben.id) == {first: Role.READ, second: Role.WRITE}
    assert [(g.kind, g.name, g.role) for g in store.grants(first)] == [
        ("everyone", "", Role.READ),
        ("group", "Finance", Role.MANAGE),
        ("user", "anna", Role.WRITE),
    ]
    assert third not in store.roles_of(anna.id) and store.grants(third) == []

    store.remove_member(group.id, anna.id)
    assert store.roles_of(anna.id) == {first: Role.WRITE}
    store.revoke(first, "user", anna.id)
    assert store.roles_of(anna.id) == {first: Role.READ}
    store.revoke(first, "everyone", "")
    assert store.roles_of(anna.id) == {}


def test_unknown_and_disabled_users_have_no_role_even_where_everyone_has(bench: Any) -> None:
    store = AccountStore(bench.db)
    anna = store.add_user("anna", "h")
    store.grant(bench.collection.id, "everyone", "", Role.MANAGE)
    assert store.roles_of("0" * 32) == {}
    store.set_disabled(anna.id, True)
    assert store.roles_of(anna.id) == {}


def test_deleting_a_group_or_a_collection_takes_its_grants_along(bench: Any) -> None:
    store = AccountStore(bench.db)
    anna, group = store.add_user("anna", "h"), store.add_group("g")
    store.add_member(group.id, anna.id)
    store.grant(bench.collection.id, "group", group.id, Role.READ)
    store.delete_group(group.id)
    assert store.roles_of(anna.id) == {} and store.grants(bench.collection.id) == [] and store.groups() == []
    store.grant(bench.collection.id, "user", anna.id, Role.READ)
    bench.collections.delete(bench.collection.id)
    assert store.roles_of(anna.id) == {}


def test_grants_to_nobody_and_on_nothing_are_refused(bench: Any) -> None:
    store = AccountStore(bench.db)
    anna = store.add_user("anna", "h")
    for kind in ("user", "group"):
        with pytest.raises(NotFoundError):
            store.grant(bench.collection.id, kind, "0" * 32, Role.READ)
    with pytest.raises(NotFoundError):
        store.grant("0" * 32, "user", anna.id, Role.READ)
    with pytest.raises(InputError):
        store.grant(bench.collection.id, "robot", anna.id, Role.READ)
    with pytest.raises(ConflictError):
        store.add_group("G")
        store.add_group("g")


def test_groups_show_their_members(store: AccountStore) -> None:
    anna, ben = store.add_user("anna", "h"), store.add_user("ben", "h")
    group = store.add_group("g")
    store.add_member(group.id, anna.id)
    store.add_member(group.id, ben.id)
    assert store.groups()[0].members == tuple(sorted((anna.id, ben.id)))


def test_language_is_kept(store: AccountStore) -> None:
    anna = store.add_user("anna", "h")
    store.set_language(anna.id, "zh")
    found = store.user_by_id(anna.id)
    assert found is not None and found.language == "zh"


def test_the_audit_log_gives_the_newest_first_with_its_details(db: Database) -> None:
    log = AuditLog(db)
    log.record("system", "collection.create", "Handbook", documents=3)
    log.record("anna" * 100, "x" * 100, "y" * 600)
    newest, oldest = log.entries(10)
    assert (oldest.actor, oldest.action, oldest.subject, oldest.detail) == (
        "system",
        "collection.create",
        "Handbook",
        {"documents": 3},
    )
    assert (len(newest.actor), len(newest.action), len(newest.subject)) == (200, 60, 500)
    assert len(log.entries(1)) == 1
