"""After everything was started again: is every document exactly once in a terminal state, and nothing left over?"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from sqlalchemy import text

from app.wiring import Alioth
from core.text import segment
from core.types import Collection, DocumentRow, DocumentState
from storage import consistency
from storage.files import FolderFileStore
from storage.keyword import KeywordIndex
from tests.faults.ledger import Content, Expected, Ledger

KINDS = ("lost", "doubled", "orphan", "stuck", "wrong")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. kind: one of KINDS."""

    kind: str
    detail: str


class Place(Protocol):
    """A data directory, or several of one database, with the processes on them."""

    alioth: Alioth
    folder: Path
    homes: list[Path]

    def orphans(self) -> list[str]: ...


SETTLE_S = 900.0
"""Seconds in which everything must have come to rest: far more than it takes, also on a machine with other work."""


def settle(town: Place, timeout_s: float = SETTLE_S, idle: Callable[[], None] = lambda: None) -> list[Finding]:
    """Wait until nothing is pending, nothing waits for its purge and the file store is clear."""
    until = time.monotonic() + timeout_s
    while True:
        idle()
        left = _outstanding(town.alioth) or [finding.detail for finding in temporary_files(town)]
        if not left:
            return []
        if time.monotonic() > until:
            return [Finding("stuck", f"after {timeout_s:.0f} s: {', '.join(left)}")]
        time.sleep(0.1)


def _outstanding(alioth: Alioth) -> list[str]:
    left = []
    if count := alioth.documents.pending():
        left.append(f"{count} versions pending ({_states(alioth)})")
    elif count := _waiting_for_purge(alioth):
        left.append(f"{count} versions or documents wait for their purge")
    elif alioth.collections.dropped():
        left.append("a dropped collection waits")
    elif stray := _stray_files(alioth):
        left.append(f"{len(stray)} files without a version")
    elif stray_vectors := _stray_vectors(alioth):
        left.append(f"{stray_vectors} vectors without a row")
    return left


def _stray_vectors(alioth: Alioth) -> int:
    """Of workers that wrote too late and died; the next look for leftovers clears them."""
    indexes = [(key, key.split("-")[1]) for key in alioth.collections.vector_keys()]
    return sum(max(0, alioth.vectors.count(key) - alioth.documents.count_rows(index)) for key, index in indexes)


def _waiting_for_purge(alioth: Alioth) -> int:
    """Those whose last worker's lease has not run out are among them; `purgeable` leaves them out until then."""
    with alioth.db.read() as session:
        deleted = session.scalar(text("select count(*) from versions where state = 'deleted'")) or 0
        gone = session.scalar(text("select count(*) from documents where deleted_at is not null")) or 0
    return int(deleted) + int(gone) + len(alioth.documents.purgeable(1))


def _states(alioth: Alioth) -> str:
    with alioth.db.read() as session:
        rows = session.execute(text("select state, count(*) from versions group by state")).all()
    return ", ".join(f"{state} {count}" for state, count in rows)


def inspect(town: Place, collection: Collection, ledger: Ledger) -> list[Finding]:
    """Compare what the stores hold and what searches find with the ledger."""
    alioth = town.alioth
    fresh = alioth.collections.get_by_id(collection.id)
    rows = {row.path: row for row in alioth.documents.list(collection.id)}
    return [
        *_documents(alioth, rows, ledger),
        *_rows(alioth),
        *_searches(town, fresh, rows, ledger),
        *_vectors(alioth, fresh),
        *_consistency(town),
        *_files(town),
        *[Finding("orphan", f"a process goes on without its worker: {orphan}") for orphan in _orphans(town)],
    ]


def _orphans(town: Place) -> list[str]:
    """Processes whose worker is dead; the kernel ends them with it, which may take it a moment."""
    until = time.monotonic() + 60.0
    while (found := town.orphans()) and time.monotonic() < until:
        time.sleep(0.2)
    return found


