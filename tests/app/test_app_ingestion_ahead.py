"""Documents are read in while others are still submitted, and whoever follows is told what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.ingestion import Ingestion
from core.errors import ModelUnavailableError
from core.settings import Settings
from storage.documents import Submission

PATIENCE_S = 120


class _Pipeline:
    """Says when it was called; holds on until it is told to stop when nothing is to fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.called = threading.Event()
        self.stopped = False
        self._error = error

    def drain(self, stop: threading.Event) -> None:
        self.called.set()
        if self._error is not None:
            raise self._error
        self.stopped = stop.wait(PATIENCE_S)


class _Intake:
    """Two files; the second is only taken in when the work on the first has begun, or fails to be."""

    def __init__(self, pipeline: _Pipeline, outcome: str, broken: bool = False) -> None:
        self._pipeline, self._outcome, self._broken = pipeline, outcome, broken

    def unchanged(self, collection: Any, files: Any) -> dict[str, Submission]:
        return {}

    def add_source(self, collection: Any, file: Any, priority: int) -> Iterator[Any]:
        if file.logical_path == "2":
            if self._outcome == "new":
                assert self._pipeline.called.wait(PATIENCE_S), "nothing was read in meanwhile"
            if self._broken:
                raise KeyboardInterrupt
        made = Submission("d" + file.logical_path, "v" + file.logical_path, self._outcome)
        yield SimpleNamespace(path=file.logical_path, submission=made, error=None, deleted=False)


def _ingestion(home: Path, pipeline: _Pipeline, outcome: str = "new", broken: bool = False) -> Ingestion:
    parts: Any = SimpleNamespace(
        settings=Settings(home=home),
        pipeline=pipeline,
        intake=_Intake(pipeline, outcome, broken),
        doorbell=SimpleNamespace(ring=lambda: None),
        documents=SimpleNamespace(stages=lambda ids: {}, get_many=lambda ids: {}),
    )
    return Ingestion(parts, SimpleNamespace(id="c"))  # type: ignore[arg-type]


FILES: Any = [SimpleNamespace(logical_path="1", size=1), SimpleNamespace(logical_path="2", size=1)]


def test_the_first_document_is_read_in_while_the_next_is_submitted(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    pipeline, stop = _Pipeline(), threading.Event()
    ingestion = _ingestion(tmp_path, pipeline)
    assert ingestion.submit(FILES, work=True) == []
    stop.set()
    ingestion.follow(stop)
    assert pipeline.stopped, "what is under way ends when whoever follows wants to stop"


def test_what_goes_wrong_in_it_is_raised_where_it_is_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    ingestion = _ingestion(tmp_path, _Pipeline(ModelUnavailableError("The models process does not answer.")))
    ingestion.submit(FILES, work=True)
    with pytest.raises(ModelUnavailableError):
        ingestion.follow(threading.Event())


def test_a_submission_that_is_broken_off_leaves_no_work_behind(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    pipeline = _Pipeline()
    with pytest.raises(KeyboardInterrupt):
        _ingestion(tmp_path, pipeline, broken=True).submit(FILES, work=True)
    assert pipeline.stopped


def test_files_that_did_not_change_start_nothing(tmp_path: Path) -> None:
    pipeline = _Pipeline()
    ingestion = _ingestion(tmp_path, pipeline, "unchanged")
    ingestion.submit(FILES, work=True)
    ingestion.follow(threading.Event())
    assert not pipeline.called.is_set()
