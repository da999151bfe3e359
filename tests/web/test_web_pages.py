"""The pages as Streamlit runs them, over a real database; only the words of answers are scripted."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from streamlit.testing.v1 import AppTest

from app.web.messages import say
from app.web.unpacking import unpacking
from auth.tokens import token_hash
from chat.events import AnswerEvent, Finished, Stage, Text
from chat.running import RunningAnswers
from core.errors import InputError, LimitError
from core.types import (
    Answer,
    AnswerMode,
    ChatTurn,
    Collection,
    DocumentState,
    Role,
    SentenceCheck,
    Verdict,
)

if TYPE_CHECKING:
    from conftest import Person, World  # type: ignore[import-not-found]

SCRIPT = Path(__file__).parents[2] / "app" / "web" / "main.py"


def html_of(at: AppTest) -> str:
    """Everything the page wrote as HTML of our own."""
    bodies = [element.proto.body for element in at.get("html")]
    return "\n".join(body for body in bodies if not body.startswith("<style"))


def everything(at: AppTest) -> str:
    """All text of the page, to look for what must not be there."""
    parts = [html_of(at)]
    for kind in ("markdown", "caption", "button", "error", "info", "warning", "text", "selectbox", "multiselect"):
        for element in at.get(kind):
            parts.append(str(getattr(element, "value", "")) + str(getattr(element, "label", "")))
            parts.append(str(getattr(element, "options", "")))
    return "\n".join(parts)


def scripted(world: World, events: Callable[[str, threading.Event], Iterator[AnswerEvent]]) -> list[dict[str, Any]]:
    """Put an answerer with given words into the real RunningAnswers; what it was asked with comes back."""
    asked: list[dict[str, Any]] = []

    def make(
        question: str,
        collections: Sequence[Collection],
        history: Sequence[ChatTurn],
        mode: AnswerMode,
        cancel: threading.Event,
        user: str,
    ) -> Iterator[AnswerEvent]:
        if "refuse" in question:
            raise InputError("The question breaks a rule.", "Ask another.")
        names = [c.name for c in collections]
        asked.append({"question": question, "collections": names, "history": list(history), "mode": mode})
        return events(question, cancel)

    world.alioth.__dict__["running"] = RunningAnswers(make, world.alioth.conversations, 10.0)
    return asked


def answer(text: str, **fields: Any) -> Answer:
    return Answer(text, "en", AnswerMode.ANSWER, **fields)


def at_once(question: str, cancel: threading.Event) -> Iterator[AnswerEvent]:
    yield Stage("retrieve")
    yield Text("Thirty days.")
    yield Finished(answer("Thirty days."))


def wait_until_answered(world: World, person: Person) -> str:
    """The conversation's id, once nothing runs."""
    import time

    end = time.monotonic() + 60
    while world.alioth.running.running():
        assert time.monotonic() < end, "it never ended"
        time.sleep(0.02)
    return world.alioth.conversations.list(person.principal.user_id)[0].id


# ---------------------------------------------------------------- who may see it


@pytest.mark.parametrize("broken", [{}, {"user_id": "x"}, {"sign_in": "y" * 64}, {"user_id": "x", "sign_in": "y" * 64}])
def test_without_a_valid_sign_in_there_is_only_the_way_to_sign_in(world: World, broken: dict[str, str]) -> None:
    world.collection("secret plans")
    at = AppTest.from_file(str(SCRIPT), default_timeout=30)
    at.user = broken
    at.run()
    assert at.warning and "/login" in html_of(at)
    assert not at.chat_input and not at.button and "secret" not in everything(at)


def test_the_sign_in_of_one_user_does_not_serve_another(world: World) -> None:
    ann, bob = world.person("ann"), world.person("bob")
    at = AppTest.from_file(str(SCRIPT), default_timeout=30)
    at.user = {"user_id": bob.principal.user_id, "sign_in": token_hash(ann.token)}
    at.run()
    assert at.warning and not at.button


def test_an_open_page_stops_at_the_next_rerun_when_the_user_is_disabled(world: World) -> None:
    ann = world.person("ann")
    world.collection("plans", ann)
    at = world.page(ann)
    assert at.chat_input
    world.alioth.accounts.set_disabled("ann", True)
    at.run()
    assert at.warning and not at.chat_input and "plans" not in everything(at)


