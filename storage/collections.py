"""Collections: names, fingerprints, counts, and the list of vector collections still to be dropped."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import and_, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import ConflictError, InputError, NotFoundError
from core.types import Collection, Fingerprint
from storage.database import Database
from storage.tables import (
    CollectionTable,
    DocumentTable,
    DroppedCollectionTable,
    IndexChangeTable,
    VersionTable,
    now,
)

MAX_NAME_CHARS: Final = 200


def fold_name(name: str) -> str:
    """What decides whether two names are one: NFKC, case-folded, blanks trimmed and joined."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def check_name(name: str, what: str) -> str:
    """The name as it is kept: NFC, trimmed.

    Raises:
        InputError: empty, over 200 characters, or with control characters or invisible marks.
    """
    kept = " ".join(unicodedata.normalize("NFC", name).split(" ")).strip()
    if not fold_name(kept):
        raise InputError(f"Cannot use {name!r} as {what} name: it is empty.", "Give at least one character.")
    if len(kept) > MAX_NAME_CHARS or len(fold_name(kept)) > MAX_NAME_CHARS:
        raise InputError(
            f"Cannot use {kept[:40] + '…'!r} as {what} name: {len(kept)} characters are over the limit of "
            f"{MAX_NAME_CHARS} characters.",
            "Shorten it.",
        )
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for c in kept):
        raise InputError(
            f"Cannot use {name!r} as {what} name: it holds control or invisible characters.", "Remove them."
        )
    return kept


def to_collection(row: CollectionTable, documents: int = 0, chunks: int = 0) -> Collection:
    """The domain value of a row."""
    fingerprint = Fingerprint(**row.fingerprint)
    return Collection(
        row.id, row.name, fingerprint, row.created_at, documents, chunks, row.settings or {}, row.index_id
    )


class CollectionStore:
    """Reads and writes collections. Thread-safe."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, name: str, fingerprint: Fingerprint, settings: Mapping[str, Any] | None = None) -> Collection:
        """A new empty collection.

        Args:
            settings: its own ingest settings, those of the instance for the rest.

        Raises:
            ConflictError: one with this name exists, however its case is written. InputError: a bad name.
        """
        kept, new_id = check_name(name, "collection"), uuid.uuid4().hex
        row = CollectionTable(
            id=new_id,
            index_id=new_id,
            name=kept,
            name_folded=fold_name(kept),
            fingerprint=asdict(fingerprint),
            settings=dict(settings or {}),
            changes=0,
            created_at=now(),
        )
        try:
            with self._db.write() as session:
                session.add(row)
        except IntegrityError as error:
            raise ConflictError(
                f"Cannot create collection {kept!r}: one with this name exists.", "Choose another name."
            ) from error
        return to_collection(row)

    def get(self, name: str) -> Collection:
        """By name, whatever its case. Raises NotFoundError."""
        found = self._select(CollectionTable.name_folded == fold_name(name))
        if not found:
            raise NotFoundError(f"There is no collection {name!r}.", f"Create it: alioth collection create {name!r}.")
        return found[0]

    def get_by_id(self, collection_id: str) -> Collection:
        """By id. Raises NotFoundError."""
        found = self._select(CollectionTable.id == collection_id)
        if not found:
            raise NotFoundError(f"There is no collection with id {collection_id!r}.", "It may have been deleted.")
        return found[0]

    def delete(self, collection_id: str) -> None:
        """Remove the collection with everything in it, in one transaction. Raises NotFoundError."""
        with self._db.write() as session:
            row = session.get(CollectionTable, collection_id, with_for_update=True)
            if row is None or row.parent_id is not None:
                raise NotFoundError(f"There is no collection with id {collection_id!r}.", "It may be deleted already.")
            hidden = select(CollectionTable).where(CollectionTable.parent_id == collection_id)
            for one in [row, *session.scalars(hidden.order_by(CollectionTable.id).with_for_update())]:
                drop_row(session, one)

    def dropped(self) -> list[str]:
        """Chroma collections without a collection, oldest first: remove them there, then `forget_dropped`."""
        with self._db.read() as session:
            return list(session.scalars(select(DroppedCollectionTable.vector_key).order_by(DroppedCollectionTable.at)))

    def forget_dropped(self, vector_key: str) -> None:
        """The Chroma collection is gone."""
        with self._db.write() as session:
            session.execute(delete(DroppedCollectionTable).where(DroppedCollectionTable.vector_key == vector_key))

    def vector_keys(self) -> list[str]:
        """Names in Chroma of every index that exists, hidden ones too."""
        with self._db.read() as session:
            return [to_collection(row).vector_key for row in session.scalars(select(CollectionTable))]

    def hidden(self, collection_id: str) -> list[Collection]:
        """The indexes of a collection that do not answer: one being built, one kept to return to. For upkeep only."""
        query = select(CollectionTable).where(CollectionTable.parent_id == collection_id)
        with self._db.read() as session:
            return [to_collection(row) for row in session.scalars(query.order_by(CollectionTable.created_at))]

    def _select(self, *where: Any) -> list[Collection]:
        query = select(CollectionTable).where(CollectionTable.parent_id.is_(None), *where)
        with self._db.read() as session:
            rows = list(session.scalars(query.order_by(CollectionTable.name_folded)))
            counts = _live_counts(session, [row.id for row in rows])
        return [to_collection(row, *counts.get(row.id, (0, 0))) for row in rows]

    def list(self) -> list[Collection]:
        """All, by name, with the numbers of documents and chunks that can answer now."""
        return self._select()


def drop_row(session: Session, row: CollectionTable) -> None:
    """Delete one collection row, locked, with its documents; what it leaves elsewhere is noted for the next purge."""
    key = to_collection(row).vector_key
    if session.get(DroppedCollectionTable, key) is None:
        session.add(DroppedCollectionTable(vector_key=key, at=now()))
    session.execute(delete(IndexChangeTable).where(IndexChangeTable.index_id == row.index_id))
    session.flush()
    session.execute(delete(CollectionTable).where(CollectionTable.id == row.id))


def _live_counts(session: Session, ids: list[str]) -> dict[str, tuple[int, int]]:
    query = (
        select(DocumentTable.collection_id, func.count(), func.coalesce(func.sum(VersionTable.chunk_count), 0))
        .join(VersionTable, VersionTable.id == DocumentTable.live_version_id)
        .where(and_(DocumentTable.collection_id.in_(ids), DocumentTable.deleted_at.is_(None)))
        .group_by(DocumentTable.collection_id)
    )
    return {key: (int(documents), int(chunks)) for key, documents, chunks in session.execute(query)}
