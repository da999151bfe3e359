"""Keeps a collection in step with a source: plan the difference, carry it out, remember what was read."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from core.errors import AliothError, ConflictError, NotFoundError, StorageError
from core.types import Collection
from ingest.archive import ARCHIVE_EXTENSIONS
from ingest.folder_source import DocumentSource
from ingest.intake import Added, Intake
from ingest.parsers import EXTENSIONS
from ingest.sniff import extension_of
from ingest.sync_plan import NO_DOCUMENT, Difference, Move, Sight, Step, SyncOptions, content_hash, modified_mark, plan
from storage.documents import DocumentStore, Submission
from storage.sources import Entry, HeldDocument, Source, SourceStore

RECORD_EVERY = 100
"""Files after which entries are written; a killed sync reads at most these again."""


def takes(name: str) -> bool:
    """Whether a file of this name in a source can be a document, or an archive of some."""
    extension = extension_of(name)
    return extension in EXTENSIONS or extension in ARCHIVE_EXTENSIONS


@dataclass(slots=True)
class _Unwritten:
    """Entries on their way into the database."""

    entries: list[Entry]
    forget: list[str]


class Sync:
    """Syncs sources. Thread-safe when its parts are.

    A run may be killed at any moment: documents carry their source from the transaction that makes them, and entries
    are only what was read when, so the next run finds what is left to do.
    """

    def __init__(self, sources: SourceStore, documents: DocumentStore, intake: Intake) -> None:
        self._sources = sources
        self._documents = documents
        self._intake = intake

    def plan(
        self, collection: Collection, remote: DocumentSource, options: SyncOptions, source: Source | None
    ) -> Difference:
        """What there is to do; changes nothing. source: None when nothing was synced from there yet.

        Raises:
            InputError: the place cannot be looked at.
        """
        listing = remote.list()

        def at(paths: Sequence[str]) -> dict[str, HeldDocument]:
            return self._sources.documents_at(collection.id, paths)

        if source is None:
            return plan(listing, Sight({}, {}, at), options)
        entries, ours = self._sources.entries(source.id), self._sources.documents(source.id)
        return plan(listing, Sight(entries, ours, at, str(source.result.get("identity", ""))), options)

    def carry_out(
        self,
        collection: Collection,
        source: Source,
        difference: Difference,
        options: SyncOptions,
        on_submitted: Callable[[str, Submission], None],
        stop: threading.Event | None = None,
    ) -> None:
        """Move, submit, then delete. What could not be done moves from its list to `failed` or `conflicts`.

        Args:
            stop: once set, the rest is left to the next sync and taken off the lists.

        Raises:
            StorageError: nothing more can be kept (disk full, database away); the next sync goes on from here.
        """
        stop = stop or threading.Event()
        run = _Run(self._sources, self._documents, self._intake, collection, source, options, on_submitted, stop)
        run.work(difference)


class _Run:
    """One difference being carried out."""

    def __init__(
        self,
        sources: SourceStore,
        documents: DocumentStore,
        intake: Intake,
        collection: Collection,
        source: Source,
        options: SyncOptions,
        on_submitted: Callable[[str, Submission], None],
        stop: threading.Event,
    ) -> None:
        self._sources = sources
        self._documents = documents
        self._intake = intake
        self._collection = collection
        self._source = source
        self._options = options
        self._on_submitted = on_submitted
        self._stop = stop
        self._unwritten = _Unwritten([], [])

    def work(self, difference: Difference) -> None:
        try:
            self._unwritten.entries.extend(difference.refreshed)
            self._move_all(difference)
            difference.added = [s for s in difference.added if self._goes_on() and self._submit(s, difference)]
            difference.changed = [s for s in difference.changed if self._goes_on() and self._submit(s, difference)]
            difference.deleted = [d for d in difference.deleted if self._goes_on() and self._delete(d, difference)]
            if not difference.refused and self._goes_on():
                self._unwritten.forget.extend(difference.forgotten)
        finally:
            self._write()
        if self._goes_on():
            self._sources.finished(self._source.id, _result(difference, self._source))

    def _goes_on(self) -> bool:
        return not self._stop.is_set()

    def _move_all(self, difference: Difference) -> None:
        moved: list[Move] = []
        for move in difference.moved:
            if not self._goes_on():
                break
            document = move.document
            read_at = time.time_ns()
            if move.carried and self._documents.rename(document.id, move.path, self._source.id):
                mark = modified_mark(move.file, read_at)
                entry = Entry(move.path, move.path, document.id, move.content_hash, move.file.size, mark)
                self._note([entry], forget=[document.path])
                moved.append(move)
            elif self._submit(Step(move.path, move.file), difference):
                self._delete(document, difference)
                moved.append(move)
        unmoved = {move.document.path for move in difference.moved} - {move.document.path for move in moved}
        difference.forgotten = [path for path in difference.forgotten if path not in unmoved]
        difference.moved = moved

    def _submit(self, step: Step, difference: Difference) -> bool:
        """Hand a file over; False when nothing of it was taken."""
        read_at = time.time_ns()
        results: list[Added] = []
        try:
            with step.file.open() as stream:
                counting = _Digesting(stream)
                for result in self._intake.add_all(
                    self._collection,
                    step.path,
                    cast(BinaryIO, counting),
                    source=self._source.id,
                    adopt=self._options.adopt,
                ):
                    results.append(result)
                    if result.submission is not None:
                        self._on_submitted(result.path, result.submission)
            found = counting.hexdigest(step.file.size) or content_hash(step.file)
        except StorageError:
            raise
        except AliothError as error:
            difference.failed.append((step.path, error))
            return bool(results)
        return self._settle(step, results, found, modified_mark(step.file, read_at), difference)

    def _settle(self, step: Step, results: Sequence[Added], found: str, mark: int, difference: Difference) -> bool:
        taken = [(r.path, r.submission.document_id) for r in results if r.submission is not None]
        for result in results:
            if isinstance(result.error, StorageError):
                raise result.error
            if isinstance(result.error, ConflictError):
                difference.conflicts.append((result.path, result.error))
            elif result.error is not None:
                difference.failed.append((result.path, result.error))
            elif result.deleted:
                difference.dropped.append(result.path)
            elif result.submission is None:
                difference.skipped.append((result.path, NO_DOCUMENT))
        if not taken and any(result.path == step.path and result.error for result in results):
            return False  # refused as a whole: looked at again next time
        rows = taken or [(step.path, "")]
        self._note([Entry(step.path, path, key, found, step.file.size, mark) for path, key in rows])
        return bool(taken)

    def _delete(self, document: HeldDocument, difference: Difference) -> bool:
        try:
            self._documents.delete(document.id, source=self._source.id)
        except NotFoundError:
            return False  # deleted by somebody else meanwhile
        except ConflictError as error:
            difference.conflicts.append((document.path, error))
            return False
        return True

    def _note(self, entries: Sequence[Entry], forget: Sequence[str] = ()) -> None:
        self._unwritten.entries.extend(entries)
        self._unwritten.forget.extend(forget)
        if len(self._unwritten.entries) >= RECORD_EVERY:
            self._write()

    def _write(self) -> None:
        unwritten, self._unwritten = self._unwritten, _Unwritten([], [])
        self._sources.record(self._source.id, unwritten.entries, unwritten.forget)


class _Digesting(io.RawIOBase):
    """Passes a stream on and takes the sha256 of what is read from its start to its end on the way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._counted = 0
        self._position = 0

    def hexdigest(self, size: int) -> str:
        """Of the whole stream, or empty when not all of it was read in order."""
        return self._digest.hexdigest() if self._counted == size else ""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = self._stream.seek(offset, whence)
        return self._position

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(memoryview(buffer)))
        end = self._position + len(block)
        if self._position <= self._counted < end:
            self._digest.update(block[self._counted - self._position :])
            self._counted = end
        self._position = end
        buffer[: len(block)] = block
        return len(block)


def _result(difference: Difference, source: Source) -> dict[str, Any]:
    names = ("added", "changed", "moved", "deleted", "skipped", "conflicts", "failed", "refused")
    counts: dict[str, Any] = {name: len(getattr(difference, name)) for name in names}
    # the empty folder below a share that is not mounted must not become the place that is known
    identity = source.result.get("identity", "") if difference.refused else difference.identity
    return counts | {"unchanged": difference.unchanged, "identity": identity}
