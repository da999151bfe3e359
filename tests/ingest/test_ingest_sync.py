"""A folder and its documents: the difference, what a sync may touch, and what a killed one leaves behind."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from core.errors import ConflictError, InputError, StorageError
from core.settings import IngestSettings
from core.types import Fingerprint, Locator, NewChunk, Problem
from ingest import folder_source, sync_plan
from ingest.folder_source import FolderSource
from ingest.intake import Added, Intake
from ingest.sync import Sync, takes
from ingest.sync_plan import Difference, SyncOptions, content_hash
from storage.collections import CollectionStore
from storage.database import Database
from storage.documents import DocumentStore, Submission
from storage.files import FolderFileStore
from storage.keyword import KeywordIndex
from storage.migrate import migrate
from storage.sources import Entry, SourceStore
from storage.tables import DocumentTable, VersionTable, now

OLD = 1_700_000_000
"""A time of change long ago, in seconds: what has it needs no second reading."""


class Silent:
    def ring(self, version_ids: object = ()) -> None: ...


class Killed(BaseException):
    """The process dies here."""


class Mortal:
    """A store whose owner is killed before or after one of its writes; from then on nothing works any more."""

    def __init__(self, inner: Any, life: Life) -> None:
        self._inner, self._life = inner, life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in ("submit", "rename", "delete", "record", "finished"):
            return value

        def call(*args: Any, **more: Any) -> Any:
            self._life.spend()
            done = value(*args, **more)
            self._life.spend()
            return done

        return call


@dataclass
class Life:
    left: int

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


@dataclass
class World:
    """A collection, a folder beside it, and ingestion in one call without models."""

    home: Path
    template: Path
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        shutil.copy(self.template, self.home / "alioth.db")
        self.db = Database(f"sqlite:///{self.home / 'alioth.db'}")
        event.listen(self.db.engine, "connect", lambda plain, _: plain.execute("PRAGMA synchronous = OFF"))
        self.documents, self.sources = DocumentStore(self.db), SourceStore(self.db, self.home / "run")
        self.files = FolderFileStore(self.home / "files")
        self.intake = Intake(IngestSettings(max_file_mb=1), self.documents, self.files, Silent())
        self.collection = CollectionStore(self.db).create("H", Fingerprint("t", "0" * 64, 4, True, "", "1"))
        self.root = self.home / "folder"
        self.root.mkdir()
        self.submitted: list[str] = []

    def write(self, name: str, content: str | bytes, modified: float | None = OLD) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if modified is not None:
            os.utime(path, (modified, modified))
        return path

    def options(self, **more: Any) -> SyncOptions:
        return SyncOptions(takes, **more)

    def plan(self, root: Path | None = None, ignore: tuple[str, ...] = (), **more: Any) -> Difference:
        remote = FolderSource(root or self.root, ignore)
        source = self.sources.find(self.collection.id, remote.kind, remote.place)
        sync = Sync(self.sources, self.documents, self.intake)
        return sync.plan(self.collection, remote, self.options(**more), source)

    def sync(
        self, root: Path | None = None, ignore: tuple[str, ...] = (), life: Life | None = None, **more: Any
    ) -> Difference:
        remote = FolderSource(root or self.root, ignore)
        sources: Any = Mortal(self.sources, life) if life else self.sources
        documents: Any = Mortal(self.documents, life) if life else self.documents
        intake = Intake(IngestSettings(max_file_mb=1), documents, self.files, Silent())
        sync = Sync(sources, documents, intake)
        source = self.sources.remember(self.collection.id, remote.kind, remote.place, {})
        self.submitted = []

        def note(path: str, submission: Submission) -> None:
            self.submitted.append(path)

        difference = sync.plan(self.collection, remote, self.options(**more), source)
        sync.carry_out(self.collection, source, difference, self.options(**more), note)
        return difference

    def synced(self, **more: Any) -> dict[str, Any]:
        done = self.sync(**more)
        self.settle()
        return done.to_dict()

    def settle(self, title: str = "A title") -> None:
        """Every queued version becomes ready."""
        for claimed in self.documents.claim("w", 10_000, 3600):
            key = claimed.version_id
            problems: tuple[Problem, ...] = ()
            self.documents.describe(
                key, "w", media_type="text/plain", title=title, pages=1, problems=problems, facts={}
            )
            with self.files.open(claimed.content_hash) as stream:
                text = stream.read().decode("utf-8", "replace")
            self.documents.store_chunks(
                key, "w", [NewChunk(0, text, Locator())], [text], np.eye(4, dtype=np.float32)[:1]
            )
            assert self.documents.switch(key, "w")

    def purge(self) -> None:
        for entry in self.documents.purgeable(1000):
            self.documents.purged(entry.version_id)
            self.documents.remove_unused(entry.content_hash, self.files.delete)

    def upload(self, path: str, content: str) -> None:
        self.intake.add_bytes(self.collection, path, io.BytesIO(content.encode()))

    def remove(self, path: str) -> bool:
        row = self.documents.find(self.collection.id, path)
        if row is not None:
            self.documents.delete(row.id)
        return row is not None

    def held(self) -> dict[str, str]:
        """Every document that answers, with its text."""
        rows = self.documents.list(self.collection.id)
        found = self.sources.documents_at(self.collection.id, [row.path for row in rows])
        out: dict[str, str] = {}
        for row in rows:
            assert row.live_version_id == row.version_id, row
            with self.files.open(found[row.path].content_hash) as stream:
                out[row.path] = stream.read().decode()
        return out


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sync-template")
    db = Database(f"sqlite:///{folder / 'alioth.db'}")
    migrate(db, folder)
    db.close()
    return folder / "alioth.db"


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old as soon as they are written."""
    monkeypatch.setattr(sync_plan, "RACY_NS", 0)


