"""A version that nobody waits for any more ends as deleted, so that nothing of it is kept for ever."""

from __future__ import annotations

from typing import Any

from core.errors import UnreadableError
from core.types import DocumentState

BROKEN = UnreadableError("Cannot read 'a'.", "Repair it.")


def state(bench: Any, version_id: str) -> DocumentState:
    found: DocumentState = bench.documents.get_many([version_id])[version_id].state
    return found


def test_newer_bytes_supersede_a_failed_version(bench: Any) -> None:
    failed = bench.submit("a", "broken")
    bench.take(failed)
    bench.documents.fail(failed, bench.worker, BROKEN)
    newer = bench.submit("a", "mended")
    assert state(bench, failed) is DocumentState.DELETED
    assert [purge.version_id for purge in bench.documents.purgeable()] == [failed]
    assert bench.documents.find(bench.collection.id, "a").version_id == newer


def test_a_version_that_fails_after_newer_bytes_came_is_no_failure_of_the_document(bench: Any) -> None:
    older = bench.submit("a", "broken")
    bench.take(older)
    bench.ingest("a", "mended")
    if state(bench, older) is not DocumentState.DELETED:  # else the switch of the newer one took it away already
        bench.documents.fail(older, bench.worker, BROKEN)
    assert state(bench, older) is DocumentState.DELETED
    assert bench.documents.find(bench.collection.id, "a").state is DocumentState.READY


def test_chunk_ids_without_rows_are_told_apart(bench: Any) -> None:
    ids = bench.ingest("a", "text", ["one", "two"])
    assert bench.documents.without_rows([*ids, 10**9]) == [10**9]
    assert bench.documents.collection_exists(bench.collection.id)
    bench.collections.delete(bench.collection.id)
    assert bench.documents.without_rows(ids) == ids
    assert not bench.documents.collection_exists(bench.collection.id)
