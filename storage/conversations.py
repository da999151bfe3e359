"""Conversations, their messages with answers and citations, and feedback."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from core.errors import AliothError, InputError, NotFoundError
from core.types import Answer, AnswerMode, Citation, Contradiction, Locator, SentenceCheck, Verdict
from storage.database import Database
from storage.tables import CitationTable, ConversationTable, FeedbackTable, MessageTable, now

_MAX_TITLE = 300
LEASE_S = 30.0
"""Seconds after which an answer that is being written, and that nobody has renewed, is an orphan."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A thread of one user. collection_ids: what its questions search."""

    id: str
    user_id: str
    title: str
    collection_ids: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One entry. role: user or assistant. state: streaming, complete, stopped or failed. feedback: 1, -1 or None.

    error: why it failed, as code, message and hint.
    """

    id: str
    conversation_id: str
    ordinal: int
    role: str
    text: str
    state: str
    answer: Answer | None
    feedback: int | None
    created_at: datetime
    error: Mapping[str, str] | None = None


class ConversationStore:
    """Reads and writes conversations. Thread-safe. Another user's conversation is answered like a missing one."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, user_id: str, collection_ids: Sequence[str], title: str = "") -> Conversation:
        """A new empty conversation."""
        stamp = now()
        row = ConversationTable(
            id=uuid.uuid4().hex,
            user_id=user_id,
            title=title[:_MAX_TITLE],
            collection_ids=list(collection_ids),
            created_at=stamp,
            updated_at=stamp,
        )
        with self._db.write() as session:
            session.add(row)
        return _conversation(row)

    def get(self, conversation_id: str, user_id: str) -> Conversation:
        """Raises NotFoundError, also for another user's."""
        with self._db.read() as session:
            return _conversation(_own(session, conversation_id, user_id))

    def rename(self, conversation_id: str, user_id: str, title: str) -> None:
        """Set the title, cut to 300 characters. Raises NotFoundError."""
        with self._db.write() as session:
            _own(session, conversation_id, user_id).title = title[:_MAX_TITLE]

    def delete(self, conversation_id: str, user_id: str) -> None:
        """Remove it with its messages, citations and feedback. Raises NotFoundError."""
        with self._db.write() as session:
            row = _own(session, conversation_id, user_id)
            session.execute(delete(ConversationTable).where(ConversationTable.id == row.id))

    def set_collections(self, conversation_id: str, user_id: str, collection_ids: Sequence[str]) -> None:
        """Choose what further questions search. Raises NotFoundError."""
        with self._db.write() as session:
            _own(session, conversation_id, user_id).collection_ids = list(collection_ids)

    def add_message(self, conversation_id: str, role: str, text: str, state: str = "complete") -> Message:
        """Append a message; one that is `streaming` is to be renewed. NotFoundError when the conversation is gone."""
        with self._db.write() as session:
            parent = session.get(ConversationTable, conversation_id, with_for_update=True)
            if parent is None:
                raise _missing(conversation_id)
            last = session.scalar(
                select(func.max(MessageTable.ordinal)).where(MessageTable.conversation_id == conversation_id)
            )
            row = MessageTable(
                id=uuid.uuid4().hex,
                conversation_id=conversation_id,
                ordinal=0 if last is None else last + 1,
                role=role,
                text=_storable(text),
                state=state,
                answer={},
                created_at=now(),
                lease_until=self._lease(session) if state == "streaming" else None,
            )
            session.add(row)
            parent.updated_at = row.created_at
            return _message(row, (), None)

    def finish_message(
        self, message_id: str, state: str, text: str, answer: Answer | None, error: AliothError | None = None
    ) -> None:
        """Set the final text, state and answer of a message; writing it again replaces it. Raises NotFoundError."""
        with self._db.write() as session:
            row = session.get(MessageTable, message_id, with_for_update=True)
            if row is None:
                raise NotFoundError(f"There is no message with id {message_id!r}.", "It may have been deleted.")
            row.state, row.text = state, _storable(text)
            row.answer = {} if answer is None else _answer_json(answer)
            row.error = None if error is None else _error_json(error)
            session.execute(delete(CitationTable).where(CitationTable.message_id == message_id))
            for citation in () if answer is None else answer.citations:
                session.add(_citation_row(message_id, citation))

    def messages(self, conversation_id: str) -> list[Message]:
        """All messages in order; [] for an unknown conversation. Ask `get` first whose it is."""
        with self._db.read() as session:
            return _messages(session, MessageTable.conversation_id == conversation_id)

    def message(self, message_id: str) -> Message:
        """Raises NotFoundError."""
        with self._db.read() as session:
            found = _messages(session, MessageTable.id == message_id)
        if not found:
            raise NotFoundError(f"There is no message with id {message_id!r}.", "It may have been deleted.")
        return found[0]

    def feedback(self, message_id: str, user_id: str, rating: int, reason: str = "") -> None:
        """Keep a user's thumb (1 or -1), replacing an earlier one; 0 takes it back. Only on own conversations.

        Raises:
            InputError: another rating. NotFoundError: no such message of this user.
        """
        if rating not in (-1, 0, 1):
            raise InputError(f"Cannot keep the rating {rating!r}: it must be 1, -1 or 0.", "Send one of these.")
        with self._db.write() as session:
            message = session.get(MessageTable, message_id)
            if message is None:
                raise NotFoundError(f"There is no message with id {message_id!r}.", "It may have been deleted.")
            _own(session, message.conversation_id, user_id)
            session.execute(
                delete(FeedbackTable).where(FeedbackTable.message_id == message_id, FeedbackTable.user_id == user_id)
            )
            if rating:
                session.add(
                    FeedbackTable(
                        message_id=message_id,
                        user_id=user_id,
                        rating=rating,
                        reason=_storable(reason),
                        created_at=now(),
                    )
                )

    def renew(self, message_ids: Sequence[str]) -> None:
        """Say that this process still writes these answers; those that are finished stay as they are."""
        with self._db.write() as session:
            session.execute(
                update(MessageTable)
                .where(MessageTable.id.in_(message_ids), MessageTable.state == "streaming")
                .values(lease_until=self._lease(session))
            )

    def fail_streaming(self) -> int:
        """Answers whose process has said nothing for `LEASE_S` become stopped. Gives how many.

        Those of other living processes over the same database are left alone.
        """
        with self._db.write() as session:
            orphan = or_(MessageTable.lease_until.is_(None), MessageTable.lease_until < self._db.clock(session))
            where = (MessageTable.state == "streaming", orphan)
            ids = list(session.scalars(select(MessageTable.id).where(*where).with_for_update()))
            session.execute(update(MessageTable).where(MessageTable.id.in_(ids)).values(state="stopped"))
            return len(ids)

    def _lease(self, session: Session) -> datetime:
        return self._db.clock(session) + timedelta(seconds=LEASE_S)

    def list(self, user_id: str, limit: int = 100) -> list[Conversation]:
        """The last used first."""
        query = select(ConversationTable).where(ConversationTable.user_id == user_id)
        query = query.order_by(ConversationTable.updated_at.desc(), ConversationTable.id).limit(limit)
        with self._db.read() as session:
            return [_conversation(row) for row in session.scalars(query)]


