"""What is read in first: uploads before folders, small before large, nothing starves, one suspect at a time."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.types import Collection, DocumentState, Fingerprint, Locator, NewChunk, Priority
from ingest.pipeline_run import Event
from ingest.run_jobs import TEXTS_PER_CALL, WINDOW, EmbedQueue, Job
from ingest.run_parsing import CHARACTERS, LARGE_BYTES, ParseQueue
from models.fakes import FakeEmbedder
from models.protocols import Embeddings, Lane
from storage.documents import ClaimedVersion

NOW = datetime(2026, 11, 22, tzinfo=UTC)
COLLECTION = Collection("c" * 32, "Handbook", Fingerprint("fake", "0" * 64, 4, True, "", "1"), NOW)


def job(name: str, *, size: int = 1000, priority: int = 0, due: int = 0, chunks: int = 0, lost: int = 0) -> Job:
    """A claimed version that was due `due` seconds after the others."""
    claimed = ClaimedVersion(
        name, "d", COLLECTION.id, COLLECTION, name, 1, "0" * 64, size, 1, priority, NOW + timedelta(seconds=due)
    )
    made = Job(replace(claimed, lost_in=("parsing",) * lost))
    if chunks:
        made.cut([NewChunk(n, f"{name} {n}", Locator(), "", 10) for n in range(chunks)], 4)
    return made


# ------------------------------------------------------------------ parsing


def test_parsing_goes_by_priority_and_then_by_due() -> None:
    queue = ParseQueue(1)
    jobs = [job("late", due=9), job("early", due=1), job("upload", priority=20, due=99)]
    for one in jobs:
        queue.put(one)
    order = []
    while (started := queue.next([], jobs)) is not None:
        order.append(started.id)
    assert order == ["upload", "early", "late"]


def test_when_all_parsers_are_in_large_files_one_more_takes_a_small_one() -> None:
    queue = ParseQueue(2)
    large = [job(f"large {n}", size=LARGE_BYTES, due=n) for n in range(4)]
    small = job("small", due=99)
    for one in (*large, small):
        queue.put(one)
    in_hand = [*large, small]
    parsing: list[Job] = []
    while (started := queue.next(parsing, in_hand)) is not None:
        started.begun = time.monotonic()
        parsing.append(started)
    assert [one.id for one in parsing] == ["large 0", "large 1", "small"]


def test_a_small_file_that_takes_long_counts_as_large() -> None:
    queue = ParseQueue(1)
    scan, small = job("scan"), job("small")
    queue.put(small)
    scan.begun = time.monotonic()
    assert queue.next([scan], [scan, small]) is None
    scan.begun -= 60
    assert queue.next([scan], [scan, small]) is small


def test_parsing_pauses_when_enough_text_waits_and_an_upload_still_passes() -> None:
    queue = ParseQueue(2)
    waiting = [job(f"w{n}", chunks=1) for n in range(5)]
    for one in waiting:
        one.characters = CHARACTERS // 4
    bulk, upload = job("bulk"), job("upload", priority=20)
    queue.put(bulk)
    assert queue.next([], [*waiting, bulk]) is None
    queue.put(upload)
    assert queue.next([], [*waiting, bulk, upload]) is upload
    assert queue.next([], [bulk]) is bulk


def test_a_huge_document_that_waits_does_not_hold_up_small_ones() -> None:
    queue = ParseQueue(2)
    huge, small, other = job("huge"), job("small"), job("other large", size=LARGE_BYTES)
    huge.characters = 40_000_000
    queue.put(other)
    queue.put(small)
    assert queue.next([], [huge, small, other]) is small
    assert queue.next([], [huge, other]) is None  # one text of that size is enough


def test_versions_whose_workers_ended_are_tried_one_at_a_time() -> None:
    queue = ParseQueue(3)
    suspects = [job(f"s{n}", lost=1, due=n) for n in range(2)]
    innocent = job("innocent", due=9)
    in_hand = [*suspects, innocent]
    for one in in_hand:
        queue.put(one)
    first = queue.next([], in_hand)
    assert first is suspects[0]
    first.begun = time.monotonic()
    assert queue.next([first], in_hand) is innocent
    assert queue.next([first], in_hand) is None
    assert queue.next([], [suspects[1]]) is suspects[1]


# ------------------------------------------------------------------ embedding


def _texts(queue: EmbedQueue) -> list[list[str]]:
    calls = []
    while (call := queue.next_call(hold=False)) is not None:
        calls.append([piece.job.id for piece, _ in call.entries])
    return calls


def test_an_upload_is_embedded_before_calls_that_were_cut_already() -> None:
    queue = EmbedQueue()
    queue.put(job("bulk", chunks=WINDOW))
    assert queue.next_call(hold=False) is not None  # the window is cut: three further calls wait
    queue.put(job("upload", chunks=3, priority=20))
    calls = _texts(queue)
    assert calls[0] == ["upload"] * 3
    assert sum(len(call) for call in calls) == WINDOW - TEXTS_PER_CALL + 3


def test_short_documents_pass_a_huge_one_which_still_goes_on() -> None:
    queue = EmbedQueue()
    queue.put(job("huge", chunks=5000))
    for n in range(3):
        queue.put(job(f"short {n}", chunks=100))
    first_window = [name for call in _texts(queue)[: WINDOW // TEXTS_PER_CALL] for name in call]
    assert {f"short {n}" for n in range(3)} < set(first_window)
    assert first_window.count("huge") >= WINDOW // 4
    assert len(first_window) == WINDOW


def test_every_text_is_handed_out_exactly_once() -> None:
    queue = EmbedQueue()
    jobs = [job(f"j{n}", chunks=n * 37 + 1, priority=n % 3) for n in range(30)]
    for one in jobs:
        queue.put(one)
    handed: list[tuple[str, int]] = []
    while (call := queue.next_call(hold=True)) is not None:
        handed += [(piece.job.id, piece.start + place) for piece, place in call.entries]
    while (call := queue.next_call(hold=False)) is not None:
        handed += [(piece.job.id, piece.start + place) for piece, place in call.entries]
    assert len(handed) == len(set(handed)) == sum(one.total for one in jobs)


# ------------------------------------------------------------------ the whole run


class SlowEmbedder(FakeEmbedder):
    """A twentieth of a second per call of a few texts, as a model takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Event()

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        self.started.set()
        time.sleep(0.02 * len(texts))
        return super().embed_documents(texts, lane)


