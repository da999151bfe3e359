"""The quality page: nothing for those who may not change a collection; sets and runs for those who may."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from app.web.messages import say
from core.types import SYSTEM, Collection, Role
from storage.quality import SetQuestion
from storage.quality_runs import NewRun, RunStore

if TYPE_CHECKING:
    from conftest import Person, World  # type: ignore[import-not-found]

SCRIPT = Path(__file__).parents[2] / "app" / "web" / "main.py"


def quality_page(person: Person, part: str = "") -> AppTest:
    at = AppTest.from_file(str(SCRIPT), default_timeout=60)
    at.user = dict(person.st_user)
    if part:
        at.session_state["quality_part"] = part
    at.run()
    at._page_hash = calc_hash("quality")
    at.run()
    assert not at.exception
    return at


def words(at: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "success", "error", "warning", "header", "subheader", "badge")
    parts = [str(getattr(one, "value", "")) for kind in kinds for one in at.get(kind)]
    parts += [f"{one.label} {one.options}" for kind in ("selectbox", "multiselect") for one in at.get(kind)]
    parts += [one.label for one in at.button]
    parts += [str(one.value) for one in at.get("arrow_data_frame")]
    return "\n".join(parts)


@pytest.fixture
def filled(world: World) -> tuple[Collection, Person, str]:
    editor = world.person("editor")
    collection = world.collection("handbook", editor, role=Role.WRITE)
    world.document(collection, "hr/leave.md", b"x")
    lab = world.alioth.quality
    made = lab.create_set(SYSTEM, collection.id, "main set")
    lab.put(
        SYSTEM, made.id, [SetQuestion("a", "How many *days*?", {"gold_doc_ids": ["hr/leave.md"], "answers": ["ten"]})]
    )
    return collection, editor, made.id


def finished(world: World, collection: Collection, name: str, rank: float) -> None:
    asked = [{"qid": f"q{n}", "question": f"Question {n}?"} for n in range(30)]
    results: list[dict[str, Any]] = [
        one | {"gold": ["d"], "mrr@10": rank, "documents": ["d"], "seconds": 0.1} for one in asked
    ]
    new = NewRun(collection.id, "main set", name, "retrieval", asked)
    RunStore(world.alioth.db).save(new, results, {"mrr@10": rank})


def test_a_stranger_and_a_reader_see_no_set_no_run_no_question(
    world: World, filled: tuple[Collection, Person, str]
) -> None:
    collection, _, _ = filled
    finished(world, collection, "secret run", 1.0)
    reader, stranger = world.person("reader"), world.person("stranger")
    world.alioth.accounts_store.grant(collection.id, "user", reader.principal.user_id, Role.READ)
    for person in (reader, stranger):
        for part in ("", "runs", "compare"):
            at = quality_page(person, part)
            text = words(at)
            assert "main set" not in text and "days" not in text and "secret run" not in text
            assert not any("quality" in str(one.proto) for one in at.get("page_link"))


def test_an_editor_sees_the_questions_as_they_stand(filled: tuple[Collection, Person, str]) -> None:
    text = words(quality_page(filled[1]))
    assert "main set (1)" in text and r"How many \*days\*?" in text and say("quality.origin_written", "en") in text


def test_an_editor_makes_a_set(world: World, filled: tuple[Collection, Person, str]) -> None:
    collection, editor, _ = filled
    at = quality_page(editor)
    at.text_input(key="quality_new_set").set_value("second")
    at.button(key="quality_create").click().run()
    assert {one.name for one in world.alioth.quality.sets(SYSTEM, collection.id)} == {"main set", "second"}
    assert "second (0)" in words(at)


def test_questions_are_made_from_the_documents_on_the_page(
    world: World, filled: tuple[Collection, Person, str]
) -> None:
    from core.types import Locator, NewChunk

    collection, editor, set_id = filled
    text = "员工应在30天内提交报销单，逾期不予受理。"
    world.document(collection, "差旅.md", b"y", [NewChunk(0, text, Locator())])
    at = quality_page(editor)
    at.button(key="quality_do_generate").click().run()
    made = world.alioth.quality.questions(SYSTEM, set_id)
    assert [one.question for one in made[1:]] == ["据“差旅”，员工应在多少天内提交报销单？"]
    assert made[1].data["gold_doc_ids"] == ["差旅.md"] and made[1].origin == "generated"


def test_a_question_is_changed_in_its_dialog(world: World, filled: tuple[Collection, Person, str]) -> None:
    _, editor, set_id = filled
    at = quality_page(editor)
    at.button(key="edit_a").click().run()
    at.text_area(key="q_text").set_value("How many weeks?")
    at.text_area(key="q_answers").set_value("two\nfive && days")
    at.button(key="q_save").click().run()
    [changed] = world.alioth.quality.questions(SYSTEM, set_id)
    assert changed.question == "How many weeks?" and changed.data["answers"] == ["two", ["five", "days"]]
    assert changed.data["gold_doc_ids"] == ["hr/leave.md"] and changed.qid == "a"


def test_a_run_is_asked_for_and_left_to_the_worker(world: World, filled: tuple[Collection, Person, str]) -> None:
    collection, editor, _ = filled
    at = quality_page(editor)
    at.text_input(key="quality_run_name").set_value("before")
    at.button(key="quality_start").click().run()
    [run] = world.alioth.quality.runs(SYSTEM, collection.id)
    assert (run.name, run.state, run.total, run.created_by) == ("before", "queued", 1, editor.principal.user_id)
    shown = quality_page(editor, "runs")
    assert shown.button(key=f"stop_run_{run.id}")


def test_runs_show_figures_and_comparing_says_what_got_worse(
    world: World, filled: tuple[Collection, Person, str]
) -> None:
    collection, editor, _ = filled
    finished(world, collection, "old", 1.0)
    finished(world, collection, "new", 0.5)
    runs = quality_page(editor, "runs")
    assert runs.metric[0].label == say("figure.mrr", "en") and runs.metric[0].value == "0.500"
    compared = quality_page(editor, "compare")
    text = "\n".join(one.value for one in compared.error)
    assert text == say("quality.says_worse", "en", names=say("figure.mrr", "en"))
    compared.selectbox(key="quality_b").select_index(1).run()
    assert compared.success and not compared.error
