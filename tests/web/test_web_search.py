"""The search test page, the filter control and the glossary dialog, as Streamlit runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from streamlit.testing.v1 import AppTest

from app.web.highlight import marked_html
from app.web.messages import say
from chat.retrieval.refuse import weigh
from chat.retrieval.retrieve import Retrieval, Trace
from core.filters import make_filters
from core.types import Answer, AnswerMode, GlossaryTerm, Role, ScoredChunk

if TYPE_CHECKING:
    from conftest import World  # type: ignore[import-not-found]


def html_of(at: AppTest) -> str:
    bodies = [element.proto.body for element in at.get("html")]
    return "\n".join(body for body in bodies if not body.startswith("<style"))


def search(at: AppTest, question: str) -> None:
    """Type and submit, as one does in a form."""
    at.text_input(key="search_question").set_value(question)
    at.button[[button.label for button in at.button].index(say("search.run", "en"))].click().run()
    assert not at.exception and not at.error, [error.value for error in at.error]


class Asked:
    """A retriever that gives one passage of a collection, and keeps what it was asked with."""

    def __init__(self, chunks: list[Any]) -> None:
        self.chunks = chunks
        self.calls: list[tuple[list[str], Any]] = []

    def retrieve(self, query: str, collections: Any, k: int, filters: Any) -> Retrieval:
        self.calls.append(([c.name for c in collections], filters))
        allowed = {c.id for c in collections}
        ranked = [
            ScoredChunk(c, 0.5, {"fused": 0.5, "keyword": 2.0}) for c in self.chunks if c.collection_id in allowed
        ]
        trace = Trace(
            tokens=("leave",), ranked=tuple(ranked), dense_share={"fake": 0.5}, selected=(1, 1) if filters else None
        )
        return Retrieval(ranked, weigh(["leave"], ranked, None), {"total": 0.01, "keyword": 0.002}, trace=trace)

    def close(self) -> None:
        pass


@pytest.fixture
def asked(world: World) -> Iterator[Asked]:
    made = Asked([])
    world.alioth.__dict__["retriever"] = made
    yield made
    world.alioth.__dict__.pop("retriever", None)


def test_a_search_shows_the_passages_of_collections_that_may_be_read(world: World, asked: Asked) -> None:
    ann, bob = world.person("ann"), world.person("bob")
    mine = world.collection("mine", ann, role=Role.WRITE)
    theirs = world.collection("theirs", bob, role=Role.WRITE)
    for collection in (mine, theirs):
        row = world.document(collection, f"{collection.name}.md", b"x")
        asked.chunks += world.alioth.chunks.of_version(row.version_id)
    at = world.page(ann, "search")
    assert not at.exception
    search(at, "leave")
    text = html_of(at)
    assert "mine.md" in text and "theirs" not in text
    assert asked.calls[-1][0] == ["mine"]


def test_readers_who_may_not_write_anywhere_have_no_search_test_page(world: World, asked: Asked) -> None:
    ann = world.person("ann")
    world.collection("mine", ann)
    at = world.page(ann, "search")
    assert "search_question" not in [box.key for box in at.text_input]


def test_the_filters_that_are_chosen_reach_the_search(world: World, asked: Asked) -> None:
    ann = world.person("ann")
    mine = world.collection("mine", ann, role=Role.WRITE)
    world.document(mine, "a.md", b"x")
    at = world.page(ann, "search")
    assert at.multiselect(key="narrow_search_documents").options == ["a.md"]
    at.multiselect(key="narrow_search_types").set_value(["pdf"]).run()
    at.text_input(key="narrow_search_path").set_value("hr; it/*.pdf").run()
    search(at, "leave")
    assert asked.calls[-1][1] == make_filters(types=["pdf"], paths=["hr", "it/*.pdf"])


def test_a_conversation_begins_with_the_filters_of_its_last_answer_and_shows_them(world: World) -> None:
    ann = world.person("ann")
    mine = world.collection("mine", ann)
    message = world.answered(ann, mine, "Thirty days.")
    kept = make_filters(paths=["hr"], since="2024")
    answer = Answer("Thirty days.", "en", AnswerMode.QUOTE, filters=kept.to_dict())
    world.alioth.conversations.finish_message(message.id, "complete", "Thirty days.", answer)
    at = world.page(ann, c=message.conversation_id)
    assert not at.exception
    assert at.text_input(key=f"narrow_chat_{message.conversation_id}_path").value == "hr"
    assert any("2024" in caption.value and "hr" in caption.value for caption in at.caption)


def test_the_glossary_is_edited_by_writers_and_seen_by_readers(world: World) -> None:
    ann, bob = world.person("ann"), world.person("bob")
    mine = world.collection("mine", ann, role=Role.WRITE)
    world.alioth.accounts_store.grant(mine.id, "user", bob.principal.user_id, Role.READ)
    at = world.page(bob, "library")
    assert "open_glossary" not in [b.key for b in at.button]
    world.alioth.glossary.put(mine.id, [GlossaryTerm("OKR", ("goals",))])
    for person, may in ((bob, False), (ann, True)):
        at = world.page(person, "library")
        at.button(key="open_glossary").click().run()
        assert not at.exception
        assert ("save_glossary" in [b.key for b in at.button]) is may
    at.button(key="save_glossary").click().run()
    assert not at.exception
    assert [(t.term, t.others) for t in world.alioth.glossary.terms([mine.id])] == [("OKR", ("goals",))]


def test_words_are_marked_and_everything_else_is_escaped() -> None:
    shown = marked_html("<b>Leaving</b> 带薪年假 & leave", ["leav", "年假"])
    assert shown == "&lt;b&gt;<mark>Leaving</mark>&lt;/b&gt; 带薪<mark>年假</mark> &amp; <mark>leave</mark>"
    assert marked_html("nothing here", []) == "nothing here"