def test_only_administrators_have_the_administration_page(world: World) -> None:
    ann, boss = world.person("ann"), world.person("boss", admin=True)
    links = [link.proto.label for link in world.page(ann).get("page_link")]
    assert say("nav.admin", "en") not in links and say("nav.library", "en") in links
    assert say("nav.admin", "en") in [link.proto.label for link in world.page(boss).get("page_link")]


def test_the_chosen_language_is_kept_with_the_user(world: World) -> None:
    ann = world.person("ann")
    at = world.page(ann)
    assert say("chat.welcome", "en") in html_of(at)
    next(g for g in at.get("button_group") if g.key == "language").set_value("zh").run()
    assert say("chat.welcome", "zh") in html_of(at)
    assert say("chat.welcome", "zh") in html_of(world.page(ann))


# ---------------------------------------------------------------- conversations


def test_a_question_starts_a_conversation_and_its_answer_is_shown(world: World) -> None:
    ann = world.person("ann")
    world.collection("travel", ann)
    asked = scripted(world, at_once)
    at = world.page(ann)
    at.chat_input[0].set_value("How long does it take?").run()
    conversation = wait_until_answered(world, ann)
    at.run()
    assert at.query_params["c"] in (conversation, [conversation])
    question = {"question": "How long does it take?", "collections": ["travel"], "history": []}
    assert asked == [question | {"mode": AnswerMode.AUTOMATIC}]
    assert "Thirty days." in html_of(at) and "How long does it take?" in html_of(at)


def test_the_conversation_of_the_address_comes_back_and_its_history_goes_along(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann)
    message = world.answered(ann, travel, "It takes thirty days.", question="How long?")
    asked = scripted(world, at_once)
    at = world.page(ann, c=message.conversation_id)
    assert "It takes thirty days." in html_of(at)
    at.chat_input[0].set_value("And then?").run()
    wait_until_answered(world, ann)
    assert asked[0]["history"] == [ChatTurn("user", "How long?"), ChatTurn("assistant", "It takes thirty days.")]


def test_another_persons_conversation_is_not_there(world: World) -> None:
    ann, bob = world.person("ann"), world.person("bob")
    travel = world.collection("travel", ann, bob)
    message = world.answered(ann, travel, "canary-4711", question="canary question")
    at = world.page(bob, c=message.conversation_id)
    assert "canary" not in everything(at) and "c" not in at.query_params
    assert at.toast[0].value == say("chat.not_there", "en")


def test_a_growing_answer_is_shown_and_can_be_stopped(world: World) -> None:
    ann = world.person("ann")
    world.collection("travel", ann)
    begun = threading.Event()

    def slowly(question: str, cancel: threading.Event) -> Iterator[AnswerEvent]:
        yield Stage("generate")
        yield Text("So far ")
        begun.set()
        assert cancel.wait(60)
        yield Finished(answer("So far ", stopped=True))

    scripted(world, slowly)
    at = world.page(ann)
    at.chat_input[0].set_value("Tell me everything").run()
    assert begun.wait(60)
    at.run()
    assert "al-typing" in html_of(at) and "So far" in html_of(at) and at.chat_input[0].disabled
    assert "al-unchecked" in html_of(at) and say("chat.not_checked_yet", "en") in html_of(at)
    next(button for button in at.button if button.label == say("chat.stop", "en")).click().run()
    wait_until_answered(world, ann)
    at.run()
    assert "al-unchecked" not in html_of(at) and "So far" in html_of(at)
    assert any(say("chat.stopped", "en") in caption.value for caption in at.caption)


def test_why_an_answer_failed_is_told_in_the_conversation_for_good(world: World) -> None:
    ann = world.person("ann")
    world.collection("travel", ann)

    def failing(question: str, cancel: threading.Event) -> Iterator[AnswerEvent]:
        yield Text("So far ")
        raise LimitError("The question waited 600 s for its turn; the limit is 600 s.", "Ask *again* later.")

    scripted(world, failing)
    at = world.page(ann)
    at.chat_input[0].set_value("Tell me everything").run()
    wait_until_answered(world, ann)
    [conversation] = world.alioth.conversations.list(ann.principal.user_id)
    english = world.page(ann, c=conversation.id)
    world.alioth.accounts.set_language(ann.principal, "zh")
    chinese = world.page(ann, c=conversation.id)
    for at in (english, chinese):
        assert "al-unchecked" in html_of(at) and "So far" in html_of(at)
    [why] = [caption.value for caption in english.caption if "waited 600 s" in caption.value]
    assert "could not be finished" in why and r"Ask \*again\* later" in why
    assert any("回答未能完成" in caption.value and "600 s" in caption.value for caption in chinese.caption)


