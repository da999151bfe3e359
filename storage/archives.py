"""What came out of archives: recorded, so that the same one again need not be unpacked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.database import Database
from storage.document_rows import lock_collection
from storage.tables import ArchiveTable, now


@dataclass(frozen=True, slots=True)
class KnownArchive:
    """An archive that was unpacked to its end.

    content_hash: SHA-256 of its bytes. limits: fingerprint of what decided which members were taken. members: path,
    content hash and size of each that became a document. refused: path, whether it is an archive, and the error of
    each that could not. left_out: paths of those that are no documents.
    """

    content_hash: str
    limits: str
    members: Sequence[tuple[str, str, int]]
    refused: Sequence[tuple[str, bool, Mapping[str, Any]]] = ()
    left_out: Sequence[str] = ()


class Archives:
    """The part of DocumentStore that knows which archive gave which documents. A record only saves work: documents are
    looked at again each time."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def known_archive(self, collection_id: str, path: str, source: str | None) -> KnownArchive | None:
        """What came last of the archive that is called so, brought by this source or by people."""
        with self._db.read() as session:
            row = session.get(ArchiveTable, _key(collection_id, path, source))
            if row is None:
                return None
            found = row.contents
            return KnownArchive(
                row.content_hash,
                row.limits,
                [(str(member), str(digest), int(size)) for member, digest, size in found["members"]],
                [(str(member), bool(whole), error) for member, whole, error in found["refused"]],
                [str(member) for member in found["left_out"]],
            )

    def note_archive(self, collection_id: str, path: str, source: str | None, known: KnownArchive) -> None:
        """Record it in place of what was known under this name. Raises NotFoundError: the collection is gone."""
        contents = {
            "members": [list(member) for member in known.members],
            "refused": [list(member) for member in known.refused],
            "left_out": list(known.left_out),
        }
        with self._db.write() as session:
            lock_collection(session, collection_id)  # two that bring the same one come one after the other
            session.merge(
                ArchiveTable(
                    key=_key(collection_id, path, source),
                    collection_id=collection_id,
                    content_hash=known.content_hash,
                    limits=known.limits,
                    contents=contents,
                    created_at=now(),
                )
            )


def _key(collection_id: str, path: str, source: str | None) -> str:
    return hashlib.sha256("\0".join((collection_id, source or "", path)).encode()).hexdigest()
