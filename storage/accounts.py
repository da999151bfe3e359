"""Users, sign-ins, one-time links, groups and grants: rows only; what they mean is decided in auth."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import ConflictError, NotFoundError
from storage.collections import check_name, fold_name
from storage.database import Database
from storage.grants import Grants, Group, User
from storage.tables import SetupLinkTable, SignInTable, UserTable, now

__all__ = ["AccountStore", "Group", "User"]


class AccountStore(Grants):
    """Reads and writes accounts. Thread-safe. Tokens come here only as hashes."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)

    def add_user(self, name: str, password_hash: str, is_admin: bool = False) -> User:
        """Raises ConflictError when the name is taken whatever its case, InputError for a bad name."""
        kept = check_name(name, "user")
        row = UserTable(
            id=uuid.uuid4().hex,
            name=kept,
            name_folded=fold_name(kept),
            password_hash=password_hash,
            is_admin=is_admin,
            language="",
            created_at=now(),
            failed_sign_ins=0,
        )
        try:
            with self._db.write() as session:
                session.add(row)
        except IntegrityError as error:
            raise ConflictError(f"Cannot add user {kept!r}: the name is taken.", "Choose another name.") from error
        return _user(row)

    def user_by_name(self, name: str) -> User | None:
        """The user with this name, whatever its case, or None."""
        with self._db.read() as session:
            row = session.scalar(select(UserTable).where(UserTable.name_folded == fold_name(name)))
            return None if row is None else _user(row)

    def user_by_id(self, user_id: str) -> User | None:
        """The user, disabled or not, or None."""
        with self._db.read() as session:
            row = session.get(UserTable, user_id)
            return None if row is None else _user(row)

    def users(self) -> list[User]:
        """All, by name."""
        with self._db.read() as session:
            return [_user(row) for row in session.scalars(select(UserTable).order_by(UserTable.name_folded))]

    def has_admin(self) -> bool:
        """Whether an administrator exists who is not disabled."""
        query = select(exists().where(UserTable.is_admin.is_(True), UserTable.disabled_at.is_(None)))
        with self._db.read() as session:
            return bool(session.scalar(query))

    def password_hash_of(self, user_id: str) -> str:
        """Raises NotFoundError."""
        with self._db.read() as session:
            return _row(session, user_id).password_hash

    def set_password_hash(self, user_id: str, password_hash: str) -> None:
        """A new password: every sign-in ends and failures are forgotten. Raises NotFoundError."""
        with self._db.write() as session:
            row = _row(session, user_id)
            row.password_hash, row.failed_sign_ins, row.locked_until = password_hash, 0, None
            _revoke(session, user_id)

    def set_disabled(self, user_id: str, disabled: bool) -> None:
        """Disable (every sign-in ends at once) or enable. Raises NotFoundError."""
        with self._db.write() as session:
            row = _row(session, user_id)
            row.disabled_at = (row.disabled_at or now()) if disabled else None
            if disabled:
                _revoke(session, user_id)

    def set_language(self, user_id: str, language: str) -> None:
        """Page language, `zh`, `en` or empty for the browser's. Raises NotFoundError."""
        with self._db.write() as session:
            _row(session, user_id).language = language

    def note_failed_sign_in(self, user_id: str, limit: int = 5, lock_s: float = 900) -> datetime | None:
        """Count a wrong password; at `limit` in a row the account is locked for `lock_s` seconds.

        Gives until when it is locked, or None.
        """
        with self._db.write() as session:
            row = session.get(UserTable, user_id, with_for_update=True)
            if row is None:
                return None
            row.failed_sign_ins += 1
            if row.failed_sign_ins >= limit:
                row.failed_sign_ins, row.locked_until = 0, now() + timedelta(seconds=lock_s)
            return _still(row.locked_until)

    def clear_failed_sign_ins(self, user_id: str) -> None:
        """A right password: the count starts again."""
        with self._db.write() as session:
            row = session.get(UserTable, user_id, with_for_update=True)
            if row is not None:
                row.failed_sign_ins, row.locked_until = 0, None

    def locked_until(self, user_id: str) -> datetime | None:
        """Until when the account is locked, or None when it is not."""
        with self._db.read() as session:
            row = session.get(UserTable, user_id)
            return None if row is None else _still(row.locked_until)

    # -------------------------------------------------------------- sign-ins

    def add_sign_in(self, token_hash: str, user_id: str, expires_at: datetime) -> None:
        """Remember a browser. Rows that expired over a day ago go."""
        with self._db.write() as session:
            _row(session, user_id)
            session.execute(delete(SignInTable).where(SignInTable.expires_at < now() - timedelta(days=1)))
            session.add(SignInTable(token_hash=token_hash, user_id=user_id, created_at=now(), expires_at=expires_at))

    def sign_in_user(self, token_hash: str) -> User | None:
        """Whose sign-in this is; None when unknown, expired, revoked, or the user is disabled."""
        query = (
            select(UserTable)
            .join(SignInTable, SignInTable.user_id == UserTable.id)
            .where(
                SignInTable.token_hash == token_hash,
                SignInTable.expires_at > now(),
                SignInTable.revoked_at.is_(None),
                UserTable.disabled_at.is_(None),
            )
        )
        with self._db.read() as session:
            row = session.scalar(query)
            return None if row is None else _user(row)

    def revoke_sign_in(self, token_hash: str) -> None:
        """End one sign-in."""
        with self._db.write() as session:
            session.execute(
                update(SignInTable)
                .where(SignInTable.token_hash == token_hash, SignInTable.revoked_at.is_(None))
                .values(revoked_at=now())
            )

    def revoke_all(self, user_id: str) -> None:
        """End every sign-in of a user."""
        with self._db.write() as session:
            _revoke(session, user_id)

    # -------------------------------------------------------------- one-time links

    def add_link(self, token_hash: str, user_id: str | None, expires_at: datetime) -> None:
        """A link to set a user's password, or without a user to create the administrator.

        Earlier unused links for the same purpose end, so that a lost one is worth nothing.
        """
        with self._db.write() as session:
            same = SetupLinkTable.user_id.is_(None) if user_id is None else SetupLinkTable.user_id == user_id
            session.execute(update(SetupLinkTable).where(same, SetupLinkTable.used_at.is_(None)).values(used_at=now()))
            session.add(SetupLinkTable(token_hash=token_hash, user_id=user_id, created_at=now(), expires_at=expires_at))

    def use_link(self, token_hash: str) -> tuple[bool, str | None]:
        """Use a link up. (True, its user id or None) to exactly one caller; (False, None) to all others."""
        with self._db.write() as session:
            changed = session.execute(
                update(SetupLinkTable)
                .where(
                    SetupLinkTable.token_hash == token_hash,
                    SetupLinkTable.used_at.is_(None),
                    SetupLinkTable.expires_at > now(),
                )
                .values(used_at=now())
                .returning(SetupLinkTable.user_id)
            ).all()
            return (True, changed[0][0]) if changed else (False, None)

    def link_valid(self, token_hash: str) -> bool:
        """Whether `use_link` would succeed now."""
        query = select(func.count()).where(
            SetupLinkTable.token_hash == token_hash,
            SetupLinkTable.used_at.is_(None),
            SetupLinkTable.expires_at > now(),
        )
        with self._db.read() as session:
            return bool(session.scalar(query))


def _user(row: UserTable) -> User:
    return User(row.id, row.name, row.is_admin, row.disabled_at is not None, row.language)


def _row(session: Session, user_id: str) -> UserTable:
    row = session.get(UserTable, user_id)
    if row is None:
        raise NotFoundError(f"There is no user with id {user_id!r}.", "`alioth user list` shows all.")
    return row


def _revoke(session: Session, user_id: str) -> None:
    session.execute(
        update(SignInTable)
        .where(SignInTable.user_id == user_id, SignInTable.revoked_at.is_(None))
        .values(revoked_at=now())
    )


def _still(until: datetime | None) -> datetime | None:
    return until if until is not None and until > now() else None