def test_a_refused_question_shows_why_and_leaves_no_empty_conversation(world: World) -> None:
    ann = world.person("ann")
    world.collection("travel", ann)
    scripted(world, at_once)
    at = world.page(ann)
    at.chat_input[0].set_value("refuse me").run()
    assert "The question breaks a rule" in at.error[0].value
    assert world.alioth.conversations.list(ann.principal.user_id) == []


def test_the_way_to_answer_can_be_chosen(world: World) -> None:
    ann = world.person("ann")
    world.collection("travel", ann)
    asked = scripted(world, at_once)
    at = world.page(ann)
    at.selectbox(key="answer_mode").set_value(AnswerMode.ANSWER).run()
    at.chat_input[0].set_value("How long?").run()
    wait_until_answered(world, ann)
    assert [one["mode"] for one in asked] == [AnswerMode.ANSWER]


def test_only_readable_collections_are_offered_and_searched(world: World) -> None:
    ann = world.person("ann")
    world.collection("hidden hr")
    travel = world.collection("travel", ann)
    asked = scripted(world, at_once)
    at = world.page(ann)
    assert at.multiselect[0].options == ["travel"]
    world.alioth.accounts_store.revoke(travel.id, "user", ann.principal.user_id)
    at.chat_input[0].set_value("Still there?").run()
    assert not asked and "hidden" not in everything(at)


def test_hostile_answers_quotes_and_names_stay_text(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann)
    attack = "<script>alert(1)</script>![x](http://evil.test/p.png)[y](javascript:alert(1))\"' onload=x"
    document = world.document(travel, "</div><img src=x onerror=alert(1)>.md", b"x")
    citation = world.citation(document, quote=attack)
    check = SentenceCheck(attack, Verdict.UNSUPPORTED, f'"><script>{attack}', 0, len(attack))
    message = world.answered(ann, travel, f"{attack} [1]", [citation], [check], question=attack)
    at = world.page(ann, c=message.conversation_id)
    shown = html_of(at)
    assert "<script" not in shown and "<img" not in shown and "&lt;script&gt;" in shown
    for element in [*at.markdown, *at.caption]:
        assert "](" not in element.value.replace("\\]\\(", "") and "<script" not in element.value
    assert all("![" not in button.label.replace("\\!\\[", "") for button in at.button)


def test_unsupported_sentences_are_counted_and_marked(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann)
    check = SentenceCheck("It is 99.", Verdict.UNSUPPORTED, "The number “99” is not in the source.", 0, 9)
    message = world.answered(ann, travel, "It is 99.", checks=[check])
    at = world.page(ann, c=message.conversation_id)
    assert "al-unsupported" in html_of(at)
    assert any("1 not supported" in element.value for element in at.markdown)


def test_a_source_offers_the_page_image_or_the_place_and_the_original(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann)
    pdf = world.document(travel, "costs.pdf", b"%PDF", pages=3)
    note = world.document(travel, "note.md", b"x")
    citations = [world.citation(pdf, 1, "the words", page=3), world.citation(note, 2)]
    message = world.answered(ann, travel, "Yes [1][2].", citations)
    at = world.page(ann, c=message.conversation_id)
    links = [link.proto.url for link in at.get("link_button")]
    assert f"/files/{pdf.id}/original" in links
    assert any(link.startswith(f"/files/{note.id}/view?chunk=") for link in links)
    assert "page 3" in html_of(at) and "the words" in html_of(at)
    next(button for button in at.button if button.label == say("source.page_image", "en")).click().run()
    assert f"/files/{pdf.version_id}/page/3.png?citation={message.id}:1" in html_of(at)


def test_sources_of_a_collection_that_is_no_longer_shared_are_not_shown(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann)
    document = world.document(travel, "secret name.pdf", b"x")
    message = world.answered(ann, travel, "Yes [1].", [world.citation(document, quote="secret quote")])
    world.alioth.accounts_store.revoke(travel.id, "user", ann.principal.user_id)
    at = world.page(ann, c=message.conversation_id)
    assert "secret quote" not in everything(at) and "secret name" not in everything(at)
    assert any(say("source.no_longer_readable", "en") in caption.value for caption in at.caption)


