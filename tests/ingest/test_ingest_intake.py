"""Finding files, naming documents, keeping originals, ringing the bell."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import pytest

from core.errors import DocumentTooLargeError, InputError
from ingest.doorbell import Doorbell, JsonSerializer
from ingest.logical_path import logical_path


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")
    return root


def test_a_folder_gives_paths_relative_to_it_and_a_file_its_base_name(house, tmp_path: Path) -> None:
    docs = tree(tmp_path / "docs", "a.md", "sub/b.txt", "sub/Ä.md")
    single = tree(tmp_path / "other", "deep/c.csv") / "deep" / "c.csv"
    found = house.intake.scan([docs, single])
    assert [source.logical_path for source in found] == ["a.md", "c.csv", "sub/b.txt", "sub/Ä.md"]
    assert found[0].size == len("text of a.md")
    assert [s.logical_path for s in house.intake.scan([single], prefix="/hr/2026/")] == ["hr/2026/c.csv"]


def test_names_are_composed_and_keep_their_case(house, tmp_path: Path) -> None:
    decomposed = "Re\u0301sume\u0301.TXT"
    [source] = house.intake.scan([tree(tmp_path / "n", decomposed)])
    assert source.logical_path == "Résumé.TXT"


def test_hidden_files_links_and_foreign_types_in_folders_are_left_out(house, tmp_path: Path) -> None:
    docs = tree(tmp_path / "docs", "a.md", ".git/x.md", ".hidden.md", "~$a.docx", "setup.exe", "Thumbs.db")
    outside = tree(tmp_path / "outside", "secret.md")
    os.symlink(outside / "secret.md", docs / "link.md")
    os.symlink(outside, docs / "linked")
    scan = house.intake.survey([docs])
    assert [source.logical_path for source in scan.files] == ["a.md"]
    assert [path.name for path in scan.skipped] == ["setup.exe"]


def test_missing_paths_empty_folders_and_two_sources_of_one_name_are_errors(house, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file or folder '.*nowhere'"):
        house.intake.scan([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no documents"):
        house.intake.scan([tmp_path / "empty"])
    one, two = tree(tmp_path / "1", "a.md"), tree(tmp_path / "2", "a.md")
    with pytest.raises(InputError, match=r"Two files would become the document 'a\.md'"):
        house.intake.scan([one, two])
    assert len(house.intake.scan([one, one / "a.md"])) == 1


LEAVING = ("", "../x.md", "a/../x.md", "/etc/passwd", "C:\\x.md", "c:x.md", "a\\b.md", "\\\\srv\\x", "CON.md", "nul")
LEAVING += ("a\x00.md", "a\u202egpj.md", "a//b.md", "./a.md", "x" * 1001, "a\nb.md", "dir/LPT1.txt")


@pytest.mark.parametrize("name", LEAVING)
def test_names_that_could_leave_their_place_are_refused(house, name: str) -> None:
    with pytest.raises(InputError, match="as a document's name"):
        house.intake.add_bytes(house.collection, name, io.BytesIO(b"x"))


@pytest.mark.parametrize("name", ["制度/报销 2026.docx", "a.b.c", "console.md", "com.txt", "…/x.md"])
def test_ordinary_names_are_kept(name: str) -> None:
    assert logical_path(name) == name


def test_every_upload_name_of_the_hostile_set_is_stored_safely_or_refused(house, evaluation_files: Path) -> None:
    names = json.loads((evaluation_files / "hostile" / "paths" / "upload_names.json").read_text())
    flat = [str(name) for name in (names if isinstance(names, list) else names.values())]
    assert flat
    for name in flat:
        try:
            house.intake.add_bytes(house.collection, name, io.BytesIO(name.encode("utf-8", "replace")))
        except InputError as error:
            assert "\u202e" not in error.message and "\x00" not in error.message
    stored = {path for path in (house.home / "files").rglob("*") if path.is_file()}
    assert all(len(path.name) == 64 for path in stored)


def test_add_keeps_the_original_submits_and_rings(house, tmp_path: Path) -> None:
    [source] = house.intake.scan([tree(tmp_path / "d", "a.md")])
    submission = house.intake.add(house.collection, source)
    assert submission.outcome == "new"
    assert house.bell.rings == [[submission.version_id]]
    [claimed] = house.documents.claim("w", 1, 60)
    with house.files.open(claimed.content_hash) as kept:
        assert kept.read() == b"text of a.md"
    assert house.intake.add(house.collection, source).outcome == "pending"
    assert len(house.bell.rings) == 1


def test_a_stream_is_read_from_its_start_and_left_open(house) -> None:
    stream = io.BytesIO(b"whole text")
    stream.read(5)
    house.intake.add_bytes(house.collection, "a.txt", stream)
    [claimed] = house.documents.claim("w", 1, 60)
    with house.files.open(claimed.content_hash) as kept:
        assert kept.read() == b"whole text"
    assert not stream.closed


def test_a_file_over_the_limit_is_refused_before_it_is_copied(house) -> None:
    house.settings = house.settings.model_copy(update={"max_file_mb": 1})
    with pytest.raises(DocumentTooLargeError, match=r"'big\.txt': 2 MB is over the 1 MB limit"):
        house.intake.add_bytes(house.collection, "big.txt", io.BytesIO(b"x" * 2_000_000))
    assert not (house.home / "files").exists()


# ---------------------------------------------------------------- doorbell


def test_messages_are_json_and_nothing_is_unpickled(tmp_path: Path) -> None:
    from huey.registry import Message

    message = Message("id", "wake", None, 0, 0, None, [], {}, None, None, None, None)
    raw = JsonSerializer().serialize(message)
    assert isinstance(json.loads(raw), list)
    assert JsonSerializer().deserialize(raw) == message
    import pickle

    with pytest.raises(ValueError):
        JsonSerializer().deserialize(pickle.dumps(print))


def test_many_rings_do_not_pile_up(tmp_path: Path) -> None:
    bell = Doorbell(tmp_path, "sqlite:///x.db")
    for _ in range(100):
        bell.ring(["some-id"])
    assert 1 <= bell._huey.pending_count() < 10
    bell.close()


def test_a_ring_from_another_process_wakes_the_worker(tmp_path: Path) -> None:
    import signal
    import subprocess
    import sys

    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from ingest.doorbell import Doorbell\n"
        "bell = Doorbell(Path(sys.argv[2]), 'sqlite:///x.db')\n"
        "print('up', flush=True)\n"
        "bell.serve(lambda stop: print('woken', stop.is_set(), flush=True), lambda: 0)\n"
        "print('ended', flush=True)\n"
    )
    root = Path(__file__).parents[2]
    worker = subprocess.Popen([sys.executable, "-c", code, str(root), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    try:
        assert worker.stdout.readline() == "up\n"
        bell = Doorbell(tmp_path, "sqlite:///x.db")
        bell.ring()
        assert worker.stdout.readline() == "woken False\n"
        bell.close()
        worker.send_signal(signal.SIGTERM)
        assert worker.stdout.readline() == "ended\n"
        assert worker.wait(240) == 0
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()


def test_serve_sweeps_work_that_nobody_rang_for(tmp_path: Path) -> None:
    bell = Doorbell(tmp_path, "sqlite:///x.db")
    stop = threading.Event()
    asked: list[int] = []

    def pending() -> int:
        asked.append(1)
        stop.set()
        return 1

    bell._sweep(stop, pending)
    assert asked and bell._huey.pending_count() == 1
    bell.close()
