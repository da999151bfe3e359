"""Who may do what: deny by default, the strongest grant wins, the same answer for "not there" and "not yours"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.permissions import Permissions
from core.errors import NotFoundError, PermissionDeniedError
from core.types import SYSTEM, Collection, Fingerprint, Principal, Role
from storage.accounts import AccountStore
from storage.collections import CollectionStore
from storage.database import Database
from storage.migrate import migrate

FINGERPRINT = Fingerprint("e", "0" * 64, 8, True, "", "1")


class World:
    def __init__(self, db: Database) -> None:
        self.accounts, self.collections = AccountStore(db), CollectionStore(db)
        self.permissions = Permissions(self.accounts, self.collections)

    def user(self, name: str, *, admin: bool = False) -> Principal:
        user = self.accounts.add_user(name, "!", admin)
        return Principal(user.id, user.name, user.is_admin)

    def collection(self, name: str) -> Collection:
        return self.collections.create(name, FINGERPRINT)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    db = Database(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(db, tmp_path)
    yield World(db)
    db.close()


def test_without_a_grant_nothing_is_readable(world: World) -> None:
    world.collection("hr")
    ann = world.user("ann")
    assert world.permissions.readable(ann) == []


def test_not_there_and_not_yours_are_one_answer(world: World) -> None:
    hidden, ann = world.collection("hr"), world.user("ann")
    texts = set()
    for collection_id in (hidden.id, "0" * 32):
        with pytest.raises(NotFoundError) as caught:
            world.permissions.require(ann, collection_id, Role.READ)
        texts.add(str(caught.value).replace(collection_id, "ID"))
    assert len(texts) == 1 and "hr" not in texts.pop()


def test_each_role_includes_the_ones_before_it(world: World) -> None:
    hr, ann = world.collection("hr"), world.user("ann")
    world.accounts.grant(hr.id, "user", ann.user_id, Role.WRITE)
    assert world.permissions.require(ann, hr.id, Role.READ).id == hr.id
    assert world.permissions.require(ann, hr.id, Role.WRITE).id == hr.id
    with pytest.raises(PermissionDeniedError, match="needs manage"):
        world.permissions.require(ann, hr.id, Role.MANAGE)


def test_the_strongest_of_direct_group_and_everyone_counts(world: World) -> None:
    hr, ann = world.collection("hr"), world.user("ann")
    group = world.accounts.add_group("people")
    world.accounts.add_member(group.id, ann.user_id)
    world.accounts.grant(hr.id, "everyone", "", Role.READ)
    assert world.permissions.role(ann, hr.id) is Role.READ
    world.accounts.grant(hr.id, "group", group.id, Role.MANAGE)
    assert world.permissions.role(ann, hr.id) is Role.MANAGE
    world.accounts.remove_member(group.id, ann.user_id)
    assert world.permissions.role(ann, hr.id) is Role.READ


def test_a_revoked_grant_holds_no_longer(world: World) -> None:
    hr, ann = world.collection("hr"), world.user("ann")
    world.accounts.grant(hr.id, "user", ann.user_id, Role.READ)
    assert [c.id for c in world.permissions.readable(ann)] == [hr.id]
    world.accounts.revoke(hr.id, "user", ann.user_id)
    assert world.permissions.readable(ann) == []


def test_administrators_and_the_system_manage_everything(world: World) -> None:
    hr, boss = world.collection("hr"), world.user("boss", admin=True)
    for principal in (boss, SYSTEM):
        assert world.permissions.role(principal, hr.id) is Role.MANAGE
        world.permissions.require_admin(principal)


def test_a_disabled_user_can_do_nothing_with_an_old_principal(world: World) -> None:
    hr, boss = world.collection("hr"), world.user("boss", admin=True)
    world.accounts.set_disabled(boss.user_id, True)
    assert world.permissions.readable(boss) == []
    with pytest.raises(NotFoundError):
        world.permissions.require(boss, hr.id, Role.READ)
    with pytest.raises(PermissionDeniedError):
        world.permissions.require_admin(boss)


def test_a_principal_that_claims_to_be_administrator_is_looked_up(world: World) -> None:
    hr, ann = world.collection("hr"), world.user("ann")
    claims = Principal(ann.user_id, ann.name, is_admin=True)
    assert world.permissions.role(claims, hr.id) is None
    with pytest.raises(PermissionDeniedError):
        world.permissions.require_admin(claims)
    stranger = Principal("0" * 32, "ghost", is_admin=True)
    assert world.permissions.readable(stranger) == []


def test_given_ids_are_narrowed_to_the_readable_ones(world: World) -> None:
    hr, law = world.collection("hr"), world.collection("law")
    ann = world.user("ann")
    world.accounts.grant(law.id, "user", ann.user_id, Role.READ)
    assert [c.id for c in world.permissions.readable_of(ann, [hr.id, law.id, "0" * 32])] == [law.id]
