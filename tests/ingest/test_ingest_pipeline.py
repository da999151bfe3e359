"""The pipeline on real SQLite, Chroma, tantivy and parser processes; only the embedder is a fake."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from core.errors import IndexUnavailableError, LeaseLostError, ModelUnavailableError
from core.text import segment
from core.types import DocumentState
from ingest import pipeline as pipeline_module
from ingest.pipeline_run import TEXTS_PER_CALL, Event
from models.fakes import FakeEmbedder
from models.protocols import Embeddings, Lane
from storage.vectors import VectorIndex

HANDBOOK = "# Leave\n\nAnnual leave is twenty days.\n\n## 病假\n\n病假需要在三天内提交医院证明。\n"


def test_a_document_becomes_searchable_in_all_three_indexes(house) -> None:
    version_id = house.ingest("leave.md", HANDBOOK)
    [status] = house.documents.get_many([version_id]).values()
    assert (status.state, status.progress) == (DocumentState.READY, 1.0)
    assert house.live() == house.in_vectors() == house.in_keyword() != set()
    [(best, _)] = house.keyword.search([house.collection.id], segment("医院证明"), 1)
    assert "医院证明" in house.chunks.load_live([best], [house.collection.id])[best].text


def test_the_vector_of_a_chunk_is_the_embedding_of_its_embedded_text(house) -> None:
    version_id = house.ingest("leave.md", HANDBOOK)
    for chunk in house.chunks.of_version(version_id):
        wanted = house.embedder.embed_documents([f"{chunk.context}\n{chunk.text}"])[0]
        _, [stored] = house.chunks.embeddings([chunk.id])
        assert float(wanted @ stored) > 0.999


def test_the_same_bytes_again_are_left_alone(house) -> None:
    first = house.ingest("leave.md", HANDBOOK)
    again = house.add("leave.md", HANDBOOK)
    assert again == first
    assert len(house.bell.rings) == 1
    assert house.pipeline().run_once() == 0


def test_changed_bytes_replace_every_chunk_of_the_old_version(house) -> None:
    house.ingest("leave.md", HANDBOOK)
    old = house.live()
    house.ingest("leave.md", HANDBOOK.replace("twenty", "thirty"))
    house.pipeline("cleaner").purge()
    assert house.live().isdisjoint(old)
    assert house.live() == house.in_vectors() == house.in_keyword()
    assert not house.keyword.search([house.collection.id], segment("twenty"), 5)


def test_a_deleted_document_leaves_nothing_behind(house) -> None:
    house.ingest("leave.md", HANDBOOK)
    found = house.documents.find(house.collection.id, "leave.md")
    content_hash = next((house.home / "files").rglob("*/*/*")).name
    house.documents.delete(found.id)
    assert house.live() == set()
    assert house.pipeline().purge() == 1
    assert house.in_vectors() == house.in_keyword() == set()
    assert not house.files.exists(content_hash)


def test_a_deleted_collection_leaves_no_vectors(house) -> None:
    house.ingest("leave.md", HANDBOOK)
    key = house.collection.vector_key
    house.collections.delete(house.collection.id)
    house.pipeline().purge()
    assert key not in list(house.vectors.keys())
    assert house.collections.dropped() == []


def test_a_file_that_cannot_be_read_fails_alone_with_its_reason(house) -> None:
    bad = house.add("broken.pdf", b"%PDF-1.4 nothing more")
    good = house.add("good.txt", "All is well.")
    assert house.pipeline().run_once() == 2
    statuses = house.documents.get_many([bad, good])
    assert statuses[good].state is DocumentState.READY
    assert statuses[bad].state is DocumentState.FAILED
    assert statuses[bad].error["code"] == "unreadable"
    assert "broken.pdf" in statuses[bad].error["message"]


def test_a_failed_new_version_leaves_the_old_one_answering(house) -> None:
    house.ingest("plan.txt", "The old plan stands.")
    before = house.live()
    failed = house.ingest("plan.txt", b"\x00\x00")
    assert house.state(failed) == "failed"
    assert house.live() == before == house.in_vectors()


def test_progress_tells_every_stage_and_ends_with_ready(house) -> None:
    version_id = house.add("leave.md", HANDBOOK)
    events: list[Event] = []
    house.pipeline().run_once(on_progress=events.append)
    assert [event.state for event in events] == [
        DocumentState.PARSING,
        DocumentState.EMBEDDING,
        DocumentState.READY,
    ]
    assert {event.version_id for event in events} == {version_id}
    assert events[-1].chunks == len(house.live())


class CountingEmbedder(FakeEmbedder):
    """Remembers the sizes of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[int]] = []

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        self.calls.append([len(text) for text in texts])
        return super().embed_documents(texts, lane)


