"""The quality lab: strangers and readers get nothing, editors all; the worker does a run and survives trouble."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app import quality_work
from app.quality import QualityLab
from app.wiring import Alioth
from chat.retrieval.refuse import weigh
from chat.retrieval.retrieve import Retrieval
from core.errors import AliothError, IndexUnavailableError, InputError, NotFoundError, PermissionDeniedError
from core.settings import Settings
from core.types import SYSTEM, Collection, Fingerprint, Locator, Principal, Role, ScoredChunk, StoredChunk
from evals.figures import summary
from models.fakes import FakeLanguageModel
from models.protocols import Lane
from storage.quality import SetQuestion
from storage.quality_runs import RunStore


@pytest.fixture
def alioth(alioth_home: Path) -> Iterator[Alioth]:
    parts = Alioth(Settings(home=alioth_home))
    yield parts
    parts.close()


@pytest.fixture
def collection(alioth: Alioth) -> Collection:
    return alioth.collections.create("handbook", Fingerprint("test", "0" * 64, 8, True, "", "1"))


def person(alioth: Alioth, name: str, collection: Collection | None = None, role: Role = Role.READ) -> Principal:
    user = alioth.accounts_store.add_user(name, "hash", False)
    if collection is not None:
        alioth.accounts_store.grant(collection.id, "user", user.id, role)
    return Principal(user.id, user.name)


QUESTIONS = [
    SetQuestion("a", "How long?", {"gold_doc_ids": ["hr/leave.md"]}),
    SetQuestion("b", "How far?", {"gold_doc_ids": ["none.md"]}),
]


def lab_with_a_run(alioth: Alioth, collection: Collection) -> tuple[QualityLab, str, str]:
    lab = alioth.quality
    made = lab.create_set(SYSTEM, collection.id, "main")
    lab.put(SYSTEM, made.id, QUESTIONS)
    return lab, made.id, lab.start(SYSTEM, made.id, "retrieval", "first").id


def every_way_in(
    lab: QualityLab, collection_id: str, set_id: str, run_id: str
) -> dict[str, Callable[[Principal], Any]]:
    return {
        "sets": lambda who: lab.sets(who, collection_id),
        "set": lambda who: lab.set(who, set_id),
        "named_set": lambda who: lab.named_set(who, collection_id, "main"),
        "open_set": lambda who: lab.open_set(who, collection_id, "main"),
        "create_set": lambda who: lab.create_set(who, collection_id, "new"),
        "rename_set": lambda who: lab.rename_set(who, set_id, "new"),
        "delete_set": lambda who: lab.delete_set(who, set_id),
        "questions": lambda who: lab.questions(who, set_id),
        "put": lambda who: lab.put(who, set_id, QUESTIONS),
        "import": lambda who: lab.import_file(who, set_id, b'{"question": "x?"}', "a.jsonl"),
        "remove": lambda who: lab.remove(who, set_id, ["a"]),
        "export": lambda who: lab.export(who, set_id),
        "generate": lambda who: lab.generate(who, set_id, 5),
        "feedback": lambda who: lab.feedback(who, collection_id),
        "take_feedback": lambda who: lab.take_feedback(who, set_id, []),
        "start": lambda who: lab.start(who, set_id, "retrieval", "mine"),
        "runs": lambda who: lab.runs(who, collection_id),
        "run": lambda who: lab.run(who, run_id),
        "run by name": lambda who: lab.run(who, "first"),
        "rows": lambda who: lab.rows(who, run_id),
        "cancel": lambda who: lab.cancel(who, run_id),
        "delete_run": lambda who: lab.delete_run(who, run_id),
        "compare": lambda who: lab.compare(who, run_id, run_id),
    }


def test_a_stranger_and_a_reader_get_nothing_by_any_way(alioth: Alioth, collection: Collection) -> None:
    lab, set_id, run_id = lab_with_a_run(alioth, collection)
    stranger, reader = person(alioth, "stranger"), person(alioth, "reader", collection)
    ways = every_way_in(lab, collection.id, set_id, run_id)
    public = {name for name in dir(QualityLab) if not name.startswith("_")}
    tried = {name.partition(" ")[0].replace("import", "import_file") for name in ways}
    assert public - tried == {"collections", "can_write_questions", "save"}
    for name, way in ways.items():
        with pytest.raises(NotFoundError):
            way(stranger)
        with pytest.raises((NotFoundError, PermissionDeniedError)):
            way(reader)
        assert name
    for who in (stranger, reader):
        assert lab.collections(who) == [] and lab.runs(who) == []
    assert [one.question for one in lab.questions(SYSTEM, set_id)] == ["How long?", "How far?"]


def test_a_stranger_is_told_the_same_of_a_set_that_is_not_there(alioth: Alioth, collection: Collection) -> None:
    lab, set_id, _ = lab_with_a_run(alioth, collection)
    stranger = person(alioth, "stranger")
    said = []
    for one in (set_id, "0" * 32):
        with pytest.raises(NotFoundError) as caught:
            lab.set(stranger, one)
        said.append(str(caught.value).replace(one, "ID"))
    assert said[0] == said[1]


def test_an_editor_sees_sets_and_runs_of_the_collection(alioth: Alioth, collection: Collection) -> None:
    lab, set_id, run_id = lab_with_a_run(alioth, collection)
    editor = person(alioth, "editor", collection, Role.WRITE)
    assert [one.id for one in lab.sets(editor, collection.id)] == [set_id]
    assert [one.id for one in lab.runs(editor)] == [run_id] == [lab.run(editor, "first").id]
    assert [one.name for one in lab.collections(editor)] == ["handbook"]


def test_runs_over_files_are_their_makers(alioth: Alioth) -> None:
    lab = alioth.quality
    mine, other = person(alioth, "mine"), person(alioth, "other")
    asked = [{"qid": "a", "question": "?"}]
    saved = lab.save(mine, "main", "retrieval", "file", asked, [{"qid": "a"}], {}, {})
    assert lab.run(mine, "main").id == saved.id == lab.run(SYSTEM, "main").id
    assert lab.runs(other) == []
    with pytest.raises(NotFoundError):
        lab.run(other, saved.id)
    with pytest.raises(InputError, match="without a name"):
        lab.save(mine, "  ", "retrieval", "file", asked, [], {}, {})


@pytest.mark.parametrize(
    ("change", "words"), [({"kind": "speed"}, "'speed'"), ({"set_id": "empty"}, "no question")], ids=["kind", "empty"]
)
def test_a_run_that_makes_no_sense_is_refused(
    alioth: Alioth, collection: Collection, change: dict[str, str], words: str
) -> None:
    lab, set_id, _ = lab_with_a_run(alioth, collection)
    if "set_id" in change:
        change = {"set_id": lab.create_set(SYSTEM, collection.id, "empty").id}
    given = {"set_id": set_id, "kind": "retrieval", "name": "x"} | change
    with pytest.raises(InputError, match=words):
        lab.start(SYSTEM, **given)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the worker's part


class Finds:
    """A retriever that finds one document; `trouble` is raised first, as often as it has entries."""

    def __init__(self, *trouble: AliothError, before: Callable[[], object] = lambda: None) -> None:
        self.trouble, self.before, self.asked = list(trouble), before, 0

    def retrieve(self, query: str, collections: Sequence[Collection], k: int = 10, **_: object) -> Retrieval:
        self.before()
        self.asked += 1
        if self.trouble:
            raise self.trouble.pop(0)
        chunk = StoredChunk(1, "c", "d", "v", 0, "hr/leave.md", "", "", "ten days", Locator())
        found = [ScoredChunk(chunk, 1.0)]
        return Retrieval(found, weigh(["days"], found, None), {})

    def close(self) -> None: ...


def work(alioth: Alioth, finds: Finds, stop: threading.Event | None = None) -> bool:
    alioth.__dict__["retriever"] = finds
    return quality_work.work_one(alioth, stop or threading.Event())


def test_the_worker_asks_every_question_and_keeps_results_figures_and_facts(
    alioth: Alioth, collection: Collection
) -> None:
    lab, _, run_id = lab_with_a_run(alioth, collection)
    assert work(alioth, Finds()) and not work(alioth, Finds())
    run = lab.run(SYSTEM, run_id)
    assert (run.state, run.done, run.report["hit@1"], run.error) == ("done", 2, 0.5, "")
    results = [result for _, result in lab.rows(SYSTEM, run_id)]
    assert [result["hit@1"] for result in results if result] == [1.0, 0.0]
    assert run.report == summary("retrieval", results)
    assert run.facts["collection"]["name"] == "handbook" and run.facts["embedder"] == "test"
    assert len(run.facts["sources"]) == 12 and run.facts["chat"]["mode"]


def test_a_run_goes_on_where_it_was_stopped(alioth: Alioth, collection: Collection) -> None:
    lab, _, run_id = lab_with_a_run(alioth, collection)
    stop = threading.Event()
    assert not work(alioth, Finds(before=stop.set), stop)
    assert (lab.run(SYSTEM, run_id).state, lab.run(SYSTEM, run_id).done) == ("queued", 1)
    rest = Finds()
    assert work(alioth, rest) and rest.asked == 1
    assert lab.run(SYSTEM, run_id).state == "done"


def test_what_passes_is_waited_for_and_what_stays_fails_the_run_with_its_words(
    alioth: Alioth, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_work, "POLL_S", 0.0)
    away = IndexUnavailableError("The vector server does not answer.", "Start it.")
    lab, set_id, run_id = lab_with_a_run(alioth, collection)
    assert work(alioth, Finds(away, away)) and lab.run(SYSTEM, run_id).state == "done"
    again = lab.start(SYSTEM, set_id, "retrieval", "again")
    assert work(alioth, Finds(*[away] * 9))
    failed = lab.run(SYSTEM, again.id)
    assert failed.state == "failed" and "does not answer" in failed.error and "Start it." in failed.error


def test_a_question_that_cannot_be_asked_does_not_stop_the_others(alioth: Alioth, collection: Collection) -> None:
    lab, _, run_id = lab_with_a_run(alioth, collection)
    work(alioth, Finds(InputError("The question is no question.")))
    run = lab.run(SYSTEM, run_id)
    first, second = (result for _, result in lab.rows(SYSTEM, run_id))
    assert run.state == "done" and first and "no question" in first["error"] and second and "hit@1" in second


def test_a_run_over_answers_asks_the_model_only_while_nobody_waits(
    alioth: Alioth, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes: list[Lane] = []

    class Asked:
        def __init__(self, *_: object, lane: Lane, **__: object) -> None:
            lanes.append(lane)

        def answer(self, *_: object) -> None:
            raise InputError("This test asks no model.")

    monkeypatch.setattr("chat.answer.Answerer", Asked)
    alioth.__dict__["llm"] = FakeLanguageModel()
    lab, set_id, _ = lab_with_a_run(alioth, collection)
    lab.start(SYSTEM, set_id, "answers", "second")
    assert work(alioth, Finds()) and work(alioth, Finds())
    assert lanes == [Lane.BACKGROUND] * len(QUESTIONS)


def test_a_cancelled_or_deleted_run_is_left_alone(alioth: Alioth, collection: Collection) -> None:
    lab, set_id, run_id = lab_with_a_run(alioth, collection)
    work(alioth, Finds(before=lambda: lab.cancel(SYSTEM, run_id)))
    assert (lab.run(SYSTEM, run_id).state, lab.run(SYSTEM, run_id).done) == ("cancelled", 0)
    again = lab.start(SYSTEM, set_id, "retrieval", "again")
    assert work(alioth, Finds(before=lambda: RunStore(alioth.db).delete(again.id) if lab.runs(SYSTEM) else None))
    with pytest.raises(NotFoundError):
        lab.run(SYSTEM, again.id)


def test_an_unexpected_fault_ends_the_run_not_the_worker(alioth: Alioth, collection: Collection) -> None:
    lab, _, run_id = lab_with_a_run(alioth, collection)

    def fault() -> None:
        raise ZeroDivisionError("oops")

    assert work(alioth, Finds(before=fault))
    assert lab.run(SYSTEM, run_id).state == "failed" and "ZeroDivisionError" in lab.run(SYSTEM, run_id).error
