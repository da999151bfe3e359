"""The keyword index: one tantivy folder per collection, a replica on this machine that catches up from SQL."""

from __future__ import annotations

import fcntl
import functools
import logging
import math
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.errors import StorageError
from core.text import segment
from storage.changes import Applied, ChangeFeed, KeywordRow, PositionGone
from storage.database import Database

logger = logging.getLogger(__name__)

T = TypeVar("T")
Instead = tuple[Sequence[str], Sequence[str]]
"""Words of a question, and other words that may stand for them."""

PATH_BOOST: Final = 0.5
"""Weight of a word in the document's path against the same word in its text, title or headings."""
INSTEAD_BOOST: Final = 0.5
"""Most that the other words for a term weigh, all together, against the term itself."""
_MAX_TERMS: Final = 200
_COMMIT_ROWS: Final = 20_000
_HEAP_BYTES: Final = 60_000_000
_PAGE: Final = 10_000
_MARK: Final = "applied"


class KeywordIndex:
    """BM25 over the live chunks of collections. Thread-safe, and safe in any number of processes on one folder.

    Whoever searches first after a change applies it under a file lock; the others wait for it and read its
    commit. A folder that is missing, damaged or of another database is made anew from SQL.
    """

    def __init__(self, folder: Path, db: Database) -> None:
        self._folder = folder
        self._feed = ChangeFeed(db)
        self._lock = threading.Lock()
        self._replicas: dict[str, _Replica] = {}

    def search(
        self,
        collection_ids: Sequence[str],
        tokens: Sequence[str],
        k: int,
        instead: Sequence[Instead] = (),
        required: Sequence[str] = (),
        versions: Sequence[str] | None = None,
    ) -> list[tuple[int, float]]:
        """The `k` best chunks for any of `tokens` as (chunk id, BM25 score), best first, ties by id.

        Every version that was ready before the call is seen. The scores of all collections are merged as they are.

        Args:
            tokens: as core.text.segment gives them; they are words, never query syntax.
            instead: other words for some of them, which count at most half of what those count.
            required: words that a chunk must have, each of them.
            versions: only chunks of these versions; some 2 ms for 5,000 of them.

        Raises:
            StorageError: the folder cannot be read or written.
        """
        if not tokens or not collection_ids or k < 1 or (versions is not None and not versions):
            return []
        hits: list[tuple[int, float]] = []
        for collection_id, wanted in self._feed.newest(collection_ids).items():
            hits.extend(
                self._with_replica(
                    collection_id, wanted, lambda replica: replica.search(tokens, k, instead, required, versions)
                )
            )
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:k]

    def catch_up(self, collection_id: str) -> int:
        """Apply what SQL has and this replica has not. Gives the number of changes applied."""
        wanted = self._feed.newest([collection_id]).get(collection_id)
        if wanted is None:
            return 0
        return self._guarded(collection_id, lambda: self._replica(collection_id).catch_up(wanted))

    def ids(self, collection_id: str) -> NDArray[np.int64]:
        """Every chunk id in the index as it stands, without catching up, ascending, (n,) int64."""
        if not (self._folder / collection_id).is_dir():
            return np.zeros(0, dtype=np.int64)
        return self._guarded(collection_id, lambda: self._replica(collection_id).ids())

    def prune_changes(self) -> int:
        """Remove changes so old that a replica which lacks them is made anew. Gives how many."""
        return self._feed.prune()

    def rebuild(self, collection_id: str) -> int:
        """Make the index of one collection anew from SQL. Gives the number of chunks in it."""
        wanted = self._feed.newest([collection_id]).get(collection_id)
        replica = self._replica(collection_id)
        replica.wipe()
        if wanted is None:
            return 0
        replica.catch_up(wanted)
        return len(replica.ids())

    def drop(self, collection_id: str) -> None:
        """Remove the index of a collection from this machine."""
        self._replica(collection_id).wipe()
        with self._lock:
            self._replicas.pop(collection_id, None)

    def drop_unknown(self) -> int:
        """Remove from this machine the indexes of collections that another machine dropped. Gives how many."""
        there = [
            path.name for path in self._folder.glob("*") if path.is_dir()
        ]  # before SQL: what is new is known there
        known = self._feed.newest(there) if there else {}
        gone = [name for name in there if name not in known]
        for name in gone:
            self.drop(name)
        return len(gone)

    def _with_replica(self, collection_id: str, wanted: Applied, action: Callable[[_Replica], T]) -> T:
        def act() -> T:
            replica = self._replica(collection_id)
            if not replica.shows(wanted):
                replica.catch_up(wanted)
            return action(replica)

        return self._guarded(collection_id, act)

    def _guarded(self, collection_id: str, action: Callable[[], T]) -> T:
        """Run `action`; when the replica proves damaged, make it anew once and run it again."""
        try:
            return action()
        except _Gone:
            logger.info("keyword index of collection %s was removed; trying again", collection_id)
        except _Damaged as damage:
            logger.warning("keyword index of collection %s is made anew: %s", collection_id, damage)
            self._replica(collection_id).wipe()
        try:
            return action()
        except _Damaged as damage:
            raise StorageError(
                f"The keyword index in {str(self._folder / collection_id)!r} cannot be used: {damage}.",
                "Check the disk and the rights of the data directory; the folder may be deleted at any time.",
            ) from damage

    def _replica(self, collection_id: str) -> _Replica:
        if not collection_id.isalnum():
            raise StorageError(f"{collection_id!r} is no collection id.", "Ids are 32 hexadecimal digits.")
        with self._lock:
            replica = self._replicas.get(collection_id)
            if replica is None:
                replica = _Replica(self._folder, collection_id, self._feed)
                self._replicas[collection_id] = replica
            return replica


