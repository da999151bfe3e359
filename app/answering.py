"""Which settings an answer is generated with, and who may change them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.answer_settings import AnswerSettings, Resolved, resolve
from core.errors import InputError
from core.types import Collection, Principal, Role

if TYPE_CHECKING:
    from app.wiring import Alioth


def resolved(
    alioth: Alioth,
    collections: Sequence[Collection],
    conversation_id: str = "",
    request: AnswerSettings | None = None,
) -> Resolved:
    """What counts for a question to these collections. The caller has checked that it may read them."""
    from chat.generation import instance_settings

    kept = alioth.answer_settings.of_collections([collection.id for collection in collections])
    thread = alioth.answer_settings.of_conversation(conversation_id) if conversation_id else None
    said = [kept[collection.id] for collection in collections if collection.id in kept]
    return resolve(instance_settings(alioth.settings.chat), said, thread, request)


def of_collection(alioth: Alioth, who: Principal, collection_id: str) -> AnswerSettings:
    """What a collection says; for those who manage it.

    Raises:
        PermissionDeniedError, NotFoundError: as `Permissions.require`.
    """
    alioth.permissions.require(who, collection_id, Role.MANAGE)
    return alioth.answer_settings.of_collections([collection_id]).get(collection_id, AnswerSettings())


def set_collection(alioth: Alioth, who: Principal, collection_id: str, settings: AnswerSettings) -> None:
    """Replace what a collection says; empty settings say nothing any more.

    Raises:
        PermissionDeniedError, NotFoundError: as `Permissions.require`. InputError: an adapter that is not here.
    """
    collection = alioth.permissions.require(who, collection_id, Role.MANAGE)
    _require_adapters(alioth, settings)
    alioth.answer_settings.put_collection(collection_id, settings)
    alioth.audit.record(who.name, "collection.settings", collection.name, settings=", ".join(settings.to_dict()))


def set_conversation(alioth: Alioth, who: Principal, conversation_id: str, settings: AnswerSettings) -> None:
    """Replace what a conversation of one's own says.

    Raises:
        NotFoundError: no such conversation, or another user's. InputError: an adapter that is not here.
    """
    _require_adapters(alioth, settings)
    alioth.answer_settings.put_conversation(conversation_id, who.user_id, settings)


def offered_adapters(alioth: Alioth) -> dict[str, str]:
    """Id of each adapter that answers can use, with the model it is for.

    Raises:
        ModelUnavailableError: another engine has them, and the models process does not answer.
    """
    from models.files.adapter_files import FOLDER, adapters

    if alioth.settings.models.llm_urls:
        info = alioth.llm.info()
        return dict.fromkeys(info.adapters, info.id)
    return {name: one.base for name, one in adapters(alioth.settings.home / FOLDER).items()}


def _require_adapters(alioth: Alioth, settings: AnswerSettings) -> None:
    if not settings.adapters:
        return
    known = offered_adapters(alioth)
    for name, _ in settings.adapters:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise InputError(f"There is no adapter '{name}'; here are: {listed}.", "`alioth models adapters import`.")
