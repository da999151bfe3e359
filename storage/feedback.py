"""What readers thought of answers, as far as those who keep the documents may see it."""

from __future__ import annotations

from collections.abc import Collection as Ids
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from core.types import ChatTurn, Citation
from storage.conversations import ConversationStore, Message
from storage.database import Database
from storage.tables import ConversationTable, FeedbackTable, MessageTable


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """An answer with a thumb. rating: 1 or -1. history: the turns before the question. It does not say whose it is."""

    message_id: str
    question: str
    answer: str
    refused: bool
    rating: int
    reason: str
    history: tuple[ChatTurn, ...]
    citations: tuple[Citation, ...]
    at: datetime


def judged_answers(
    db: Database, collection_id: str, visible: Ids[str], rating: int | None = None, limit: int = 2000
) -> list[JudgedAnswer]:
    """Answers from this collection that somebody judged, the newest first.

    Only of conversations that search nothing but `visible` collections and whose answers cite nothing else: a question
    to several collections may tell something of each.

    Args:
        rating: only this one (1 or -1); both when None.
        limit: judgements looked at.
    """
    query = (
        select(FeedbackTable, ConversationTable)
        .join(MessageTable, MessageTable.id == FeedbackTable.message_id)
        .join(ConversationTable, ConversationTable.id == MessageTable.conversation_id)
        .order_by(FeedbackTable.created_at.desc(), FeedbackTable.message_id)
        .limit(limit)
    )
    if rating is not None:
        query = query.where(FeedbackTable.rating == rating)
    with db.read() as session:
        judged = [
            (feedback, conversation.id)
            for feedback, conversation in session.execute(query)
            if collection_id in conversation.collection_ids and set(conversation.collection_ids) <= set(visible)
        ]
    conversations = ConversationStore(db)
    threads = ((feedback, conversations.messages(key)) for feedback, key in judged)
    found = (_judged(feedback, thread) for feedback, thread in threads if _only_from(thread, visible))
    return [one for one in found if one is not None]


def _only_from(thread: list[Message], visible: Ids[str]) -> bool:
    """What a conversation searches can be changed, so what it searched before is told by its citations alone."""
    cited = (citation for message in thread if message.answer for citation in message.answer.citations)
    return all(citation.collection_id in visible for citation in cited)


def _judged(feedback: FeedbackTable, thread: list[Message]) -> JudgedAnswer | None:
    place = next((n for n, message in enumerate(thread) if message.id == feedback.message_id), 0)
    if not place or thread[place - 1].role != "user":
        return None
    message = thread[place]
    return JudgedAnswer(
        message.id,
        thread[place - 1].text,
        message.text,
        bool(message.answer and message.answer.refused),
        feedback.rating,
        feedback.reason,
        tuple(ChatTurn(one.role, one.text) for one in thread[: place - 1] if _is_told(one)),
        message.answer.citations if message.answer else (),
        feedback.created_at,
    )


def _is_told(message: Message) -> bool:
    """A refusal names documents near the question, which may be of a collection that was searched then."""
    return message.role == "user" or bool(message.answer and message.answer.citations)
