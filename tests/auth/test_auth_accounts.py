"""Sign-in, one-time links, passwords, lock-out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auth import accounts as module
from auth.accounts import Accounts
from auth.throttle import FREE_FAILURES, UnknownNames
from auth.tokens import new_token, token_hash
from core.errors import ConflictError, InputError, LimitError, NotFoundError, PermissionDeniedError
from core.types import Principal
from storage.accounts import AccountStore
from storage.audit import AuditLog
from storage.database import Database
from storage.migrate import migrate

PASSWORD = "correct horse battery"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    db = Database(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(db, tmp_path)
    yield db
    db.close()


@pytest.fixture
def store(database: Database) -> AccountStore:
    return AccountStore(database)


@pytest.fixture
def audit(database: Database) -> AuditLog:
    return AuditLog(database)


@pytest.fixture
def accounts(store: AccountStore, audit: AuditLog) -> Accounts:
    return Accounts(store, audit)


def with_user(accounts: Accounts, name: str = "Wang Fang", *, admin: bool = False) -> Principal:
    return accounts.complete_setup(accounts.add_user(name, admin), "", PASSWORD)


def test_the_set_up_link_creates_the_administrator_once(accounts: Accounts) -> None:
    token = accounts.create_setup_link()
    made = accounts.complete_setup(token, "管理员", PASSWORD)
    assert made.is_admin and made.name == "管理员"
    with pytest.raises(NotFoundError):
        accounts.complete_setup(token, "another", PASSWORD)


def test_there_is_no_set_up_link_once_an_administrator_exists(accounts: Accounts) -> None:
    first = accounts.create_setup_link()
    accounts.complete_setup(first, "boss", PASSWORD)
    with pytest.raises(ConflictError, match="administrator already"):
        accounts.create_setup_link()
    assert not accounts.needs_setup()


def test_only_one_of_many_racing_set_ups_becomes_administrator(accounts: Accounts, store: AccountStore) -> None:
    token = accounts.create_setup_link()
    won: list[str] = []

    def race(n: int) -> None:
        with contextlib.suppress(NotFoundError):
            won.append(accounts.complete_setup(token, f"racer {n}", PASSWORD).name)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and [user.name for user in store.users()] == won


def test_an_expired_link_is_worth_nothing(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINK_HOURS", -0.001)
    token = accounts.create_setup_link()
    assert accounts.link(token) is None
    with pytest.raises(NotFoundError):
        accounts.complete_setup(token, "boss", PASSWORD)


def test_a_bad_password_leaves_the_link_good(accounts: Accounts) -> None:
    token = accounts.create_setup_link()
    for bad in ("short", "x" * 300, "aaaaaaaaaaaaaa", "administrator"):
        with pytest.raises(InputError):
            accounts.complete_setup(token, "administrator", bad)
    assert accounts.complete_setup(token, "administrator", PASSWORD).is_admin


def test_a_changed_user_id_in_a_link_does_not_open_another_account(accounts: Accounts, store: AccountStore) -> None:
    token = accounts.add_user("low")
    with_user(accounts, "high", admin=True)
    high = store.user_by_name("high")
    assert high is not None
    forged = f"{high.id}-{token.partition('-')[2]}"
    assert accounts.link(forged) is None
    with pytest.raises(NotFoundError):
        accounts.complete_setup(forged, "", "another good password")


def test_the_cookie_value_is_kept_only_as_its_hash(accounts: Accounts, tmp_path: Path, database: Database) -> None:
    with_user(accounts)
    token = accounts.sign_in("wang fang", PASSWORD)
    assert len(token) >= 43 and token != accounts.sign_in("wang fang", PASSWORD)
    database.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
    assert token.encode() not in kept and token_hash(token).encode() in kept
    assert PASSWORD.encode() not in kept and b"$argon2id$" in kept


def test_sign_in_ignores_case_and_gives_the_principal(accounts: Accounts) -> None:
    made = with_user(accounts)
    assert accounts.user_of(accounts.sign_in("  WANG  fang ", PASSWORD)) == made


def test_signing_out_ends_one_browser_only(accounts: Accounts) -> None:
    with_user(accounts)
    here, there = accounts.sign_in("wang fang", PASSWORD), accounts.sign_in("wang fang", PASSWORD)
    accounts.sign_out(here)
    accounts.sign_out("never was one")
    assert accounts.user_of(here) is None and accounts.user_of(there) is not None


def test_an_expired_sign_in_is_nobody(store: AccountStore, accounts: Accounts) -> None:
    made = with_user(accounts)
    token = new_token()
    store.add_sign_in(token_hash(token), made.user_id, datetime.now(UTC) - timedelta(seconds=1))
    assert accounts.user_of(token) is None


def test_disabling_ends_every_sign_in_at_once_and_forbids_new_ones(accounts: Accounts) -> None:
    boss = with_user(accounts, "boss", admin=True)
    with_user(accounts)
    token = accounts.sign_in("wang fang", PASSWORD)
    link = accounts.reset_link("wang fang")
    accounts.set_disabled("wang fang", True, boss)
    assert accounts.user_of(token) is None and accounts.link(link) is None
    with pytest.raises(PermissionDeniedError):
        accounts.sign_in("wang fang", PASSWORD)
    accounts.set_disabled("wang fang", False, boss)
    assert accounts.user_of(token) is None
    assert accounts.user_of(accounts.sign_in("wang fang", PASSWORD)) is not None


def test_nobody_locks_the_last_administrator_out(accounts: Accounts) -> None:
    boss = with_user(accounts, "boss", admin=True)
    with pytest.raises(ConflictError, match="is you"):
        accounts.set_disabled("boss", True, boss)
    with pytest.raises(ConflictError, match="last administrator"):
        accounts.set_disabled("boss", True)


def test_a_new_password_ends_the_sign_ins_made_with_the_old_one(accounts: Accounts) -> None:
    with_user(accounts)
    token = accounts.sign_in("wang fang", PASSWORD)
    accounts.complete_setup(accounts.reset_link("wang fang"), "ignored", "a new long password")
    assert accounts.user_of(token) is None
    with pytest.raises(PermissionDeniedError):
        accounts.sign_in("wang fang", PASSWORD)
    assert accounts.sign_in("wang fang", "a new long password")


def test_a_new_reset_link_ends_the_earlier_one(accounts: Accounts) -> None:
    with_user(accounts)
    old, new = accounts.reset_link("wang fang"), accounts.reset_link("wang fang")
    assert accounts.link(old) is None and accounts.link(new) is not None


@pytest.mark.parametrize("name", ["wang fang", "nobody at all"])
def test_repeated_failures_lock_known_and_unknown_names_alike(accounts: Accounts, name: str) -> None:
    with_user(accounts)
    for _ in range(FREE_FAILURES - 1):
        with pytest.raises(PermissionDeniedError, match="Name or password is wrong"):
            accounts.sign_in(name, "a wrong password")
    with pytest.raises(LimitError, match=r"locked for \d+ more seconds") as caught:
        accounts.sign_in(name, "a wrong password")
    assert caught.value.retry_after_s is not None and 290 < caught.value.retry_after_s <= 300
    with pytest.raises(LimitError):
        accounts.sign_in(name, PASSWORD)  # the right one does not help while it is locked


def test_an_administrators_link_opens_a_locked_sign_in(accounts: Accounts) -> None:
    with_user(accounts)
    for _ in range(FREE_FAILURES):
        with pytest.raises((PermissionDeniedError, LimitError)):
            accounts.sign_in("wang fang", "a wrong password")
    accounts.complete_setup(accounts.reset_link("wang fang"), "", "a new long password")
    assert accounts.sign_in("wang fang", "a new long password")


def test_a_user_without_a_password_cannot_sign_in(accounts: Accounts) -> None:
    accounts.add_user("new here")
    for guess in ("", "!", "a wrong password"):
        with pytest.raises(PermissionDeniedError):
            accounts.sign_in("new here", guess)


def test_an_unknown_name_costs_the_same_work_as_a_wrong_password(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash of the same cost is computed for each; counted, since a clock on a shared machine tells nothing."""
    from argon2 import PasswordHasher, extract_parameters

    costs: list[object] = []
    real = PasswordHasher.verify

    def verify(self: PasswordHasher, stored: str, password: str) -> bool:
        costs.append(extract_parameters(stored))
        return real(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    with_user(accounts, "somebody")
    accounts.add_user("new here")  # without a password yet
    for name in ("somebody", "new here", "nobody"):
        with pytest.raises(PermissionDeniedError):
            accounts.sign_in(name, "a wrong password")
    assert len(costs) == 3 and len(set(map(str, costs))) == 1


def test_unknown_names_are_forgotten_oldest_first() -> None:
    names = UnknownNames(capacity=3)
    for _ in range(FREE_FAILURES):
        names.note_failure("first")
    assert names.locked_until("first") is not None
    for other in ("a", "b", "c"):
        names.note_failure(other)
    assert names.locked_until("first") is None


def test_what_matters_is_in_the_audit_log_and_no_secret_is(accounts: Accounts, audit: AuditLog) -> None:
    link = accounts.create_setup_link()
    accounts.complete_setup(link, "boss", PASSWORD)
    with pytest.raises(PermissionDeniedError):
        accounts.sign_in("boss", "a wrong password", "192.0.2.7")
    token = accounts.sign_in("boss", PASSWORD, "192.0.2.7")
    accounts.sign_out(token)
    accounts.add_user("second")
    entries = audit.entries(50)
    actions = {entry.action for entry in entries}
    assert {"setup.link", "setup.administrator", "sign_in.failed", "sign_in", "sign_out", "user.add"} <= actions
    whole = repr(entries)
    assert "192.0.2.7" in whole
    assert not any(secret in whole for secret in (link, token, PASSWORD, "a wrong password"))


def test_the_language_of_a_user_is_kept(accounts: Accounts) -> None:
    made = with_user(accounts)
    token = accounts.sign_in("wang fang", PASSWORD)
    accounts.set_language(made, "zh")
    found = accounts.find_sign_in(token_hash(token))
    assert found is not None and found.language == "zh"
    with pytest.raises(InputError):
        accounts.set_language(made, "xx")
