"""Archives are unpacked by a locked process that is not believed, and the same one is not unpacked twice."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.errors import StorageError
from core.settings import IngestSettings
from ingest import archive_intake, unpack_apart
from ingest.intake import Added
from ingest.unpack import LeftOut, Member, Refused, Unpacked

MB = 1_000_000


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def told(found: Iterator[Unpacked]) -> list[tuple[str, str]]:
    out = []
    for one in found:
        if isinstance(one, Member):
            data = one.file.read()
            assert len(data) == one.size
            out.append((one.path, data[:20].decode("utf-8", "replace")))
        elif isinstance(one, Refused):
            out.append((one.path, type(one.error).__name__))
        else:
            out.append((one.path, "left out"))
    return out


def children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [child for child in found if any("unpack_child" in part for part in child.cmdline())]


# ---------------------------------------------------------------- the process


def test_a_process_gives_members_archives_in_archives_refusals_and_what_was_left_out(tmp_path: Path) -> None:
    inner = zipped({"deep.txt": b"deep", "../up.txt": b"up"})
    data = zipped({"a.txt": b"first", "sub/in.zip": inner, "x.bin": b"\x00", "big.md": b"# " + b"long " * MB})
    expected = [
        ("a.zip/a.txt", "first"),
        ("a.zip/sub/in.zip/deep.txt", "deep"),
        ("a.zip/sub/in.zip/../up.txt", "InputError"),
        ("a.zip/x.bin", "left out"),
        ("a.zip/big.md", "# long long long lon"),
    ]
    place = tmp_path / "upload"
    place.write_bytes(data)
    with place.open("rb") as file:
        assert told(unpack_apart.unpack_apart(file, "a.zip", IngestSettings())) == expected
    assert told(unpack_apart.unpack_apart(io.BytesIO(data), "a.zip", IngestSettings())) == expected
    assert children() == []


def test_limits_hold_in_the_process() -> None:
    settings = IngestSettings(max_file_mb=1)
    got = told(unpack_apart.unpack_apart(io.BytesIO(zipped({"a.txt": os.urandom(2 * MB)})), "a.zip", settings))
    assert got == [("a.zip/a.txt", "DocumentTooLargeError")]
    members = {f"{n}.txt": os.urandom(MB - 1) for n in range(6)}
    assert told(unpack_apart.unpack_apart(io.BytesIO(zipped(members)), "a.zip", settings)) == [
        ("a.zip", "DocumentTooLargeError")
    ]


def test_the_process_can_open_no_other_file_write_none_and_reach_no_network(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    code = f"""
import json, os, socket, sys
from ingest import unpack_child
force = unpack_child._restrict(json.loads(sys.argv[1]))
def tried(action):
    try:
        action()
        return True
    except OSError:
        return False
