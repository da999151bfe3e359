"""Keyword index: never older than what was ready when the search began, in every process, whatever breaks."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import StorageError
from core.text import segment
from core.types import Fingerprint
from storage.database import Database
from storage.keyword import KeywordIndex

SEARCH_UNTIL_FOUND = """
import sys
from pathlib import Path
from storage.database import Database
from storage.keyword import KeywordIndex
index = KeywordIndex(Path(sys.argv[2]), Database(sys.argv[1]))
print("up", flush=True)
for line in sys.stdin:
    word = line.strip()
    print(",".join(str(i) for i, _ in index.search([sys.argv[3]], [word], 100)), flush=True)
"""

SEARCH_MANY = """
import sys
from pathlib import Path
from storage.database import Database
from storage.keyword import KeywordIndex
index = KeywordIndex(Path(sys.argv[2]), Database(sys.argv[1]))
for _ in range(40):
    index.search([sys.argv[3]], ["common"], 1000)
print(len(index.search([sys.argv[3]], ["common"], 1000)))
"""


@pytest.fixture
def index(bench: Any, tmp_path: Path) -> KeywordIndex:
    return KeywordIndex(tmp_path / "keyword", bench.db)


def ids_for(index: KeywordIndex, bench: Any, *tokens: str, k: int = 100) -> list[int]:
    return [i for i, _ in index.search([bench.collection.id], tokens, k)]


def test_a_version_is_found_as_soon_as_it_is_live_and_its_old_one_is_not(bench: Any, index: KeywordIndex) -> None:
    old = bench.ingest("a", "1", ["apple pear", "plum"])
    assert ids_for(index, bench, "apple") == old[:1]
    new = bench.ingest("a", "2", ["cherry"])
    assert ids_for(index, bench, "apple") == ids_for(index, bench, "plum") == []
    assert ids_for(index, bench, "cherry") == new
    bench.documents.delete(bench.document_id("a"))
    assert ids_for(index, bench, "cherry") == []


def test_what_is_not_live_is_not_found(bench: Any, index: KeywordIndex) -> None:
    version_id = bench.submit("a", "1")
    bench.take(version_id)
    bench.store(version_id, ["apple"])
    assert ids_for(index, bench, "apple") == []


def test_any_word_counts_and_rare_and_frequent_words_rank_as_in_bm25(bench: Any, index: KeywordIndex) -> None:
    texts = ["common rare", "common common", *["common filler"] * 8, "nothing here"]
    ids = bench.ingest("a", "1", texts)
    hits = index.search([bench.collection.id], ["common", "rare"], 100)
    assert hits[0][0] == ids[0] and hits[1][0] == ids[1]
    assert {i for i, _ in hits} == set(ids[:10])
    scores = [score for _, score in hits]
    assert scores == sorted(scores, reverse=True) and scores[-1] > 0
    assert [i for i, s in hits[2:]] == sorted(i for i, s in hits[2:])  # ties by id


def test_scores_are_those_of_bm25(sqlite_bench: Any, tmp_path: Path) -> None:
    index = KeywordIndex(tmp_path / "keyword", sqlite_bench.db)
    texts = ["a b", "a c", "d d", "a a"]
    sqlite_bench.ingest("x", "1", texts)
    hits = dict(index.search([sqlite_bench.collection.id], ["d"], 10))
    documents, holding, frequency, length = len(texts) + 1, 1, 2, 2  # the position is a document of its own
    mean = 8 / documents
    idf = np.log(1 + (documents - holding + 0.5) / (holding + 0.5))
    expected = idf * frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * length / mean))
    assert list(hits.values()) == [pytest.approx(expected, rel=1e-4)]


def test_title_path_and_heading_words_find_a_chunk(bench: Any, index: KeywordIndex) -> None:
    ids = bench.ingest("finance/差旅报销.md", "1", ["body words"], title="Travel Policy")
    for question in ("finance", "差旅", "报销制度", "travel policies"):
        assert ids_for(index, bench, *segment(question)) == ids, question


def test_user_text_is_never_query_syntax(bench: Any, index: KeywordIndex) -> None:
    ids = bench.ingest("a", "1", ["apple", "pear"])
    for tokens in (
        ["apple AND pear"],
        ['"'],
        ["*"],
        ["body:apple"],
        ["id:1"],
        ["applied"],
        ["(("],
        ["\x00"],
        ["-apple"],
    ):
        assert ids_for(index, bench, *tokens) == []
    assert sorted(ids_for(index, bench, "apple", "pear", "OR", "NOT")) == ids


def test_nothing_asked_is_nothing_found(bench: Any, index: KeywordIndex) -> None:
    bench.ingest("a", "1", ["apple"])
    assert index.search([bench.collection.id], [], 5) == []
    assert index.search([], ["apple"], 5) == []
    assert index.search([bench.collection.id], ["apple"], 0) == []
    assert index.search(["0" * 32], ["apple"], 5) == []


def test_a_page_pasted_as_a_question_is_answered_by_its_rare_words(bench: Any, index: KeywordIndex) -> None:
    ids = bench.ingest("a", "1", [f"common w{n}" for n in range(300)])
    tokens = ["common"] * 50 + [f"absent{n}" for n in range(3000)] + ["w7"]
    assert ids_for(index, bench, *tokens, k=1) == [ids[7]]


def test_hits_of_several_collections_are_merged_by_score(
    bench: Any, index: KeywordIndex, make_fingerprint: Callable[..., Fingerprint]
) -> None:
    first = bench.collection
    weak = bench.ingest("a", "1", ["apple and very many other words in it", "x", "y"])[0]
    bench.collection = second = bench.collections.create("Other", make_fingerprint())
    strong = bench.ingest("a", "1", ["apple apple", "x", "y"])[0]
    assert [i for i, _ in index.search([first.id, second.id], ["apple"], 5)] == [strong, weak]
    assert [i for i, _ in index.search([first.id], ["apple"], 5)] == [weak]


def test_a_search_in_another_process_sees_what_was_switched_before_it_began(
    bench: Any, index: KeywordIndex, tmp_path: Path, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    process = subprocess_with_input(start_python, bench, tmp_path)
    expected: list[int] = []
    for turn in range(12):
        expected += bench.ingest(f"{turn}", f"{turn}", ["common words"])
        if turn % 3 == 2:
            assert ids_for(index, bench, "common") == expected  # this process applies, the other only reloads
        assert process("common") == expected
    bench.documents.delete(bench.document_id("3"))
    del expected[3]
    assert process("common") == expected == ids_for(index, bench, "common")


def subprocess_with_input(
    start_python: Callable[..., subprocess.Popen[str]], bench: Any, tmp_path: Path
) -> Callable[[str], list[int]]:
    import sys

    process = subprocess.Popen(
        [sys.executable, "-c", SEARCH_UNTIL_FOUND, bench.db.url, str(tmp_path / "keyword"), bench.collection.id],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == "up\n"

    def ask(word: str) -> list[int]:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(word + "\n")
        process.stdin.flush()
        answer = process.stdout.readline().strip()
        return [int(i) for i in answer.split(",") if i]

    start_python.__dict__.setdefault("also", []).append(process)
    return ask


@pytest.fixture(autouse=True)
def end_processes(start_python: Callable[..., subprocess.Popen[str]]) -> Any:
    """End the asking processes that tests of this module started."""
    yield
    for process in start_python.__dict__.get("also", []):
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def test_two_processes_and_threads_that_catch_up_while_documents_change_end_complete(
    bench: Any, index: KeywordIndex, tmp_path: Path, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    arguments = (bench.db.url, tmp_path / "keyword", bench.collection.id)
    processes = [start_python(SEARCH_MANY, *arguments) for _ in range(2)]
    errors: list[Exception] = []

    def search() -> None:
        try:
            for _ in range(30):
                index.search([bench.collection.id], ["common"], 10)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(30):
        bench.ingest(f"{turn % 10}", f"{turn}", ["common words", f"only{turn}"])
    for thread in threads:
        thread.join()
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    assert errors == []
    assert sorted(ids_for(index, bench, "common")) == sorted(bench.live())[::2]
    assert set(index.ids(bench.collection.id).tolist()) == bench.live()


def test_all_outstanding_changes_are_one_catch_up_and_a_second_has_nothing_to_do(
    bench: Any, index: KeywordIndex
) -> None:
    for turn in range(10):
        bench.ingest("same", f"{turn}", ["x"])
        bench.ingest(f"{turn}", f"{turn}", ["y"])
    assert index.catch_up(bench.collection.id) == 29
    assert index.catch_up(bench.collection.id) == 0
    bench.ingest("later", "z")
    assert index.catch_up(bench.collection.id) == 1
    assert set(index.ids(bench.collection.id).tolist()) == bench.live()


def test_catching_up_in_several_commits_ends_like_one(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.keyword_replica._COMMIT_ROWS", 3)
    index = KeywordIndex(tmp_path / "keyword", bench.db)
    bench.ingest("first", "0", ["x"])
    index.catch_up(bench.collection.id)
    for turn in range(12):
        bench.ingest(f"{turn % 5}", f"{turn}", ["x", "y"])
    bench.documents.delete(bench.document_id("2"))
    index.catch_up(bench.collection.id)
    assert set(index.ids(bench.collection.id).tolist()) == bench.live()


def test_versions_purged_before_a_replica_saw_them_do_not_disturb_it(bench: Any, index: KeywordIndex) -> None:
    bench.ingest("a", "0", ["x"])
    index.catch_up(bench.collection.id)
    for turn in range(4):
        bench.ingest("a", f"{turn + 1}", ["x"])
    for purge in bench.documents.purgeable():
        bench.documents.purged(purge.version_id)
    assert set(ids_for(index, bench, "x")) == bench.live()


def break_meta(folder: Path) -> None:
    (folder / "meta.json").write_text("{")


def break_segments(folder: Path) -> None:
    for path in folder.glob("*.term"):
        path.unlink()


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder)


def empty_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def other_schema(folder: Path) -> None:
    import tantivy

    shutil.rmtree(folder)
    folder.mkdir()
    tantivy.Index(tantivy.SchemaBuilder().add_text_field("other").build(), path=str(folder))


@pytest.mark.parametrize("damage", [break_meta, break_segments, remove_all, empty_all, other_schema])
@pytest.mark.parametrize("restarted", [True, False])
def test_a_damaged_folder_is_made_anew_from_sql(
    sqlite_bench: Any, tmp_path: Path, damage: Callable[[Path], None], restarted: bool
) -> None:
    ids = sqlite_bench.ingest("a", "1", ["apple", "pear"])
    folder = tmp_path / "keyword"
    index = KeywordIndex(folder, sqlite_bench.db)
    assert ids_for(index, sqlite_bench, "apple") == ids[:1]
    damage(folder / sqlite_bench.collection.id)
    if restarted:
        index = KeywordIndex(folder, sqlite_bench.db)
    assert ids_for(index, sqlite_bench, "apple") == ids[:1]
    more = sqlite_bench.ingest("b", "2", ["apple pie"])
    assert sorted(ids_for(index, sqlite_bench, "apple")) == ids[:1] + more


def test_a_replica_of_a_database_restored_from_a_backup_is_made_anew(sqlite_bench: Any, tmp_path: Path) -> None:
    first = sqlite_bench.ingest("a", "1", ["apple"])
    sqlite_bench.db.close()
    with Database(sqlite_bench.db.url).read():
        pass
    backup = tmp_path / "backup.db"
    with sqlite_bench.db.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql(f"VACUUM INTO '{backup}'")
        connection.exec_driver_sql("BEGIN")
    sqlite_bench.ingest("b", "2", ["apple lost"])
    sqlite_bench.ingest("c", "3", ["apple lost"])
    folder = tmp_path / "keyword"
    assert len(ids_for(KeywordIndex(folder, sqlite_bench.db), sqlite_bench, "apple")) == 3

    restored = Database(f"sqlite:///{backup}")
    index = KeywordIndex(folder, restored)
    assert [i for i, _ in index.search([sqlite_bench.collection.id], ["apple"], 9)] == first
    assert index.ids(sqlite_bench.collection.id).tolist() == first
    restored.close()


def test_rebuilding_gives_exactly_the_live_chunks(bench: Any, index: KeywordIndex) -> None:
    bench.ingest("a", "1", ["x", "y"])
    bench.ingest("a", "2", ["x", "y", "z"])
    assert index.rebuild(bench.collection.id) == 3
    assert set(index.ids(bench.collection.id).tolist()) == bench.live()
    assert index.catch_up(bench.collection.id) == 0


def test_searches_go_on_while_another_process_rebuilds(sqlite_bench: Any, tmp_path: Path) -> None:
    ids = sqlite_bench.ingest("a", "1", ["apple"] * 50)
    mine = KeywordIndex(tmp_path / "keyword", sqlite_bench.db)
    theirs = KeywordIndex(tmp_path / "keyword", sqlite_bench.db)
    stop = threading.Event()

    def rebuild() -> None:
        while not stop.is_set():
            theirs.rebuild(sqlite_bench.collection.id)

    thread = threading.Thread(target=rebuild)
    thread.start()
    try:
        for _ in range(40):
            assert len(ids_for(mine, sqlite_bench, "apple")) == len(ids)
    finally:
        stop.set()
        thread.join()


def test_dropping_removes_the_folder_and_a_deleted_collection_finds_nothing(bench: Any, index: KeywordIndex) -> None:
    bench.ingest("a", "1", ["apple"])
    assert len(ids_for(index, bench, "apple")) == 1
    bench.collections.delete(bench.collection.id)
    assert ids_for(index, bench, "apple") == []
    index.drop(bench.collection.id)
    assert len(index.ids(bench.collection.id)) == 0
    assert index.catch_up(bench.collection.id) == 0


def test_what_another_machine_dropped_is_removed_here_and_nothing_else(
    bench: Any, index: KeywordIndex, tmp_path: Path
) -> None:
    assert index.drop_unknown() == 0
    bench.ingest("a", "1", ["apple"])
    assert len(ids_for(index, bench, "apple")) == 1
    assert index.drop_unknown() == 0
    assert len(ids_for(index, bench, "apple")) == 1
    bench.collections.delete(bench.collection.id)
    assert index.drop_unknown() == 1
    assert len(index.ids(bench.collection.id)) == 0 and index.drop_unknown() == 0


def test_a_folder_that_cannot_be_written_is_a_storage_error(sqlite_bench: Any, tmp_path: Path) -> None:
    sqlite_bench.ingest("a", "1", ["apple"])
    (tmp_path / "file").write_text("in the way")
    index = KeywordIndex(tmp_path / "file" / "keyword", sqlite_bench.db)
    with pytest.raises(StorageError, match="Cannot write the keyword index"):
        ids_for(index, sqlite_bench, "apple")


def test_an_id_that_is_no_id_never_becomes_a_path(sqlite_bench: Any, tmp_path: Path) -> None:
    index = KeywordIndex(tmp_path / "keyword", sqlite_bench.db)
    with pytest.raises(StorageError, match="no collection id"):
        index.drop("../alioth.db")


class _Leaky:
    """Writes each chunk's entry under another version's name, `times` times: they are lost for their own."""

    def __init__(self, times: int) -> None:
        from storage.keyword_entries import entry

        self.times, self._write = times, entry

    def __call__(self, row: Any) -> Any:
        if self.times > 0:
            self.times -= 1
            row = dataclasses.replace(row, version_id="f" * 32)
        return self._write(row)


def test_entries_that_were_lost_on_the_way_are_noticed_before_any_search(
    bench: Any, index: KeywordIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = bench.ingest("a", "1", ["apple pear", "apple plum"])
    monkeypatch.setattr("storage.keyword_replica.entry", _Leaky(1))
    assert ids_for(index, bench, "apple") == ids  # made anew from SQL, whole
    assert index.ids(bench.collection.id).tolist() == ids


def test_half_a_version_is_never_searched(bench: Any, index: KeywordIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.ingest("a", "1", ["apple pear", "apple plum"])
    monkeypatch.setattr("storage.keyword_replica.entry", _Leaky(99))
    with pytest.raises(StorageError, match="0 entries for 2 chunks"):
        ids_for(index, bench, "apple")
