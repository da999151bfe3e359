"""`ingest cancel`, `ingest list` and the words beside the progress bar; no model is needed for any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.progress import describe, duration
from app.ingest_progress import Gauge
from core.types import DocumentState
from storage.document_rows import Stage
from tests.app.cli_driver import CommandLine


@pytest.fixture
def queued(alioth: CommandLine, tmp_path: Path) -> str:
    """The name of a collection in which three documents wait."""
    name = f"Waiting {tmp_path.name}"
    alioth.ok("collection", "create", name)
    for n in range(3):
        (tmp_path / f"{n}.txt").write_text(f"Text {n}.")
    alioth.ok("ingest", "add", tmp_path, "-c", name, "--no-wait")
    return name


def test_one_document_or_all_that_wait_can_be_cancelled(alioth: CommandLine, queued: str) -> None:
    name = queued
    rows = alioth.ok("ingest", "list", "-c", name, "--json").json
    assert {row["state"] for row in rows} == {"queued"}
    assert all((row["chunks_done"], row["attempts"], row["lost_in"]) == (0, 0, []) for row in rows)
    assert alioth.ok("ingest", "cancel", "1.txt", "-c", name, "--json").json == {"cancelled": ["1.txt"]}
    refused = alioth.run("ingest", "cancel", "-c", name, input="n\n")
    assert refused.code == 1 and len(alioth.ok("ingest", "list", "-c", name, "--json").json) == 2
    done = alioth.ok("ingest", "cancel", "-c", name, "--yes", "--json").json
    assert done == {"cancelled": ["0.txt", "2.txt"]}
    assert alioth.ok("ingest", "list", "-c", name, "--json").json == []
    assert alioth.ok("ingest", "cancel", "-c", name, "--json").json == {"cancelled": []}


def test_cancelling_an_unknown_document_is_an_error_that_names_it(alioth: CommandLine, queued: str) -> None:
    result = alioth.run("ingest", "cancel", "nothing.txt", "-c", queued)
    assert result.code == 1 and "'nothing.txt'" in result.err


def _stage(
    state: DocumentState, progress: float, pages: tuple[int, int] = (0, 0), chunks: tuple[int, int] = (0, 0)
) -> Stage:
    return Stage(state, progress, *pages, *chunks)


def test_time_left_follows_from_the_bytes_that_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("app.ingest_progress.time.monotonic", lambda: clock[0])
    gauge, paths, sizes = Gauge(), {"a": "a.pdf", "b": "b.pdf"}, {"a": 1000, "b": 3000}
    stages = {"a": _stage(DocumentState.QUEUED, 0.0), "b": _stage(DocumentState.QUEUED, 0.0)}
    assert gauge.read(stages, paths, sizes).seconds_left is None
    clock[0] += 10
    stages["a"] = _stage(DocumentState.READY, 1.0, chunks=(50, 50))
    now = gauge.read(stages, paths, sizes)
    assert now.share == 0.25 and now.seconds_left == pytest.approx(30)
    assert now.rate == pytest.approx(5) and now.chunks == 50
    stages["b"] = _stage(DocumentState.FAILED, 0.3)
    assert gauge.read(stages, paths, sizes).seconds_left == 0.0


def test_the_words_beside_the_bar_tell_stages_and_the_largest_file_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    gauge, paths, sizes = (
        Gauge(),
        {"a": "a.txt", "b": "scans/big.pdf", "c": "c.txt"},
        {"a": 10, "b": 9_000_000, "c": 10},
    )
    stages = {
        "a": _stage(DocumentState.EMBEDDING, 0.5, chunks=(3, 7)),
        "b": _stage(DocumentState.PARSING, 0.1, pages=(120, 800)),
        "c": _stage(DocumentState.FAILED, 0.0),
    }
    words = describe(gauge.read(stages, paths, sizes))
    assert "3 chunks" in words and "1 parsing, 1 embedding, 1 failed" in words
    assert "big.pdf page 120 of 800" in words


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (80, "80 s"), (240, "4 min"), (9000, "2.5 h")])
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
