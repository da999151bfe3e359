"""Evaluation runs as a worker does them: one question after the other, each result kept at once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import (
    AliothError,
    IndexUnavailableError,
    LeaseLostError,
    ModelUnavailableError,
    NotFoundError,
    StoreUnavailableError,
)
from core.types import AnswerMode, Collection
from storage.quality_runs import Run, RunStore

if TYPE_CHECKING:
    from app.wiring import Alioth

log = logging.getLogger(__name__)

POLL_S: Final = 2.0
LEASE_S: Final = 60.0
ATTEMPTS: Final = 5
"""Times a question is asked while a part does not answer, before the run fails."""
_PASSING = (IndexUnavailableError, ModelUnavailableError, StoreUnavailableError)
_PACKAGES = ("core", "models", "storage", "ingest", "chat", "evals")

Measure = Callable[[Mapping[str, Any]], dict[str, Any]]


@contextlib.contextmanager
def working(alioth: Alioth) -> Iterator[None]:
    """Beside other work, do the runs that people asked for."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(POLL_S):
            try:
                while work_one(alioth, stop):
                    pass
            except Exception:  # the database may be away for a while; the run is taken up again
                log.exception("an evaluation run was interrupted")

    thread = threading.Thread(target=look, name="quality", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def work_one(alioth: Alioth, stop: threading.Event, run_id: str | None = None) -> bool:
    """Do the oldest open run, or this one, to its end. False when there is none, or `stop` came first.

    A run whose worker died is gone on with after a minute; what it had measured stays.
    """
    runs = RunStore(alioth.db)
    run = runs.claim(alioth.worker_name, LEASE_S, run_id)
    if run is None:
        return False
    with _kept(runs, run, alioth.worker_name, stop) as lost:
        try:
            return _perform(alioth, runs, run, stop, lost)
        except LeaseLostError:
            log.info("run %s was cancelled or taken over", run.id)
        except AliothError as error:
            if stop.is_set() and isinstance(error, _PASSING):
                runs.release(run.id, alioth.worker_name)
                return False
            log.warning("run %s failed: %s", run.id, error)
            runs.fail(run.id, alioth.worker_name, str(error))
        except Exception as error:
            log.exception("run %s failed", run.id)
            runs.fail(run.id, alioth.worker_name, f"Unexpected {type(error).__name__}: {error}.")
    return True


def _perform(alioth: Alioth, runs: RunStore, run: Run, stop: threading.Event, lost: threading.Event) -> bool:
    from evals.figures import summary

    if run.collection_id is None:
        raise NotFoundError(f"The run {run.name!r} has no collection.", "Start it anew.")
    collection = alioth.collections.get_by_id(run.collection_id)
    runs.describe(run.id, alioth.worker_name, facts_of(alioth, collection))
    measure = _measure(alioth, collection, run)
    for ordinal, (asked, result) in enumerate(runs.rows(run.id)):
        if result is not None:
            continue
        if stop.is_set():
            runs.release(run.id, alioth.worker_name)
            return False
        if lost.is_set():
            return True
        runs.store(run.id, alioth.worker_name, ordinal, _one(measure, asked, stop))
    results = [result for _, result in runs.rows(run.id)]
    runs.finish(run.id, alioth.worker_name, summary(run.kind, results))
    return True


def _one(measure: Measure, asked: Mapping[str, Any], stop: threading.Event) -> dict[str, Any]:
    """What came of a question. What no waiting cures is part of the result."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return measure(asked)
        except _PASSING:
            if attempt == ATTEMPTS or stop.wait(POLL_S):
                raise
        except AliothError as error:
            return {"qid": asked["qid"], "question": asked["question"], "error": str(error)}
    raise AssertionError("the last attempt returns or raises")


def _measure(alioth: Alioth, collection: Collection, run: Run) -> Measure:
    from evals import answers, retrieval
    from evals.live import LiveCorpus
    from evals.sets import question_of

    corpus = LiveCorpus(collection)
    if run.kind == "retrieval":
        return lambda asked: retrieval.ask(alioth.retriever, corpus, question_of(asked, "run"))
    mode = AnswerMode(run.settings.get("mode", AnswerMode.AUTOMATIC))
    answering = functools.partial(alioth.answerer_with, background=True)
    return lambda asked: answers.ask(answering, alioth.retriever, corpus, question_of(asked, "run"), mode)


@contextlib.contextmanager
def _kept(runs: RunStore, run: Run, worker: str, stop: threading.Event) -> Iterator[threading.Event]:
    """Prolongs the lease meanwhile; the event is set when the run is no longer ours."""
    done, lost = threading.Event(), threading.Event()

    def prolong() -> None:
        while not done.wait(LEASE_S / 4):
            try:
                if not runs.touch(run.id, worker, LEASE_S):
                    lost.set()
                    return
            except AliothError as error:
                log.warning("the lease of run %s could not be prolonged: %s", run.id, error)

    thread = threading.Thread(target=prolong, name="quality-lease", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join(10)


def facts_of(alioth: Alioth, collection: Collection | None) -> dict[str, Any]:
    """What a run measures: code, models, settings, and the collection as it is now."""
    from importlib.metadata import version

    settings = alioth.settings
    facts: dict[str, Any] = {
        "alioth": version("alioth"),
        "sources": sources_hash(),
        "llm": settings.models.llm,
        "embedder": settings.models.embedder,
        "chat": settings.chat.model_dump(mode="json"),
    }
    if collection is not None:
        facts["embedder"] = collection.fingerprint.embedder_id
        facts["collection"] = {
            "name": collection.name,
            "documents": collection.documents,
            "chunks": collection.chunks,
            "fingerprint": collection.fingerprint.key,
            "settings": dict(collection.settings),
        }
    return facts


@functools.cache
def sources_hash() -> str:
    """Twelve hex digits that change whenever the program's own code does."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parents[1]
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
