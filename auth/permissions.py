"""Who may do what with which collection: the one place that decides, deny by default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from core.errors import NotFoundError, PermissionDeniedError
from core.types import Collection, Principal, Role

if TYPE_CHECKING:
    from storage.accounts import AccountStore
    from storage.collections import CollectionStore


class Permissions:
    """Decisions from the grants in SQL as they are at this moment; nothing is cached. Thread-safe."""

    def __init__(self, accounts: AccountStore, collections: CollectionStore) -> None:
        self._accounts = accounts
        self._collections = collections

    def roles(self, principal: Principal) -> dict[str, Role]:
        """Collection id to the strongest role; administrators and the system manage every collection."""
        if not self._active(principal):
            return {}
        if self._is_admin(principal):
            return {collection.id: Role.MANAGE for collection in self._collections.list()}
        return dict(self._accounts.roles_of(principal.user_id))

    def readable(self, principal: Principal) -> list[Collection]:
        """Collections this principal may read, by name."""
        roles = self.roles(principal)
        return [collection for collection in self._collections.list() if collection.id in roles]

    def readable_of(self, principal: Principal, collection_ids: Iterable[str]) -> list[Collection]:
        """Those of the given ids that may be read, by name; others are left out without a word."""
        wanted = set(collection_ids)
        return [collection for collection in self.readable(principal) if collection.id in wanted]

    def role(self, principal: Principal, collection_id: str) -> Role | None:
        """The strongest role on one collection, or None."""
        return self.roles(principal).get(collection_id)

    def require(self, principal: Principal, collection_id: str, role: Role) -> Collection:
        """The collection, when the principal has at least this role on it.

        Raises:
            NotFoundError: no such collection, or it may not even be read: one message for both.
            PermissionDeniedError: it may be read, but the role is too weak.
        """
        held = self.role(principal, collection_id)
        if held is None:
            raise NotFoundError(
                f"There is no collection {collection_id!r}, or it is not shared with you.",
                "Ask its owner for access.",
            )
        collection = self._collections.get_by_id(collection_id)
        if held.rank < role.rank:
            raise PermissionDeniedError(
                f"You may {held.value} the collection {collection.name!r}; this needs {role.value}.",
                "Ask its owner for more access.",
            )
        return collection

    def require_admin(self, principal: Principal) -> None:
        """Raises PermissionDeniedError unless the principal is an administrator or the system, as of now."""
        if not (self._active(principal) and self._is_admin(principal)):
            raise PermissionDeniedError("Only administrators may do this.", "Ask an administrator.")

    def _active(self, principal: Principal) -> bool:
        if principal.is_system:
            return True
        user = self._accounts.user_by_id(principal.user_id)
        return user is not None and not user.disabled

    def _is_admin(self, principal: Principal) -> bool:
        if principal.is_system:
            return True
        user = self._accounts.user_by_id(principal.user_id)  # a demoted user keeps an old principal in open pages
        return user is not None and user.is_admin
