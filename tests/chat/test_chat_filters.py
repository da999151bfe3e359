"""Filters, follow-ups, repeats and the trace of a search, over real SQLite, Chroma, tantivy and MiniLM."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from chat.answer import Answerer
from chat.events import Finished
from chat.retrieval import candidates
from chat.retrieval.retrieve import Retriever
from chat.retrieval.suppress import without_repeats
from core.filters import Filters, make_filters
from core.settings import ChatSettings
from core.types import AnswerMode, Collection
from models.protocols import fingerprint_of
from storage.filtering import FilterStore

TOPICS = ["pump", "filter", "valve", "motor", "sensor", "cable", "switch", "battery", "display", "housing"]


@pytest.fixture(scope="module")
def filtered(library: Any) -> Iterator[Retriever]:
    retriever = Retriever(
        library.chunks, library.vectors, library.keyword, lambda _: library.embedder, FilterStore(library.db)
    )
    yield retriever
    retriever.close()


@pytest.fixture(scope="module")
def big(library: Any) -> Collection:
    """200 documents of three chunks; two of them, 1 %, stand in the folder `rare`, and nothing tells them apart."""
    made = library.collections.create("two hundred", fingerprint_of(library.embedder, "1"))
    for n in range(200):
        folder = "rare" if n in (77, 141) else "common"
        texts = [
            f"The {TOPICS[(n + i) % 10]} of machine {n * 7 + i} is replaced every {n % 13 + 2} months."
            for i in range(3)
        ]
        library.add(made, f"{folder}/{n}.md", texts)
    return library.collections.get_by_id(made.id)


@pytest.mark.parametrize("at_most", [candidates.SCORED_CHUNKS, 0])
@pytest.mark.parametrize("question", ["How often is the pump replaced?", "battery months", "machine 540"])
def test_one_percent_of_the_documents_is_searched_as_exactly_as_by_comparing_each(
    library: Any, filtered: Retriever, big: Collection, question: str, at_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "SCORED_CHUNKS", at_most)  # 0: by way of the vector index
    filters = make_filters(paths=["rare"])
    found = filtered.retrieve(question, [big], 10, filters=filters)
    selected = FilterStore(library.db).select([big.id], filters)
    [(ids, matrix)] = list(FilterStore(library.db).vectors(selected.versions))
    scores = matrix @ library.embedder.embed_query(question)
    order = [int(ids[i]) for i in np.argsort(-scores)]
    by_dense = sorted(found.results, key=lambda item: -item.stages["dense"])
    assert [item.chunk.id for item in by_dense] == order and len(order) == 6
    assert found.trace.selected == (2, 6)


def test_nothing_outside_the_filters_is_cited_and_the_answer_keeps_them(
    library: Any, filtered: Retriever, shelf: Mapping[str, Collection], scripted: Any
) -> None:
    answerer = Answerer(ChatSettings(), filtered, library.chunks, scripted("Fine."))
    filters = make_filters(documents=["pump.md"])
    for question in ("Who leads the maintenance group?", "Since when does she lead it?"):
        events = list(
            answerer.answer(question, [shelf["handbook"]], [], AnswerMode.QUOTE, threading.Event(), "u1", filters)
        )
        [answer] = [event.answer for event in events if isinstance(event, Finished)]
        assert {citation.document for citation in answer.citations} <= {"pump.md"}
        assert Filters.from_dict(answer.filters) == filters
    kept = library.conversations.create("u1", [])
    message = library.conversations.add_message(kept.id, "assistant", "", "streaming")
    library.conversations.finish_message(message.id, "complete", answer.text, answer)
    assert library.conversations.message(message.id).answer.filters == filters.to_dict()


def test_filters_that_no_document_passes_refuse_and_say_so(
    library: Any, filtered: Retriever, shelf: Mapping[str, Collection], scripted: Any
) -> None:
    answerer = Answerer(ChatSettings(), filtered, library.chunks, scripted("Fine."))
    events = list(answerer.answer("annual leave days?", [shelf["handbook"]], filters=make_filters(paths=["nowhere"])))
    [answer] = [event.answer for event in events if isinstance(event, Finished)]
    assert answer.refused and "filter_matches_nothing" in answer.notices and not answer.nearest


def test_filters_do_not_open_other_collections(filtered: Retriever, shelf: Mapping[str, Collection]) -> None:
    found = filtered.retrieve("净利润", [shelf["handbook"]], filters=make_filters(documents=["华夏娱乐.docx"]))
    assert found.results == [] and found.trace.selected == (0, 0)


def test_a_follow_up_finds_what_it_says_itself_beside_its_stand_alone_form(
    filtered: Retriever, shelf: Mapping[str, Collection]
) -> None:
    bad, typed = "pump filter cleaned", "And when must sick leave be reported?"
    found = filtered.retrieve(bad, [shelf["handbook"]], 3, typed=typed)
    assert any("Sick leave" in item.chunk.text for item in found.results)
    alone = filtered.retrieve(bad, [shelf["handbook"]], 3)
    assert found.evidence == alone.evidence
    same = filtered.retrieve(typed, [shelf["handbook"]], 3, typed=typed)
    assert [i.score for i in same.results] == [
        i.score for i in filtered.retrieve(typed, [shelf["handbook"]], 3).results
    ]


def test_quote_mode_embeds_the_question_once(
    library: Any, shelf: Mapping[str, Collection], scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    embed = type(library.embedder).embed_query
    monkeypatch.setattr(
        type(library.embedder), "embed_query", lambda self, text: (asked.append(text), embed(self, text))[1]
    )
    retriever = Retriever(library.chunks, library.vectors, library.keyword, lambda _: library.embedder)
    question = "How many days of annual leave do employees receive?"
    answerer = Answerer(ChatSettings(), retriever, library.chunks, scripted("Fine."))
    events = list(answerer.answer(question, [shelf["handbook"]], mode=AnswerMode.QUOTE))
    retriever.close()
    assert asked == [question] and any(isinstance(event, Finished) and event.answer.citations for event in events)


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["Rent is 400 euros. Heat is 40.", "Heat is 40"], [0]),
        (["Rent is 400 euros. Heat is 140.", "Heat is 40"], [0, 1]),
        (["It costs 4.5 euros", "It costs 45 euros"], [0, 1]),
        (["parents pay", "rent"], [0, 1]),
        (["年假十五天，病假十天。", "病假十天"], [0]),
        (["年假 15 天", "年假１５天。"], [0]),
        (["Anna leads it", "Berta leads it"], [0, 1]),
    ],
)
def test_a_text_is_left_out_only_when_a_better_one_has_all_of_it(
    texts: list[str], kept: list[int], scored: Callable[..., Any]
) -> None:
    found, suppressed = without_repeats(scored(*texts), 10)
    assert [item.chunk.id for item in found] == kept
    assert suppressed == {i: 0 for i in range(len(texts)) if i not in kept}


def test_the_trace_tells_every_stage(filtered: Retriever, shelf: Mapping[str, Collection]) -> None:
    from app.explain import candidate_rows, explain_json, explain_lines

    found = filtered.retrieve('Who wrote "annual leave" 25?', [shelf["handbook"]], 2)
    rows = candidate_rows(found)
    assert len(rows) == len(found.trace.ranked) > 2 and [row.chosen for row in rows].count(0) == len(rows) - 2
    assert rows[0].figures["exact"][1] == 1 and {"dense", "keyword", "fused"} <= set(rows[0].figures)
    assert sorted(row.figures["dense"][1] for row in rows) == list(range(1, len(rows) + 1))
    told = explain_json(found, Filters())
    assert told["exact"] == [{"kind": "phrase", "text": "annual leave"}] and told["selected"] is None
    assert len(told["candidates"]) == len(rows) and told["timings"]["total"] > 0
    assert any(line.startswith("exactly") for line in explain_lines(found))


def test_a_reranker_orders_the_best_and_leaves_the_others_behind(
    chunk: Callable[..., Any], collection: Callable[..., Any], fake_store: Callable[..., Any]
) -> None:
    class Longest:
        id = "longest"

        def scores(self, question: str, texts: Any) -> Any:
            return np.array([len(text) for text in texts], dtype=np.float32)

    store = fake_store([chunk(i, "alpha " + f"word{i} " * (i + 1), path=f"{i}") for i in range(40)])
    retriever = Retriever(store, store, store, lambda _: store.embedder, reranker=Longest())
    found = retriever.retrieve("alpha", [collection()], 40)
    retriever.close()
    head = [item for item in found.results if "rerank" in item.stages]
    assert len(head) == 30 and found.results[:30] == head and found.trace.reranker == "longest"
    lengths = [item.stages["rerank"] for item in head]
    assert lengths == sorted(lengths, reverse=True)
    scores = [item.score for item in found.results]
    assert scores == sorted(scores, reverse=True)
