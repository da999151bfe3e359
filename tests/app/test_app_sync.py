"""`alioth ingest sync` as a person runs it: real processes, a real folder, real models."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from app.syncing import _check_place
from core.errors import InputError
from storage.collections import CollectionStore
from storage.database import Database
from storage.documents import DocumentStore
from tests.app.cli_driver import CommandLine

WAIT_S = 600.0
LEAVE = "# Leave policy\n\nEvery employee has 25 days of annual leave per calendar year.\n"
TRAVEL = "# 差旅报销制度\n\n国内出差住宿标准为每晚不超过450元。\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synced")
    (folder / "leave.md").write_text(LEAVE, "utf-8")
    (folder / "sub").mkdir()
    (folder / "sub" / "差旅.md").write_text(TRAVEL, "utf-8")
    return folder


@pytest.fixture(scope="module")
def synced(alioth: CommandLine, folder: Path) -> CommandLine:
    alioth.ok("collection", "create", "HB")
    shown = alioth.ok("ingest", "sync", folder, "-c", "HB", "--dry-run", "--json").json
    assert (shown["dry_run"], shown["added"]) == (True, ["leave.md", "sub/差旅.md"])
    assert alioth.ok("ingest", "sources", "-c", "HB", "--json").json == []
    done = alioth.ok("ingest", "sync", folder, "-c", "HB", "--json").json
    assert done | {"dry_run": True} == shown | {key: done[key] for key in ("ready", "chunks", "seconds")}
    assert (done["ready"], done["failed"]) == (2, [])
    return alioth


def test_a_moved_file_answers_under_its_new_path_without_being_read_again(synced: CommandLine, folder: Path) -> None:
    (folder / "leave.md").rename(folder / "sub" / "leave.md")
    done = synced.ok("ingest", "sync", folder, "-c", "HB", "--json").json
    assert done["moved"] == [{"from": "leave.md", "to": "sub/leave.md"}] and done["ready"] == done["chunks"] == 0
    found = synced.ok("search", "days of annual leave", "-c", "HB", "--json").json["results"]
    assert found[0]["document"] == "sub/leave.md"


def test_faults_conflicts_and_mass_deletions_are_said_and_end_with_1(synced: CommandLine, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "sub").mkdir(parents=True)
    for number in range(24):
        (docs / f"{number}.txt").write_text(f"text number {number}")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7\n" + b"damaged " * 200)
    (docs / "sub" / "差旅.md").write_text("# Another policy\n\nNothing of the kind.")
    done = synced.run("ingest", "sync", docs, "-c", "HB", "--json")
    assert done.code == 1 and [row["path"] for row in done.json["failed"]] == ["broken.pdf"]
    assert done.json["failed"][0]["error"]["message"]
    assert [row["path"] for row in done.json["conflicts"]] == ["sub/差旅.md"]
    assert "belongs to another source" in done.err and done.json["ready"] == 24
    for number in range(22):
        (docs / f"{number}.txt").unlink()
    refused = synced.run("ingest", "sync", docs, "-c", "HB")
    assert refused.code == 1 and "Not deleted: 22 documents" in refused.err and "--allow-mass-delete" in refused.err
    gone = synced.ok("ingest", "unsync", docs, "-c", "HB", "--delete-documents", "--json").json
    assert gone["kept"] == 0 and len(gone["deleted"]) == 25


def test_every_known_folder_is_synced_with_all_and_one_that_is_away_stops_no_other(
    synced: CommandLine, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("a text of the other folder")
    (other / "b.tmp.txt").write_text("left out")
    first = synced.ok(
        "ingest", "sync", other, "-c", "HB", "--prefix", "other", "--ignore", "*.tmp.txt", "--no-wait", "--json"
    ).json
    assert first["added"] == ["other/a.txt"]
    other.rename(tmp_path / "away")
    (folder / "new.txt").write_text("a new text")
    done = synced.run("ingest", "sync", "--all", "--json")
    results = {row["source"]: row for row in done.json}
    assert done.code == 1 and results[str(folder)]["added"] == ["new.txt"]
    assert "Cannot look into the folder" in results[str(other)]["error"]["message"]
    kept = synced.ok("ingest", "unsync", other, "-c", "HB", "--json").json
    assert kept == {"source": str(other), "kept": 1, "deleted": []}


def test_the_data_directory_is_no_source_and_wrong_usage_ends_with_2(synced: CommandLine, tmp_path: Path) -> None:
    for place in (synced.home, synced.home / "files", synced.home.parent):
        with pytest.raises(InputError, match="overlaps the data directory"):
            _check_place(place, synced.home, new=True)
    with pytest.raises(InputError, match="There is no folder"):
        _check_place(tmp_path / "nowhere", synced.home, new=True)
    assert synced.run("ingest", "sync", "--all", "-c", "HB").code == 2


def test_watching_follows_the_folder_and_ends_cleanly(synced: CommandLine, folder: Path, tmp_path: Path) -> None:
    command = synced.command("ingest", "sync", str(folder), "-c", "HB", "--watch", "--json")
    log = tmp_path / "errors"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, env=synced.environment, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1
        )
    try:
        reports = _Reports(process)
        half = folder / "note.txt"
        with half.open("w") as file:
            file.write("the first half ")
            file.flush()
            time.sleep(0.3)
            file.write("and the second half of a quokka note")
        reports.until("added", "note.txt")
        assert "Watching" in log.read_text()
        replacement = folder / ".note.txt.swp"
        replaced = replacement.write_text("the quokka note was rewritten by an editor")
        os.replace(replacement, half)
        reports.until("changed", "note.txt")
        _until_ready(synced, "note.txt", replaced)
        half.unlink()
        reports.until("deleted", "note.txt")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0 and "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.wait()


class _Reports:
    """What a watching process reports, line by line. A slow machine may tell one change in two reports."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        assert process.stdout is not None
        self._stream = process.stdout
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self._stream as stream:
            for line in stream:
                self._lines.put(line)

    def until(self, word: str, path: str) -> None:
        while path not in json.loads(self._lines.get(timeout=WAIT_S))[word]:
            pass


def _until_ready(cli: CommandLine, path: str, size: int) -> None:
    """The watcher itself ingests; asked of the database, not through a further command line, which takes seconds."""
    database = Database(f"sqlite:///{cli.home / 'alioth.db'}")
    documents, [collection] = DocumentStore(database), CollectionStore(database).list()
    deadline = time.monotonic() + WAIT_S
    while True:
        row = documents.find(collection.id, path)
        if row is not None and row.size == size and row.live_version_id == row.version_id:
            break
        assert time.monotonic() < deadline, row
        time.sleep(0.2)
    database.close()