def test_a_running_bulk_load_takes_an_upload_in_within_seconds(house) -> None:
    paragraphs = "\n\n".join(f"Paragraph {n} of many words that fill a chunk on its own here." for n in range(60))
    house.settings = house.settings.model_copy(update={"chunk_tokens": 32, "chunk_overlap": 0})
    for n in range(60):
        house.intake.add_bytes(
            house.collection, f"bulk/{n}.txt", io.BytesIO(f"{n}\n\n{paragraphs}".encode()), Priority.BULK
        )
    events: list[Event] = []
    embedder, stop = SlowEmbedder(), threading.Event()
    pipeline = house.pipeline(embedder=embedder)
    thread = threading.Thread(target=pipeline.drain, args=(stop,), kwargs={"on_progress": events.append, "limit": 8})
    thread.start()
    try:
        assert embedder.started.wait(60)
        uploaded = house.intake.add_bytes(
            house.collection, "upload.txt", io.BytesIO(b"A short text."), Priority.UPLOAD
        ).version_id
        began = time.monotonic()
        while house.state(uploaded) != "ready":
            assert time.monotonic() - began < 120
            time.sleep(0.05)
        done = [event for event in events if event.state is DocumentState.READY]
        assert len(done) < 30  # most of the bulk load was still before it
    finally:
        stop.set()
        thread.join()


def test_a_claim_of_a_run_is_limited_however_many_documents_wait(house) -> None:
    for n in range(50):
        house.add(f"{n}.txt", f"Text {n}.")
    claims: list[int] = []
    real = house.documents.claim

    def claim(worker: str, limit: int, *arguments, **more):
        claims.append(limit)
        return real(worker, limit, *arguments, **more)

    house.documents.claim = claim
    house.pipeline().drain(threading.Event(), limit=8)
    assert max(claims) <= 8 and len(claims) > 50 / 8
    assert len(house.live()) == 50


@pytest.mark.parametrize("died", [DocumentState.PARSING, DocumentState.EMBEDDING])
def test_a_version_that_killed_a_worker_is_finished_by_the_next(house, died: DocumentState) -> None:
    version_id = house.add("a.txt", "Some text.")
    house.documents.claim("dead", 1, 0.05)
    house.documents.set_state(version_id, "dead", died)
    time.sleep(0.1)
    assert house.pipeline().run_once() == 1
    row = house.documents.find(house.collection.id, "a.txt")
    assert (row.state, row.attempts, row.lost_in) == (DocumentState.READY, 2, (died.value,))
