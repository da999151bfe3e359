"""Near-duplicates: found among live documents of one collection, gone with their versions, fast at ten thousand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import func, insert, select

from core.types import Locator, NewChunk
from storage.sketches import BANDS, LANE_BITS, LANES, NEAR, similarity
from storage.tables import DocumentTable, SketchTable, VersionTable, now

if TYPE_CHECKING:
    from conftest import Bench  # type: ignore[import-not-found]


def bands(seed: int, changed: int = 0) -> list[int]:
    """A made-up sketch of which `changed` of the 120 hashes differ from those of `changed=0`, spread evenly."""
    rng = random.Random(seed)
    lanes = [rng.getrandbits(LANE_BITS) for _ in range(BANDS * LANES)]
    for n in range(changed):
        lanes[(n * 7) % len(lanes)] ^= 1 + rng.getrandbits(LANE_BITS - 1)
    packed = []
    for band in range(BANDS):
        value = 0
        for lane in lanes[band * LANES : (band + 1) * LANES]:
            value = (value << LANE_BITS) | lane
        packed.append(value)
    return packed


def ingest(bench: Bench, path: str, sketch: Sequence[int], content: str = "") -> str:
    """A document that is live and has this sketch. Gives its version's id."""
    version_id: str = bench.submit(path, content or path)
    bench.take(version_id)
    bench.documents.describe(
        version_id, bench.worker, media_type="", title="", pages=1, problems=(), facts={}, sketch=sketch
    )
    bench.documents.expect_chunks(version_id, bench.worker, 1)
    ids = bench.documents.store_chunks(version_id, bench.worker, *_one_chunk())
    assert ids and bench.documents.switch(version_id, bench.worker)
    return version_id


def _one_chunk() -> tuple[list[NewChunk], list[str], NDArray[np.float32]]:
    return [NewChunk(0, "text", Locator())], ["text"], np.eye(1, 8, dtype=np.float32)


def near(bench: Bench, path: str, sketch: Sequence[int]) -> list[tuple[str, float]]:
    found = bench.documents.near_duplicates(bench.collection.id, bench.document_id(path), sketch)
    return [(other.path, other.similarity) for other in found]


def test_a_sketch_is_kept_as_it_was_given(bench: Bench) -> None:
    sketch = bands(1)
    assert max(sketch) < 2**63
    version_id = ingest(bench, "a.txt", sketch)
    assert list(bench.documents.sketch_of(version_id)) == sketch


def test_similar_documents_are_found_most_alike_first_and_others_are_not(bench: Bench) -> None:
    ingest(bench, "a.txt", bands(1))
    ingest(bench, "same.txt", bands(1))
    ingest(bench, "close.txt", bands(1, 24))
    ingest(bench, "far.txt", bands(1, 90))
    ingest(bench, "other.txt", bands(2))
    assert near(bench, "a.txt", bands(1)) == [("same.txt", 1.0), ("close.txt", 0.8)]
    assert near(bench, "a.txt", ()) == []


def test_only_what_is_live_counts_and_only_in_its_own_collection(bench: Bench) -> None:
    ingest(bench, "a.txt", bands(1))
    ingest(bench, "b.txt", bands(1))
    queued = bench.submit("queued.txt", "not ready")
    bench.take(queued)
    bench.documents.describe(
        queued, bench.worker, media_type="", title="", pages=1, problems=(), facts={}, sketch=bands(1)
    )
    assert [path for path, _ in near(bench, "a.txt", bands(1))] == ["b.txt"]
    elsewhere = bench.collections.create("Elsewhere", bench.collection.fingerprint)
    assert bench.documents.near_duplicates(elsewhere.id, "", bands(1)) == []
    bench.documents.delete(bench.document_id("b.txt"))
    assert near(bench, "a.txt", bands(1)) == []


def test_a_new_version_is_judged_by_its_own_text(bench: Bench) -> None:
    ingest(bench, "a.txt", bands(1))
    ingest(bench, "b.txt", bands(1))
    ingest(bench, "b.txt", bands(3), content="rewritten")
    assert near(bench, "a.txt", bands(1)) == []


def test_the_same_bytes_under_another_name_are_named(bench: Bench) -> None:
    version_id = bench.submit("a.txt", "same bytes")
    bench.documents.cancel(bench.document_id("a.txt"))
    ingest(bench, "a.txt", bands(1), content="same bytes")
    ingest(bench, "b.txt", bands(2), content="same bytes")
    ingest(bench, "c.txt", bands(3), content="other bytes")
    with bench.db.read() as session:
        content_hash = session.scalar(
            select(VersionTable.content_hash).where(VersionTable.document_id == bench.document_id("a.txt"))
        )
    same = bench.documents.same_bytes(bench.collection.id, bench.document_id("a.txt"), str(content_hash))
    assert same == ["b.txt"] and version_id


def test_a_sketch_goes_with_its_version(bench: Bench) -> None:
    version_id = ingest(bench, "a.txt", bands(1))
    bench.documents.delete(bench.document_id("a.txt"))
    for entry in bench.documents.purgeable():
        bench.documents.purged(entry.version_id)
    with bench.db.read() as session:
        assert session.scalar(select(func.count()).select_from(SketchTable)) == 0
    assert bench.documents.sketch_of(version_id) == ()


@pytest.mark.parametrize(("changed", "expected"), [(0, 1.0), (12, 0.9), (60, 0.5), (120, 0.0)])
def test_similarity_is_the_share_of_equal_hashes(changed: int, expected: float) -> None:
    assert similarity(bands(5), dict(enumerate(bands(5, changed)))) == pytest.approx(expected)
    assert similarity(bands(5), {}) < NEAR


def test_the_one_near_duplicate_among_ten_thousand_documents_is_found(sqlite_bench: Bench) -> None:
    bench = sqlite_bench
    collection_id, stamp, total = bench.collection.id, now(), 10_000
    values = np.random.default_rng(0).integers(0, 2**63, (total, BANDS)).tolist()
    with bench.db.write() as session:
        session.execute(
            insert(DocumentTable),
            [
                {"id": f"d{n}", "collection_id": collection_id, "path": f"{n}.txt", "live_version_id": f"v{n}"}
                | {"newest": 1, "created_at": stamp}
                for n in range(total)
            ],
        )
        session.execute(
            insert(VersionTable),
            [
                {"id": f"v{n}", "document_id": f"d{n}", "collection_id": collection_id, "number": 1, "size": 1}
                | {"content_hash": f"{n:064}", "state": "ready", "created_at": stamp, "updated_at": stamp}
                for n in range(total)
            ],
        )
        session.connection().exec_driver_sql(
            "INSERT INTO sketches (version_id, band, collection_id, value) VALUES (?, ?, ?, ?)",
            [(f"v{n}", band, collection_id, values[n][band]) for n in range(total) for band in range(BANDS)],
        )
    for n in range(0, 1000, 100):
        copy = [value ^ 1 if band % 2 else value for band, value in enumerate(values[n])]  # a hash in every other band
        [found] = bench.documents.near_duplicates(collection_id, "new", copy)
        assert (found.path, found.similarity) == (f"{n}.txt", 0.83)