@pytest.fixture
def world(tmp_path: Path, template: Path) -> Iterator[World]:
    made = World(tmp_path, template)
    yield made
    made.db.close()


def versions(world: World, path: str) -> tuple[str, int]:
    row = world.documents.find(world.collection.id, path)
    assert row is not None
    return row.version_id, row.version


# ---------------------------------------------------------------- following the folder


def test_additions_changes_and_deletions_follow_the_folder(world: World) -> None:
    world.write("a.md", "a")
    world.write("sub/b.txt", "b")
    first = world.synced()
    assert (first["added"], first["unchanged"]) == (["a.md", "sub/b.txt"], 0)
    world.write("a.md", "aa", OLD + 1)
    (world.root / "sub" / "b.txt").unlink()
    world.write("c.md", "c")
    second = world.synced()
    assert (second["added"], second["changed"], second["deleted"]) == (["c.md"], ["a.md"], ["sub/b.txt"])
    assert world.held() == {"a.md": "aa", "c.md": "c"}
    third = world.synced()
    assert third["unchanged"] == 2 and not any(third[word] for word in ("added", "changed", "moved", "deleted"))


def test_a_preview_shows_the_same_difference_and_changes_nothing(world: World) -> None:
    for name in ("a.md", "b.md", "c.md"):
        world.write(name, name)
    assert world.plan().to_dict()["added"] == ["a.md", "b.md", "c.md"]
    assert world.sources.known() == [] and world.documents.list(world.collection.id) == []
    world.synced()
    (world.root / "a.md").rename(world.root / "z.md")
    world.write("b.md", "other", OLD + 1)
    (world.root / "c.md").unlink()
    before = (world.home / "alioth.db").read_bytes() + (world.home / "alioth.db-wal").read_bytes()
    shown = world.plan().to_dict()
    assert (world.home / "alioth.db").read_bytes() + (world.home / "alioth.db-wal").read_bytes() == before
    assert (shown["moved"], shown["changed"], shown["deleted"]) == (
        [{"from": "a.md", "to": "z.md"}],
        ["b.md"],
        ["c.md"],
    )
    assert world.synced() == shown


def test_a_second_sync_of_unchanged_files_opens_none_of_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2000):
        world.write(f"{number % 40}/{number}.txt", f"text {number}")
    _bring_in_as_a_sync_would(world)
    reads: list[object] = []
    statements = _count_writes(world, monkeypatch)
    monkeypatch.setattr(folder_source, "_open", lambda *args: reads.append(args))
    monkeypatch.setattr(builtins, "open", lambda *args, **more: reads.append(args))
    again = world.sync()
    monkeypatch.undo()
    assert again.unchanged == 2000 and again.empty and reads == [] and again.refreshed == []
    assert len(statements) == 2, "one transaction to remember the source, one to say that the sync has ended"


