"""Filters over real rows: which live versions pass, their vectors, and keyword search among them alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from core.filters import make_filters
from core.text import segment
from storage.database import Database
from storage.filtering import FilterStore
from storage.keyword import KeywordIndex
from storage.tables import VersionTable


@pytest.fixture
def filtering(db: Database) -> FilterStore:
    return FilterStore(db)


def ingest(bench, path: str, texts: list[str]) -> str:  # type: ignore[no-untyped-def]
    """The id of the version that is live afterwards."""
    bench.ingest(path, "\n".join([path, *texts]), texts)
    return str(bench.documents.find(bench.collection.id, path).live_version_id)


def facts(db: Database, version_id: str, **values: str) -> None:
    with db.write() as session:
        session.execute(update(VersionTable).where(VersionTable.id == version_id).values(facts=values))


def test_live_versions_pass_by_path_date_and_language(db: Database, filtering: FilterStore, bench) -> None:  # type: ignore[no-untyped-def]
    old = ingest(bench, "hr/old.pdf", ["one"])
    new = ingest(bench, "hr/new.docx", ["two", "three"])
    facts(db, old, created="2019-04-01", language="en")
    facts(db, new, created="2018-01-01", modified="2024-06-01 10:00", language="zh-Hans")
    here = [bench.collection.id]

    def passing(**words) -> tuple[str, ...]:  # type: ignore[no-untyped-def]
        return filtering.select(here, make_filters(**words)).versions

    assert set(passing(paths=["hr"])) == {old, new}
    assert passing(types=["pdf"]) == (old,)
    assert passing(since="2024") == (new,) and passing(until="2019") == (old,)
    assert passing(languages=["zh"]) == (new,)
    assert passing(documents=["hr/old.pdf"]) == (old,)
    assert passing(documents=["hr/none.pdf"]) == ()
    chosen = filtering.select(here, make_filters(paths=["hr/new*"]))
    assert (chosen.documents, chosen.chunks) == (1, 2)
    assert filtering.paths(here, 10) == ["hr/new.docx", "hr/old.pdf"] and len(filtering.paths(here, 1)) == 1


def test_superseded_deleted_and_foreign_documents_never_pass(filtering: FilterStore, bench) -> None:  # type: ignore[no-untyped-def]
    ingest(bench, "a.md", ["first"])
    second = ingest(bench, "a.md", ["second"])
    ingest(bench, "gone.md", ["third"])
    bench.documents.delete(bench.documents.find(bench.collection.id, "gone.md").id)
    everything = make_filters(paths=["*"])
    assert filtering.select([bench.collection.id], everything).versions == (second,)
    assert filtering.select([], everything).versions == ()
    other = bench.collections.create("other", bench.collection.fingerprint)
    assert filtering.select([other.id], everything).versions == ()


def test_vectors_are_those_of_the_chunks_in_sql(filtering: FilterStore, bench) -> None:  # type: ignore[no-untyped-def]
    version = ingest(bench, "a.md", ["one", "two"])
    ingest(bench, "b.md", ["three"])
    [(ids, matrix)] = list(filtering.vectors([version]))
    expected, rows = bench.chunks.embeddings([int(i) for i in ids])
    assert len(ids) == 2 and expected == ids.tolist() and np.array_equal(matrix, rows)


def test_keyword_search_among_some_versions_is_the_search_of_all_without_the_others(
    db: Database,
    bench,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    words = ["alpha", "beta", "gamma", "delta"]
    versions = [ingest(bench, f"{n}.md", [" ".join(words[: 1 + n % 4]) + f" w{n}"]) for n in range(40)]
    index = KeywordIndex(tmp_path / "keyword", db)
    here, tokens = [bench.collection.id], segment("alpha beta gamma")
    chosen = versions[::7]
    owner = {chunk.id: chunk.version_id for version in versions for chunk in bench.chunks.of_version(version)}
    every = index.search(here, tokens, 100)
    some = index.search(here, tokens, 100, versions=chosen)
    assert some == [(i, score) for i, score in every if owner[i] in set(chosen)] and len(some) == len(chosen)
    assert index.search(here, tokens, 100, versions=[]) == []


def test_required_words_must_all_be_there(db: Database, bench, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ingest(bench, "a.md", ["alpha beta"])
    ingest(bench, "b.md", ["alpha gamma"])
    index = KeywordIndex(tmp_path / "keyword", db)
    here = [bench.collection.id]
    found = index.search(here, ["alpha"], 10, required=["alpha", "beta"])
    assert len(found) == 1 and len(index.search(here, ["alpha"], 10)) == 2
    assert index.search(here, ["alpha"], 10, required=["alpha", "omega"]) == []


def test_another_word_counts_less_than_the_word_itself_however_rare(db: Database, bench, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for n in range(30):
        ingest(bench, f"common{n}.md", ["holiday rules apply here"])
    rare = ingest(bench, "rare.md", ["furlough rules apply here"])
    ingest(bench, "none.md", ["other rules apply here"])
    index = KeywordIndex(tmp_path / "keyword", db)
    here = [bench.collection.id]
    found = index.search(here, ["holiday"], 50, instead=[(["holiday"], ["furlough"])])
    owners = [bench.chunks.load_live([i], here)[i].version_id for i, _ in found]
    assert len(found) == 31 and owners[-1] == rare
    assert found[-1][1] <= 0.55 * found[0][1]