print(json.dumps({{
    "network": tried(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
    "write": tried(lambda: open({str(tmp_path / "new")!r}, "w")),
    "read": tried(lambda: open({str(secret)!r})) and bool(force["landlock"]),
    "start": tried(lambda: os.execv("/bin/true", ["true"])),
}}))
"""
    options = json.dumps({"parent": os.getpid(), "memory_mb": 1024, "cpu_s": 60, "max_member": MB})
    done = subprocess.run([sys.executable, "-c", code, options], capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout or "{}") == {"network": False, "write": False, "read": False, "start": False}, (
        done.stderr
    )
    assert not (tmp_path / "new").exists()


def test_a_process_that_dies_costs_the_rest_of_its_archive_and_is_named() -> None:
    data = zipped({"a.txt": b"first", "b.txt": os.urandom(9 * MB)})
    found = unpack_apart.unpack_apart(io.BytesIO(data), "a.zip", IngestSettings())
    first = next(found)
    assert first.path == "a.zip/a.txt"
    [process] = children()
    process.kill()  # it cannot be done yet: nobody takes the rest out of its pipe
    rest = list(found)
    assert [one.path for one in rest] == ["a.zip"]
    assert isinstance(rest[0], Refused) and rest[0].whole
    assert "crashed (signal 9)" in rest[0].error.message and rest[0].error.hint


def test_whoever_stops_in_the_middle_ends_the_process() -> None:
    data = zipped({"a.txt": b"first", "b.txt": os.urandom(9 * MB)})
    found = unpack_apart.unpack_apart(io.BytesIO(data), "a.zip", IngestSettings())
    next(found)
    assert len(children()) == 1
    found.close()  # type: ignore[attr-defined]
    assert children() == []


@pytest.mark.parametrize(
    "frames",
    [
        b'{"member": "a.zip/../../etc/passwd", "size": 1}\nx',
        b'{"member": "/etc/passwd", "size": 1}\nx',
        b'{"member": "b.zip/a.txt", "size": 1}\nx',
        b'{"member": 7, "size": 1}\nx',
        b'{"member": "a.zip/a.txt", "size": 2000000}\n',
        b'{"member": "a.zip/a.txt", "size": -1}\n',
        b'{"member": "a.zip/a.txt", "size": "many"}\n',
        b'{"member": "a.zip/a.txt"}\n',
        b'{"refused": "a.zip/a.txt", "whole": false, "error": 3}\n',
        b"[1]\n",
        b"no frame\n",
        b'{"end": ',
        b"[" * 60_000 + b"\n",
        b"x" * 3_000_000,
        b"",
    ],
)
def test_what_the_process_says_is_not_believed(frames: bytes) -> None:
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        writer = threading.Thread(target=_write, args=(process, frames))
        writer.start()
        try:
            with pytest.raises(unpack_apart._Lost):
                list(unpack_apart._Frames(process, "a.zip", MB, 60).read())
        finally:
            process.kill()
            writer.join()


def _write(process: subprocess.Popen[bytes], frames: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(frames)
        process.stdin.close()
    except OSError:
        return  # it was ended before it took everything


# ---------------------------------------------------------------- the same archive again

Adds = Callable[..., dict[str, str]]


@pytest.fixture
def add(house: Any) -> Adds:
    """Bring an archive, read its documents in, and give what became of each."""

    def run(data: bytes, name: str = "a.zip", drain: bool = True) -> dict[str, str]:
        got: list[Added] = list(house.intake.add_all(house.collection, name, io.BytesIO(data)))
        versions = [one.submission.version_id for one in got if one.submission]
        if drain:
            house.pipeline(f"w-{len(versions)}").drain(threading.Event(), versions)
        return {one.path: _outcome(one) for one in got}

    return run


def _outcome(one: Added) -> str:
    if one.submission is not None:
        return one.submission.outcome
    return type(one.error).__name__ if one.error else "deleted" if one.deleted else "left out"


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The archives that were unpacked."""
    names: list[str] = []

    def counted(file: Any, name: str, settings: IngestSettings) -> Iterator[Unpacked]:
        names.append(name)
        return unpack_apart.unpack_apart(file, name, settings)

    monkeypatch.setattr(archive_intake, "unpack_apart", counted)
    return names


MIXED = {"a.md": b"# Alpha\n\nFirst words.", "b.txt": b"Second words.", "../c.txt": b"up", "x.bin": b"\x00"}


def test_the_same_archive_again_is_not_unpacked_and_tells_the_same(add: Adds, unpacked: list[str]) -> None:
    data = zipped(MIXED)
    first = add(data, drain=False)
    assert first == {
        "a.zip/a.md": "new",
        "a.zip/b.txt": "new",
        "a.zip/../c.txt": "InputError",
        "a.zip/x.bin": "left out",
    }
    assert add(data) == first | {"a.zip/a.md": "pending", "a.zip/b.txt": "pending"}
    assert add(data) == first | {"a.zip/a.md": "unchanged", "a.zip/b.txt": "unchanged"}
    assert unpacked == ["a.zip"]
    assert set(add(data, "b.zip").values()) == {"new", "InputError", "left out"}
    assert unpacked == ["a.zip", "b.zip"]


def test_a_deleted_a_replaced_and_a_failed_document_come_back(house: Any, add: Adds, unpacked: list[str]) -> None:
    data = zipped({"a.txt": b"First words.", "b.txt": b"Second words.", "c.txt": b"Third.", "bad.pdf": b"%PDF-1.7 x"})
    add(data)
    house.documents.delete(house.documents.find(house.collection.id, "a.zip/a.txt").id)
    house.add("a.zip/b.txt", "Other words.")
    assert add(data) == {
        "a.zip/a.txt": "new",
        "a.zip/b.txt": "changed",
        "a.zip/c.txt": "unchanged",
        "a.zip/bad.pdf": "new",
    }
    assert unpacked == ["a.zip"]
    house.ingest("a.zip/b.txt", "Other words.")
    assert add(data)["a.zip/b.txt"] == "changed"
    rows = {row.path: row.state.value for row in house.documents.list(house.collection.id)}
    assert rows == {f"a.zip/{name}.txt": "ready" for name in "abc"} | {"a.zip/bad.pdf": "failed"}
    assert house.live() == house.in_vectors() and len(house.live()) == 3


def test_documents_that_came_under_its_name_otherwise_are_deleted_as_ever(
    house: Any, add: Adds, unpacked: list[str]
) -> None:
    data = zipped({"a.txt": b"First words."})
    add(data)
    house.ingest("a.zip/stray.txt", "Stray words.")
    assert add(data) == {"a.zip/a.txt": "unchanged", "a.zip/stray.txt": "deleted"}
    assert unpacked == ["a.zip"]


def test_an_original_that_is_kept_no_more_is_taken_out_of_the_archive_again(
    house: Any, add: Adds, unpacked: list[str]
) -> None:
    data = zipped({"a.txt": b"First words.", "b.txt": b"Second words."})
    add(data)
    house.documents.delete(house.documents.find(house.collection.id, "a.zip/a.txt").id)
    for path in (house.home / "files").rglob("*"):
        if path.is_file() and path.read_bytes() == b"First words.":
            path.unlink()
    assert add(data) == {"a.zip/a.txt": "new", "a.zip/b.txt": "unchanged"}
    assert unpacked == ["a.zip", "a.zip"]


def test_other_bytes_and_other_limits_are_unpacked(house: Any, add: Adds, unpacked: list[str]) -> None:
    one, two = zipped({"a.txt": b"First words."}), zipped({"a.txt": b"Newer words.", "b.txt": b"Second."})
    add(one)
    assert add(two) == {"a.zip/a.txt": "changed", "a.zip/b.txt": "new"}
    assert add(one) == {"a.zip/a.txt": "changed", "a.zip/b.txt": "deleted"}
    assert unpacked == ["a.zip"] * 3
    house.settings = house.settings.model_copy(update={"max_file_mb": 7})
    assert add(one) == {"a.zip/a.txt": "unchanged"}
    assert unpacked == ["a.zip"] * 4


def test_what_failed_for_a_passing_reason_is_not_recorded(
    house: Any, add: Adds, unpacked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zipped({"a.txt": b"First words.", "b.txt": b"Second words."})
    submit = type(house.documents).submit

    def full(self: Any, collection_id: str, path: str, *rest: Any, **named: Any) -> Any:
        if path.endswith("b.txt"):
            raise StorageError("Cannot write: the disk is full.", "Free space.")
        return submit(self, collection_id, path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(type(house.documents), "submit", full)
        assert add(data) == {"a.zip/a.txt": "new", "a.zip/b.txt": "StorageError"}
    assert add(data) == {"a.zip/a.txt": "unchanged", "a.zip/b.txt": "new"}
    assert unpacked == ["a.zip", "a.zip"]
    assert add(data) == {"a.zip/a.txt": "unchanged", "a.zip/b.txt": "unchanged"}
    assert unpacked == ["a.zip", "a.zip"]


def test_left_out_is_a_kind_of_its_own() -> None:
    assert told(unpack_apart.unpack_apart(io.BytesIO(zipped({"x.exe": b"MZ"})), "a.zip", IngestSettings())) == [
        ("a.zip/x.exe", "left out")
    ]
    assert LeftOut("x").path == "x"