def test_chunks_of_many_documents_share_calls_of_bounded_size_sorted_by_length(house) -> None:
    rows = "\n\n".join(f"Paragraph {n}. " + "words " * (n % 150) for n in range(400))
    for n in range(6):
        house.add(f"{n}.txt", f"Document {n}\n\n{rows}")
    embedder = CountingEmbedder()
    assert house.pipeline(embedder=embedder).run_once() == 6
    assert max(len(call) for call in embedder.calls) <= TEXTS_PER_CALL
    assert sum(len(call) for call in embedder.calls) == len(house.live())
    assert len(embedder.calls) < 6 + len(house.live()) / 100
    # within a call lengths rise in tokens, so nearly in characters too
    call = max(embedder.calls, key=len)
    assert np.corrcoef(call, np.arange(len(call)))[0, 1] > 0.8


def test_collections_with_different_embedders_are_embedded_each_by_its_own(house) -> None:
    from ingest.chunk import CHUNKER_VERSION
    from models.protocols import fingerprint_of

    other = FakeEmbedder(dimension=16, model_id="fake-16")
    second = house.collections.create("Other", fingerprint_of(other, CHUNKER_VERSION))
    house.add("a.txt", "First text.")
    house.intake.add_bytes(second, "b.txt", __import__("io").BytesIO(b"Second text."))
    pipeline = house.pipeline()
    embedders = {house.collection.id: house.embedder, second.id: other}
    parts = pipeline._parts
    object.__setattr__(parts, "embedder_for", lambda collection: embedders[collection.id])
    assert pipeline.run_once() == 2
    assert house.vectors.count(second.vector_key) == 1
    assert house.vectors.count(house.collection.vector_key) == 1


def test_a_collection_made_with_another_embedder_is_refused(house) -> None:
    version_id = house.add("a.txt", "Some text.")
    house.pipeline(embedder=FakeEmbedder(dimension=16, model_id="fake-16")).run_once()
    [status] = house.documents.get_many([version_id]).values()
    assert status.error["code"] == "fingerprint_mismatch"
    assert "'fake-embedder'" in status.error["message"]


