"""A file is on the disk, with the folders that name it, before the row that refers to it: seen by strace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_ADD = """
import sys
from pathlib import Path
from app.wiring import Alioth
from core.settings import load_settings
from ingest.intake import SourceFile
alioth = Alioth(load_settings())
if sys.argv[1] == "prepare":
    alioth.create_collection("Order")
    alioth.doorbell.ring()
else:
    source = Path(sys.argv[2])
    alioth.intake.add(alioth.collections.get("Order"), SourceFile(source, sys.argv[1], source.stat().st_size))
    Path(sys.argv[3]).write_text("returned")
alioth.close()
"""
_CALL = re.compile(r"^\d+ +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")


@dataclass(frozen=True)
class Call:
    """One system call. arguments: as strace shows them, with the path behind each descriptor."""

    name: str
    arguments: str

    @property
    def syncs(self) -> bool:
        return self.name in ("fsync", "fdatasync")

    @property
    def writes(self) -> bool:
        return self.name in ("write", "pwrite64")

    @property
    def renames(self) -> bool:
        return self.name.startswith("rename")


@pytest.fixture(scope="module")
def strace(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed (Debian: apt install strace)")
    probe = tmp_path_factory.mktemp("strace") / "out"
    done = subprocess.run([program, "-o", probe, "true"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this system does not let a process be traced: {done.stderr.strip()}")
    return program


def add(strace: str, home: Path, name: str, source: Path) -> list[Call]:
    """The system calls that matter, in order, of a process that adds `source` as `name`."""
    out = home.parent / f"{name}.trace"
    watch = "trace=fsync,fdatasync,rename,renameat,renameat2,write,pwrite64"
    command = [strace, "-f", "-y", "-s", "0", "-e", watch, "-o", str(out)]
    end = str(home.parent / f"{name}.returned")
    subprocess.run([*command, sys.executable, "-c", _ADD, name, str(source), end], cwd=ROOT, check=True)
    matches = map(_CALL.match, out.read_text().splitlines())
    return [Call(match["name"], match["arguments"]) for match in matches if match]


def first(calls: list[Call], what: str, after: int = -1) -> int:
    """Place of the first call whose text (`name arguments`) matches, behind place `after`."""
    for place, call in enumerate(calls):
        if place > after and re.search(what, f"{call.name} {call.arguments}"):
            return place
    raise AssertionError(f"no {what} after call {after} of {[f'{c.name} {c.arguments}' for c in calls]}")


def test_bytes_then_name_then_folders_then_row_then_return(strace: str, alioth_home: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _ADD, "prepare"], cwd=ROOT, check=True)
    source = tmp_path / "note.txt"
    source.write_text("Every file is on the disk before its row.")
    calls = add(strace, alioth_home, "first", source)

    written = first(calls, r"^write .*/files/incoming/")
    synced = first(calls, r"^fsync .*/files/incoming/", written)
    named = first(calls, r"^rename.*/files/incoming/.*/files/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{64}", synced)
    folders = [
        first(calls, rf"^fsync \d+<{re.escape(str(alioth_home))}{place}>", named)
        for place in ("/files/[0-9a-f]{2}/[0-9a-f]{2}", "/files/[0-9a-f]{2}", "/files", "")
    ]
    row = first(calls, r"^pwrite64 .*/alioth\.db-wal>")
    assert row > max(folders), "the row was written before the file's folders were on the disk"
    last_row = max(place for place, call in enumerate(calls) if call.writes and "alioth.db-wal>" in call.arguments)
    committed = first(calls, r"^f(data)?sync .*/alioth\.db-wal>", last_row)
    assert first(calls, r"^write .*first\.returned>") > committed, "add returned before its commit was on the disk"


def test_known_bytes_are_not_written_again_and_their_folders_are_synced_before_the_row(
    strace: str, alioth_home: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-c", _ADD, "prepare"], cwd=ROOT, check=True)
    source = tmp_path / "note.txt"
    source.write_text("The same bytes under two names.")
    add(strace, alioth_home, "first", source)
    calls = add(strace, alioth_home, "second", source)
    assert not [call for call in calls if call.writes and "/files/" in call.arguments]
    assert not [call for call in calls if call.renames and "/files/" in call.arguments]
    folder = first(calls, rf"^fsync \d+<{re.escape(str(alioth_home))}/files/[0-9a-f]{{2}}/[0-9a-f]{{2}}>")
    assert folder < first(calls, r"^pwrite64 .*/alioth\.db-wal>")