def failed_by_fault(alioth: Alioth, collection: Collection, ledger: Ledger) -> list[DocumentRow]:
    """Documents that are failed though their file is sound, as when their parser was killed."""
    rows = alioth.documents.list(collection.id, states=[DocumentState.FAILED])
    return [row for row in rows if (content := _content(alioth, row, ledger)) is not None and content.readable]


# ------------------------------------------------------------------ documents and rows


def _documents(alioth: Alioth, rows: dict[str, DocumentRow], ledger: Ledger) -> Iterator[Finding]:
    for path in sorted(rows.keys() | ledger.paths.keys()):
        expected, row = ledger.paths.get(path), rows.get(path)
        if expected is None:
            yield Finding("wrong", f"{path!r} is there and nobody added it")
        elif row is None:
            if None not in expected.newest:
                yield Finding("lost", f"{path!r} is not there; it must hold one of {sorted(expected.newest, key=str)}")
        else:
            yield from _document(alioth, row, expected, ledger)


def _document(alioth: Alioth, row: DocumentRow, expected: Expected, ledger: Ledger) -> Iterator[Finding]:
    newest = expected.newest
    content = _content(alioth, row, ledger)
    if content is None or content.number not in newest:
        held = None if content is None else content.number
        kind = "wrong" if None not in newest or len(newest) > 1 else "orphan"
        yield Finding(kind, f"{row.path!r} holds content {held}, allowed is {sorted(newest, key=str)}")
        return
    if expected.given_up:
        if row.state is not DocumentState.FAILED or not row.error or not row.error.get("message"):
            yield Finding("wrong", f"{row.path!r} kills who reads it and is {row.state.value}: {row.error}")
    elif content.readable:
        if row.state is not DocumentState.READY or row.live_version_id != row.version_id:
            yield Finding("lost", f"{row.path!r} is {row.state.value}, not ready: {row.error}")
    elif row.state is not DocumentState.FAILED or not row.error or not row.error.get("message"):
        yield Finding("wrong", f"{row.path!r} cannot be read and is {row.state.value}: {row.error}")
    elif row.error["code"] in ("internal", "storage", "poison"):
        yield Finding("wrong", f"{row.path!r} failed for a reason of the machine: {row.error}")
    elif row.live_version_id is not None and _live_content(alioth, row, ledger) not in expected.ever:
        yield Finding("wrong", f"{row.path!r} answers with bytes it never had")


def _hash_of(alioth: Alioth, version_id: str) -> str:
    with alioth.db.read() as session:
        query = text("select content_hash from versions where id = :id")
        return str(session.execute(query, {"id": version_id}).scalar())


def _content(alioth: Alioth, row: DocumentRow, ledger: Ledger) -> Content | None:
    found = _hash_of(alioth, row.version_id)
    return next((content for content in ledger.contents.values() if content.sha256 == found), None)


def _live_content(alioth: Alioth, row: DocumentRow, ledger: Ledger) -> int | None:
    found = _hash_of(alioth, str(row.live_version_id))
    return next((content.number for content in ledger.contents.values() if content.sha256 == found), None)


_NONE_OF_THESE = {
    "chunk rows without a version": "select count(*) from chunks where version_id not in (select id from versions)",
    "chunk rows of versions that are not ready": (
        "select count(*) from chunks c join versions v on v.id = c.version_id where v.state <> 'ready'"
    ),
    "ready versions with a gap or a surplus in their chunks": (
        "select count(*) from (select v.id from versions v left join chunks c on c.version_id = v.id "
        "where v.state = 'ready' group by v.id, v.chunk_count having count(c.id) <> v.chunk_count "
        "or min(c.ordinal) <> 0 or max(c.ordinal) <> v.chunk_count - 1) gaps"
    ),
    "deleted versions that were not purged": "select count(*) from versions where state = 'deleted'",
    "deleted documents that were not purged": "select count(*) from documents where deleted_at is not null",
    "versions without a document": "select count(*) from versions where document_id not in (select id from documents)",
    "finished versions that somebody holds": (
        "select count(*) from versions where lease_owner is not null and state in ('ready', 'failed')"
    ),
    "live versions that are not ready": (
        "select count(*) from documents d join versions v on v.id = d.live_version_id where v.state <> 'ready'"
    ),
}
_AT_MOST_ONCE = {
    "documents at one path": (
        "select count(*) from (select 1 from documents group by collection_id, path having count(*) > 1) t"
    ),
    "ready versions of one document": (
        "select count(*) from (select 1 from versions where state = 'ready' group by document_id having count(*) > 1) t"
    ),
    "failed versions of one document": (
        "select count(*) from "
        "(select 1 from versions where state = 'failed' group by document_id having count(*) > 1) t"
    ),
}


