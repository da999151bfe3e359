"""Watching: quick after a change, few looks in a storm, nothing half-written, and no end while the folder is away."""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from core.errors import InputError
from ingest import watch as watching
from ingest.folder_source import RemoteFile
from ingest.sync_plan import Difference, Move, Step
from ingest.watch import RETRY_FAILED_S, Settling, watch
from storage.sources import HeldDocument

PATIENCE_S = 20.0
"""Far over the two seconds it takes, for machines that are busy with other tests."""


def step(path: str, size: int = 1, modified_ns: int = 1) -> Step:
    return Step(path, RemoteFile(path, size, modified_ns, lambda: pytest.fail("opened")))


def held(path: str) -> HeldDocument:
    return HeldDocument(f"id of {path}", path, "s", "0" * 64, 1, "", True)


# ---------------------------------------------------------------- what has come to rest


def test_a_file_counts_when_it_was_the_same_at_an_earlier_look() -> None:
    settling = Settling(0.6)
    grows = [(0.0, 10), (0.5, 20), (1.0, 30), (1.5, 30), (1.7, 30)]
    taken = []
    for at, size in grows:
        ready, waiting = settling.split(Difference(added=[step("a.md", size)], forgotten=["old.md"]), at)
        taken.append((len(ready.added), waiting, ready.forgotten))
    assert taken == [(0, 1, [])] * 4 + [(1, 0, ["old.md"])]


def test_every_kind_of_difference_waits_and_nothing_is_remembered_of_what_went() -> None:
    settling = Settling(0.6)
    move = Move("to.md", step("to.md").file, held("from.md"), "0" * 64, True)
    found = Difference(changed=[step("b.md")], moved=[move], deleted=[held("c.md")], unchanged=7)
    assert settling.split(found, 0.0)[1] == 3
    assert settling.split(Difference(), 0.5) == (Difference(), 0)
    assert settling.split(found, 0.7)[1] == 3, "they were away in between"
    ready, waiting = settling.split(found, 1.4)
    assert (ready, waiting) == (found, 0)


def test_a_file_saved_by_replacing_it_is_never_seen_as_deleted() -> None:
    settling = Settling(0.6)
    assert settling.split(Difference(deleted=[held("a.md")]), 0.0)[0].deleted == []
    ready, _ = settling.split(Difference(changed=[step("a.md", 5)]), 0.3)
    assert ready.empty
    assert settling.split(Difference(changed=[step("a.md", 5)]), 1.0)[0].changed == [step_like(5)]


def step_like(size: int) -> Any:
    class Same:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Step) and other.file.size == size

    return Same()


def test_what_failed_rests_until_it_changes_or_some_time_has_passed() -> None:
    settling = Settling(0.0)
    assert RETRY_FAILED_S < 300
    bad = step("bad.zip")
    assert settling.split(Difference(added=[bad]), 0.0)[0].added == [bad]
    damaged = ("bad.zip", InputError("damaged"))
    settling.tried([bad], Difference(failed=[damaged]), 0.0)
    assert settling.split(Difference(added=[bad]), 10.0) == (Difference(failed=[damaged]), 0)
    mended = step("bad.zip", size=2)
    assert settling.split(Difference(added=[mended]), 20.0)[0].added == [mended]
    assert settling.split(Difference(added=[bad]), 400.0)[0].added == [bad]
    settling.tried([bad], Difference(), 400.0)
    assert settling.split(Difference(added=[bad]), 401.0)[0].added == [bad]


# ---------------------------------------------------------------- when to look


