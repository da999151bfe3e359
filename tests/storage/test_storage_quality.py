"""Question sets and runs: kept with their collection, done by one at a time; feedback only where it may be seen."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from core.errors import ConflictError, InputError, LeaseLostError, LimitError, NotFoundError
from core.types import Answer, AnswerMode, Citation, Locator
from storage import quality
from storage.collections import CollectionStore
from storage.conversations import ConversationStore
from storage.database import Database
from storage.feedback import judged_answers
from storage.quality import QuestionSetStore, SetQuestion
from storage.quality_runs import NewRun, RunStore

ASKED = [{"qid": "a", "question": "First?"}, {"qid": "b", "question": "Second?"}]


def collection_of(db: Database, name: str = "handbook") -> str:
    from core.types import Fingerprint

    return CollectionStore(db).create(name, Fingerprint("test", "0" * 64, 8, True, "", "1")).id


def queued(db: Database, collection_id: str | None, name: str = "run", by: str = "u") -> str:
    return RunStore(db).create(NewRun(collection_id, "set", name, "retrieval", ASKED, {"seed": 1}, {}, by)).id


def test_questions_come_back_as_they_were_put_in_and_in_order(db: Database) -> None:
    sets = QuestionSetStore(db)
    made = sets.create(collection_of(db), "员工 手册", "editor")
    questions = [
        SetQuestion("q2", "年假几天？", {"gold_doc_ids": ["a.md"], "answers": ["十天"]}, "generated", "note"),
        SetQuestion("q1", "How long?", {"unanswerable": True}),
    ]
    assert sets.put(made.id, questions) == (2, 0)
    assert sets.questions(made.id) == questions
    assert [one.questions for one in sets.list(made.collection_id)] == [2]


def test_a_known_qid_is_replaced_in_its_place(db: Database) -> None:
    sets = QuestionSetStore(db)
    made = sets.create(collection_of(db), "set")
    sets.put(made.id, [SetQuestion("a", "One?"), SetQuestion("b", "Two?")])
    assert sets.put(made.id, [SetQuestion("c", "Three?"), SetQuestion("a", "One again?")]) == (1, 1)
    assert [one.question for one in sets.questions(made.id)] == ["One again?", "Two?", "Three?"]
    assert sets.remove(made.id, ["b", "nothing"]) == 1
    assert [one.qid for one in sets.questions(made.id)] == ["a", "c"]


def test_names_are_unique_within_a_collection_whatever_their_case(db: Database) -> None:
    sets = QuestionSetStore(db)
    first, second = collection_of(db), collection_of(db, "other")
    made = sets.create(first, "Main")
    sets.create(second, "main")
    with pytest.raises(ConflictError, match="'MAIN'"):
        sets.create(first, "MAIN")
    other = sets.create(first, "another")
    with pytest.raises(ConflictError, match="'main'"):
        sets.rename(other.id, "main")
    assert sets.find(first, "mAIN") == made


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (SetQuestion("a", "  "), "empty"),
        (SetQuestion("a", "x" * 4001), "4001 characters"),
        (SetQuestion("", "Why?"), "id"),
        (SetQuestion("a", "Why?", {}, "elsewhere"), "elsewhere"),
    ],
    ids=["blank", "long", "no-id", "origin"],
)
def test_a_bad_question_is_refused_and_nothing_is_kept(db: Database, question: SetQuestion, words: str) -> None:
    sets = QuestionSetStore(db)
    made = sets.create(collection_of(db), "set")
    with pytest.raises(InputError, match=words):
        sets.put(made.id, [SetQuestion("good", "Good?"), question])
    assert sets.questions(made.id) == []


def test_a_set_does_not_grow_over_its_limit(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "MOST_QUESTIONS", 2)
    sets = QuestionSetStore(db)
    made = sets.create(collection_of(db), "set")
    sets.put(made.id, [SetQuestion("a", "A?"), SetQuestion("b", "B?")])
    with pytest.raises(LimitError, match="3 questions"):
        sets.put(made.id, [SetQuestion("c", "C?")])
    assert sets.put(made.id, [SetQuestion("a", "A again?")]) == (0, 1)


def test_sets_and_runs_go_with_their_collection(db: Database) -> None:
    collection_id = collection_of(db)
    sets, runs = QuestionSetStore(db), RunStore(db)
    made = sets.create(collection_id, "set")
    sets.put(made.id, [SetQuestion("a", "A?")])
    run_id = queued(db, collection_id)
    CollectionStore(db).delete(collection_id)
    for gone in (lambda: sets.get(made.id), lambda: runs.get(run_id)):
        with pytest.raises(NotFoundError):
            gone()
    assert runs.rows(run_id) == []


def test_a_run_is_worked_on_by_one_at_a_time_and_keeps_what_it_has(db: Database) -> None:
    runs = RunStore(db)
    run_id = queued(db, collection_of(db))
    first = runs.claim("one", 60)
    assert first is not None and (first.id, first.state, first.done, first.total) == (run_id, "running", 0, 2)
    assert runs.claim("two", 60) is None
    runs.store(run_id, "one", 0, {"qid": "a", "mrr@10": 1.0})
    assert [result for _, result in runs.rows(run_id)] == [{"qid": "a", "mrr@10": 1.0}, None]
    with pytest.raises(LeaseLostError):
        runs.store(run_id, "two", 1, {"qid": "b"})
    runs.release(run_id, "one")
    again = runs.claim("two", 60)
    assert again is not None and again.done == 1
    runs.finish(run_id, "two", {"mrr@10": 1.0})
    done = runs.get(run_id)
    assert (done.state, done.report, done.finished_at is not None) == ("done", {"mrr@10": 1.0}, True)


def test_a_run_whose_worker_fell_silent_is_taken_over_and_the_old_one_can_store_nothing(db: Database) -> None:
    runs = RunStore(db)
    run_id = queued(db, collection_of(db))
    assert runs.claim("dead", -1) is not None
    assert runs.claim("alive", 60) is not None
    assert not runs.touch(run_id, "dead", 60) and runs.touch(run_id, "alive", 60)
    with pytest.raises(LeaseLostError):
        runs.store(run_id, "dead", 0, {"qid": "a"})


def test_a_cancelled_run_stays_cancelled(db: Database) -> None:
    runs = RunStore(db)
    run_id = queued(db, collection_of(db))
    runs.claim("one", 60)
    assert runs.cancel(run_id) and not runs.cancel(run_id)
    runs.fail(run_id, "one", "too late")
    runs.release(run_id, "one")
    with pytest.raises(LeaseLostError):
        runs.finish(run_id, "one", {})
    assert (runs.get(run_id).state, runs.get(run_id).error) == ("cancelled", "")
    assert runs.claim("two", 60) is None


def test_runs_over_files_are_listed_for_their_maker_or_for_all(db: Database) -> None:
    runs = RunStore(db)
    collection_id = collection_of(db)
    of_collection, mine, theirs = (
        queued(db, collection_id, "c"),
        queued(db, None, "m", "me"),
        queued(db, None, "t", "them"),
    )

    def ids(**more: str) -> set[str]:
        return {run.id for run in runs.list([collection_id], **more)}  # type: ignore[arg-type]

    assert ids() == {of_collection}
    assert ids(files_of="me") == {of_collection, mine}
    assert ids(files_of="") == {of_collection, mine, theirs}
    assert runs.list([]) == []


def test_a_saved_run_has_every_result(db: Database) -> None:
    runs = RunStore(db)
    saved = runs.save(NewRun(None, "file", "main", "retrieval", ASKED), [{"qid": "a"}, {"qid": "b"}], {"mrr@10": 0.5})
    assert [run.id for run in runs.named("main")] == [saved.id] == [run.id for run in runs.named(saved.id)]
    assert [result for _, result in runs.rows(saved.id)] == [{"qid": "a"}, {"qid": "b"}]
    assert (saved.state, saved.done, saved.total) == ("done", 2, 2)


def test_the_newest_of_one_name_comes_first(db: Database) -> None:
    older, newer = queued(db, None, "main"), queued(db, None, "main")
    assert {run.id for run in RunStore(db).named("main")} == {older, newer}
    first, second = RunStore(db).named("main")
    assert first.created_at >= second.created_at


# ---------------------------------------------------------------- feedback


def judged(
    db: Database, collections: Sequence[str], cited: Sequence[str], rating: int = 1, refused: bool = False
) -> str:
    conversations = ConversationStore(db)
    made = conversations.create("reader", collections)
    conversations.add_message(made.id, "user", "How many days?")
    message = conversations.add_message(made.id, "assistant", "", "streaming")
    citations = tuple(
        Citation(n, n, "d", "v", key, "a.md", "", Locator(), "ten days") for n, key in enumerate(cited, 1)
    )
    answer = Answer("Ten [1].", "en", AnswerMode.QUOTE, refused=refused, citations=citations)
    conversations.finish_message(message.id, "complete", "Ten [1].", answer)
    conversations.feedback(message.id, "reader", rating, "because")
    return message.id


def test_feedback_is_seen_only_where_all_that_was_searched_and_cited_may_be_seen(db: Database) -> None:
    here, other = collection_of(db), collection_of(db, "other")
    own = judged(db, [here], [here])
    judged(db, [here, other], [here])
    judged(db, [here], [other])  # it searched the other one before
    judged(db, [other], [other])
    assert [one.message_id for one in judged_answers(db, here, {here})] == [own]
    assert len(judged_answers(db, here, {here, other})) == 3
    assert judged_answers(db, here, set()) == []


def test_feedback_carries_question_answer_and_reason(db: Database) -> None:
    here = collection_of(db)
    judged(db, [here], [here], -1)
    judged(db, [here], [here], 1)
    [down] = judged_answers(db, here, {here}, -1)
    assert (down.question, down.answer, down.rating, down.reason) == ("How many days?", "Ten [1].", -1, "because")
    assert len(judged_answers(db, here, {here})) == 2


def test_history_leaves_out_refusals_which_name_documents(db: Database) -> None:
    here = collection_of(db)
    conversations = ConversationStore(db)
    made = conversations.create("reader", [here])
    conversations.add_message(made.id, "user", "Salaries?")
    refusal = conversations.add_message(made.id, "assistant", "", "streaming")
    text = "Not found. Nearest documents: secret.md."
    conversations.finish_message(refusal.id, "complete", text, Answer(text, "en", AnswerMode.QUOTE, refused=True))
    conversations.add_message(made.id, "user", "And holidays?")
    last = conversations.add_message(made.id, "assistant", "", "streaming")
    cited = (Citation(1, 1, "d", "v", here, "a.md", "", Locator(), "ten"),)
    conversations.finish_message(
        last.id, "complete", "Ten [1].", Answer("Ten", "en", AnswerMode.QUOTE, citations=cited)
    )
    conversations.feedback(last.id, "reader", 1)
    [one] = judged_answers(db, here, {here})
    assert [turn.text for turn in one.history] == ["Salaries?"]