class _Damaged(Exception):
    """tantivy could not use the folder."""


class _Gone(_Damaged):
    """The folder was made anew by someone else at this moment."""


class _Replica:
    """One collection's index folder."""

    def __init__(self, folder: Path, collection_id: str, feed: ChangeFeed) -> None:
        self._path = folder / collection_id
        self._lock_path = folder / f"{collection_id}.lock"
        self._collection_id = collection_id
        self._feed = feed
        self._mutex = threading.Lock()
        self._index: Any = None
        self._inode = 0
        self._searcher: Any = None
        self._applied: Applied | None = None
        self._written: dict[str, int] = {}

    def shows(self, wanted: Applied) -> bool:
        """Whether searches here see everything up to `wanted`; reads another process's commit if there is one."""
        with self._mutex:
            if self._applied != wanted or self._moved():
                self._refresh()
            applied = self._applied
        if applied is None or applied.number < wanted.number:
            return False
        # further than asked: another process applied a newer change, unless a backup was restored
        return applied == wanted or self._feed.contains(self._collection_id, applied)

    def search(
        self,
        tokens: Sequence[str],
        k: int,
        instead: Sequence[Instead],
        required: Sequence[str],
        versions: Sequence[str] | None,
    ) -> list[tuple[int, float]]:
        with self._mutex:
            searcher, index = self._searcher, self._index
        if searcher is None:
            raise _Gone("it was removed during a search")
        with _tantivy_faults():
            query = _query(searcher, index.schema, tokens, instead)
            query = _narrowed(index.schema, query, required, versions)
            found = searcher.search(query, limit=k, count=False).hits
            ids = searcher.fast_field_values("id", [address for _, address in found])
            return [(int(i), float(score)) for i, (score, _) in zip(ids, found, strict=True)]

    def ids(self) -> NDArray[np.int64]:
        import tantivy

        with self._mutex:
            self._refresh()
            searcher = self._searcher
        if searcher is None:
            return np.zeros(0, dtype=np.int64)
        with _tantivy_faults():
            everything = tantivy.Query.exists_query("id")
            found = searcher.search(everything, limit=max(1, searcher.num_docs), count=False).hits
            out: list[int] = []
            for start in range(0, len(found), _PAGE):
                part = [address for _, address in found[start : start + _PAGE]]
                out.extend(int(i) for i in searcher.fast_field_values("id", part))
        return np.sort(np.array(out, dtype=np.int64))

    def catch_up(self, wanted: Applied) -> int:
        """Apply changes until `wanted` is covered. Gives how many were applied by this call."""
        with self._exclusive():
            if self.shows(wanted):  # another process was faster
                return 0
            applied = self._applied
            if applied is not None and not self._feed.contains(self._collection_id, applied):
                logger.warning("keyword index of %s is far behind or belongs to another history", self._collection_id)
                self._remove()
                applied = None
            before = applied.number if applied else 0
            with self._mutex, _tantivy_faults():
                self._index = None  # a writer must know the files of the folder as it is now
                self._open()
                try:
                    number = self._apply(applied)
                except PositionGone as gone:  # pruned since it was looked up
                    raise _Damaged(str(gone)) from gone
                self._load()
                self._check_written()
            return number - before

    def wipe(self) -> None:
        with self._exclusive():
            self._remove()

    def _apply(self, applied: Applied | None) -> int:
        self._written = {}
        writer = self._index.writer(_HEAP_BYTES, 1)
        try:
            newest = self._feed.after(self._collection_id, applied)
            for version_id in newest.gone:
                writer.delete_documents_by_term("version", version_id)
            pending = 0
            for version_id in newest.added:
                writer.delete_documents_by_term("version", version_id)
                for row in self._feed.rows(version_id):
                    writer.add_document(_document(row))
                    self._written[version_id] = self._written.get(version_id, 0) + 1
                    pending += 1
                if pending >= _COMMIT_ROWS and newest.resumable:
                    _mark(writer, newest.reached(version_id))
                    writer.commit()
                    pending = 0
            _mark(writer, newest.end)
            writer.commit()
            return newest.end.number
        finally:
            writer.wait_merging_threads()

    def _check_written(self) -> None:
        """Count the entries of every version that was just added: a search must never see a part of one.

        The switch has checked that SQL holds all chunks of a version, so these are as many as it has chunks.
        """
        import tantivy

        for version_id, rows in self._written.items():
            query = tantivy.Query.term_query(self._index.schema, "version", version_id, index_option="basic")
            found = self._searcher.search(query, limit=1, count=True).count
            if found != rows:
                raise _Damaged(f"version {version_id} has {found} entries for {rows} chunks")
        self._written = {}

    def _open(self) -> None:
        import tantivy

        self._path.mkdir(parents=True, exist_ok=True)
        if self._index is None or self._moved():
            self._index = tantivy.Index(_schema(), path=str(self._path))
            self._inode = self._path.stat().st_ino

    def _load(self) -> None:
        self._index.reload()
        self._searcher = self._index.searcher()
        self._applied = _marked(self._searcher, self._index.schema)

    def _refresh(self) -> None:
        if not (self._path / "meta.json").is_file():
            self._forget()
            return
        with _tantivy_faults():
            self._open()
            self._load()

    def _moved(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def _remove(self) -> None:
        with self._mutex:
            self._forget()
            shutil.rmtree(self._path, ignore_errors=True)

    def _forget(self) -> None:
        self._index = self._searcher = self._applied = None
        self._inode = 0

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One writer per collection among all threads and processes of this machine; the others wait here."""
        try:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            handle = self._lock_path.open("a")
        except OSError as error:
            raise StorageError(
                f"Cannot write the keyword index in {str(self._lock_path.parent)!r}: {error.strerror}.",
                "Make the data directory writable for this user.",
            ) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


@contextmanager
def _tantivy_faults() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise _Damaged(str(error)) from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # a panic in Rust is no Exception
            raise _Damaged(str(error)) from error
        raise


def _schema() -> Any:
    import tantivy

    return (
        tantivy.SchemaBuilder()
        .add_unsigned_field("id", indexed=True, fast=True)
        .add_text_field("version", tokenizer_name="raw", index_option="basic")
        .add_text_field("body", tokenizer_name="whitespace", index_option="freq")
        .add_text_field("path", tokenizer_name="whitespace", index_option="freq")
        .add_text_field("mark", tokenizer_name="raw", index_option="basic")
        .add_text_field("position", stored=True, tokenizer_name="raw", index_option="basic")
        .build()
    )


def _document(row: KeywordRow) -> Any:
    import tantivy

    document = tantivy.Document()
    document.add_unsigned("id", row.id)
    document.add_text("version", row.version_id)
    # one field: BM25 rewards a title word that the text has too once, not twice (docs/decisions/0008-fusion.md)
    document.add_text("body", f"{_segmented(row.title)} {_segmented(row.context)} {row.tokens}")
    document.add_text("path", _segmented(row.path))
    return document


@functools.lru_cache(maxsize=4096)
def _segmented(text: str) -> str:
    return " ".join(segment(text))


def _mark(writer: Any, applied: Applied) -> None:
    """Keep the position in a document of its own: tantivy commits carry no payload."""
    import tantivy

    writer.delete_documents_by_term("mark", _MARK)
    document = tantivy.Document()
    document.add_text("mark", _MARK)
    document.add_text("position", applied.to_text())
    writer.add_document(document)


def _marked(searcher: Any, schema: Any) -> Applied | None:
    import tantivy

    found = searcher.search(tantivy.Query.term_query(schema, "mark", _MARK, index_option="basic"), limit=1).hits
    return Applied.from_text(searcher.doc(found[0][1])["position"][0]) if found else None


def _query(searcher: Any, schema: Any, tokens: Sequence[str], instead: Sequence[Instead]) -> Any:
    """Any of the tokens in body or path, a repeated one counted as often as it stands in the question."""
    from tantivy import Occur, Query

    counts: dict[str, float] = {**_instead(searcher, instead), **Counter(tokens)}
    words = list(counts)
    if len(words) > _MAX_TERMS:  # the rarest say most; a page pasted as a question must not take seconds
        frequency = {word: searcher.doc_freq("body", word) for word in words}
        words = sorted((w for w in words if frequency[w]), key=lambda w: frequency[w])[:_MAX_TERMS]
    parts: list[tuple[Any, Any]] = []
    for word in words:
        for field, boost in (("body", 1.0), ("path", PATH_BOOST)):
            term = Query.term_query(schema, field, word, index_option="freq")
            weight = boost * counts[word]
            parts.append((Occur.Should, term if weight == 1.0 else Query.boost_query(term, weight)))
    return Query.boolean_query(parts)


def _instead(searcher: Any, groups: Sequence[Instead]) -> dict[str, float]:
    """Weight of each other word: all of a group together weigh at most half of what the words they stand for do."""
    weights: dict[str, float] = {}
    for own, others in groups:
        theirs = _rarity(searcher, others)
        scale = _rarity(searcher, own) / theirs if theirs else 0.0
        for word in others:
            weights[word] = max(weights.get(word, 0.0), INSTEAD_BOOST * (min(1.0, scale) if scale else 1.0))
    return weights


def _rarity(searcher: Any, words: Sequence[str]) -> float:
    """Sum of BM25's inverse document frequencies; 0 for words that no chunk has."""
    counts = [searcher.doc_freq("body", word) for word in set(words)]
    return sum(math.log1p((searcher.num_docs - found + 0.5) / (found + 0.5)) for found in counts if found)


def _narrowed(schema: Any, query: Any, required: Sequence[str], versions: Sequence[str] | None) -> Any:
    """The query among the chunks that have all required words and are of these versions; the scores stay."""
    from tantivy import Occur, Query

    conditions = [
        Query.boolean_query(
            [(Occur.Should, Query.term_query(schema, name, word, index_option="freq")) for name in ("body", "path")]
        )
        for word in dict.fromkeys(required)
    ]
    if versions is not None:
        conditions.append(Query.term_set_query(schema, "version", list(versions)))
    if not conditions:
        return query
    parts = [(Occur.Must, Query.const_score_query(condition, 0.0)) for condition in conditions]
    return Query.boolean_query([(Occur.Must, query), *parts])
