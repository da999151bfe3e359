"""Jobs while they run: progress, cancelling, stopping, parts that go away in the middle, and bounded memory."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from core.errors import IndexUnavailableError, ModelUnavailableError, StoreUnavailableError
from core.settings import IngestSettings
from core.types import DocumentState, ParsedDocument
from ingest import pipeline as pipeline_module
from ingest import run_jobs, run_stages
from ingest.chunk import CHUNKER_VERSION
from ingest.parser_pool import ParserPool, ParseStopped
from models.fakes import FakeEmbedder
from models.protocols import Embeddings, Lane, fingerprint_of

ROOT = Path(__file__).resolve().parents[2]
HELD_S = 60.0
"""Longer than anything here takes on a loaded machine, and shorter than what is held goes on holding."""
LONG = "\n\n".join(f"Paragraph {n} speaks of topic {n % 97} and of nothing else." for n in range(900))


def _wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class HeldEmbedder(FakeEmbedder):
    """Embeds until `holds` calls were made, then waits to be let go."""

    def __init__(self, holds_after: int = 0) -> None:
        super().__init__()
        self.calls = 0
        self.texts = 0
        self.holds_after = holds_after
        self.holding = threading.Event()
        self.go = threading.Event()

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        self.calls += 1
        if self.calls > self.holds_after:
            self.holding.set()
            assert self.go.wait(2 * HELD_S)
        self.texts += len(texts)
        return super().embed_documents(texts, lane)


class HeldParser:
    """Stands in for the pool's parse: tells pages, and goes on only when the caller stops it or lets it go."""

    def __init__(self, pool: ParserPool) -> None:
        self.pool = pool
        self.parsing = threading.Event()
        self.go = threading.Event()

    def parse(
        self,
        path: Path,
        name: str,
        on_page: Callable[[int, int], None],
        stopped: Callable[[], bool],
    ) -> ParsedDocument:
        self.parsing.set()
        page = 0
        while not self.go.wait(0.05):
            page += 1
            on_page(page, 800)
            if stopped():
                raise ParseStopped
        return self.pool.parse(path, name, on_page, stopped)


def _drain_aside(house, embedder: FakeEmbedder, stop: threading.Event | None = None) -> threading.Thread:
    pipeline = house.pipeline(embedder=embedder)
    thread = threading.Thread(target=pipeline.drain, args=(stop or threading.Event(),))
    thread.start()
    return thread


# ------------------------------------------------------------------ progress