def test_a_thumb_is_kept_with_its_reason(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann)
    message = world.answered(ann, travel, "Yes.")
    at = world.page(ann, c=message.conversation_id)
    next(g for g in at.get("feedback") if g.key == f"thumbs_{message.id}").set_value(0).run()
    assert world.alioth.conversations.message(message.id).feedback == -1


def test_a_conversation_is_renamed_and_deleted_from_the_sidebar(world: World) -> None:
    ann = world.person("ann")
    message = world.answered(ann, world.collection("travel", ann), "Yes.", question="Old *title*")
    at = world.page(ann, c=message.conversation_id)
    labels = [button.label for button in at.sidebar.button]
    assert "Old \\*title\\*" in labels
    next(m for m in at.get("menu_button") if m.key == f"more_{message.conversation_id}").click("delete").run()
    next(button for button in at.button if button.label == say("page.delete", "en")).click().run()
    assert world.alioth.conversations.list(ann.principal.user_id) == []


# ---------------------------------------------------------------- library


def test_the_library_shows_documents_with_state_and_reason(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann)
    world.document(travel, "costs & <b>more</b>.pdf", b"x", pages=3)
    broken = world.alioth.documents.submit(travel.id, "broken.pdf", "0" * 64, 9)
    world.alioth.documents.claim("w", 5, 60, [broken.version_id])
    world.alioth.documents.fail(broken.version_id, "w", InputError("It is damaged.", "Print it again."))
    at = world.page(ann, "library")
    shown = everything(at)
    assert "costs &amp; &lt;b&gt;more&lt;/b&gt;.pdf" in shown and "It is damaged. Print it again." in shown
    assert "pages: 3 · passages: 1" in shown


def test_readers_cannot_upload_or_delete_and_writers_can(world: World) -> None:
    ann, bob = world.person("ann"), world.person("bob")
    travel = world.collection("travel", ann)
    world.alioth.accounts_store.grant(travel.id, "user", bob.principal.user_id, Role.WRITE)
    document = world.document(travel, "costs.pdf", b"x")
    reader, writer = world.page(ann, "library"), world.page(bob, "library")
    assert not reader.get("file_uploader") and writer.get("file_uploader")
    menus = [m for m in reader.get("menu_button") if m.key == f"menu_{document.id}"]
    assert list(menus[0].options) == [say("document.details", "en")]


def test_an_upload_goes_to_disk_and_to_the_queue_at_once(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann, role=Role.WRITE)
    at = world.page(ann, "library")
    at.get("file_uploader")[0].set_value([("出差.txt", "三十天".encode(), "text/plain")]).run()
    row = world.alioth.documents.find(travel.id, "出差.txt")
    assert row is not None and row.state is DocumentState.QUEUED and row.size == 9
    assert "出差" in everything(at) and world.alioth.documents.pending(travel.id) == 1


def test_an_uploaded_archive_becomes_its_files_and_names_what_it_refuses(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann, role=Role.WRITE)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("出差/费用.txt", "三十天")
        archive.writestr("../out.txt", "x")
    at = world.page(ann, "library")
    at.get("file_uploader")[0].set_value([("papers.zip", packed.getvalue(), "application/zip")]).run()
    until = time.monotonic() + 240
    while unpacking.under_way(travel.id):
        assert time.monotonic() < until
        time.sleep(0.02)
    at.run()
    assert [row.path for row in world.alioth.documents.list(travel.id)] == ["papers.zip/出差/费用.txt"]
    assert list((world.alioth.settings.home / "uploads").iterdir()) == []
    assert len(at.error) == 1 and "'../out.txt'" in at.error[0].value.replace("\\", "")
    at.get("file_uploader")[0].set_value([("papers.zip", packed.getvalue(), "application/zip")]).run()
    assert [b for b in at.button if b.label == say("upload.new_version", "en")]


