"""Nothing is embedded, copied or written twice: changed documents, copies, second attempts, second passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import event

from core.types import DocumentState
from ingest.chunk import chunk_document
from models.fakes import FakeEmbedder
from models.protocols import Embeddings, Lane

PARAGRAPHS = [f"Paragraph {n} speaks of topic {n} and of what was decided about it in that year." for n in range(120)]


class ListeningEmbedder(FakeEmbedder):
    """Remembers every text."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        self.texts.extend(texts)
        return super().embed_documents(texts, lane)


def _ingest(house, name: str, text: str) -> tuple[str, ListeningEmbedder]:
    embedder = ListeningEmbedder()
    version_id = house.add(name, text)
    house.pipeline(f"w-{version_id[:8]}", embedder).drain(threading.Event(), [version_id])
    assert house.state(version_id) == "ready"
    return version_id, embedder


def _document(paragraphs: Sequence[str]) -> str:
    return "# Report\n\n" + "\n\n".join(paragraphs)


def _stored(house) -> dict[str, bytes]:
    ids = sorted(house.live())
    chunks = house.chunks.load_live(ids, [house.collection.id]).values()
    texts = {chunk.id: chunk.context + chunk.text for chunk in chunks}
    from sqlalchemy import select

    from storage.tables import ChunkTable

    with house.db.read() as session:
        rows = session.execute(select(ChunkTable.id, ChunkTable.embedding).where(ChunkTable.id.in_(ids))).all()
    return {texts[row.id]: row.embedding for row in rows}


def test_of_a_changed_document_only_the_changed_chunks_are_embedded(house) -> None:
    house.settings = house.settings.model_copy(update={"chunk_tokens": 64, "chunk_overlap": 0})
    _, first = _ingest(house, "report.md", _document(PARAGRAPHS))
    before = _stored(house)
    changed = [*PARAGRAPHS]
    changed[60] = "Paragraph 60 was written anew, with other words about the same topic and the same year."
    version_id, second = _ingest(house, "report.md", _document(changed))
    assert len(first.texts) > 25
    assert 1 <= len(second.texts) <= 3
    assert any("written anew" in text for text in second.texts)
    with house.db.read() as session:
        from storage.tables import VersionTable

        facts = session.get(VersionTable, version_id).facts
    assert facts["chunks_reused"] == len(house.live()) - len(second.texts)
    after = _stored(house)
    same = before.keys() & after.keys()
    assert len(same) >= len(after) - 3
    assert all(before[text] == after[text] for text in same)  # bit for bit


def test_the_vector_index_holds_exactly_what_sql_holds_fresh_or_reused(house) -> None:
    import numpy as np

    _ingest(house, "report.md", _document(PARAGRAPHS))
    _ingest(house, "report.md", _document(PARAGRAPHS[:-1]))
    house.pipeline("cleaner").purge()
    ids, wanted = house.chunks.embeddings(sorted(house.live()))
    handle = house.vectors._handle(house.collection.vector_key, create=False, fresh=True)
    got = handle.get(ids=[str(i) for i in ids], include=["embeddings"])
    by_id = {int(name): row for name, row in zip(got["ids"], got["embeddings"], strict=True)}
    for place, chunk_id in enumerate(ids):  # the same numbers, up to the last bit of a float32 norm
        np.testing.assert_allclose(by_id[chunk_id], wanted[place], rtol=0, atol=1e-6)


def test_a_copy_of_a_document_in_the_collection_is_not_embedded_again(house) -> None:
    text = "# Report\n\nThe committee decided.\n"
    _ingest(house, "report.md", text)
    _, second = _ingest(house, "copy/report.md", text)
    assert second.texts == []
    assert len(house.live()) == 2 and house.live() == house.in_vectors() == house.in_keyword()


def test_a_copy_in_another_collection_is_embedded_there(house) -> None:
    import io

    text = "# Report\n\nThe committee decided.\n"
    _ingest(house, "report.md", text)
    other = house.collections.create("Other", house.collection.fingerprint)
    house.intake.add_bytes(other, "report.md", io.BytesIO(text.encode()))
    embedder = ListeningEmbedder()
    house.pipeline("other", embedder).drain(threading.Event())
    assert len(embedder.texts) == 1


