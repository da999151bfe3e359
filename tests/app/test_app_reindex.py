"""Reindex with real processes: questions get right answers all the time, and a kill in the middle loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.reindex import Reindex
from app.wiring import Alioth
from core.errors import ConflictError, InputError, NotFoundError
from core.settings import IngestSettings, Settings
from core.types import Collection
from ingest.chunk_settings import choose, largest_chunk
from models.fakes import FakeEmbedder
from storage.reindex import Purpose, ReindexState
from tests.app.cli_driver import CommandLine
from tests.models.twin import put_twin


@dataclass
class Office:
    """A collection of documents and a second embedder; the parts in this process, and the command line beside them."""

    cli: CommandLine
    parts: Alioth

    @property
    def assets(self) -> Collection:
        found: Collection = self.parts.collections.get("Assets")
        return found

    def state(self) -> ReindexState | None:
        """Of the index under way."""
        found = self.parts.reindexes.state(self.assets.id)
        return next((one for one in found if one.purpose is not Purpose.PREVIOUS), None)

    def rows(self) -> list[tuple[str, str, int]]:
        return [(row.id, row.path, row.version) for row in self.parts.documents.list(self.assets.id)]

    def best(self, question: str, *names: str) -> str:
        """Path of the best chunk."""
        collections = [self.parts.collections.get(name) for name in names or ("Assets",)]
        results = self.parts.retriever.retrieve(question, collections, 3).results
        return results[0].chunk.path if results else ""

    def verified(self) -> bool:
        from app.checks import index_findings
        from storage.consistency import verify_vector_collections

        strays = verify_vector_collections(self.parts.db, self.parts.vectors)
        return index_findings(self.parts, self.parts.collections.list()) == [] and strays == []


@pytest.fixture(scope="module")
def office(alioth: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    put_twin(alioth.home)
    folder = tmp_path_factory.mktemp("documents")
    for number in range(12):
        text = f"# Asset {number}\n\nAsset A-{number:03} is kept in room {number * 13}.\n\n"
        (folder / f"asset-{number:03}.md").write_text(text + "It is checked once a year by the caretaker. " * 25)
    alioth.ok("collection", "create", "Assets", "--chunk-tokens", "100", "--chunk-overlap", "10")
    alioth.ok("ingest", "add", folder, "-c", "Assets")
    parts = Alioth(Settings(home=alioth.home), start_services=False)  # the command left them running for a while
    yield Office(alioth, parts)
    parts.close()


class Asker:
    """Asks all the time, sometimes with what it knew of the collection before, and remembers what was wrong."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.asked = 0
        self.wrong: list[str] = []

    def _run(self) -> None:
        known = self._office.assets
        while not self._stop.is_set():
            try:
                results = self._office.parts.retriever.retrieve("asset A-007", [known], 3).results
                if not results or results[0].chunk.path != "asset-007.md":
                    self.wrong.append(str([item.chunk.path for item in results]))
            except Exception as error:
                self.wrong.append(repr(error))
            self.asked += 1
            if self.asked % 3 == 0:
                known = self._office.assets
            self._stop.wait(0.05)

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def asker(office: Office) -> Iterator[Asker]:
    with Asker(office) as asking:
        yield asking
    assert asking.asked >= 5 and asking.wrong == []