@pytest.mark.parametrize("choice", ["new_version", "keep_both", "skip"])
def test_an_existing_name_asks_what_to_do(world: World, choice: str) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann, role=Role.WRITE)
    document = world.document(travel, "costs.txt", b"old")
    at = world.page(ann, "library")
    at.get("file_uploader")[0].set_value([("costs.txt", b"new bytes", "text/plain")]).run()
    assert world.alioth.documents.get(document.id).version == 1  # nothing happens before the choice
    next(b for b in at.button if b.label == say(f"upload.{choice}", "en")).click().run()
    paths = {row.path: row.version for row in world.alioth.documents.list(travel.id)}
    expected = {"new_version": {"costs.txt": 2}, "keep_both": {"costs.txt": 1, "costs (2).txt": 1}}
    assert paths == expected.get(choice, {"costs.txt": 1})
    assert list((world.alioth.settings.home / "uploads").iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\x.txt", "a\u202egpj.exe", "con.txt"])
def test_a_name_that_could_leave_its_place_is_refused(world: World, name: str) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann, role=Role.WRITE)
    at = world.page(ann, "library")
    at.get("file_uploader")[0].set_value([(name, b"x", "text/plain")]).run()
    assert at.error and world.alioth.documents.count(travel.id) == 0


def test_a_failed_document_is_tried_again(world: World) -> None:
    boss = world.person("boss", admin=True)
    travel = world.collection("travel")
    broken = world.alioth.documents.submit(travel.id, "broken.pdf", "0" * 64, 9)
    world.alioth.documents.claim("w", 5, 60, [broken.version_id])
    world.alioth.documents.fail(broken.version_id, "w", InputError("It is damaged."))
    at = world.page(boss, "library")
    next(m for m in at.get("menu_button") if m.key == f"menu_{broken.document_id}").click("retry").run()
    assert world.alioth.documents.get(broken.document_id).state is DocumentState.QUEUED


def test_a_document_is_deleted_after_a_question(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann, role=Role.WRITE)
    document = world.document(travel, "costs.pdf", b"x")
    at = world.page(ann, "library")
    next(m for m in at.get("menu_button") if m.key == f"menu_{document.id}").click("delete").run()
    assert world.alioth.documents.count(travel.id) == 1
    next(b for b in at.button if b.label == say("page.delete", "en")).click().run()
    assert world.alioth.documents.count(travel.id) == 0


def test_names_are_searched_and_lists_are_paged(world: World) -> None:
    ann = world.person("ann")
    travel = world.collection("travel", ann)
    for number in range(25):
        world.document(travel, f"doc {number:02}.txt", str(number).encode())
    at = world.page(ann, "library")
    assert "doc 00" in everything(at) and "doc 24" not in everything(at)
    at.text_input(key="search").set_value("DOC 24").run()
    assert "doc 24" in everything(at) and "doc 00" not in everything(at)


# ---------------------------------------------------------------- administration


def test_an_added_user_gets_a_link_that_is_shown_once(world: World) -> None:
    boss = world.person("boss", admin=True)
    at = world.page(boss, "admin")
    at.text_input[0].set_value("new colleague")
    next(b for b in at.button if b.label == say("admin.add", "en")).click().run()
    link = at.code[0].value
    token = link.partition("token=")[2]
    found = world.alioth.accounts.link(token)
    assert found is not None and found.user is not None and found.user.name == "new colleague"
    at.run()
    assert not at.code


def test_the_administration_page_refuses_others_even_by_its_address(world: World) -> None:
    boss = world.person("boss", admin=True)
    world.person("other boss", admin=True)
    at = world.page(boss, "admin")
    user = world.alioth.accounts_store.user_by_name("boss")
    assert user is not None
    with world.alioth.db.write() as session:
        from storage.tables import UserTable

        row = session.get(UserTable, user.id)
        assert row is not None
        row.is_admin = False
    at.run()
    assert not at.tabs and not any(b.label == say("admin.add", "en") for b in at.button)


def test_access_is_given_and_taken_back(world: World) -> None:
    boss, ann = world.person("boss", admin=True), world.person("ann")
    travel = world.collection("travel")
    at = world.page(boss, "admin")
    next(s for s in at.selectbox if s.label == say("admin.who", "en")).set_value(("user", ann.principal.user_id))
    next(b for b in at.button if b.label == say("admin.grant", "en")).click().run()
    assert world.alioth.permissions.role(ann.principal, travel.id) is Role.READ
    next(b for b in at.button if b.label == say("admin.revoke", "en")).click().run()
    assert world.alioth.permissions.role(ann.principal, travel.id) is None
