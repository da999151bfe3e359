"""The members of archives into the queue: those of a new archive, of a newer one, and of the same one again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from collections.abc import Collection as Group
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from core.errors import AliothError, ConflictError, EmptyDocumentError, NotFoundError, OriginalGoneError, StorageError
from core.settings import IngestSettings
from core.types import Collection, Priority
from ingest.archive import MAX_MEMBERS, MAX_RATIO, RATIO_FROM
from ingest.parsers import EXTENSIONS
from ingest.sniff import supported
from ingest.unpack import MAX_DEPTH, LeftOut, Refused
from ingest.unpack_apart import EXPANDS, unpack_apart
from ingest.wire import any_error_from_dict, any_error_to_dict
from storage.archives import KnownArchive
from storage.documents import DocumentStore, Submission
from storage.files import FileStore

FEW_MEMBERS = 100
"""Members of an archive after which the others are a bulk load, whoever waits for it."""
_RECORDS = 1
"""Raise it when the same archive gives other members than before."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one file, or of one member of an archive.

    submission: it was taken. error: it was refused, the others go on. deleted: a document that is no longer in the
    archive was deleted. None of these: it was left out, being no document (its type, a link).
    """

    path: str
    submission: Submission | None = None
    error: AliothError | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """An archive that somebody brings. path: its logical path. source, adopt: see DocumentStore.submit."""

    collection: Collection
    path: str
    priority: int
    source: str | None = None
    adopt: bool = False

    def rank(self, taken: int) -> int:
        """Priority of its member number `taken`."""
        return self.priority if taken <= FEW_MEMBERS else min(self.priority, Priority.BULK)


Taking = Callable[[Brought, str, BinaryIO, int], tuple[Submission, str]]
"""Keeps bytes under a path and queues them with a priority; gives what became of them and their hash."""


@dataclass(slots=True)
class _Contents:
    """What was found in an archive. certain: the same bytes would give the same again."""

    members: list[tuple[str, str, int]] = field(default_factory=list)
    refused: list[tuple[str, bool, dict[str, Any]]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    certain: bool = True


class ArchiveIntake:
    """Keeps a collection's documents in step with its archives. Thread-safe when its parts are."""

    def __init__(
        self,
        settings: IngestSettings,
        documents: DocumentStore,
        files: FileStore,
        take: Taking,
        ring: Callable[..., None],
    ) -> None:
        self._settings = settings
        self._documents = documents
        self._files = files
        self._take = take
        self._ring = ring

    def members(self, brought: Brought, stream: BinaryIO) -> Iterator[Added]:
        """Every member, and the documents that are deleted because the archive no longer holds them.

        An archive that was unpacked to its end before is not unpacked again as long as its bytes, the limits and the
        kept originals are the same: documents that are there already stay, others are queued once more.
        """
        digest, limits = _hash_of(stream), _fingerprint(self._settings)
        known = self._documents.known_archive(brought.collection.id, brought.path, brought.source)
        if known is not None and (known.content_hash, known.limits) == (digest, limits):
            again = self._again(brought, known)
            if again is not None:
                yield from again
                yield from self._outdated(brought, known.members, known.refused)
                return
        found = _Contents()
        yield from self._unpacked(brought, stream, found)
        if any(path == brought.path for path, _, _ in found.refused):
            return
        if not found.members and not found.refused:
            yield Added(brought.path, error=_nothing_in(brought.path))
            return
        yield from self._outdated(brought, found.members, found.refused)
        if found.certain and _hash_of(stream) == digest:  # or it changed while it was read
            record = KnownArchive(digest, limits, found.members, found.refused, found.left_out)
            with suppress(NotFoundError):  # the collection was deleted meanwhile
                self._documents.note_archive(brought.collection.id, brought.path, brought.source, record)

    def forget(self, brought: Brought, gone: dict[str, str]) -> Iterator[Added]:
        """Delete these documents (ids by path), with a source only its own."""
        for path, document_id in gone.items():
            with suppress(NotFoundError, ConflictError):  # deleted meanwhile; or another's, with a source
                self._documents.delete(document_id, brought.source)
                yield Added(path, deleted=True)
        if gone:
            self._ring()  # a worker cleans the indexes

    def _unpacked(self, brought: Brought, stream: BinaryIO, found: _Contents) -> Iterator[Added]:
        taken = 0
        for member in unpack_apart(stream, brought.path, self._settings):
            if isinstance(member, LeftOut):
                found.left_out.append(member.path)
                yield Added(member.path)
            elif isinstance(member, Refused):
                found.refused.append((member.path, member.whole, any_error_to_dict(member.error)))
                found.certain = found.certain and not isinstance(member.error, StorageError)
                yield Added(member.path, error=member.error)
            else:
                taken += 1
                try:
                    added, digest = self._take(brought, member.path, member.file, brought.rank(taken))
                except AliothError as error:
                    found.refused.append((member.path, False, any_error_to_dict(error)))
                    found.certain = False
                    yield Added(member.path, error=error)
                    continue
                found.members.append((member.path, digest, member.size))
                yield Added(member.path, added)

    def _again(self, brought: Brought, known: KnownArchive) -> list[Added] | None:
        """What a recorded archive gives; None when an original is kept no more, so that it must be unpacked."""
        if not all(self._files.exists(digest) for _, digest, _ in known.members):
            return None
        current = self._documents.current(brought.collection.id, [path for path, _, _ in known.members])
        out: list[Added] = []
        for taken, (path, digest, size) in enumerate(known.members, 1):
            there = current.get(path)
            if there is not None and (there.source_id, there.content_hash) == (brought.source, digest):
                out.append(Added(path, Submission(there.document_id, there.version_id, "unchanged")))
                continue
            try:
                out.append(Added(path, self._queued(brought, path, (digest, size), brought.rank(taken))))
            except OriginalGoneError:
                return None
            except AliothError as error:
                out.append(Added(path, error=error))
        out.extend(Added(path, error=any_error_from_dict(dict(error))) for path, _, error in known.refused)
        out.extend(Added(path) for path in known.left_out)
        return out

    def _queued(self, brought: Brought, path: str, original: tuple[str, int], priority: int) -> Submission:
        """Submit bytes that the file store has already."""
        submission = self._documents.submit(
            brought.collection.id,
            path,
            *original,
            priority,
            source=brought.source,
            adopt=brought.adopt,
            is_kept=self._files.exists,
        )
        if submission.outcome in ("new", "changed"):
            self._ring([submission.version_id])
        return submission

    def _outdated(
        self, brought: Brought, members: Group[tuple[str, str, int]], refused: Group[tuple[str, bool, Any]]
    ) -> Iterator[Added]:
        """Delete what the archive no longer holds; what came out of an archive in it that cannot be opened stays."""
        seen = {path for path, _, _ in members} | {path for path, _, _ in refused}
        closed = [path for path, whole, _ in refused if whole]
        before = self._documents.under(brought.collection.id, brought.path)
        gone = {
            path: key
            for path, key in before.items()
            if path not in seen and not any(path.startswith(f"{archive}/") for archive in closed)
        }
        old = self._documents.find(brought.collection.id, brought.path)  # from before it was an archive
        yield from self.forget(brought, gone | ({brought.path: old.id} if old else {}))


def _fingerprint(settings: IngestSettings) -> str:
    """Of all that decides which members of an archive become documents."""
    rules = (_RECORDS, settings.max_file_mb, EXPANDS, MAX_MEMBERS, MAX_RATIO, RATIO_FROM, MAX_DEPTH, sorted(EXTENSIONS))
    return hashlib.sha256(json.dumps(rules).encode()).hexdigest()


def _hash_of(stream: BinaryIO) -> str:
    stream.seek(0)
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _nothing_in(path: str) -> EmptyDocumentError:
    return EmptyDocumentError(f"Cannot ingest {path!r}: the archive holds no document.", f"Alioth reads {supported()}.")
