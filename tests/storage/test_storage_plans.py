"""Work on one document reads what belongs to it, however many others stand beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

WHOLE = (
    "(collection_id=?)",
    "(state=?)",
    "(index_id=?",
    "SCAN documents",
    "SCAN versions",
    "SCAN chunks",
    "SCAN sketches",
)
"""Ways into a table that give everything of a collection, an index or a queue."""


@contextmanager
def _plans(database: Any) -> Iterator[list[str]]:
    """Every step of the plans of what is asked meanwhile."""
    steps: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            cursor.execute("EXPLAIN QUERY PLAN " + statement, parameters)
            steps.extend(row[3] for row in cursor.fetchall())

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield steps
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)


@pytest.mark.parametrize("work", ["known texts", "same bytes", "still held", "renew", "near-duplicates"])
def test_what_is_asked_for_each_document_does_not_grow_with_the_collection(sqlite_bench: Any, work: str) -> None:
    documents, collection = sqlite_bench.documents, sqlite_bench.collection
    sqlite_bench.ingest("a", "1", ["x", "y"])
    [row] = documents.list(collection.id)
    version, held = row.version_id, [row.version_id]
    asked: dict[str, Callable[[], object]] = {
        "known texts": lambda: documents.known_texts(version, collection),
        "same bytes": lambda: documents.same_bytes(collection.id, row.id, "0" * 64),
        "still held": lambda: documents.still_held("worker", held),
        "renew": lambda: documents.renew("worker", held, 60),
        "near-duplicates": lambda: documents.near_duplicates(collection.id, row.id, tuple(range(40))),
    }
    with _plans(sqlite_bench.db) as steps:
        asked[work]()
    assert steps
    assert not [step for step in steps if any(way in step for way in WHOLE)]