def _wait(condition: Callable[[], Any], seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def test_chunk_settings_of_a_collection_are_kept_shown_and_checked(office: Office) -> None:
    shown = office.cli.ok("collection", "show", "Assets", "--json").json
    assert shown["settings"] == {"chunk_tokens": 100, "chunk_overlap": 10} and shown["documents"] == 12
    assert shown["chunker"].endswith(":100:10") and shown["embedder"] == "all-minilm-l6-v2"
    too_large = office.cli.run("collection", "create", "Large", "--chunk-tokens", "300")
    assert too_large.code == 1 and "256 tokens" in too_large.err
    for refused in (
        lambda: office.parts.create_collection("Wrong", chunk_tokens=100, chunk_overlap=51),
        lambda: office.parts.create_collection("Wrong", chunk_tokens=20),
        lambda: office.parts.create_collection("Wrong", embedder_id="nobody"),
    ):
        with pytest.raises((InputError, NotFoundError)):
            refused()


def test_another_embedder_takes_over_while_questions_are_answered(office: Office, asker: Asker) -> None:
    before, rows = office.assets, office.rows()
    done = office.cli.ok("collection", "reindex", "Assets", "--embedder", "twin", "--json").json
    assert done["switched"] and done["embedder"] == "twin" and done["missing"] == []
    assert done["previous"]["embedder"] == "all-minilm-l6-v2" and done["reindex"] is None
    after = office.assets
    assert (after.id, after.documents, after.settings) == (before.id, 12, before.settings) and office.rows() == rows
    assert after.fingerprint.embedder_id == "twin" and after.vector_key != before.vector_key
    assert office.best("Where is asset A-007 kept?") == "asset-007.md" and office.verified()
    assert not Reindex(office.parts, after).begin("twin", None, None), "it is so already"


def test_a_killed_reindex_goes_on_with_the_same_command_and_carries_changes_over(
    office: Office, asker: Asker, tmp_path: Path
) -> None:
    kept = office.assets
    command = office.cli.command("collection", "reindex", "Assets", "--chunk-tokens", "64")
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(command, env=office.cli.environment, stdout=log, stderr=log)
        try:
            _wait(lambda: office.state() is not None)
            _wait(lambda: (state := office.state()) is None or state.done >= 1)
        finally:
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
    under_way = office.state()
    if under_way is not None:  # else this process was kept waiting for so long that the other came to its end
        assert under_way.purpose is Purpose.BUILDING and under_way.done <= 12
        assert office.assets.fingerprint == kept.fingerprint
        with pytest.raises(ConflictError, match="--cancel"):
            Reindex(office.parts, office.assets).begin(None, 80, None)
    (tmp_path / "late.md").write_text("The late asset L-1 is kept in the cellar.", "utf-8")
    office.cli.ok("ingest", "add", tmp_path / "late.md", "-c", "Assets")
    row = office.parts.documents.find(kept.id, "asset-011.md")
    assert row is not None
    office.parts.documents.delete(row.id)
    done = office.cli.ok("collection", "reindex", "Assets", "--chunk-tokens", "64", "--json")
    assert under_way is None or (done.json["switched"] and "100%  12 of 12 documents" in done.err)
    assert office.assets.settings["chunk_tokens"] == 64 and office.verified()
    assert office.best("late asset L-1") == "late.md" and office.best("asset A-011") != "asset-011.md"


def test_the_index_before_comes_back_and_can_be_forgotten(office: Office, asker: Asker) -> None:
    rows = office.rows()
    office.cli.ok("collection", "reindex", "Assets", "--rollback")
    assert office.assets.settings["chunk_tokens"] == 100 and office.rows() == rows and office.verified()
    shown = office.cli.ok("collection", "reindex", "Assets", "--status", "--json").json
    assert shown["previous"]["settings"]["chunk_tokens"] == 64 and shown["reindex"] is None
    assert office.cli.ok("collection", "reindex", "Assets", "--forget-previous", "--json").json["dropped"]
    refused = office.cli.run("collection", "reindex", "Assets", "--rollback")
    assert refused.code == 1 and "No earlier index" in refused.err and office.verified()
    assert office.best("late asset L-1") == "late.md"


def test_one_question_searches_collections_of_different_embedders(office: Office, tmp_path: Path) -> None:
    (tmp_path / "pump.md").write_text("The pump P-9 is switched off by the red lever.", "utf-8")
    office.cli.ok("collection", "create", "Pumps", "--embedder", "all-minilm-l6-v2")
    office.cli.ok("ingest", "add", tmp_path / "pump.md", "-c", "Pumps")
    assert office.assets.fingerprint.embedder_id == "twin"
    for question, path in (("Which lever switches pump P-9 off?", "pump.md"), ("room of asset A-003", "asset-003.md")):
        assert office.best(question, "Pumps", "Assets") == path


def test_options_that_contradict_each_other_are_refused(office: Office) -> None:
    refused = office.cli.run("collection", "reindex", "Assets", "--rollback", "--cancel")
    assert refused.code == 1 and "stands alone" in refused.err


# ---------------------------------------------------------------- the rules, without processes


def test_what_is_not_given_follows_the_instance_as_far_as_the_window_allows() -> None:
    instance = IngestSettings(chunk_tokens=200, chunk_overlap=24)
    assert choose(FakeEmbedder(max_tokens=512), instance) == {"chunk_tokens": 200, "chunk_overlap": 24}
    small = FakeEmbedder(max_tokens=64)
    assert choose(small, instance) == {"chunk_tokens": largest_chunk(small), "chunk_overlap": 23}
    assert choose(small, instance, tokens=40, overlap=5) == {"chunk_tokens": 40, "chunk_overlap": 5}
    with pytest.raises(InputError, match="64 tokens"):
        choose(small, instance, tokens=60)
    prefixed = FakeEmbedder(max_tokens=64)
    prefixed.document_prefix = "passage: "
    assert largest_chunk(prefixed) < largest_chunk(small)


def test_a_reindex_that_someone_else_cancelled_says_so(alioth_home: Path) -> None:
    one = Alioth(Settings(home=alioth_home))
    try:
        collection = one.create_collection("Notes", chunk_tokens=100)
        run = Reindex(one, collection)
        assert not run.begin(None, None, None), "nothing to do"
        assert run.begin(None, 64, None)
        assert one.reindexes.state(collection.id)[0].hidden.settings == {"chunk_tokens": 64, "chunk_overlap": 24}
        one.reindexes.cancel(collection.id)
        with pytest.raises(ConflictError, match="cancelled by someone else"):
            run.follow(threading.Event())
    finally:
        one.close()
