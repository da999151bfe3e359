"""The glossary of a collection: its terms with the other words for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.errors import InputError, LimitError, NotFoundError
from core.text import fold
from core.types import GlossaryTerm
from storage.database import Database, slices
from storage.tables import CollectionTable, GlossaryTermTable, now

MOST_TERMS = 5000
MOST_OTHERS = 20
LONGEST = 100
_LONGEST_NOTE = 500


class GlossaryStore:
    """Reads and writes terms. Thread-safe. A term stands once in a collection, whatever its case and width."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def terms(self, collection_ids: Sequence[str]) -> list[GlossaryTerm]:
        """The terms of these collections, by term."""
        query = select(GlossaryTermTable).where(GlossaryTermTable.collection_id.in_(list(collection_ids)))
        with self._db.read() as session:
            rows = session.scalars(query.order_by(GlossaryTermTable.folded, GlossaryTermTable.collection_id))
            return [_term(row) for row in rows]

    def put(self, collection_id: str, terms: Iterable[GlossaryTerm]) -> int:
        """Add these terms, replacing those that stand there already. Gives how many were written.

        Raises:
            NotFoundError: no such collection. InputError: a term breaks a rule; nothing was written.
            LimitError: over 5,000 terms in the collection.
        """
        wanted = {_key(term.term): _checked(term) for term in terms}
        with self._db.write() as session:
            _require_collection(session, collection_id)
            _remove(session, collection_id, wanted)
            for folded, term in wanted.items():
                session.add(_row(collection_id, folded, term))
            session.flush()
            _require_room(session, collection_id)
        return len(wanted)

    def replace(self, collection_id: str, terms: Iterable[GlossaryTerm]) -> int:
        """Make these the only terms; raises as `put`. Gives how many there are."""
        wanted = {_key(term.term): _checked(term) for term in terms}
        with self._db.write() as session:
            _require_collection(session, collection_id)
            session.execute(delete(GlossaryTermTable).where(GlossaryTermTable.collection_id == collection_id))
            for folded, term in wanted.items():
                session.add(_row(collection_id, folded, term))
            session.flush()
            _require_room(session, collection_id)
        return len(wanted)

    def remove(self, collection_id: str, terms: Iterable[str]) -> None:
        """Take terms out, all or none.

        Raises:
            NotFoundError: one of them is not there; names it.
        """
        wanted = {_key(term): term for term in terms}
        with self._db.write() as session:
            query = select(GlossaryTermTable.folded).where(GlossaryTermTable.collection_id == collection_id)
            known = set(session.scalars(query))
            lacking = [term for folded, term in wanted.items() if folded not in known]
            if lacking:
                raise NotFoundError(
                    f"The glossary has no term {lacking[0]!r}.", "`alioth glossary list` shows those it has."
                )
            _remove(session, collection_id, wanted)


def _key(term: str) -> str:
    return " ".join(fold(term).split())


def _checked(term: GlossaryTerm) -> GlossaryTerm:
    """The term with blanks trimmed and its other words once each.

    Raises:
        InputError: empty, too long, too many other words, or none.
    """
    words = [" ".join(word.replace("\x00", "").split()) for word in (term.term, *term.others)]
    own = _key(words[0])
    others = list({_key(word): word for word in reversed(words[1:]) if word and _key(word) != own}.values())[::-1]
    shown = words[0][:40]
    if not any(sign.isalnum() for sign in own):
        raise InputError(f"Cannot keep the term {shown!r}: it has no letter and no digit.", "Give it a word.")
    for word in (words[0], *others):
        if len(word) > LONGEST or len(_key(word)) > 2 * LONGEST:
            raise InputError(
                f"Cannot keep {word[:40]!r} in the glossary: it has {len(word)} characters, the limit is {LONGEST}.",
                "Shorten it.",
            )
    if not others:
        raise InputError(
            f"The term {shown!r} has no other word beside it.", "Give a synonym, short form or translation."
        )
    if len(others) > MOST_OTHERS:
        raise InputError(
            f"The term {shown!r} has {len(others)} other words, the limit is {MOST_OTHERS}.", "Keep the common ones."
        )
    return GlossaryTerm(words[0], tuple(others), term.both_ways, term.note.replace("\x00", "").strip()[:_LONGEST_NOTE])


def _require_collection(session: Session, collection_id: str) -> None:
    if session.get(CollectionTable, collection_id, with_for_update=True) is None:
        raise NotFoundError(f"There is no collection with id {collection_id!r}.", "It may have been deleted.")


def _require_room(session: Session, collection_id: str) -> None:
    query = select(GlossaryTermTable.id).where(GlossaryTermTable.collection_id == collection_id)
    count = len(session.scalars(query).all())
    if count > MOST_TERMS:
        raise LimitError(f"The glossary would have {count} terms, the limit is {MOST_TERMS:,}.", "Remove some first.")


def _remove(session: Session, collection_id: str, folded: Iterable[str]) -> None:
    for part in slices(folded, 500):
        session.execute(
            delete(GlossaryTermTable).where(
                GlossaryTermTable.collection_id == collection_id, GlossaryTermTable.folded.in_(part)
            )
        )


def _row(collection_id: str, folded: str, term: GlossaryTerm) -> GlossaryTermTable:
    return GlossaryTermTable(
        id=uuid.uuid4().hex,
        collection_id=collection_id,
        term=term.term,
        folded=folded,
        others=list(term.others),
        both_ways=term.both_ways,
        note=term.note,
        created_at=now(),
    )


def _term(row: GlossaryTermTable) -> GlossaryTerm:
    return GlossaryTerm(row.term, tuple(row.others), row.both_ways, row.note, row.collection_id)
