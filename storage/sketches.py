"""Near-duplicates and duplicates among the documents of one collection, by banded MinHash and by content hash."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import CompoundSelect, bindparam, delete, func, insert, select, union_all
from sqlalchemy.orm import Session

from storage.database import Database
from storage.tables import DocumentTable, SketchTable, VersionTable

BANDS: Final = 40
"""Rows of a sketch. Two documents that share one are compared."""
LANES: Final = 3
"""Hashes in a band."""
LANE_BITS: Final = 21
"""Bits of such a hash: three fill a number that every database holds."""
NEAR: Final = 0.4
"""Estimated share of common shingles from which on documents are reported (docs/decisions/0011-near-duplicates.md)."""
_LANE: Final = (1 << LANE_BITS) - 1
_COMPARED: Final = 200
"""Candidates that are compared at most, those that share the most bands."""


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Another document of the collection with nearly the same text. similarity: estimated Jaccard index, 0–1."""

    document_id: str
    path: str
    similarity: float


class Sketches:
    """The part of DocumentStore that looks for documents like one version. Only what answers now counts as another."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def sketch_of(self, version_id: str) -> tuple[int, ...]:
        """The stored sketch in the order of its bands; empty when the text was too short for one."""
        query = select(SketchTable.value).where(SketchTable.version_id == version_id).order_by(SketchTable.band)
        with self._db.read() as session:
            return tuple(session.scalars(query))

    def near_duplicates(
        self, collection_id: str, document_id: str, bands: Sequence[int], limit: int = 10
    ) -> list[NearDuplicate]:
        """Live documents other than this one whose text is like the sketch `bands`, most alike first, ties by path."""
        if not bands:
            return []
        with self._db.read() as session:
            values = {f"value{band}": value for band, value in enumerate(bands)}
            shared = Counter(session.scalars(_sharing(len(bands)), {"collection_id": collection_id, **values}))
            others = _live(session, document_id, [version_id for version_id, _ in shared.most_common(_COMPARED)])
            sketches = _sketches(session, [version_id for _, _, version_id in others])
        found = [
            NearDuplicate(other_id, path, round(similarity(bands, sketches[version_id]), 2))
            for other_id, path, version_id in others
        ]
        found = [one for one in found if one.similarity >= NEAR]
        return sorted(found, key=lambda one: (-one.similarity, one.path))[:limit]

    def same_bytes(self, collection_id: str, document_id: str, content_hash: str, limit: int = 10) -> list[str]:
        """Paths of live documents other than this one with the same content hash, in order.

        The collection must not look like a way in: SQLite would read all its documents to find these few.
        """
        query = (
            select(DocumentTable.path)
            .join(VersionTable, VersionTable.id == DocumentTable.live_version_id)
            .where(
                VersionTable.content_hash == content_hash,
                func.coalesce(DocumentTable.collection_id, "") == collection_id,
                DocumentTable.id != document_id,
                DocumentTable.deleted_at.is_(None),
            )
            .order_by(DocumentTable.path)
            .limit(limit)
        )
        with self._db.read() as session:
            return list(session.scalars(query))


@functools.cache
def _sharing(bands: int) -> CompoundSelect[str]:
    """Versions that share a band with a sketch, once for each band: one look-up in the index for each.

    Made once: putting it together takes longer than asking it.
    """
    return union_all(
        *(
            select(SketchTable.version_id).where(
                SketchTable.collection_id == bindparam("collection_id"),
                SketchTable.band == band,
                SketchTable.value == bindparam(f"value{band}", type_=SketchTable.value.type),
            )
            for band in range(bands)
        )
    )


def _live(session: Session, document_id: str, version_ids: Sequence[str]) -> list[tuple[str, str, str]]:
    """(document, path, version) of those that answer now, other than this document's."""
    query = select(DocumentTable.id, DocumentTable.path, DocumentTable.live_version_id).where(
        DocumentTable.live_version_id.in_(version_ids),
        DocumentTable.id != document_id,
        DocumentTable.deleted_at.is_(None),
    )
    return [(other, path, version_id) for other, path, version_id in session.execute(query) if version_id is not None]


def put_sketch(session: Session, version_id: str, collection_id: str, bands: Sequence[int]) -> None:
    """Replace a version's sketch, inside the caller's transaction. It goes with the version's row."""
    session.execute(delete(SketchTable).where(SketchTable.version_id == version_id))
    if bands:
        rows = [
            {"version_id": version_id, "band": band, "collection_id": collection_id, "value": value}
            for band, value in enumerate(bands)
        ]
        session.execute(insert(SketchTable), rows)


def similarity(one: Sequence[int], other: dict[int, int]) -> float:
    """Share of equal hashes of two sketches, an estimate of the Jaccard index of their shingles, 0–1."""
    equal = 0
    for band, value in enumerate(one):
        differing = value ^ other.get(band, ~value)
        equal += sum(1 for lane in range(LANES) if not (differing >> (LANE_BITS * lane)) & _LANE)
    return equal / (BANDS * LANES)


def _sketches(session: Session, version_ids: Iterable[str]) -> dict[str, dict[int, int]]:
    query = select(SketchTable).where(SketchTable.version_id.in_(list(version_ids)))
    out: dict[str, dict[int, int]] = {}
    for row in session.scalars(query):
        out.setdefault(row.version_id, {})[row.band] = row.value
    return out
