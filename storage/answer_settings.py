"""How answers are generated, as collections and conversations say it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.answer_settings import AnswerSettings
from core.errors import InputError, NotFoundError
from storage.database import Database
from storage.tables import (
    CollectionAnswerTable,
    CollectionTable,
    ConversationAnswerTable,
    ConversationTable,
    now,
)

log = logging.getLogger(__name__)


class AnswerSettingsStore:
    """Reads and writes settings of answers. Thread-safe. Who may do so is decided above.

    Rows vanish with their collection or conversation.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def of_collections(self, collection_ids: Sequence[str]) -> dict[str, AnswerSettings]:
        """Those that have some, by id."""
        query = select(CollectionAnswerTable).where(CollectionAnswerTable.collection_id.in_(list(collection_ids)))
        with self._db.read() as session:
            return {row.collection_id: _settings(row.settings) for row in session.scalars(query)}

    def of_conversation(self, conversation_id: str) -> AnswerSettings:
        """Empty where nothing was chosen."""
        with self._db.read() as session:
            row = session.get(ConversationAnswerTable, conversation_id)
            return _settings(row.settings) if row is not None else AnswerSettings()

    def put_collection(self, collection_id: str, settings: AnswerSettings) -> None:
        """Replace a collection's settings; empty ones remove them.

        Raises:
            NotFoundError: no such collection. InputError: a schema, which belongs to a request.
        """
        _require_lasting(settings)
        with self._db.write() as session:
            row = session.get(CollectionTable, collection_id, with_for_update=True)
            if row is None or row.parent_id is not None:
                raise NotFoundError(f"There is no collection with id {collection_id!r}.", "It may have been deleted.")
            session.execute(delete(CollectionAnswerTable).where(CollectionAnswerTable.collection_id == collection_id))
            if settings:
                session.add(
                    CollectionAnswerTable(collection_id=collection_id, settings=settings.to_dict(), updated_at=now())
                )

    def put_conversation(self, conversation_id: str, user_id: str, settings: AnswerSettings) -> None:
        """Replace the settings of a user's own conversation; empty ones remove them.

        Raises:
            NotFoundError: no such conversation, or another user's. InputError: a schema, which belongs to a request.
        """
        _require_lasting(settings)
        with self._db.write() as session:
            _require_own(session, conversation_id, user_id)
            table = ConversationAnswerTable
            session.execute(delete(table).where(table.conversation_id == conversation_id))
            if settings:
                session.add(table(conversation_id=conversation_id, settings=settings.to_dict(), updated_at=now()))

    def adapters_in_use(self) -> dict[str, str]:
        """Adapter id to who asks for it, in words."""
        used: dict[str, str] = {}
        with self._db.read() as session:
            for row in session.scalars(select(ConversationAnswerTable)):
                used |= {name: "a conversation asks for it" for name, _ in _settings(row.settings).adapters or ()}
            names = {key: name for key, name in session.execute(select(CollectionTable.id, CollectionTable.name))}
            for kept in session.scalars(select(CollectionAnswerTable)):
                where = f"the collection '{names.get(kept.collection_id, kept.collection_id)}' asks for it"
                used |= {name: where for name, _ in _settings(kept.settings).adapters or ()}
        return used


def _require_own(session: Session, conversation_id: str, user_id: str) -> None:
    row = session.get(ConversationTable, conversation_id, with_for_update=True)
    if row is None or row.user_id != user_id:
        raise NotFoundError(f"There is no conversation {conversation_id!r}.", "It may have been deleted.")


def _require_lasting(settings: AnswerSettings) -> None:
    if settings.json_schema:
        raise InputError("A JSON schema belongs to one question, not to a collection or conversation.", "Leave it out.")


def _settings(data: dict[str, object]) -> AnswerSettings:
    """What was kept by a version with other limits must not keep a collection from answering."""
    try:
        return AnswerSettings.from_dict(data)
    except InputError as error:
        log.warning("kept settings of answers are passed over: %s", error)
        return AnswerSettings()
