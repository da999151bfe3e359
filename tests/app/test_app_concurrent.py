"""Two processes ingest into one collection while a third asks: nothing lost, nothing doubled."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.app.cli_driver import CommandLine


def _start(alioth: CommandLine, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        alioth.command(*arguments), env=alioth.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_writers_and_a_reader_leave_everything_exactly_once(alioth: CommandLine, tmp_path: Path) -> None:
    alioth.ok("collection", "create", "Shared")
    left, right = tmp_path / "left", tmp_path / "right"
    for folder, first in ((left, 0), (right, 20)):
        folder.mkdir()
        for number in range(first, first + 24):  # four documents are in both folders
            text = f"Asset A-{number:03} is kept in room {number * 13}.\n\n" * 12
            (folder / f"asset-{number:03}.txt").write_text(text, "utf-8")
    seed = tmp_path / "seed.txt"
    seed.write_text("The seed document says that the depot opens at seven.", "utf-8")
    alioth.ok("ingest", "add", seed, "-c", "Shared")

    writers = [_start(alioth, "ingest", "add", str(folder), "-c", "Shared", "--json") for folder in (left, right)]
    asked = 0
    while any(writer.poll() is None for writer in writers):
        answer = alioth.ok("ask", "When does the depot open?", "-c", "Shared", "--json").json
        assert "seven" in answer["answer"], answer
        asked += 1
    for writer in writers:
        _, errors = writer.communicate(timeout=600)
        assert writer.returncode == 0, errors
    assert asked >= 1

    rows = alioth.ok("ingest", "list", "-c", "Shared", "--json").json
    assert sorted(row["path"] for row in rows) == [*(f"asset-{n:03}.txt" for n in range(44)), "seed.txt"]
    assert {(row["state"], row["version"]) for row in rows} == {("ready", 1)}
    assert alioth.ok("index", "verify", "--json").json == []
    for number in (3, 21, 43):
        found = alioth.ok("search", f"asset A-{number:03}", "-c", "Shared", "-k", "50", "--json").json["results"]
        assert found[0]["document"] == f"asset-{number:03}.txt"
