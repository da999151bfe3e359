"""The glossary of a collection: what is kept, what is refused, and that it goes with its collection."""

from __future__ import annotations

import pytest

from core.errors import InputError, NotFoundError
from core.types import GlossaryTerm
from storage.database import Database
from storage.glossary import GlossaryStore


@pytest.fixture
def store(db: Database) -> GlossaryStore:
    return GlossaryStore(db)


def test_terms_come_back_as_they_were_given(store: GlossaryStore, bench) -> None:  # type: ignore[no-untyped-def]
    key = bench.collection.id
    assert store.terms([key]) == [] and store.terms([]) == []
    made = [GlossaryTerm("年假", ("annual leave", "带薪休假"), True, "HR"), GlossaryTerm("OKR", ("目标",), False)]
    assert store.put(key, made) == 2
    found = store.terms([key])
    assert [(t.term, t.others, t.both_ways, t.note) for t in found] == [
        ("OKR", ("目标",), False, ""),
        ("年假", ("annual leave", "带薪休假"), True, "HR"),
    ]
    assert {t.collection_id for t in found} == {key}


def test_a_term_written_otherwise_replaces_the_one_that_is_there(store: GlossaryStore, bench) -> None:  # type: ignore[no-untyped-def]
    key = bench.collection.id
    store.put(key, [GlossaryTerm("OKR", ("old",))])
    store.put(key, [GlossaryTerm("ｏｋｒ ", ("new", "NEW", "okr", " "))])
    assert [(t.term, t.others) for t in store.terms([key])] == [("ｏｋｒ", ("new",))]


def test_replace_leaves_only_what_is_given_and_remove_is_all_or_none(store: GlossaryStore, bench) -> None:  # type: ignore[no-untyped-def]
    key = bench.collection.id
    store.put(key, [GlossaryTerm("a1", ("x",)), GlossaryTerm("b2", ("y",))])
    assert store.replace(key, [GlossaryTerm("c3", ("z",)), GlossaryTerm("d4", ("z",))]) == 2
    with pytest.raises(NotFoundError, match="'nope'"):
        store.remove(key, ["c3", "nope"])
    assert [t.term for t in store.terms([key])] == ["c3", "d4"]
    store.remove(key, ["C3"])
    assert [t.term for t in store.terms([key])] == ["d4"]


@pytest.mark.parametrize(
    ("term", "said"),
    [
        (GlossaryTerm("  ", ("x",)), "no letter"),
        (GlossaryTerm("OKR", ()), "no other word"),
        (GlossaryTerm("OKR", ("okr", "")), "no other word"),
        (GlossaryTerm("w" * 101, ("x",)), "100"),
        (GlossaryTerm("OKR", ("w" * 101,)), "100"),
        (GlossaryTerm("OKR", tuple(f"w{n}" for n in range(21))), "20"),
    ],
)
def test_what_is_no_term_is_refused_and_nothing_is_written(
    store: GlossaryStore,
    bench,  # type: ignore[no-untyped-def]
    term: GlossaryTerm,
    said: str,
) -> None:
    key = bench.collection.id
    for write in (store.put, store.replace):
        with pytest.raises(InputError, match=said):
            write(key, [GlossaryTerm("good", ("word",)), term])
    assert store.terms([key]) == []


def test_a_collection_keeps_its_own_and_takes_it_along(store: GlossaryStore, bench) -> None:  # type: ignore[no-untyped-def]
    other = bench.collections.create("other", bench.collection.fingerprint)
    store.put(bench.collection.id, [GlossaryTerm("OKR", ("mine",))])
    store.put(other.id, [GlossaryTerm("OKR", ("theirs",))])
    assert [t.others for t in store.terms([other.id])] == [("theirs",)]
    assert len(store.terms([other.id, bench.collection.id])) == 2
    bench.collections.delete(other.id)
    assert store.terms([other.id]) == []
    with pytest.raises(NotFoundError):
        store.put(other.id, [GlossaryTerm("OKR", ("late",))])