def _own(session: Session, conversation_id: str, user_id: str) -> ConversationTable:
    row = session.get(ConversationTable, conversation_id)
    if row is None or row.user_id != user_id:
        raise _missing(conversation_id)
    return row


def _missing(conversation_id: str) -> NotFoundError:
    return NotFoundError(f"There is no conversation with id {conversation_id!r}.", "It may have been deleted.")


def _conversation(row: ConversationTable) -> Conversation:
    return Conversation(row.id, row.user_id, row.title, tuple(row.collection_ids), row.created_at, row.updated_at)


def _messages(session: Session, where: Any) -> list[Message]:
    rows = list(session.scalars(select(MessageTable).where(where).order_by(MessageTable.ordinal)))
    inside = select(MessageTable.id).where(where)
    cited: dict[str, list[Citation]] = {}
    citations = select(CitationTable).where(CitationTable.message_id.in_(inside)).order_by(CitationTable.n)
    for citation in session.scalars(citations):
        cited.setdefault(citation.message_id, []).append(_citation(citation))
    ratings = {
        feedback.message_id: feedback.rating
        for feedback in session.scalars(select(FeedbackTable).where(FeedbackTable.message_id.in_(inside)))
    }
    return [_message(row, cited.get(row.id, ()), ratings.get(row.id)) for row in rows]