def test_chunks_done_rise_while_embedding_goes_on(house, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest import pipeline_run

    monkeypatch.setattr(pipeline_run, "PROGRESS_S", 0.0)
    version_id = house.add("long.txt", LONG)
    embedder = HeldEmbedder(holds_after=2)
    house.settings = house.settings.model_copy(update={"chunk_tokens": 32, "chunk_overlap": 0})
    thread = _drain_aside(house, embedder)
    try:
        _wait_for(lambda: house.documents.stages([version_id])[version_id].chunks_done > 0)
        stage = house.documents.stages([version_id])[version_id]
        assert stage.state is DocumentState.EMBEDDING
        assert 0 < stage.chunks_done < stage.chunks
        assert 0.4 < stage.progress < 0.9
    finally:
        embedder.go.set()
        thread.join()
    row = house.documents.find(house.collection.id, "long.txt")
    assert (row.state, row.chunks_done, row.progress) == (DocumentState.READY, row.chunks, 1.0)


def test_pages_are_told_while_a_long_parse_goes_on(house, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_stages, "PAGES_EVERY_S", 0.0)
    version_id = house.add("big.txt", "Some text.")
    held = HeldParser(house.parsers)
    house.parsers = held
    thread = _drain_aside(house, FakeEmbedder())
    try:
        _wait_for(lambda: house.documents.stages([version_id])[version_id].pages_done > 2)
        stage = house.documents.stages([version_id])[version_id]
        assert (stage.state, stage.pages) == (DocumentState.PARSING, 800)
    finally:
        held.go.set()
        thread.join()
    assert house.state(version_id) == "ready"


def test_a_parser_child_tells_its_pages(house, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the real child: a parser that counts pages slowly enough is heard before its reply."""
    code = (
        "import io, json, time\n"
        "from ingest.parser_child import _PageCount, PAGES_EVERY_S\n"
        "out = io.BytesIO()\n"
        "count = _PageCount(out)\n"
        "for n in range(1, 8):\n"
        "    time.sleep(PAGES_EVERY_S / 2)\n"
        "    count(n, 7)\n"
        "print(out.getvalue().decode())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    lines = done.stdout.split("\n")
    told = [line for line in lines if "pages_done" in line]
    assert 2 <= len(told) <= 4 and '"pages": 7' in told[0]


# ------------------------------------------------------------------ cancel and stop


def test_cancelling_during_a_parse_ends_it_and_leaves_nothing(house) -> None:
    version_id = house.add("slow.txt", "Some text.")
    document = house.documents.find(house.collection.id, "slow.txt")
    house.parsers = HeldParser(house.parsers)
    thread = _drain_aside(house, FakeEmbedder())
    assert house.parsers.parsing.wait(HELD_S)
    assert house.documents.cancel(document.id)
    thread.join(HELD_S)
    assert not thread.is_alive()
    assert house.documents.list(house.collection.id) == []
    assert house.documents.get_many([version_id]) == {}  # purged without waiting for the lease to run out
    assert not list((house.home / "files").rglob("*/*/*"))


def test_a_parser_process_that_hangs_is_ended_as_soon_as_nobody_wants_its_document(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Some text.")
    with ParserPool(IngestSettings(), 1) as pool:
        assert pool.parse(path, "a.txt").blocks
        [child] = pool._children
        os.kill(child._process.pid, signal.SIGSTOP)  # it will never answer
        unwanted = time.monotonic() + 0.3
        with pytest.raises(ParseStopped):
            pool.parse(path, "a.txt", stopped=lambda: time.monotonic() > unwanted)
        assert time.monotonic() - unwanted < HELD_S
        assert not child.running()
        assert pool.parse(path, "a.txt").blocks


def test_cancelling_during_embedding_stops_the_calls_and_keeps_the_live_version(house) -> None:
    house.ingest("plan.txt", "The old plan stands.")
    before = house.live()
    house.settings = house.settings.model_copy(update={"chunk_tokens": 32, "chunk_overlap": 0})
    embedder = HeldEmbedder(holds_after=1)
    version_id = house.add("plan.txt", LONG)
    document = house.documents.find(house.collection.id, "plan.txt")
    thread = _drain_aside(house, embedder)
    assert embedder.holding.wait(HELD_S)
    house.documents.cancel(document.id)
    time.sleep(4.0)  # a look for cancelled versions comes once a second
    calls = embedder.calls
    embedder.go.set()
    thread.join(HELD_S)
    assert embedder.calls == calls
    assert house.live() == before == house.in_vectors()
    assert house.documents.get(document.id).state is DocumentState.READY
    assert house.documents.get_many([version_id]) == {}


def test_stopping_during_a_long_parse_does_not_wait_for_it_and_counts_no_attempt(house) -> None:
    version_id = house.add("slow.txt", "Some text.")
    house.parsers = HeldParser(house.parsers)
    stop = threading.Event()
    thread = _drain_aside(house, FakeEmbedder(), stop)
    assert house.parsers.parsing.wait(HELD_S)
    stop.set()
    thread.join(HELD_S)
    assert not thread.is_alive()
    row = house.documents.find(house.collection.id, "slow.txt")
    assert (row.state, row.attempts, row.lost_in, row.error) == (DocumentState.QUEUED, 0, (), None)
    assert house.documents.get_many([version_id])[version_id].progress == 0.0


def test_stopping_while_the_embedder_takes_long_does_not_wait_for_it(house) -> None:
    house.add("a.txt", "Some text.")
    embedder = HeldEmbedder()
    stop = threading.Event()
    thread = _drain_aside(house, embedder, stop)
    assert embedder.holding.wait(HELD_S)
    stop.set()
    thread.join(HELD_S)
    ended = not thread.is_alive()
    embedder.go.set()
    assert ended


# ------------------------------------------------------------------ parts that go away


class FlakyDocuments:
    """The document store, whose disk is full for a while when chunks are stored."""

    def __init__(self, documents, failures: int) -> None:
        self._documents = documents
        self.failures = failures

    def __getattr__(self, name: str):
        return getattr(self._documents, name)

    def store_chunks(self, *arguments, **more):
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("Cannot write: database or disk is full.", "Free space.")
        return self._documents.store_chunks(*arguments, **more)


def test_a_full_disk_leaves_documents_queued_with_the_reason_and_they_go_on_when_there_is_room(house) -> None:
    real = house.documents
    ids = [house.add(f"{n}.txt", f"Text number {n}.") for n in range(5)]
    house.documents = FlakyDocuments(real, 1)
    with pytest.raises(StoreUnavailableError):
        house.pipeline().run_once()
    rows = real.list(house.collection.id)
    assert {row.state for row in rows} == {DocumentState.QUEUED} and {row.attempts for row in rows} == {0}
    assert {row.error["code"] for row in rows} == {"store_unavailable"}
    house.pipeline("again").drain(threading.Event())
    assert {house.state(version_id) for version_id in ids} == {"ready"}
    assert len(house.live()) == 5 and house.live() == house.in_vectors() == house.in_keyword()


def test_what_cannot_be_released_is_released_at_the_next_turn(house, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "FIRST_DELAY_S", 0.01)
    version_id = house.add("a.txt", "Some text.")
    real = house.documents
    flaky = FlakyDocuments(real, 1)
    refuse = [True]

    def release(worker: str, reason=None) -> None:
        if refuse.pop() if refuse else False:
            raise StoreUnavailableError("The database is locked.", "Wait.")
        real.release(worker, reason)

    flaky.release = release
    house.documents = flaky
    house.pipeline().drain(threading.Event())
    row = real.find(house.collection.id, "a.txt")
    assert (house.state(version_id), row.attempts, row.lost_in) == ("ready", 1, ())


class PickyEmbedder(FakeEmbedder):
    """Cannot embed one word."""

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        if any("unspeakable" in text for text in texts):
            raise ValueError("unspeakable")
        return super().embed_documents(texts, lane)


def test_a_text_that_cannot_be_embedded_costs_its_document_only(house) -> None:
    bad = house.add("bad.txt", "Something unspeakable.")
    good = [house.add(f"{n}.txt", f"Text number {n}.") for n in range(6)]
    assert house.pipeline(embedder=PickyEmbedder()).run_once() == 7
    assert house.state(bad) == "failed"
    assert {house.state(version_id) for version_id in good} == {"ready"}


@pytest.mark.parametrize("error", [ModelUnavailableError, IndexUnavailableError])
def test_the_reason_for_waiting_goes_when_the_work_begins_again(house, error: type[Exception]) -> None:
    class Away(FakeEmbedder):
        def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
            raise error("It is away.", "Wait.")

    version_id = house.add("a.txt", "Some text.")
    with pytest.raises(error):
        house.pipeline(embedder=Away()).run_once()
    assert house.documents.get_many([version_id])[version_id].error["message"] == "It is away."
    house.pipeline("next").run_once()
    assert house.documents.get_many([version_id])[version_id].error is None


# ------------------------------------------------------------------ slices and memory


def test_a_document_of_many_slices_is_whole_in_every_index(house, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_jobs, "SLICE", 50)
    monkeypatch.setattr(run_stages, "SLICE", 50)
    house.settings = house.settings.model_copy(update={"chunk_tokens": 32, "chunk_overlap": 0})
    version_id = house.ingest("long.txt", LONG)
    chunks = house.chunks.of_version(version_id)
    assert len(chunks) > 200 and [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert house.live() == house.in_vectors() == house.in_keyword() == {chunk.id for chunk in chunks}
    for chunk in chunks[::37]:
        wanted = house.embedder.embed_documents([f"{chunk.context}\n{chunk.text}" if chunk.context else chunk.text])[0]
        _, [stored] = house.chunks.embeddings([chunk.id])
        assert float(wanted @ stored) > 0.999


WORK = """
import resource, sys, threading
from pathlib import Path
from core.settings import IngestSettings
from core.text import segment
from ingest.chunk import CHUNKER_VERSION
from ingest.parser_pool import ParserPool
from ingest.pipeline import Pipeline
from models.fakes import FakeEmbedder
from storage.collections import CollectionStore
from storage.database import Database
from storage.documents import DocumentStore
from storage.files import FolderFileStore
from storage.keyword import KeywordIndex
from storage.vectors import VectorIndex
home, chroma = Path(sys.argv[1]), sys.argv[2]
db = Database(f"sqlite:///{home / 'alioth.db'}")
settings = IngestSettings(max_chars=60_000_000, lease_s=30)
embedder = FakeEmbedder(dimension=384)
segment("一句话 and another")  # loads its dictionary
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
with ParserPool(settings, 1) as parsers:
    pipeline = Pipeline(settings, DocumentStore(db), VectorIndex(chroma), KeywordIndex(home / "keyword", db),
        FolderFileStore(home / "files"), lambda collection: embedder, parsers, "worker", CollectionStore(db))
    pipeline.drain(threading.Event())
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_a_huge_text_is_read_in_with_bounded_memory(house, tmp_path: Path, chroma_url: str) -> None:
    """12 MB of text, 11,000 chunks: each byte may cost the worker so many, wherever they pile up.

    A worker that keeps every embedding, or whose sketch takes whole arrays of the text, needs twice as much.
    """
    sentence = "Paragraph {} of the report speaks of topic {}, of its cost and of what the committee decided in {}.\n\n"
    text = "".join(sentence.format(n, n % 97, 1900 + n % 120) for n in range(120_000))
    collection = house.collections.create("Long", fingerprint_of(FakeEmbedder(dimension=384), CHUNKER_VERSION))
    version_id = house.intake.add_bytes(collection, "long.txt", io.BytesIO(text.encode())).version_id
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(house.home), chroma_url], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    before, peak = map(int, done.stdout.split())
    status = house.documents.get_many([version_id])[version_id]
    assert status.state is DocumentState.READY and status.chunks > 8000
    assert peak - before < 20 * len(text) / 1e6, f"{before} MB before, {peak} MB at most"


def test_a_look_for_cancelled_versions_while_one_becomes_ready_does_not_take_it_for_lost(
    house, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest import pipeline_run

    monkeypatch.setattr(pipeline_run, "LOOK_S", 0.0)
    real = house.documents.switch

    def switch(version_id: str, worker: str) -> bool:
        done = real(version_id, worker)
        time.sleep(1.2)  # it is ready, and the run has not heard of it yet
        return done

    house.documents.switch = switch
    for n in range(2):
        house.add(f"{n}.txt", f"Text number {n}.")
    ready: list[str] = []
    finished = house.pipeline().run_once(
        on_progress=lambda event: ready.append(event.path) if event.state is DocumentState.READY else None
    )
    assert finished == 2 and sorted(ready) == ["0.txt", "1.txt"]