def test_a_second_attempt_takes_over_what_the_first_has_stored(house, monkeypatch) -> None:
    from ingest import run_jobs, run_stages

    for module in (run_jobs, run_stages):
        monkeypatch.setattr(module, "SLICE", 8)
    house.settings = house.settings.model_copy(update={"chunk_tokens": 64, "chunk_overlap": 0})
    version_id = house.add("report.md", _document(PARAGRAPHS))

    claimed = house.documents.claim("first", 1, 0.01, [version_id])  # its worker ends after two slices were stored
    with house.files.path(claimed[0].content_hash) as path:
        parsed = house.parsers.parse(path, "report.md")
    chunks = chunk_document(parsed, house.embedder.tokenizer, house.settings)
    house.documents.expect_chunks(version_id, "first", len(chunks))
    rows = house.embedder.embed_documents([chunk.embedded_text for chunk in chunks[:16]])
    house.documents.store_chunks(version_id, "first", chunks[:16], ["x"] * 16, rows, 0)
    embedder = ListeningEmbedder()
    time.sleep(0.1)
    house.pipeline("second", embedder).drain(threading.Event())
    assert house.state(version_id) == "ready"
    assert len(embedder.texts) == len(chunks) - 16
    assert house.live() == house.in_vectors() == house.in_keyword() and len(house.live()) == len(chunks)


# ------------------------------------------------------------------ second pass


def _count_writes(house) -> list[str]:
    begun: list[str] = []

    def begin(connection) -> None:
        if connection.get_execution_options().get("alioth_write"):
            begun.append("write")

    event.listen(house.db.engine, "begin", begin)
    return begun


def test_a_second_pass_copies_no_file_and_writes_nothing(house, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for n in range(40):
        (folder / f"{n:02}.txt").write_text(f"Document {n}.")
    sources = house.intake.scan([folder])
    for source in sources:
        house.intake.add(house.collection, source)
    house.pipeline().drain(threading.Event())
    (folder / "07.txt").write_text("Document 7, changed")
    (folder / "08.txt").write_text("Document X.")  # as long as before
    puts: list[object] = []
    real = type(house.files).put
    monkeypatch.setattr(type(house.files), "put", lambda store, stream: puts.append(stream) or real(store, stream))
    writes = _count_writes(house)
    sources = house.intake.scan([folder])
    unchanged = house.intake.unchanged(house.collection, sources)
    assert set(unchanged) == {f"{n:02}.txt" for n in range(40)} - {"07.txt", "08.txt"}
    assert puts == [] and writes == []
    for source in sources:
        submission = house.intake.add(house.collection, source)
        assert (submission.outcome == "unchanged") == (source.logical_path in unchanged)
    assert len(puts) == 2 and len(writes) == 2


def test_what_is_not_quite_unchanged_goes_the_long_way(house, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name in ("failed", "pending", "deleted", "lost", "ready"):
        (folder / f"{name}.txt").write_text(f"This is {name}.")
    sources = {source.logical_path: source for source in house.intake.scan([folder])}
    for name, source in sources.items():
        submission = house.intake.add(house.collection, source)
        if name not in ("pending.txt", "failed.txt"):
            house.pipeline(f"w-{name}").drain(threading.Event(), [submission.version_id])
    find = house.documents.find
    [claimed] = house.documents.claim("w", 1, 5, [find(house.collection.id, "failed.txt").version_id])
    from core.errors import UnreadableError

    house.documents.fail(claimed.version_id, "w", UnreadableError("It is damaged.", ""))
    house.documents.delete(find(house.collection.id, "deleted.txt").id)
    import hashlib

    house.files.delete(hashlib.sha256(b"This is lost.").hexdigest())
    assert set(house.intake.unchanged(house.collection, list(sources.values()))) == {"ready.txt"}
    outcomes = {name: house.intake.add(house.collection, source).outcome for name, source in sources.items()}
    assert outcomes == {
        "failed.txt": "new",
        "pending.txt": "pending",
        "deleted.txt": "new",
        "lost.txt": "unchanged",
        "ready.txt": "unchanged",
    }
    assert house.files.exists(hashlib.sha256(b"This is lost.").hexdigest())  # adding it again heals it
    assert find(house.collection.id, "failed.txt").state is DocumentState.QUEUED
