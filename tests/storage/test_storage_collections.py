"""Collections: names are one whatever their case, deletion leaves only a key to drop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from core.errors import ConflictError, InputError, NotFoundError
from core.types import Fingerprint
from storage.collections import CollectionStore
from storage.tables import ChunkTable, DocumentTable, IndexChangeTable, VersionTable


def test_a_collection_is_found_by_its_name_in_any_case(
    bench: Any, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    made = bench.collections.create("  Straße 制度 ＡＢＣ ", make_fingerprint(chunker_version="7"))
    found = bench.collections.get("STRASSE 制度 abc")
    assert (found.id, found.name) == (made.id, "Straße 制度 ＡＢＣ")
    assert found.fingerprint == make_fingerprint(chunker_version="7")
    assert bench.collections.get_by_id(made.id) == found


def test_a_name_that_differs_only_in_case_is_a_conflict(
    bench: Any, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    with pytest.raises(ConflictError, match="'HANDBOOK'"):
        bench.collections.create("HANDBOOK", make_fingerprint())


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00b", "a\u202eb", "a\u200bb", "x" * 201, "ﷺ" * 100])
def test_bad_names_are_refused(bench: Any, make_fingerprint: Callable[..., Fingerprint], name: str) -> None:
    with pytest.raises(InputError):
        bench.collections.create(name, make_fingerprint())


def test_unknown_names_and_ids_are_not_found_and_the_hint_names_the_command(bench: Any) -> None:
    with pytest.raises(NotFoundError, match="'Nope'") as caught:
        bench.collections.get("Nope")
    assert "alioth collection create 'Nope'" in caught.value.hint
    for call in (bench.collections.get_by_id, bench.collections.delete):
        with pytest.raises(NotFoundError):
            call("0" * 32)


def test_the_list_counts_only_what_can_answer_now(bench: Any, make_fingerprint: Callable[..., Fingerprint]) -> None:
    bench.collections.create("Alpha", make_fingerprint())
    bench.ingest("a.txt", "one", ["x", "y", "z"])
    bench.ingest("a.txt", "two", ["x", "y"])
    bench.ingest("b.txt", "three")
    bench.submit("c.txt", "still queued")
    bench.documents.delete(bench.document_id("b.txt"))
    listed = bench.collections.list()
    assert [(c.name, c.documents, c.chunks) for c in listed] == [("Alpha", 0, 0), ("Handbook", 1, 2)]


def test_deleting_a_collection_removes_every_row_and_remembers_its_vectors(bench: Any) -> None:
    bench.ingest("a.txt", "one")
    bench.submit("b.txt", "two")
    bench.collections.delete(bench.collection.id)
    with bench.db.read() as session:
        for table in (DocumentTable, VersionTable, ChunkTable, IndexChangeTable):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    assert bench.collections.dropped() == [bench.collection.vector_key]
    bench.collections.forget_dropped(bench.collection.vector_key)
    assert bench.collections.dropped() == []


def test_a_deleted_name_can_be_used_again_for_another_collection(
    bench: Any, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    bench.collections.delete(bench.collection.id)
    again = CollectionStore(bench.db).create("Handbook", make_fingerprint())
    assert again.id != bench.collection.id
    assert again.vector_key != bench.collection.vector_key