class AbsentEmbedder(FakeEmbedder):
    """Does not answer the first `failures` times."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        if self.failures:
            self.failures -= 1
            raise ModelUnavailableError("The models process does not answer.", "Start it.")
        return super().embed_documents(texts, lane)


def test_when_the_models_process_is_away_documents_go_back_to_the_queue_with_the_reason(house) -> None:
    version_id = house.add("a.txt", "Some text.")
    with pytest.raises(ModelUnavailableError):
        house.pipeline(embedder=AbsentEmbedder(1)).run_once()
    [status] = house.documents.get_many([version_id]).values()
    assert (status.state, status.error["code"]) == (DocumentState.QUEUED, "model_unavailable")


def test_drain_waits_for_the_models_process_and_then_finishes(house, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "FIRST_DELAY_S", 0.01)
    version_id = house.add("a.txt", "Some text.")
    house.pipeline(embedder=AbsentEmbedder(3)).drain(threading.Event())
    assert house.state(version_id) == "ready"


def test_drain_gives_up_after_its_patience(house, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(pipeline_module, "PATIENCE_S", 0.05)
    house.add("a.txt", "Some text.")
    with pytest.raises(ModelUnavailableError):
        house.pipeline(embedder=AbsentEmbedder(10**6)).drain(threading.Event())


def test_when_the_vector_server_is_away_documents_go_back_to_the_queue(house) -> None:
    version_id = house.add("a.txt", "Some text.")
    house.vectors.close()
    house.vectors = VectorIndex("http://127.0.0.1:9")
    with pytest.raises(IndexUnavailableError):
        house.pipeline().run_once()
    assert house.state(version_id) == "queued"
    assert house.live() == set()


class BrokenEmbedder(FakeEmbedder):
    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        raise ZeroDivisionError("secret detail")


def test_an_unexpected_fault_fails_the_document_and_is_logged_once(house, caplog: pytest.LogCaptureFixture) -> None:
    version_id = house.add("a.txt", "Some text.")
    assert house.pipeline(embedder=BrokenEmbedder()).run_once() == 1
    [status] = house.documents.get_many([version_id]).values()
    assert status.error["code"] == "internal"
    assert "secret detail" not in status.error["message"]
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert isinstance(logged[0].exc_info[1], ZeroDivisionError)


class StealingEmbedder(FakeEmbedder):
    """While it works, somebody deletes the document."""

    def __init__(self, steal) -> None:
        super().__init__()
        self.steal = steal

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        self.steal()
        return super().embed_documents(texts, lane)


def test_a_document_deleted_under_way_is_dropped_quietly(house, caplog: pytest.LogCaptureFixture) -> None:
    version_id = house.add("a.txt", "Some text.")
    document = house.documents.find(house.collection.id, "a.txt")
    embedder = StealingEmbedder(lambda: house.documents.delete(document.id))
    assert house.pipeline(embedder=embedder).run_once() == 0
    assert house.state(version_id) == "deleted"
    assert house.live() == set()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


class SlowEmbedder(FakeEmbedder):
    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        time.sleep(3.2)
        return super().embed_documents(texts, lane)


def test_leases_are_renewed_while_a_stage_takes_longer_than_a_lease(house) -> None:
    house.settings = house.settings.model_copy(update={"lease_s": 2.2})
    version_id = house.add("a.txt", "Some text.")
    thief = threading.Timer(2.8, lambda: stolen.extend(house.documents.claim("thief", 1, 5)))
    stolen: list[object] = []
    thief.start()
    assert house.pipeline(embedder=SlowEmbedder()).run_once() == 1
    thief.join()
    assert stolen == []
    assert house.state(version_id) == "ready"


def test_the_work_of_a_dead_worker_is_taken_over_and_counted_once(house) -> None:
    version_id = house.add("a.txt", "Some text.")
    house.documents.claim("dead", 1, 3600)
    assert house.pipeline().run_once() == 0
    house.documents.renew("dead", [version_id], 0)
    assert house.pipeline().run_once() == 1
    assert house.state(version_id) == "ready"
    assert house.live() == house.in_vectors()


def test_stop_releases_what_is_under_way(house) -> None:
    ids = [house.add(f"{n}.txt", f"Text {n}.") for n in range(4)]
    stop = threading.Event()
    embedder = StealingEmbedder(stop.set)
    house.pipeline(embedder=embedder).drain(stop)
    states = {house.state(version_id) for version_id in ids}
    assert states <= {"queued", "ready"}
    house.pipeline("next").drain(threading.Event())
    assert {house.state(version_id) for version_id in ids} == {"ready"}


def test_two_pipelines_side_by_side_lose_nothing_and_double_nothing(house) -> None:
    ids = [house.add(f"{n:02}.txt", f"Document number {n}.\n\nIt speaks of topic {n}.") for n in range(30)]
    finished: list[int] = []

    def work(name: str) -> None:
        pipeline = house.pipeline(name)
        while (done := pipeline.run_once(limit=4)) > 0:
            finished.append(done)

    threads = [threading.Thread(target=work, args=(f"side-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(finished) == 30
    assert {house.state(version_id) for version_id in ids} == {"ready"}
    assert house.live() == house.in_vectors() == house.in_keyword()
    assert len(house.live()) == 30


def test_lease_lost_is_not_reported_as_failed(house) -> None:
    version_id = house.add("a.txt", "Some text.")

    def lose() -> None:
        with house.db.write() as session:
            from sqlalchemy import text

            session.execute(text("UPDATE versions SET lease_owner = 'thief'"))

    assert house.pipeline(embedder=StealingEmbedder(lose)).run_once() == 0
    with pytest.raises(LeaseLostError):
        house.documents.set_state(version_id, "worker-1", DocumentState.PARSING)
    assert house.state(version_id) != "failed"