@dataclass
class Watcher:
    """`watch` in a thread; each look notes the names that it finds."""

    folder: Path
    poll_s: float | None = None
    seconds: float = 0.0
    wait: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    looks: list[set[str]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            watch(self.folder, self._look, self.stop, self.poll_s)
        except BaseException as error:
            self.errors.append(error)

    def _look(self) -> float | None:
        names = {str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file()}
        time.sleep(self.seconds)
        self.looks.append(names if self.folder.is_dir() else {"away"})
        return self.wait

    def until(self, condition: Callable[[], bool]) -> float:
        """Seconds until it holds."""
        start = time.monotonic()
        while not condition():
            assert self.thread.is_alive() and time.monotonic() - start < PATIENCE_S, (self.looks, self.errors)
            time.sleep(0.01)
        return time.monotonic() - start

    def sees(self, *names: str) -> None:
        self.until(lambda: bool(self.looks) and self.looks[-1] == set(names))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    made.mkdir()
    return made


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Watcher]]:
    started: list[Watcher] = []

    def one(**more: Any) -> Watcher:
        started.append(Watcher(folder, **more))
        started[-1].until(lambda: bool(started[-1].looks))
        return started[-1]

    yield one
    for watcher in started:
        watcher.stop.set()
        watcher.thread.join(PATIENCE_S)
        assert not watcher.thread.is_alive() and watcher.errors == []


def test_changes_of_every_kind_are_noticed(folder: Path, start: Callable[..., Watcher]) -> None:
    (folder / "a.md").write_text("a")
    watcher = start()
    watcher.sees("a.md")
    (folder / "sub").mkdir()
    (folder / "sub" / "b.md").write_text("b")
    watcher.sees("a.md", "sub/b.md")
    (folder / "sub").rename(folder / "moved")
    watcher.sees("a.md", "moved/b.md")
    (folder / "moved" / "c.md").write_text("in a folder that was renamed")
    watcher.sees("a.md", "moved/b.md", "moved/c.md")
    shutil.rmtree(folder / "moved")
    watcher.sees("a.md")


def test_a_storm_of_events_leads_to_few_looks(folder: Path, start: Callable[..., Watcher]) -> None:
    watcher = start(seconds=0.05)
    before = len(watcher.looks)
    names = {f"{number}.md" for number in range(3000)}
    for name in names:
        (folder / name).write_text("x")
    watcher.sees(*names)
    assert len(watcher.looks) - before <= 12


def test_hidden_files_wake_nobody_and_the_ignore_file_does(folder: Path, start: Callable[..., Watcher]) -> None:
    watcher = start()
    before = len(watcher.looks)
    (folder / ".git").mkdir()
    for number in range(20):
        (folder / ".git" / "index").write_text(str(number))
        (folder / "~$a.docx").write_text(str(number))
        time.sleep(0.05)
    assert len(watcher.looks) == before
    (folder / ".aliothignore").write_text("*.tmp")
    watcher.until(lambda: len(watcher.looks) > before)


def test_a_look_that_asks_for_another_gets_it_without_any_event(start: Callable[..., Watcher]) -> None:
    watcher = start(wait=0.1)
    watcher.until(lambda: len(watcher.looks) >= 4)


def test_a_folder_that_goes_is_waited_for(folder: Path, start: Callable[..., Watcher]) -> None:
    (folder / "a.md").write_text("a")
    watcher = start()
    folder.rename(folder.with_name("elsewhere"))
    watcher.sees("away")
    folder.mkdir()
    (folder / "b.md").write_text("b")
    watcher.sees("b.md")
    (folder / "c.md").write_text("c")
    watcher.sees("b.md", "c.md")


def test_polling_looks_without_listening(
    folder: Path, start: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchfiles, "watch", lambda *args, **more: pytest.fail("listened"))
    watcher = start(poll_s=0.2)
    (folder / "a.md").write_text("a")
    watcher.sees("a.md")


def test_where_the_system_cannot_listen_it_polls_and_says_so(
    folder: Path,
    start: Callable[..., Watcher],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*args: Any, **more: Any) -> Any:
        raise OSError(errno.ENOSPC, "OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", full)
    monkeypatch.setattr(watching, "FALLBACK_POLL_S", 0.2)
    with caplog.at_level(logging.WARNING, "ingest.watch"):
        watcher = start()
        (folder / "a.md").write_text("a")
        watcher.sees("a.md")
    [record] = caplog.records
    assert "OS file watch limit reached" in record.message and "max_user_watches" in record.message


def test_it_ends_soon_after_it_is_told_to(start: Callable[..., Watcher]) -> None:
    watcher = start()
    watcher.stop.set()
    watcher.thread.join(60)
    assert not watcher.thread.is_alive()