def _bring_in_as_a_sync_would(world: World) -> None:
    """Rows of documents, versions and entries at once: two thousand submissions would take most of a minute."""
    remote = FolderSource(world.root)
    listed = remote.list()
    source = world.sources.remember(world.collection.id, remote.kind, remote.place, {})
    entries = []
    with world.db.write() as session:
        for number, file in enumerate(listed.files):
            digest, key, stamp = content_hash(file), f"{number:032x}", now()
            one = DocumentTable(id=key, collection_id=world.collection.id, path=file.path, newest=1, created_at=stamp)
            one.source_id = source.id
            version = VersionTable(id=key, document_id=key, collection_id=world.collection.id, number=1)
            version.content_hash, version.size, version.state = digest, file.size, "failed"
            version.created_at = version.updated_at = stamp
            session.add_all([one, version])
            entries.append(Entry(file.path, file.path, key, digest, file.size, file.modified_ns))
    world.sources.record(source.id, entries)


def _count_writes(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    write = Database.write

    def counted(self: Database) -> Any:
        seen.append("write")
        return write(self)

    monkeypatch.setattr(Database, "write", counted)
    return seen


def test_a_file_that_was_only_touched_is_read_once_and_then_known_again(
    world: World, old_at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("a.md", "a")
    world.synced()
    os.utime(world.root / "a.md", (OLD + 5, OLD + 5))
    touched = world.sync()
    assert touched.unchanged == 1 and touched.empty and len(touched.refreshed) == 1
    monkeypatch.setattr(folder_source, "_open", lambda *args: pytest.fail("read again"))
    assert world.sync().unchanged == 1


def test_a_change_within_the_grain_of_the_clock_is_found(world: World) -> None:
    path = world.write("a.md", "one", modified=None)
    world.synced()
    found = path.stat()
    path.write_text("two")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert world.synced()["changed"] == ["a.md"]
    assert world.held() == {"a.md": "two"}


def test_what_a_person_deleted_comes_back_while_its_file_is_there(world: World) -> None:
    world.write("a.md", "a")
    world.synced()
    assert world.remove("a.md")
    assert world.synced()["added"] == ["a.md"]
    assert world.held() == {"a.md": "a"}


def test_a_prefix_stands_before_every_path_and_changing_it_moves_all(world: World) -> None:
    world.write("a.md", "a")
    world.synced(prefix="hr/2026/")
    assert world.held() == {"hr/2026/a.md": "a"}
    kept = versions(world, "hr/2026/a.md")
    assert world.synced(prefix="legal")["moved"] == [{"from": "hr/2026/a.md", "to": "legal/a.md"}]
    assert versions(world, "legal/a.md") == kept


# ---------------------------------------------------------------- moves


def test_a_move_keeps_the_version_and_is_found_under_its_new_name(world: World) -> None:
    world.write("old/annual leave.md", "holidays")
    world.synced()
    keyword = KeywordIndex(world.home / "keyword", world.db)
    assert keyword.search([world.collection.id], ["old"], 5)
    before = versions(world, "old/annual leave.md")
    (world.root / "old").rename(world.root / "archive")
    done = world.sync()
    assert [(m.document.path, m.path, m.carried) for m in done.moved] == [
        ("old/annual leave.md", "archive/annual leave.md", True)
    ]
    assert world.submitted == [] and world.documents.pending() == 0
    assert versions(world, "archive/annual leave.md") == before
    assert keyword.search([world.collection.id], ["archiv"], 5) and not keyword.search(
        [world.collection.id], ["old"], 5
    )
    assert world.sync().unchanged == 1


@pytest.mark.parametrize(
    ("new", "title", "carried"),
    [
        ("b.md", "Leave policy", True),
        ("b.md", "a", False),  # the title was the file's name
        ("a.txt", "Leave policy", False),  # another parser may read it
        ("sub/a.md", "a", True),
    ],
)
def test_a_move_is_read_anew_only_where_the_name_decides_the_content(
    world: World, new: str, title: str, carried: bool
) -> None:
    world.write("a.md", "text")
    world.sync()
    world.settle(title)
    (world.root / new).parent.mkdir(exist_ok=True)
    (world.root / "a.md").rename(world.root / new)
    done = world.sync()
    world.settle()
    assert done.to_dict()["moved"] == [{"from": "a.md", "to": new}]
    assert (world.submitted == []) is carried
    assert world.held() == {new: "text"}


def test_a_move_onto_the_path_of_a_deleted_document_is_done_without_it(world: World) -> None:
    world.write("a.md", "one")
    world.write("b.md", "two")
    world.synced()
    (world.root / "b.md").unlink()
    world.synced()  # its row waits for the purge
    (world.root / "a.md").rename(world.root / "b.md")
    assert world.synced()["moved"] == [{"from": "a.md", "to": "b.md"}]
    assert world.held() == {"b.md": "one"}


def test_files_that_change_places_keep_their_own_bytes(world: World) -> None:
    world.write("a.md", "one")
    world.write("b.md", "two")
    world.synced()
    (world.root / "a.md").rename(world.root / "t")
    (world.root / "b.md").rename(world.root / "a.md")
    (world.root / "t").rename(world.root / "b.md")
    world.synced()
    assert world.held() == {"a.md": "two", "b.md": "one"}


# ---------------------------------------------------------------- what others put there


def test_a_document_added_by_hand_is_never_taken_over_nor_deleted(world: World) -> None:
    world.upload("same.md", "same")
    world.upload("other.md", "by hand")
    world.upload("far.md", "elsewhere")
    world.settle()
    world.write("same.md", "same")
    world.write("other.md", "of the folder")
    done = world.synced()
    assert done["unchanged"] == 1 and done["added"] == done["changed"] == []
    [conflict] = done["conflicts"]
    assert conflict["path"] == "other.md" and "added by hand" in conflict["error"]["message"]
    assert "--adopt" in conflict["error"]["hint"]
    (world.root / "same.md").unlink()
    (world.root / "other.md").unlink()
    assert world.synced()["deleted"] == []
    assert world.held() == {"same.md": "same", "other.md": "by hand", "far.md": "elsewhere"}


def test_adopt_takes_such_documents_over(world: World) -> None:
    world.upload("same.md", "same")
    world.upload("other.md", "by hand")
    world.settle()
    world.write("same.md", "same")
    world.write("other.md", "of the folder")
    assert world.synced(adopt=True)["changed"] == ["other.md", "same.md"]
    assert world.held() == {"same.md": "same", "other.md": "of the folder"}
    for path in world.root.iterdir():  # the folder itself stays: a new one may be taken for another place
        path.unlink()
    assert world.synced()["deleted"] == ["other.md", "same.md"]


def test_an_upload_over_a_synced_document_makes_it_the_persons(world: World) -> None:
    world.write("a.md", "of the folder")
    world.synced()
    world.upload("a.md", "by hand")
    world.settle()
    assert [c["path"] for c in world.synced()["conflicts"]] == ["a.md"]
    (world.root / "a.md").unlink()
    world.synced()
    assert world.held() == {"a.md": "by hand"}


def test_two_folders_with_one_path_conflict_until_one_has_a_prefix(world: World, tmp_path: Path) -> None:
    other = tmp_path / "second"
    other.mkdir()
    (other / "a.md").write_text("second")
    world.write("a.md", "first")
    world.synced()
    [conflict] = world.synced(root=other)["conflicts"]
    assert "belongs to another source" in conflict["error"]["message"]
    assert world.synced(root=other, prefix="second")["added"] == ["second/a.md"]
    assert world.held() == {"a.md": "first", "second/a.md": "second"}


def test_an_upload_between_plan_and_carrying_out_wins(world: World) -> None:
    world.write("a.md", "of the folder")
    world.write("b.md", "b")
    world.synced()
    (world.root / "b.md").unlink()
    world.write("c.md", "of the folder")
    remote = FolderSource(world.root)
    source = world.sources.remember(world.collection.id, remote.kind, remote.place, {})
    sync = Sync(world.sources, world.documents, world.intake)
    difference = sync.plan(world.collection, remote, world.options(), source)
    world.upload("c.md", "by hand")
    world.upload("b.md", "by hand")
    sync.carry_out(world.collection, source, difference, world.options(), lambda path, submission: None)
    world.settle()
    assert sorted(path for path, _ in difference.conflicts) == ["b.md", "c.md"]
    assert world.held() == {"a.md": "of the folder", "b.md": "by hand", "c.md": "by hand"}


# ---------------------------------------------------------------- what must not empty a collection


def test_a_missing_folder_is_an_error_and_deletes_nothing(world: World) -> None:
    world.write("a.md", "a")
    world.synced()
    shutil.rmtree(world.root)
    with pytest.raises(InputError, match="Cannot look into the folder"):
        world.sync()
    assert world.held() == {"a.md": "a"}


def test_a_folder_that_is_suddenly_another_and_empty_deletes_nothing(world: World) -> None:
    world.write("a.md", "a")
    world.synced()
    world.root.rename(world.home / "unmounted")
    world.root.mkdir()
    for _ in range(2):
        done = world.synced()
        assert (done["deleted"], done["refused"]) == ([], ["a.md"])
    assert world.held() == {"a.md": "a"}
    world.root.rmdir()
    (world.home / "unmounted").rename(world.root)
    assert world.synced()["unchanged"] == 1


def test_losing_most_files_at_once_needs_a_word(world: World) -> None:
    for number in range(30):
        world.write(f"{number}.md", f"{number}")
    world.synced()
    for number in range(25):
        (world.root / f"{number}.md").unlink()
    world.write("new.md", "new")
    done = world.synced()
    assert len(done["refused"]) == 25 and done["deleted"] == [] and done["added"] == ["new.md"]
    assert len(world.held()) == 31
    assert len(world.synced(allow_mass_delete=True)["deleted"]) == 25
    assert len(world.held()) == 6


def test_moving_a_whole_tree_is_no_mass_deletion(world: World) -> None:
    for number in range(30):
        world.write(f"in/{number}.md", f"{number}")
    world.synced()
    (world.root / "in").rename(world.root / "out")
    done = world.synced()
    assert len(done["moved"]) == 30 and done["refused"] == []


def test_a_folder_that_goes_away_while_it_is_looked_at_deletes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("a.md", "a")
    world.write("sub/b.md", "b")
    world.synced()
    scandir = os.scandir

    def unmounted(path: Any) -> Any:
        entries = scandir(path)
        if Path(path) == world.root:
            world.root.rename(world.home / "away")
        return entries

    monkeypatch.setattr(os, "scandir", unmounted)
    with pytest.raises(InputError, match="went away while it was looked at"):
        world.sync()
    monkeypatch.undo()
    assert world.held() == {"a.md": "a", "sub/b.md": "b"}


def test_a_move_that_fails_half_way_is_a_move_at_the_next_sync(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("old/a.md", "a")
    world.sync()  # not ready yet, so that it must be read under its new path
    (world.root / "old").rename(world.root / "new")

    def failing(self: Intake, collection: object, name: str, *args: Any, **more: Any) -> Any:
        yield Added(name, error=InputError("Cannot read 'new/a.md': Input/output error."))

    monkeypatch.setattr(Intake, "add_all", failing)
    done = world.sync()
    monkeypatch.undo()
    assert done.moved == [] and [path for path, _ in done.failed] == ["new/a.md"]
    assert world.synced()["moved"] == [{"from": "old/a.md", "to": "new/a.md"}]
    assert world.held() == {"new/a.md": "a"}


def test_a_folder_that_cannot_be_read_keeps_its_documents(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("open/a.md", "a")
    world.write("locked/b.md", "b")
    world.synced()
    scandir = os.scandir

    def refused(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    done = world.synced()
    monkeypatch.undo()
    assert done["deleted"] == [] and [fault["path"] for fault in done["failed"]] == ["locked"]
    assert "Permission denied" in done["failed"][0]["error"]["message"]
    assert world.held() == {"open/a.md": "a", "locked/b.md": "b"}


def test_a_file_that_cannot_be_read_is_reported_and_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("a.md", "a")
    world.write("b.md", "b")
    world.synced()
    world.write("a.md", "A", OLD + 9)
    world.write("b.md", "B", OLD + 9)
    opened = os.open

    def refused(path: Any, *args: Any, **more: Any) -> int:
        if str(path).endswith("/a.md"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *args, **more)

    monkeypatch.setattr(os, "open", refused)
    done = world.synced()
    monkeypatch.undo()
    assert [fault["path"] for fault in done["failed"]] == ["a.md"] and done["changed"] == ["b.md"]
    assert world.held() == {"a.md": "a", "b.md": "B"}
    assert world.synced()["changed"] == ["a.md"]


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_time(world: World) -> None:
    path = world.write("a.md", "x" * 100)
    [file] = FolderSource(world.root).list().files
    stream = file.open()
    path.write_text("y" * 200)
    with stream, pytest.raises(InputError, match="changed while it was read"):
        stream.read()
    with pytest.raises(InputError, match="changed while it was read"):
        file.open()
    assert world.synced()["added"] == ["a.md"]


def test_a_disk_that_is_full_ends_the_run_and_the_next_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.md", "b.md", "c.md"):
        world.write(name, name)
    put = FolderFileStore.put

    def full(self: FolderFileStore, source: Any) -> Any:
        if len(world.submitted) == 1:
            raise StorageError("Cannot keep a file: No space left on device.", "Free space.")
        return put(self, source)

    monkeypatch.setattr(FolderFileStore, "put", full)
    with pytest.raises(StorageError, match="No space left"):
        world.sync()
    monkeypatch.undo()
    done = world.synced()
    assert done["unchanged"] == 1 and done["added"] == ["b.md", "c.md"]
    assert len(world.held()) == 3


# ---------------------------------------------------------------- what counts as a file


def test_links_are_followed_inside_the_folder_only_and_each_file_is_taken_once(world: World) -> None:
    world.write("a.md", "a")
    world.write("sub/b.md", "b")
    world.write(".store/v2/current.md", "kept under a hidden name")
    outside = world.home / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    os.symlink("a.md", world.root / "again.md")
    os.symlink(".", world.root / "loop")
    os.symlink("..", world.root / "sub" / "up")
    os.symlink(".store/v2", world.root / "shown")
    os.symlink(outside, world.root / "out")
    os.symlink(outside / "secret.md", world.root / "secret.md")
    os.symlink("nowhere.md", world.root / "broken.md")
    done = world.synced()
    assert done["added"] == ["a.md", "shown/current.md", "sub/b.md"]
    reasons = {row["path"]: row["reason"] for row in done["skipped"]}
    assert reasons["out"] == reasons["secret.md"] == "a link that leads out of the folder"
    assert reasons["broken.md"] == "a link that leads nowhere"


def test_a_folder_swapped_for_a_link_after_the_listing_leads_nowhere(world: World) -> None:
    world.write("sub/a.md", "mine")
    outside = world.home / "outside"
    outside.mkdir()
    shutil.copy2(world.root / "sub" / "a.md", outside / "a.md")  # the same size and time of change
    [file] = FolderSource(world.root).list().files
    shutil.rmtree(world.root / "sub")
    os.symlink(outside, world.root / "sub")
    with pytest.raises(InputError, match=r"Cannot read 'sub/a\.md'"):
        file.open()


def test_ignored_hidden_and_foreign_files_are_left_out(world: World) -> None:
    for name in ("a.md", "draft.tmp.md", "build/x.md", "build/keep.md", "deep/build/y.md", ".git/z.md", "~$a.docx"):
        world.write(name, name)
    world.write("pic.xyz", "?")
    os.mkfifo(world.root / "pipe.md")
    world.write(".aliothignore", "# ours\n*.tmp.md\n/build/*\n!/build/keep.md\n")
    done = world.synced(ignore=("deep/",))
    assert done["added"] == ["a.md", "build/keep.md"]
    assert {row["path"] for row in done["skipped"]} == {"pic.xyz", "pipe.md"}
    assert world.synced(ignore=("deep/", "a.md"))["deleted"] == ["a.md"]


def test_names_are_composed_and_two_that_become_one_are_reported(world: World) -> None:
    world.write("Re\u0301sume\u0301.md", "decomposed")
    assert world.synced()["added"] == ["R\u00e9sum\u00e9.md"]
    world.write("R\u00e9sum\u00e9.md", "composed")
    world.write("A.md", "upper")
    world.write("a.md", "lower")
    done = world.synced()
    assert [fault["path"] for fault in done["failed"]] == ["R\u00e9sum\u00e9.md"]
    assert {"A.md", "a.md", "R\u00e9sum\u00e9.md"} == set(world.held())


def test_a_name_that_no_document_may_have_is_reported(world: World) -> None:
    world.write("bad\u202egpj.md", "x")
    world.write("good.md", "y")
    done = world.synced()
    assert done["added"] == ["good.md"] and len(done["failed"]) == 1


def test_a_file_over_the_limit_is_refused_without_reading_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("a.md", "a")
    world.synced()
    world.write("a.md", "b" * 1_100_000)
    world.write("big.md", "c" * 1_100_000)
    done = world.synced(max_bytes=1_000_000)
    assert [fault["path"] for fault in done["failed"]] == ["big.md", "a.md"]
    assert all("over the 1 MB limit" in fault["error"]["message"] for fault in done["failed"])
    assert world.held() == {"a.md": "a"}


# ---------------------------------------------------------------- archives


def packed(**members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", ".").replace("-", "/"), text)
    return out.getvalue()


def test_an_archives_members_come_and_go_with_it(world: World) -> None:
    world.write("pack.zip", packed(a_md="a", b_md="b"))
    world.synced()
    assert world.held() == {"pack.zip/a.md": "a", "pack.zip/b.md": "b"}
    assert world.synced()["unchanged"] == 1
    world.write("pack.zip", packed(a_md="A", c_md="c"), OLD + 4)
    done = world.synced()
    assert done["changed"] == ["pack.zip"] and done["deleted"] == ["pack.zip/b.md"]
    assert world.held() == {"pack.zip/a.md": "A", "pack.zip/c.md": "c"}
    assert world.remove("pack.zip/a.md")
    assert world.synced()["changed"] == ["pack.zip"]
    assert world.held() == {"pack.zip/a.md": "A", "pack.zip/c.md": "c"}
    (world.root / "pack.zip").rename(world.root / "moved.zip")
    world.synced()
    assert world.held() == {"moved.zip/a.md": "A", "moved.zip/c.md": "c"}
    (world.root / "moved.zip").unlink()
    world.synced()
    assert world.held() == {}


def test_a_member_replaced_by_hand_stays_the_persons(world: World) -> None:
    world.write("pack.zip", packed(a_md="a", b_md="b"))
    world.synced()
    world.upload("pack.zip/a.md", "by hand")
    world.settle()
    assert world.synced()["unchanged"] == 1
    (world.root / "pack.zip").unlink()
    world.synced()
    assert world.held() == {"pack.zip/a.md": "by hand"}


def test_an_archive_that_cannot_be_opened_is_tried_again_and_one_without_documents_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("broken.zip", packed(a_md="a" * 500)[:-30])
    world.write("pictures.zip", packed(a_xyz="?"))
    assert [fault["path"] for fault in world.synced()["failed"]][:1] == ["broken.zip"]
    again = world.synced()
    assert "broken.zip" in [fault["path"] for fault in again["failed"]]


# ---------------------------------------------------------------- one at a time, and after a kill


def test_two_syncs_of_one_source_exclude_each_other(world: World) -> None:
    remote = FolderSource(world.root)
    source = world.sources.remember(world.collection.id, remote.kind, remote.place, {})
    running = pytest.raises(ConflictError, match=r"Another sync of .* is running")
    with world.sources.exclusive(source.id), running, world.sources.exclusive(source.id):
        pass
    with world.sources.exclusive(source.id):
        pass


def test_a_sync_killed_between_any_two_steps_is_finished_by_the_next(tmp_path: Path, template: Path) -> None:
    kills = 0
    for steps in range(0, 80, 2):  # an odd number dies after a write, which is before the next
        home = tmp_path / str(steps)
        home.mkdir()
        world = World(home, template)
        _before_the_kill(world)
        try:
            world.sync(life=Life(steps))
        except Killed:
            kills += 1
            world.settle()
        world.synced()
        expected = {"b.md": "B", "new.md": "new", "to/c.md": "c", "p.zip/y.md": "y", "hand.md": "by hand"}
        assert world.held() == expected, f"killed after {steps} steps"
        assert world.synced()["unchanged"] == 4
        shutil.rmtree(world.root)
        world.root.mkdir()
        world.synced(allow_mass_delete=True)
        assert world.held() == {"hand.md": "by hand"}, f"killed after {steps} steps: a document lost its owner"
        world.db.close()
        if kills <= steps // 2:
            break
    assert kills >= 8


def _before_the_kill(world: World) -> None:
    world.write("a.md", "a")
    world.write("b.md", "b")
    world.write("c.md", "c")
    world.write("p.zip", packed(x_md="x"))
    world.upload("hand.md", "by hand")
    world.settle()
    world.synced()
    (world.root / "a.md").unlink()
    world.write("b.md", "B", OLD + 1)
    (world.root / "to").mkdir()
    (world.root / "c.md").rename(world.root / "to" / "c.md")
    world.write("new.md", "new")
    world.write("p.zip", packed(y_md="y"), OLD + 1)


def test_a_sync_that_is_told_to_stop_leaves_the_rest_to_the_next(world: World) -> None:
    world.write("gone.md", "gone")
    world.synced()
    (world.root / "gone.md").unlink()
    for name in ("a.md", "b.md", "c.md"):
        world.write(name, name)
    remote = FolderSource(world.root)
    source = world.sources.remember(world.collection.id, remote.kind, remote.place, {})
    sync = Sync(world.sources, world.documents, world.intake)
    difference = sync.plan(world.collection, remote, world.options(), source)
    stop = threading.Event()
    sync.carry_out(world.collection, source, difference, world.options(), lambda path, submission: stop.set(), stop)
    assert [step.path for step in difference.added] == ["a.md"] and difference.deleted == []
    rest = world.synced()
    assert (rest["added"], rest["deleted"], rest["unchanged"]) == (["b.md", "c.md"], ["gone.md"], 1)


PATHS = ("a.md", "b.md", "d/a.md", "d/c.md")
STEP = st.tuples(
    st.sampled_from(["write", "write", "move", "unlink", "upload", "remove", "sync", "killed", "settle", "purge"]),
    st.integers(0, 3),
    st.integers(0, 3),
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=3, max_size=18))
def test_whatever_happens_the_documents_are_the_folders_and_the_hand_uploads(
    template: Path, steps: list[tuple[str, int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name), template)
        by_hand: dict[str, str] = {}
        for step, one, two in steps:
            _take(world, by_hand, step, one, two)
        world.settle()
        world.sync(allow_mass_delete=True)
        world.settle()
        folder = {path: (world.root / path).read_text() for path in PATHS if (world.root / path).is_file()}
        assert world.held() == folder | by_hand
        last = world.sync()
        assert last.empty and len(last.conflicts) == sum(folder.get(p, t) != t for p, t in by_hand.items())
        world.db.close()


def _take(world: World, by_hand: dict[str, str], step: str, one: int, two: int) -> None:
    path, text = PATHS[one], f"text {two}"
    if step == "write":
        world.write(path, text, modified=None)
    elif step == "move" and one != two and (world.root / path).is_file():
        (world.root / PATHS[two]).parent.mkdir(exist_ok=True)
        (world.root / path).replace(world.root / PATHS[two])
    elif step == "unlink":
        (world.root / path).unlink(missing_ok=True)
    elif step == "upload":
        world.upload(path, text)
        by_hand[path] = text
    elif step == "remove":
        world.remove(path)
        by_hand.pop(path, None)
    elif step == "settle":
        world.settle()
    elif step == "purge":
        world.purge()
    elif step == "sync":
        world.sync(allow_mass_delete=True)
    elif step == "killed":
        with contextlib.suppress(Killed):
            world.sync(life=Life(one * 4 + two), allow_mass_delete=True)


def test_callers_follow_what_was_submitted(world: World) -> None:
    world.write("a.md", "a")
    world.write("pack.zip", packed(b_md="b"))
    world.sync()
    assert world.submitted == ["a.md", "pack.zip/b.md"]
