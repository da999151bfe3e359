"""Question sets of collections: kept with their collection, gone with it."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import ConflictError, InputError, LimitError, NotFoundError
from storage.collections import check_name, fold_name
from storage.database import Database, slices
from storage.tables import QuestionSetTable, SetQuestionTable, now

MOST_QUESTIONS: Final = 5_000
MOST_CHARS: Final = 4_000
ORIGINS: Final = ("written", "imported", "generated", "feedback")


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """questions: how many it holds."""

    id: str
    collection_id: str
    name: str
    questions: int
    created_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SetQuestion:
    """One question of a set. data: its other fields as the sets' JSON Lines write them, e.g. gold_doc_ids, answers.

    origin: written, imported, generated or feedback. note: for people, e.g. what a reader complained about.
    """

    qid: str
    question: str
    data: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "written"
    note: str = ""


class QuestionSetStore:
    """Reads and writes question sets. Thread-safe. Who may see them is asked elsewhere, by their collection."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, collection_id: str, name: str, by: str = "") -> QuestionSet:
        """An empty set.

        Raises:
            ConflictError: the collection has one of this name. InputError: a bad name. NotFoundError: no collection.
        """
        kept, stamp = check_name(name, "question set"), now()
        row = QuestionSetTable(
            id=uuid.uuid4().hex,
            collection_id=collection_id,
            name=kept,
            name_folded=fold_name(kept),
            created_by=by[:200],
            created_at=stamp,
            updated_at=stamp,
        )
        try:
            with self._db.write() as session:
                if self._by_name(session, collection_id, kept) is not None:
                    raise _taken(kept)
                session.add(row)
        except IntegrityError as error:  # on PostgreSQL another may have been quicker, or the collection is gone
            if "foreign key" in str(error.orig).lower():
                raise NotFoundError(
                    f"There is no collection with id {collection_id!r}.", "It may have been deleted."
                ) from error
            raise _taken(kept) from error
        return _set(row, 0)

    def list(self, collection_id: str) -> builtins.list[QuestionSet]:
        """The sets of a collection, by name."""
        query = select(QuestionSetTable).where(QuestionSetTable.collection_id == collection_id)
        with self._db.read() as session:
            rows = builtins.list(session.scalars(query.order_by(QuestionSetTable.name_folded)))
            counts = _counts(session, [row.id for row in rows])
        return [_set(row, counts.get(row.id, 0)) for row in rows]

    def get(self, set_id: str) -> QuestionSet:
        """By id. Raises NotFoundError."""
        with self._db.read() as session:
            row = _row(session, set_id)
            return _set(row, _counts(session, [set_id]).get(set_id, 0))

    def find(self, collection_id: str, name: str) -> QuestionSet | None:
        """By name within a collection, whatever its case."""
        with self._db.read() as session:
            row = self._by_name(session, collection_id, name)
            return None if row is None else _set(row, _counts(session, [row.id]).get(row.id, 0))

    def rename(self, set_id: str, name: str) -> None:
        """Raises ConflictError, InputError, NotFoundError."""
        kept = check_name(name, "question set")
        try:
            with self._db.write() as session:
                row = _row(session, set_id)
                row.name, row.name_folded, row.updated_at = kept, fold_name(kept), now()
        except IntegrityError as error:
            raise _taken(kept) from error

    def delete(self, set_id: str) -> None:
        """With its questions; runs that asked them keep their own copies. Raises NotFoundError."""
        with self._db.write() as session:
            session.delete(_row(session, set_id))

    def questions(self, set_id: str) -> builtins.list[SetQuestion]:
        """In the order in which they were added. Raises NotFoundError."""
        query = select(SetQuestionTable).where(SetQuestionTable.set_id == set_id)
        with self._db.read() as session:
            _row(session, set_id)
            return [_question(row) for row in session.scalars(query.order_by(SetQuestionTable.ordinal))]

    def put(self, set_id: str, questions: Sequence[SetQuestion]) -> tuple[int, int]:
        """Add questions; one whose qid is there takes that one's place. Gives (added, replaced).

        Raises:
            InputError: an empty or overlong question or qid. LimitError: the set would hold over 5,000.
            NotFoundError: no such set.
        """
        for question in questions:
            _check(question)
        last_of = {question.qid: question for question in questions}
        with self._db.write() as session:
            row = _row(session, set_id, lock=True)
            known: dict[str, SetQuestionTable] = {}
            for part in slices(last_of, 500):
                found = select(SetQuestionTable).where(
                    SetQuestionTable.set_id == set_id, SetQuestionTable.qid.in_(part)
                )
                known |= {one.qid: one for one in session.scalars(found)}
            held = _counts(session, [set_id]).get(set_id, 0)
            total = held + len(last_of) - len(known)
            if total > MOST_QUESTIONS:
                raise LimitError(
                    f"The set {row.name!r} would hold {total} questions, over the limit of {MOST_QUESTIONS}.",
                    "Divide them into several sets.",
                )
            last = session.scalar(select(func.max(SetQuestionTable.ordinal)).where(SetQuestionTable.set_id == set_id))
            place = -1 if last is None else last
            for question in last_of.values():
                if question.qid in known:
                    _write(known[question.qid], question)
                    continue
                place += 1
                fresh = SetQuestionTable(id=uuid.uuid4().hex, set_id=set_id, ordinal=place, qid=question.qid)
                _write(fresh, question)
                session.add(fresh)
            row.updated_at = now()
            return len(last_of) - len(known), len(known)

    def remove(self, set_id: str, qids: Sequence[str]) -> int:
        """Take questions out; gives how many were there. Raises NotFoundError."""
        removed = 0
        with self._db.write() as session:
            row = _row(session, set_id, lock=True)
            for part in slices(qids, 500):
                chosen = SetQuestionTable.set_id == set_id, SetQuestionTable.qid.in_(part)
                removed += int(session.scalar(select(func.count()).where(*chosen)) or 0)
                session.execute(delete(SetQuestionTable).where(*chosen))
            row.updated_at = now()
        return removed

    def _by_name(self, session: Session, collection_id: str, name: str) -> QuestionSetTable | None:
        return session.scalar(
            select(QuestionSetTable).where(
                QuestionSetTable.collection_id == collection_id, QuestionSetTable.name_folded == fold_name(name)
            )
        )


