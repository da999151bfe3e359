"""Random histories: in whatever order things happen, exactly the newest finished versions answer."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import LeaseLostError, NotFoundError, UnreadableError
from core.types import Fingerprint, Locator, NewChunk
from storage.chunks import ChunkStore
from storage.collections import CollectionStore
from storage.database import Database
from storage.documents import DocumentStore
from storage.keyword import KeywordIndex

STEP = st.tuples(
    st.sampled_from(["submit", "claim", "lose", "store", "switch", "fail", "delete", "purge", "release", "search"]),
    st.integers(0, 2),  # which path
    st.integers(0, 3),  # which content or worker
)


class History:
    """The stores, beside a plain model of what must be true."""

    def __init__(self, folder: Path) -> None:
        self.db = Database(f"sqlite:///{folder / 'alioth.db'}")
        self.documents, self.chunks = DocumentStore(self.db), ChunkStore(self.db)
        fingerprint = Fingerprint("t", "0", 4, True, "", "1")
        self.collection = CollectionStore(self.db).create("H", fingerprint)
        self.keyword = KeywordIndex(folder / "keyword", self.db)
        self.held: dict[str, Any] = {}  # version -> claim, by this test's reckoning
        self.stored: dict[str, list[int]] = {}
        self.live: dict[str, tuple[int, str]] = {}  # path -> number and version that must answer
        self.ever: set[int] = set()

    def submit(self, path: str, which: int) -> None:
        done = self.documents.submit(self.collection.id, path, f"{which:064x}", 1)
        assert (done.outcome == "unchanged") <= (path in self.live)

    def claim(self, path: str, which: int) -> None:
        for claimed in self.documents.claim(f"w{which}", 1, 3600, max_attempts=99):
            assert claimed.version_id not in self.held
            self.held[claimed.version_id] = (f"w{which}", claimed)

    def lose(self, path: str, which: int) -> None:
        """A worker dies; its lease is over and another takes the version."""
        for version_id, (worker, _) in list(self.held.items())[:1]:
            self.documents.renew(worker, [version_id], -1)
            del self.held[version_id]
            with pytest.raises(LeaseLostError):
                self.documents.switch(version_id, "a stranger")

    def store(self, path: str, which: int) -> None:
        for version_id, (worker, _) in list(self.held.items())[:1]:
            chunks = [NewChunk(n, f"common t{n}", Locator()) for n in range(which + 1)]
            vectors = np.eye(4, dtype=np.float32)[: which + 1]
            try:
                ids = self.documents.store_chunks(version_id, worker, chunks, [c.text for c in chunks], vectors)
            except LeaseLostError:
                del self.held[version_id]
                continue
            assert len(ids) == which + 1 == len(set(ids))
            self.stored[version_id] = ids
            self.ever.update(ids)

    def switch(self, path: str, which: int) -> None:
        for version_id, (worker, claimed) in list(self.held.items()):
            if version_id not in self.stored:
                continue
            del self.held[version_id]
            try:
                if self.documents.get_many([version_id])[version_id].state != "indexing":
                    continue
                switched = self.documents.switch(version_id, worker)
            except (LeaseLostError, KeyError):
                continue
            number = self.live.get(claimed.path, (0, ""))[0]
            assert switched == (claimed.number > number)
            if switched:
                self.live[claimed.path] = (claimed.number, version_id)
            return

    def fail(self, path: str, which: int) -> None:
        for version_id, (worker, _) in list(self.held.items())[:1]:
            del self.held[version_id]
            try:
                self.documents.fail(version_id, worker, UnreadableError("no"))
            except LeaseLostError:
                continue

    def delete(self, path: str, which: int) -> None:
        row = self.documents.find(self.collection.id, path)
        if row is None:
            assert path not in self.live
            return
        self.documents.delete(row.id)
        self.live.pop(path, None)
        with pytest.raises(NotFoundError):
            self.documents.get(row.id)

    def purge(self, path: str, which: int) -> None:
        for purge in self.documents.purgeable():
            self.documents.purged(purge.version_id)

    def release(self, path: str, which: int) -> None:
        self.documents.release(f"w{which}")
        self.held = {key: held for key, held in self.held.items() if held[0] != f"w{which}"}

    def search(self, path: str, which: int) -> None:
        found = {i for i, _ in self.keyword.search([self.collection.id], ["common"], 1000)}
        assert found == self.expected()

    def expected(self) -> set[int]:
        return {i for _, version_id in self.live.values() for i in self.stored[version_id]}

    def check(self) -> None:
        expected = self.expected()
        assert {int(i) for i in self.chunks.live_ids(self.collection.id)} == expected
        assert self.chunks.load_live(sorted(self.ever), [self.collection.id]).keys() == expected
        for row in self.documents.list(self.collection.id):
            assert row.live_version_id == self.live.get(row.path, (0, None))[1]
        collection = CollectionStore(self.db).get("H")
        assert (collection.documents, collection.chunks) == (len(self.live), len(expected))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=5, max_size=40))
def test_exactly_the_newest_finished_versions_answer_after_every_step(
    sqlite_template: Path, steps: list[tuple[str, int, int]]
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="alioth-history-"))
    try:
        shutil.copy(sqlite_template, folder / "alioth.db")
        history = History(folder)
        for name, path, which in steps:
            getattr(history, name)(f"p{path}", which)
            history.check()
        history.search("", 0)
        history.db.close()
    finally:
        shutil.rmtree(folder)
