"""What a sync has to do: the difference between what a source holds and what the collection has of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from core.errors import AliothError, ConflictError, InputError
from ingest.clean import clean
from ingest.folder_source import Listing, RemoteFile, below
from ingest.logical_path import with_prefix
from ingest.parse import MAX_TITLE
from ingest.sniff import extension_of
from storage.sources import Entry, HeldDocument

NO_DOCUMENT = "a type that Alioth does not read"
MANY = 20
"""Deletions over which a sync asks first, when they are more than half of what the source brought in."""
FEW = 5
"""Deletions up to which a place that is suddenly empty is believed."""
RACY_NS = 2_000_000_000
"""A file written so shortly before it was read may change again under the same time of change (FAT: 2 s)."""


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a source is synced. prefix: before every path. adopt: take documents over that others put there.

    takes: whether a file of this name can be a document. max_bytes: of a file; larger ones are not looked into.
    careful: nobody looks at what is done, so a place that is suddenly empty, or another one, deletes nothing at all.
    """

    takes: Callable[[str], bool]
    prefix: str = ""
    adopt: bool = False
    allow_mass_delete: bool = False
    max_bytes: int = 1 << 62
    careful: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """What the collection has. entries: by file. ours: the source's documents by path. at: any documents by path.

    identity: of the place at the last sync, empty before the first.
    """

    entries: Mapping[str, list[Entry]]
    ours: Mapping[str, HeldDocument]
    at: Callable[[Sequence[str]], Mapping[str, HeldDocument]]
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A file to submit as `path`. replaces: documents that go if the file does not become them again."""

    path: str
    file: RemoteFile
    replaces: tuple[HeldDocument, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """A file that has another path now. carried: the document is renamed; else read anew and the old one deleted."""

    path: str
    file: RemoteFile
    document: HeldDocument
    content_hash: str
    carried: bool


@dataclass(slots=True)
class Difference:
    """A plan, and after it was carried out, what came of it. Everything in order of path.

    deleted: documents whose files are gone. refused: those that are not deleted because they are too many at once.
    conflicts: paths where somebody else's document stands. refreshed: entries of unchanged files to be written anew.
    forgotten: files that are gone. dropped: documents deleted because their archive no longer holds them.
    """

    added: list[Step] = field(default_factory=list)
    changed: list[Step] = field(default_factory=list)
    moved: list[Move] = field(default_factory=list)
    deleted: list[HeldDocument] = field(default_factory=list)
    unchanged: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    conflicts: list[tuple[str, AliothError]] = field(default_factory=list)
    failed: list[tuple[str, AliothError]] = field(default_factory=list)
    refused: list[HeldDocument] = field(default_factory=list)
    refreshed: list[Entry] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    identity: str = ""

    @property
    def empty(self) -> bool:
        """Whether no document would be touched."""
        return not (self.added or self.changed or self.moved or self.deleted)

    def to_dict(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "added": [step.path for step in self.added],
            "changed": [step.path for step in self.changed],
            "moved": [{"from": move.document.path, "to": move.path} for move in self.moved],
            "deleted": [*(document.path for document in self.deleted), *self.dropped],
            "unchanged": self.unchanged,
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "conflicts": [_fault(path, error) for path, error in self.conflicts],
            "failed": [_fault(path, error) for path, error in self.failed],
            "refused": [document.path for document in self.refused],
        }


def plan(listing: Listing, sight: Sight, options: SyncOptions) -> Difference:
    """Compare; reads only files whose size or time of change differ from their entry's, or that may have moved here."""
    return _Plan(listing, sight, options).run()


def content_hash(file: RemoteFile) -> str:
    """sha256 in hex. Raises InputError."""
    with file.open() as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # BinaryIO lacks readinto


def modified_mark(file: RemoteFile, read_at_ns: int) -> int:
    """The time of change to keep with an entry; -1, which never matches, when it could not tell a later change."""
    return -1 if abs(read_at_ns - file.modified_ns) < RACY_NS else file.modified_ns


