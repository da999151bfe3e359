"""Who people are: sign-in, set-up links, passwords, switching users off."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from auth.passwords import UNUSABLE, check_password_rule, hash_password, verify_password
from auth.throttle import FREE_FAILURES, LOCK_S, UnknownNames
from auth.tokens import new_token, token_hash
from core.errors import ConflictError, InputError, LimitError, NotFoundError, PermissionDeniedError
from core.types import SYSTEM, Principal
from storage.collections import check_name, fold_name

if TYPE_CHECKING:
    from storage.accounts import AccountStore, User
    from storage.audit import AuditLog

LINK_HOURS = 48.0
_FIRST = "first"


@dataclass(frozen=True, slots=True)
class SignIn:
    """A browser that is signed in. id: SHA-256 of the cookie's value, safe to hand on inside the process."""

    id: str
    principal: Principal
    language: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """What a one-time link is for. user: None creates the first administrator, else a new password for that user."""

    user: User | None


class Accounts:
    """Users, their sign-ins and one-time links. Thread-safe; every decision is read from SQL, nothing is cached."""

    def __init__(self, store: AccountStore, audit: AuditLog, sign_in_hours: float = 336.0) -> None:
        self._store = store
        self._audit = audit
        self._sign_in_hours = sign_in_hours
        self._unknown = UnknownNames()
        self._setup_lock = threading.Lock()

    # -------------------------------------------------------------- one-time links

    def needs_setup(self) -> bool:
        """True while there is no administrator."""
        return not self._store.has_admin()

    def create_setup_link(self) -> str:
        """Token of a one-time link that creates the first administrator, good for 48 hours.

        Raises:
            ConflictError: there is an administrator already.
        """
        if self._store.has_admin():
            raise ConflictError(
                "There is an administrator already; the set-up link is only for the first one.",
                "`alioth user reset NAME` makes a link that sets a new password.",
            )
        return self._new_link(None, "setup.link", "", SYSTEM)

    def reset_link(self, name: str, actor: Principal = SYSTEM) -> str:
        """Token of a one-time link that sets a new password for this user; opens a locked sign-in again.

        Raises:
            NotFoundError: no such user.
        """
        user = self._user(name)
        self._store.clear_failed_sign_ins(user.id)
        return self._new_link(user.id, "user.reset_link", user.name, actor)

    def link(self, token: str) -> Link | None:
        """What the link is for, or None when it is unknown, used or expired (or no longer needed)."""
        if not self._store.link_valid(token_hash(token)):
            return None
        # The hash covers the whole token, so the user id at its start is as trustworthy as the row.
        user_id = token.partition("-")[0]
        if user_id == _FIRST:
            return None if self._store.has_admin() else Link(user=None)
        user = self._store.user_by_id(user_id)
        return None if user is None or user.disabled else Link(user=user)

    def complete_setup(self, token: str, name: str, password: str) -> Principal:
        """Use a link once: create the first administrator, or set the password of the link's user.

        Setting a password ends every sign-in of that user. `name` is only read for the first administrator.

        Raises:
            NotFoundError: the link is unknown, used or expired.
            InputError: the name or password breaks a rule; the link stays good.
        """
        with self._setup_lock:  # two first administrators at once would both pass the check
            link = self.link(token)
            if link is None:
                raise _bad_link()
            name = check_name(name, "user") if link.user is None else link.user.name
            check_password_rule(password, name)
            if link.user is None and self._store.user_by_name(name) is not None:
                raise ConflictError(f"There is a user {name!r} already; names are unique.", "Choose another name.")
            hashed = hash_password(password)
            if not self._store.use_link(token_hash(token))[0]:
                raise _bad_link()
            if link.user is None:
                user = self._store.add_user(name, hashed, True)
                self._audit.record(user.name, "setup.administrator", user.name)
            else:
                user = link.user
                self._store.set_password_hash(user.id, hashed)  # ends sign-ins and forgets failures
                self._audit.record(user.name, "user.password", user.name)
        return _principal(user)

    # -------------------------------------------------------------- sign-in

    def sign_in(self, name: str, password: str, address: str = "") -> str:
        """Check the password; the value of the sign-in cookie, 256 random bits, good for `sign_in_hours`.

        Raises:
            PermissionDeniedError: wrong name or password, or the user is disabled: one message for all of them.
            LimitError: too many failures; the message has the seconds to wait.
        """
        key = fold_name(name.replace("\x00", ""))[:200]
        user = self._store.user_by_name(key) if key else None
        until = self._unknown.locked_until(key) if user is None else self._store.locked_until(user.id)
        if until is not None and until > datetime.now(UTC):
            raise _locked(key, until)
        stored = self._store.password_hash_of(user.id) if user is not None else None
        fits = verify_password(stored, password[:4096])
        if user is None or not fits or user.disabled:
            self._refuse(user, key, address)
        assert user is not None
        self._store.clear_failed_sign_ins(user.id)
        token = new_token()
        expires = datetime.now(UTC) + timedelta(hours=self._sign_in_hours)
        self._store.add_sign_in(token_hash(token), user.id, expires)
        self._audit.record(user.name, "sign_in", user.name, address=address)
        return token

    def sign_out(self, token: str) -> None:
        """End this sign-in; an unknown token is no error."""
        found = self.find_sign_in(token_hash(token))
        self._store.revoke_sign_in(token_hash(token))
        if found is not None:
            self._audit.record(found.principal.name, "sign_out", found.principal.name)

    def user_of(self, token: str) -> Principal | None:
        """Who holds this cookie value now; None when expired, signed out or disabled."""
        found = self.find_sign_in(token_hash(token)) if token else None
        return None if found is None else found.principal

    def find_sign_in(self, sign_in_id: str) -> SignIn | None:
        """The sign-in with this id (the hash of a cookie value), while it holds."""
        user = self._store.sign_in_user(sign_in_id)
        return None if user is None else SignIn(sign_in_id, _principal(user), user.language)

    # -------------------------------------------------------------- users

    def users(self) -> list[User]:
        """Every user, by name."""
        return self._store.users()

    def principal(self, name: str) -> Principal:
        """The principal of this user. NotFoundError; PermissionDeniedError when disabled."""
        user = self._user(name)
        if user.disabled:
            raise PermissionDeniedError(f"The user {user.name!r} is disabled.", "An administrator can enable it again.")
        return _principal(user)

    def add_user(self, name: str, is_admin: bool = False, actor: Principal = SYSTEM) -> str:
        """Add a user without a password; the token of the one-time link that sets one.

        Raises:
            InputError: the name breaks a rule. ConflictError: it exists already.
        """
        user = self._store.add_user(name, UNUSABLE, is_admin)
        self._audit.record(actor.name, "user.add", user.name, admin=is_admin)
        return self._new_link(user.id, "user.link", user.name, actor)

    def set_disabled(self, name: str, disabled: bool, actor: Principal = SYSTEM) -> None:
        """Switch a user off (every sign-in ends at once) or on again.

        Raises:
            ConflictError: it is the last administrator, or the actor itself.
        """
        user = self._user(name)
        if disabled and user.id == actor.user_id:
            raise ConflictError(f"{user.name!r} is you.", "Another administrator can disable you.")
        if disabled and user.is_admin and not self._other_admin(user):
            raise ConflictError(f"{user.name!r} is the last administrator.", "Make another administrator first.")
        self._store.set_disabled(user.id, disabled)
        self._audit.record(actor.name, "user.disable" if disabled else "user.enable", user.name)

    def set_language(self, principal: Principal, language: str) -> None:
        """Keep the page language a user chose: `zh`, `en`, or empty for the browser's."""
        if language not in ("", "zh", "en"):
            raise InputError(f"Unknown language {language!r}.", "Known are zh and en.")
        self._store.set_language(principal.user_id, language)

    # -------------------------------------------------------------- inside

    def _user(self, name: str) -> User:
        user = self._store.user_by_name(name.strip())
        if user is None:
            raise NotFoundError(f"There is no user {name!r}.", "`alioth user list` shows them.")
        return user

    def _other_admin(self, user: User) -> bool:
        return any(u.is_admin and not u.disabled and u.id != user.id for u in self._store.users())

    def _new_link(self, user_id: str | None, action: str, subject: str, actor: Principal) -> str:
        token = f"{user_id or _FIRST}-{new_token()}"
        self._store.add_link(token_hash(token), user_id, datetime.now(UTC) + timedelta(hours=LINK_HOURS))
        self._audit.record(actor.name, action, subject)
        return token

    def _refuse(self, user: User | None, key: str, address: str) -> None:
        if user is None:
            until = self._unknown.note_failure(key)
        else:
            until = self._store.note_failed_sign_in(user.id, FREE_FAILURES, LOCK_S)
        self._audit.record(user.name if user else "", "sign_in.failed", key, address=address, locked=until is not None)
        if until is not None:
            raise _locked(key, until)
        raise PermissionDeniedError("Name or password is wrong.", "Ask an administrator for a new link.")


def _principal(user: User) -> Principal:
    return Principal(user_id=user.id, name=user.name, is_admin=user.is_admin)


def _bad_link() -> NotFoundError:
    return NotFoundError(
        "This link is not valid: it was used, has expired, or never was one.",
        "`alioth user reset NAME` prints a new one; before the first sign-in, `alioth serve` does.",
    )


def _locked(name: str, until: datetime) -> LimitError:
    seconds = max(1, math.ceil((until - datetime.now(UTC)).total_seconds()))
    return LimitError(
        f"Too many failed sign-ins for {name!r}; sign-in is locked for {seconds} more seconds.",
        "Wait, or ask an administrator for a new link.",
        retry_after_s=seconds,
    )
