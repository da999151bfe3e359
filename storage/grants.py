"""Groups, and who may do what on which collection."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import ConflictError, InputError, NotFoundError
from core.types import Role
from storage.collections import check_name, fold_name
from storage.database import Database
from storage.tables import CollectionTable, GrantTable, GroupMemberTable, GroupTable, UserTable

KINDS: Final = ("user", "group", "everyone")


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account."""

    id: str
    name: str
    is_admin: bool
    disabled: bool
    language: str


@dataclass(frozen=True, slots=True)
class Group:
    """A named set of users; members: user ids."""

    id: str
    name: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """One right on one collection. kind: user, group or everyone; name: of the user or group, for showing."""

    collection_id: str
    kind: str
    principal_id: str
    role: Role
    name: str = ""


class Grants:
    """The half of AccountStore about groups and rights."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def grant(self, collection_id: str, kind: str, principal_id: str, role: Role) -> None:
        """Give a role, replacing another of the same principal. principal_id is empty for everyone.

        Raises:
            NotFoundError: no such collection, user or group. InputError: another kind.
        """
        with self._db.write() as session:
            principal_id = _checked(session, kind, principal_id)
            if session.get(CollectionTable, collection_id) is None:
                raise NotFoundError(f"There is no collection with id {collection_id!r}.", "It may have been deleted.")
            session.merge(
                GrantTable(
                    collection_id=collection_id,
                    principal_kind=kind,
                    principal_id=principal_id,
                    role=Role(role).value,
                )
            )

    def revoke(self, collection_id: str, kind: str, principal_id: str) -> None:
        """Take the principal's own role away; nothing happens when there is none."""
        with self._db.write() as session:
            session.execute(
                delete(GrantTable).where(
                    GrantTable.collection_id == collection_id,
                    GrantTable.principal_kind == kind,
                    GrantTable.principal_id == ("" if kind == "everyone" else principal_id),
                )
            )

    def grants(self, collection_id: str) -> list[Grant]:
        """All grants on a collection, everyone first, then by kind and name."""
        query = (
            select(GrantTable, UserTable.name, GroupTable.name)
            .outerjoin(UserTable, and_(GrantTable.principal_kind == "user", UserTable.id == GrantTable.principal_id))
            .outerjoin(GroupTable, and_(GrantTable.principal_kind == "group", GroupTable.id == GrantTable.principal_id))
            .where(GrantTable.collection_id == collection_id)
        )
        with self._db.read() as session:
            found = [
                Grant(collection_id, row.principal_kind, row.principal_id, Role(row.role), user or group or "")
                for row, user, group in session.execute(query)
            ]
        return sorted(found, key=lambda g: (g.kind != "everyone", g.kind, g.name))

    def roles_of(self, user_id: str) -> dict[str, Role]:
        """The strongest role of a user on each collection: direct, through groups, through everyone.

        Empty for an unknown or disabled user.
        """
        groups = select(GroupMemberTable.group_id).where(GroupMemberTable.user_id == user_id)
        query = select(GrantTable.collection_id, GrantTable.role).where(
            or_(
                and_(GrantTable.principal_kind == "user", GrantTable.principal_id == user_id),
                and_(GrantTable.principal_kind == "group", GrantTable.principal_id.in_(groups)),
                GrantTable.principal_kind == "everyone",
            )
        )
        out: dict[str, Role] = {}
        with self._db.read() as session:
            user = session.get(UserTable, user_id)
            if user is None or user.disabled_at is not None:
                return out
            for collection_id, value in session.execute(query):
                role = Role(value)
                if collection_id not in out or out[collection_id].rank < role.rank:
                    out[collection_id] = role
        return out

    def add_group(self, name: str) -> Group:
        """Raises ConflictError when the name is taken, InputError for a bad name."""
        kept = check_name(name, "group")
        row = GroupTable(id=uuid.uuid4().hex, name=kept, name_folded=fold_name(kept))
        try:
            with self._db.write() as session:
                session.add(row)
        except IntegrityError as error:
            raise ConflictError(f"Cannot add group {kept!r}: the name is taken.", "Choose another name.") from error
        return Group(row.id, row.name)

    def groups(self) -> list[Group]:
        """All by name, with the ids of their members."""
        with self._db.read() as session:
            members: dict[str, list[str]] = {}
            for row in session.scalars(select(GroupMemberTable).order_by(GroupMemberTable.user_id)):
                members.setdefault(row.group_id, []).append(row.user_id)
            rows = session.scalars(select(GroupTable).order_by(GroupTable.name_folded))
            return [Group(row.id, row.name, tuple(members.get(row.id, ()))) for row in rows]

    def add_member(self, group_id: str, user_id: str) -> None:
        """Raises NotFoundError for an unknown group or user."""
        with self._db.write() as session:
            _checked(session, "group", group_id)
            _checked(session, "user", user_id)
            session.merge(GroupMemberTable(group_id=group_id, user_id=user_id))

    def remove_member(self, group_id: str, user_id: str) -> None:
        """Nothing happens when the user is no member."""
        with self._db.write() as session:
            session.execute(
                delete(GroupMemberTable).where(
                    GroupMemberTable.group_id == group_id, GroupMemberTable.user_id == user_id
                )
            )

    def delete_group(self, group_id: str) -> None:
        """Remove the group with its memberships and grants. Raises NotFoundError."""
        with self._db.write() as session:
            _checked(session, "group", group_id)
            session.execute(
                delete(GrantTable).where(GrantTable.principal_kind == "group", GrantTable.principal_id == group_id)
            )
            session.execute(delete(GroupTable).where(GroupTable.id == group_id))


def _checked(session: Session, kind: str, principal_id: str) -> str:
    """The id as it is kept. Raises NotFoundError or InputError."""
    if kind not in KINDS:
        raise InputError(f"Cannot grant to {kind!r}: it must be one of {', '.join(KINDS)}.", "Choose one of these.")
    if kind == "everyone":
        return ""
    found = session.get(UserTable, principal_id) if kind == "user" else session.get(GroupTable, principal_id)
    if found is None:
        raise NotFoundError(f"There is no {kind} with id {principal_id!r}.", f"`alioth {kind} list` shows all.")
    return principal_id
