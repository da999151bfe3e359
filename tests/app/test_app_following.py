"""Folders that workers keep in step by themselves: changes, troubles that delete nothing, one worker for each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app import following
from app.following import Followers
from app.syncing import FolderSync, SyncRequest
from app.wiring import Alioth
from core.settings import Settings
from core.types import Collection
from storage import watches
from storage.watches import Watch

WAIT_S = 300.0


def _wait(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@dataclass
class World:
    """A synced folder of seven files; nothing is ingested, the documents stay queued."""

    alioth: Alioth
    collection: Collection
    folder: Path
    source_id: str

    @property
    def paths(self) -> list[str]:
        return [row.path for row in self.alioth.documents.list(self.collection.id)]

    @property
    def watch(self) -> Watch:
        return self.alioth.watches.all()[self.source_id]

    def trouble(self) -> str:
        return str(self.watch.trouble.get("code", ""))


@pytest.fixture
def world(alioth_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(following, "LOOK_S", 0.1)
    folder = tmp_path / "share" / "handbook"
    folder.mkdir(parents=True)
    for number in range(7):
        (folder / f"{number}.txt").write_text(f"Text {number}.")
    alioth = Alioth(Settings(home=alioth_home))
    collection = alioth.create_collection("Handbook")
    job = FolderSync(alioth, collection, folder, SyncRequest())
    job.run(lambda path, submission: None)
    source = alioth.sources.known(collection.id)[0]
    alioth.watches.begin(source.id, poll_s=0.5)
    yield World(alioth, collection, folder, source.id)
    alioth.close()


def test_additions_and_deletions_follow_the_folder_until_nobody_wants_it_followed(world: World) -> None:
    with Followers(world.alioth):
        (world.folder / "new.txt").write_text("A new text.")
        _wait(lambda: "new.txt" in world.paths)
        (world.folder / "3.txt").unlink()
        _wait(lambda: "3.txt" not in world.paths)
        assert world.watch.worker == world.alioth.worker_name and world.trouble() == ""
        assert world.alioth.watches.end(world.source_id)
        _wait(lambda: not [t for t in following.threading.enumerate() if t.name.startswith("follow-")])
        (world.folder / "late.txt").write_text("Too late.")
    assert "late.txt" not in world.paths
    with Followers(world.alioth):
        assert world.alioth.watches.all() == {}


def test_a_folder_that_is_away_or_empty_deletes_nothing_says_so_and_goes_on_when_it_is_back(world: World) -> None:
    every, away = world.paths, world.folder.with_name("away")
    with Followers(world.alioth):
        _wait(lambda: world.watch.worker)
        world.folder.rename(away)
        _wait(world.trouble)
        assert "Cannot look into the folder" in world.watch.trouble["message"] and world.watch.trouble["hint"]
        world.folder.mkdir()  # as the mount point of a share that is not mounted
        _wait(lambda: world.trouble() == "deletions_refused")
        assert world.paths == every
        world.folder.rmdir()
        away.rename(world.folder)
        _wait(lambda: not world.trouble())
        assert world.paths == every
        (world.folder / "new.txt").write_text("A new text.")
        _wait(lambda: "new.txt" in world.paths)


def test_a_folder_that_loses_its_last_few_files_at_once_keeps_them_as_documents(world: World) -> None:
    with Followers(world.alioth):
        for name in ("0.txt", "1.txt", "2.txt", "3.txt"):
            (world.folder / name).unlink()
        _wait(lambda: len(world.paths) == 3)
    for path in world.folder.iterdir():  # while nobody looks: the same folder, and nothing in it
        path.unlink()
    with Followers(world.alioth):
        _wait(lambda: world.trouble() == "deletions_refused")
        assert len(world.paths) == 3
        (world.folder / "0.txt").write_text("Text 0.")
        _wait(lambda: not world.trouble() and "0.txt" in world.paths)


def test_one_worker_follows_and_another_takes_over_when_it_ends(world: World) -> None:
    other = Alioth(world.alioth.settings)
    with contextlib.ExitStack() as running:
        with Followers(world.alioth) as first:
            _wait(lambda: world.watch.worker == world.alioth.worker_name)
            second = running.enter_context(Followers(other))
            first.look()
            second.look()
            assert world.watch.worker == world.alioth.worker_name
        _wait(lambda: world.watch.worker == other.worker_name)
        (world.folder / "new.txt").write_text("A new text.")
        _wait(lambda: "new.txt" in world.paths)
    other.close()


def test_nothing_is_followed_where_the_settings_say_so(world: World) -> None:
    settings = world.alioth.settings.model_copy(
        update={"ingest": world.alioth.settings.ingest.model_copy(update={"watch_sources": False})}
    )
    other = Alioth(settings)
    with Followers(other) as followers:
        assert not followers._thread.is_alive()
    assert world.watch.worker is None
    other.close()


def test_a_machine_that_does_not_see_a_folder_leaves_it_to_others_and_then_tells(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = world.alioth.watches
    monkeypatch.setattr(watches, "MISSED_S", 3600.0)
    assert store.claim("blind", 60, lambda kind, place: False) == []
    assert [w.source_id for w in store.claim("sees", 60, lambda kind, place: True)] == [world.source_id]
    assert store.claim("blind", 60, lambda kind, place: True) == []
    store.release("sees")
    assert store.claim("blind", 60, lambda kind, place: False) == []
    monkeypatch.setattr(watches, "MISSED_S", -1.0)
    assert [w.worker for w in store.claim("blind", 60, lambda kind, place: False)] == ["blind"]