class _Plan:
    """One comparison."""

    def __init__(self, listing: Listing, sight: Sight, options: SyncOptions) -> None:
        self._listing = listing
        self._sight = sight
        self._options = options
        self._out = Difference(identity=listing.identity)
        self._files = dict(self._named())
        self._unknown = [_prefixed(options.prefix, path) for path in listing.unknown]
        self._members = self._members_by_archive()
        self._others: Mapping[str, HeldDocument] = {}
        self._accounted: set[str] = set()  # ids of documents whose file is there
        self._fresh: list[Step] = []

    def run(self) -> Difference:
        self._others = self._sight.at(self._unowned_paths())
        for path, file in self._files.items():
            replaced = self._of_file(path)
            self._accounted.update(document.id for document in replaced)
            try:
                self._place(Step(path, file, replaced))
            except AliothError as error:
                self._out.failed.append((path, error))
        self._find_moves()
        self._find_deletions()
        return self._out

    # ------------------------------------------------------------ what is there

    def _named(self) -> Iterator[tuple[str, RemoteFile]]:
        seen: set[str] = set()
        for file in self._listing.files:
            try:
                path = with_prefix(self._options.prefix, file.path)
                if path in seen:
                    raise InputError(f"Two files become the document {path!r}.", "Rename one of them.")
            except AliothError as error:
                self._out.failed.append((file.path, error))
                continue
            if not self._options.takes(path):
                self._out.skipped.append((path, NO_DOCUMENT))
                continue
            seen.add(path)
            yield path, file
        self._out.skipped.extend(self._listing.skipped)
        self._out.failed.extend(self._listing.failed)

    def _members_by_archive(self) -> dict[str, list[HeldDocument]]:
        """The source's documents under the path of a file that is there: they came out of it."""
        out: dict[str, list[HeldDocument]] = {}
        for path, document in self._sight.ours.items():
            if path not in self._files:
                for parent in PurePosixPath(path).parents:
                    if str(parent) in self._files:
                        out.setdefault(str(parent), []).append(document)
        return out

    def _of_file(self, path: str) -> tuple[HeldDocument, ...]:
        own = self._sight.ours.get(path)
        return (*((own,) if own else ()), *self._members.get(path, ()))

    def _unowned_paths(self) -> list[str]:
        ours, entries = self._sight.ours, self._sight.entries
        members = {entry.path for path in self._files for entry in entries.get(path, ()) if entry.document_id}
        return sorted(path for path in {*self._files, *members} if path not in ours)

    def _at(self, path: str) -> HeldDocument | None:
        return self._sight.ours.get(path) or self._others.get(path)

    # ------------------------------------------------------------ files that are there

    def _place(self, step: Step) -> None:
        group = self._sight.entries.get(step.path, [])
        if group and (len(group) > 1 or group[0].path != step.path or not group[0].document_id):
            self._place_archive(step, group)
            return
        held = self._at(step.path)
        if held is None:
            self._fresh.append(step)
            return
        mine = step.path in self._sight.ours
        if self._has(step, held, group[0] if group else None):
            if mine or not self._options.adopt:
                self._out.unchanged += 1
            else:
                self._out.changed.append(step)
        elif mine or self._options.adopt:
            self._out.changed.append(step)
        else:
            self._out.conflicts.append((step.path, _conflict(step.path, held)))

    def _place_archive(self, step: Step, group: Sequence[Entry]) -> None:
        """An archive is unchanged when its bytes are and every document that came out of it is there."""
        known = {entry.path for entry in group if entry.document_id}
        whole = all(self._at(path) for path in known) and {held.path for held in step.replaces} <= known
        read_at = time.time_ns()
        if not whole or self._hash(step, group[0]) != group[0].content_hash:
            self._out.changed.append(step)
            return
        self._out.unchanged += 1
        if not _same_stat(group[0], step.file):
            mark = modified_mark(step.file, read_at)
            self._out.refreshed.extend(replace(e, size=step.file.size, modified_ns=mark) for e in group)

    def _has(self, step: Step, held: HeldDocument, entry: Entry | None) -> bool:
        """Whether the document has the file's bytes; the file is read only where nothing else tells."""
        file, read_at = step.file, time.time_ns()
        listed = entry is not None and _same_stat(entry, file)
        if not listed and (held.size != file.size or file.size > self._options.max_bytes):
            return False
        if self._hash(step, entry) != held.content_hash:
            return False
        if entry is None or not listed or entry.document_id != held.id:
            mark = file.modified_ns if listed else modified_mark(file, read_at)
            self._out.refreshed.append(Entry(step.path, step.path, held.id, held.content_hash, file.size, mark))
        return True

    def _hash(self, step: Step, entry: Entry | None) -> str:
        if entry is not None and _same_stat(entry, step.file):
            return entry.content_hash
        return content_hash(step.file)

    # ------------------------------------------------------------ files that are new or gone

    def _find_moves(self) -> None:
        gone = self._gone()
        for step in self._fresh:
            try:
                move = self._move(step, gone)
            except AliothError as error:
                self._out.failed.append((step.path, error))
                continue
            if move is None:
                self._out.added.append(step)
            else:
                self._out.moved.append(move)

    def _gone(self) -> dict[int, dict[str, list[HeldDocument]]]:
        """Documents of files that are not there any more, by the file's size and content; archives left out."""
        out: dict[int, dict[str, list[HeldDocument]]] = {}
        for path, group in sorted(self._sight.entries.items(), reverse=True):
            if path in self._files or below(path, self._unknown):
                continue
            self._out.forgotten.append(path)
            held = self._sight.ours.get(path) if len(group) == 1 else None
            if held is not None and held.content_hash == group[0].content_hash:
                out.setdefault(group[0].size, {}).setdefault(held.content_hash, []).append(held)
        return out

    def _move(self, step: Step, gone: Mapping[int, Mapping[str, list[HeldDocument]]]) -> Move | None:
        sized = gone.get(step.file.size)
        if not sized or step.replaces or step.file.size > self._options.max_bytes:
            return None
        found = content_hash(step.file)
        same = sized.get(found)
        if not same:
            return None
        name = PurePosixPath(step.path).name
        named = [at for at, held in enumerate(same) if PurePosixPath(held.path).name == name]
        document = same.pop(named[-1] if named else -1)
        return Move(step.path, step.file, document, found, _carries(document, step.path))

    def _find_deletions(self) -> None:
        moved = {move.document.id for move in self._out.moved}
        gone = [
            document
            for path, document in sorted(self._sight.ours.items())
            if document.id not in self._accounted and document.id not in moved and not below(path, self._unknown)
        ]
        if self._options.allow_mass_delete or self._believable(len(gone)):
            self._out.deleted = gone
        else:
            self._out.refused = gone

    def _believable(self, gone: int) -> bool:
        """An unmounted share or a folder moved by mistake must not empty a collection."""
        other_place = bool(self._sight.identity) and self._sight.identity != self._listing.identity
        if gone and self._options.careful and (other_place or not self._files):
            return False
        if not self._files and gone and (other_place or gone > FEW):
            return False
        return gone <= MANY or gone <= len(self._sight.ours) / 2


def _same_stat(entry: Entry, file: RemoteFile) -> bool:
    return (entry.size, entry.modified_ns) == (file.size, file.modified_ns)


def _carries(document: HeldDocument, path: str) -> bool:
    """Whether reading the file under its new path would give the same chunks: the name can decide type and title."""
    old, new = PurePosixPath(document.path), PurePosixPath(path)
    if not document.settled or extension_of(old.name) != extension_of(new.name):
        return False
    return old.name == new.name or document.title != clean(old.stem)[:MAX_TITLE]


def _prefixed(prefix: str, path: str) -> str:
    return "/".join(part for part in (prefix.strip("/"), path) if part)


def _conflict(path: str, held: HeldDocument) -> ConflictError:
    whose = "belongs to another source" if held.source_id else "was added by hand"
    return ConflictError(
        f"The document {path!r} {whose} and has other content than the file.",
        "Give the source a --prefix, delete the document, or let the sync take it over with --adopt.",
    )


def _fault(path: str, error: AliothError) -> dict[str, Any]:
    return {"path": path, "error": {"code": error.code, "message": error.message, "hint": error.hint}}