def _rows(alioth: Alioth) -> Iterator[Finding]:
    with alioth.db.read() as session:
        for kind, table in (("orphan", _NONE_OF_THESE), ("doubled", _AT_MOST_ONCE)):
            for what, query in table.items():
                if count := session.execute(text(query)).scalar():
                    yield Finding(kind, f"{count} {what}")


# ------------------------------------------------------------------ indexes


def _searches(town: Place, collection: Collection, rows: dict[str, DocumentRow], ledger: Ledger) -> Iterator[Finding]:
    """Every word of every live document is found there and nowhere else; no word of gone bytes is found at all."""
    alioth = town.alioth
    living: dict[int, set[str]] = {}
    for row in rows.values():
        if row.live_version_id is not None:
            number = _live_content(alioth, row, ledger)
            if number is not None:
                living.setdefault(number, set()).add(row.path)
    replicas = [KeywordIndex(home / "keyword", alioth.db) for home in town.homes]
    for content in ledger.contents.values():
        for word in (content.words[0], content.words[-1]) if content.words else ():
            for replica in replicas:
                yield from _keyword(alioth, replica, collection, word, living.get(content.number, set()))


def _keyword(
    alioth: Alioth, replica: KeywordIndex, collection: Collection, word: str, wanted: set[str]
) -> Iterator[Finding]:
    ids = [chunk_id for chunk_id, _ in replica.search(_keyword_scope(collection), segment(word), 200)]
    chunks = alioth.chunks.load_live(ids, [collection.id])
    found = {chunk.path for chunk in chunks.values()}
    if len(chunks) < len(ids):
        yield Finding("orphan", f"keywords: {len(ids) - len(chunks)} entries for {word!r} are not live")
    if missing := wanted - found:
        yield Finding("lost", f"keywords: {word!r} is not found in {sorted(missing)}")
    if surplus := found - wanted:
        yield Finding("wrong", f"keywords: {word!r} is found in {sorted(surplus)}")
    if wanted and not any(word in chunk.text.lower() for chunk in chunks.values()):
        yield Finding("wrong", f"keywords: {word!r} leads to chunks without it")


def _keyword_scope(collection: Collection) -> list[str]:
    return [getattr(collection, "index_id", collection.id)]


def _vectors(alioth: Alioth, collection: Collection) -> Iterator[Finding]:
    """Nothing that a search finds comes twice or is not live. That every vector is there: `_consistency`."""
    ids = [int(i) for i in alioth.chunks.live_ids(collection.id)]
    kept, rows = alioth.chunks.embeddings(ids)
    if kept != ids:
        yield Finding("lost", f"{len(ids) - len(kept)} live chunks have no embedding")
    for place in np.random.default_rng(len(ids)).permutation(len(kept))[:40]:
        found = alioth.vectors.query(collection.vector_key, rows[place], 20)
        if len({chunk_id for chunk_id, _ in found}) != len(found):
            yield Finding("doubled", f"vectors: a chunk comes twice for chunk {kept[place]}")
        live = alioth.chunks.load_live([chunk_id for chunk_id, _ in found], [collection.id])
        if len(live) != len(found):
            yield Finding("orphan", f"vectors: {len(found) - len(live)} of the nearest to {kept[place]} are not live")