def _message(row: MessageTable, citations: Iterable[Citation], rating: int | None) -> Message:
    return Message(
        row.id,
        row.conversation_id,
        row.ordinal,
        row.role,
        row.text,
        row.state,
        _answer(row.text, row.answer, tuple(citations)) if row.answer else None,
        rating,
        row.created_at,
        row.error,
    )


def _error_json(error: AliothError) -> dict[str, str]:
    return {"code": error.code, "message": _storable(error.message), "hint": _storable(error.hint)}


def _answer_json(answer: Answer) -> dict[str, Any]:
    return {
        "language": answer.language,
        "mode": answer.mode.value,
        "refused": answer.refused,
        "stopped": answer.stopped,
        "verification": [
            [check.sentence, check.verdict.value, check.reason, check.start, check.end, list(check.cited)]
            for check in answer.verification
        ],
        "nearest": list(answer.nearest),
        "notices": list(answer.notices),
        "standalone_question": answer.standalone_question,
        "timings": dict(answer.timings),
        "filters": dict(answer.filters),
        "contradictions": [[c.first, c.second, c.first_value, c.second_value, c.kind] for c in answer.contradictions],
        "task": dict(answer.task),
        "context": dict(answer.context),
        "suspicious": {str(n): list(kinds) for n, kinds in answer.suspicious.items()},
        "settings": dict(answer.settings),
    }


def _answer(text: str, data: Mapping[str, Any], citations: tuple[Citation, ...]) -> Answer:
    return Answer(
        text=text,
        language=data["language"],
        mode=AnswerMode(data["mode"]),
        refused=data["refused"],
        stopped=data["stopped"],
        citations=citations,
        verification=tuple(
            SentenceCheck(sentence, Verdict(verdict), reason, start, end, tuple(cited))
            for sentence, verdict, reason, start, end, cited in data["verification"]
        ),
        nearest=tuple(data["nearest"]),
        notices=tuple(data["notices"]),
        standalone_question=data["standalone_question"],
        timings=data["timings"],
        filters=data.get("filters", {}),
        contradictions=tuple(Contradiction(*row) for row in data.get("contradictions", ())),
        task=data.get("task", {}),
        context=data.get("context", {}),
        suspicious={int(n): tuple(kinds) for n, kinds in data.get("suspicious", {}).items()},
        settings=data.get("settings", {}),
    )


def _citation_row(message_id: str, citation: Citation) -> CitationTable:
    return CitationTable(
        message_id=message_id,
        n=citation.n,
        chunk_id=citation.chunk_id,
        document_id=citation.document_id,
        version_id=citation.version_id,
        collection_id=citation.collection_id,
        document=citation.document,
        title=citation.title,
        locator=citation.locator.to_dict(),
        quote=_storable(citation.quote),
        origin=citation.origin,
    )


def _citation(row: CitationTable) -> Citation:
    return Citation(
        n=row.n,
        chunk_id=row.chunk_id,
        document_id=row.document_id,
        version_id=row.version_id,
        collection_id=row.collection_id,
        document=row.document,
        title=row.title,
        locator=Locator.from_dict(row.locator),
        quote=row.quote,
        origin=row.origin,
    )


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