def storable(text: str) -> str:
    """Text that every database takes: no NUL, no lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _check(question: SetQuestion) -> None:
    if not question.question.strip():
        raise InputError(f"Question '{question.qid}' is empty.", "Give at least one word.")
    if len(question.question) > MOST_CHARS:
        raise InputError(
            f"Question '{question.qid}' has {len(question.question)} characters, over the limit of {MOST_CHARS}.",
            "Shorten it.",
        )
    if not question.qid.strip() or len(question.qid) > 200:
        raise InputError(
            f"The id {question.qid[:40]!r} of a question is empty or over the limit of 200 characters.", "Shorten it."
        )
    if question.origin not in ORIGINS:
        raise InputError(f"The origin {question.origin!r} is unknown.", f"Use one of {', '.join(ORIGINS)}.")


def _write(row: SetQuestionTable, question: SetQuestion) -> None:
    row.question, row.data = storable(question.question.strip()), dict(question.data)
    row.origin, row.note = question.origin, storable(question.note)


def _row(session: Session, set_id: str, lock: bool = False) -> QuestionSetTable:
    row = session.get(QuestionSetTable, set_id, with_for_update=lock or None)
    if row is None:
        raise NotFoundError(f"There is no question set with id {set_id!r}.", "It may have been deleted.")
    return row


def _counts(session: Session, ids: builtins.list[str]) -> dict[str, int]:
    query = select(SetQuestionTable.set_id, func.count()).where(SetQuestionTable.set_id.in_(ids))
    return {key: int(count) for key, count in session.execute(query.group_by(SetQuestionTable.set_id))}


def _set(row: QuestionSetTable, questions: int) -> QuestionSet:
    return QuestionSet(row.id, row.collection_id, row.name, questions, row.created_by, row.created_at, row.updated_at)


def _question(row: SetQuestionTable) -> SetQuestion:
    return SetQuestion(row.qid, row.question, row.data, row.origin, row.note)


def _taken(name: str) -> ConflictError:
    return ConflictError(
        f"Cannot use the name {name!r}: this collection has a question set of that name.", "Choose another name."
    )