def _consistency(town: Place) -> Iterator[Finding]:
    """What `alioth index verify` says, on every machine."""
    alioth = town.alioth
    kinds = {"vector_missing": "lost", "keyword_missing": "lost", "file_missing": "lost", "vector_wrong": "wrong"}
    for collection in alioth.collections.list():
        for home in town.homes:
            keyword = KeywordIndex(home / "keyword", alioth.db)
            compared = consistency.compare(collection, alioth.db, alioth.vectors, keyword, alioth.files)
            for found in compared.findings:
                if found.kind == "vector_unreached":
                    continue  # Chroma's graph is an approximate one, killed or not: test_storage_vectors.py measures it
                yield Finding(kinds.get(found.kind, "orphan"), f"index verify: {found.kind}: {found.detail}")
            if compared.pending:
                yield Finding("orphan", f"{compared.pending} vectors belong to versions that are not live")
    for found in consistency.verify_vector_collections(alioth.db, alioth.vectors):
        yield Finding("orphan", f"index verify: {found.kind}: {found.detail}")
    known = {entry for collection in alioth.collections.list() for entry in _keyword_scope(collection)}
    for home in town.homes:
        if len(town.homes) > 1:  # the machine that did not drop a collection sees to it every hour
            KeywordIndex(home / "keyword", alioth.db).drop_unknown()
        stray = {path.name for path in (home / "keyword").glob("*") if path.is_dir()} - known
        if stray:
            yield Finding("orphan", f"keyword folders of dropped collections: {sorted(stray)}")


# ------------------------------------------------------------------ files


def _used(alioth: Alioth) -> set[str]:
    with alioth.db.read() as session:
        return set(session.scalars(text("select content_hash from versions where state <> 'deleted'")))


def _kept(alioth: Alioth) -> dict[str, Path | None]:
    """Everything in the file store: hash to place; a name that is no hash is a stray too."""
    if not isinstance(alioth.files, FolderFileStore):
        return dict.fromkeys(alioth.files.older_than(-1))
    root = alioth.settings.home / "files"
    return {path.name: path for path in root.rglob("*") if path.is_file()}


def _stray_files(alioth: Alioth) -> set[str]:
    return set(_kept(alioth)) - _used(alioth)


def _files(town: Place) -> Iterator[Finding]:
    alioth = town.alioth
    kept, used = _kept(alioth), _used(alioth)
    for content_hash in sorted(used - set(kept)):
        yield Finding("lost", f"the original {content_hash} is gone")
    for name in sorted(set(kept) - used):
        yield Finding("orphan", f"nothing refers to the file {name!r}")
    for name, path in kept.items():
        if path is not None and hashlib.sha256(path.read_bytes()).hexdigest() != name:
            yield Finding("wrong", f"the file {name!r} holds other bytes")
    for home in town.homes:
        yield from _unknown(home)


_KNOWN = {"alioth.db", "queue.db", "migrate.lock", "files", "chroma", "keyword", "logs", "run", "models", "uploads"}


def _unknown(home: Path) -> Iterator[Finding]:
    for path in home.iterdir():
        if path.name.removesuffix("-wal").removesuffix("-shm") not in _KNOWN:
            yield Finding("orphan", f"{path.name!r} lies in the data directory")


def _locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def temporary_files(town: Place) -> list[Finding]:
    """What is in the folder for temporary files, left by dead processes: a living one locks its own.

    The folder for LibreOffice of a dead worker goes when the next one parses, so it may be there.
    """
    known = ("jieba.cache", "alioth-office-")
    paths = (path for path in (town.folder / "tmp").glob("*") if not path.name.startswith(known))
    left = [path.name for path in paths if not _locked(path)]
    return [Finding("orphan", f"temporary files are left: {sorted(left)[:5]}")] if left else []
