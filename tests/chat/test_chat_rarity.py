"""Words count by their rarity among the candidates, and what an answer would read is told beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chat.preview import reading
from chat.retrieval.fuse import AMONG_SHARE, fuse
from chat.retrieval.rarity import among
from chat.retrieval.refuse import Evidence
from chat.retrieval.retrieve import Retrieval
from core.errors import ModelUnavailableError
from core.settings import ChatSettings
from core.text import segment
from core.types import Collection, ScoredChunk
from models.fakes import FakeLanguageModel

QUESTION = segment("Does Nordwind share payment data with partners?")
TEXTS = (
    "Nordwind Nordwind Nordwind terms of use.",
    "Nordwind passes payment data on to banking partners.",
    "Nordwind may send a letter by post.",
)


def test_a_word_that_all_candidates_have_does_not_decide(chunk: Any) -> None:
    scores = among(QUESTION, [chunk(i, text) for i, text in enumerate(TEXTS)])
    assert scores[1] > 3 * scores[0] and scores[1] > 3 * scores[2]


def test_the_words_that_sql_keeps_count_like_the_text_itself(chunk: Any) -> None:
    plain = [chunk(i, text, title="Privacy of partners") for i, text in enumerate(TEXTS)]
    kept = [replace(one, tokens=" ".join(segment(one.text))) for one in plain]
    assert among(QUESTION, kept) == among(QUESTION, plain)
    assert among(QUESTION, list(reversed(plain))) == among(QUESTION, plain)


def test_title_and_headings_are_part_of_a_chunk(chunk: Any) -> None:
    scores = among(segment("partners"), [chunk(1, "A text.", title="Partners"), chunk(2, "A text.")])
    assert scores[1] > scores[2] == 0.0


def test_what_the_glossary_says_for_a_word_counts_less_than_the_word(chunk: Any) -> None:
    chunks = [chunk(1, "annual leave is long"), chunk(2, "paid holiday is long"), chunk(3, "nothing here is long")]
    stand_for = {token: (frozenset(segment("paid holiday")),) for token in segment("annual leave")}
    scores = among(segment("annual leave"), chunks, stand_for)
    assert scores[1] > scores[2] > scores[3] == 0.0


def test_nothing_is_scored_without_words_or_chunks(chunk: Any) -> None:
    assert among([], [chunk(1, "text")]) == {} and among(QUESTION, []) == {}
    assert among(segment("zebra"), [chunk(1, "text"), chunk(2, "other")]) == {1: 0.0, 2: 0.0}


def test_rarity_among_the_candidates_makes_up_its_share_of_the_keyword_score() -> None:
    keyword, local = {1: 10.0, 2: 9.0}, {1: 0.0, 2: 4.0, 3: 2.0}
    ranked = dict(fuse({3: 0.1}, keyword, 0.0, among=local))
    assert ranked[1] == 1.0 - AMONG_SHARE and ranked[2] == (1.0 - AMONG_SHARE) * 0.9 + AMONG_SHARE
    assert ranked[3] == AMONG_SHARE * 0.5
    assert fuse({}, keyword, 0.0, among={1: 0.0, 2: 0.0}) == fuse({}, keyword, 0.0)


def test_a_search_prefers_the_chunk_that_says_more_than_the_name_all_have(
    library: Any, shelf: Mapping[str, Collection]
) -> None:
    found = library.retriever.retrieve("How many days of annual leave?", [shelf["handbook"]])
    assert {"keyword", "among"} <= set(found.results[0].stages)
    assert all(0.0 <= item.score <= 1.0 + 1e-9 for item in found.trace.ranked)


def _found(results: list[ScoredChunk]) -> Retrieval:
    return Retrieval(results, Evidence(1.0, 1.0, None, (), len(results)), {})


def test_what_an_answer_would_read_is_told_with_its_neighbours(chunk: Any, fake_store: Any) -> None:
    chunks = [chunk(i, f"Sentence number {i}.", ordinal=i) for i in range(4)]
    store = fake_store(chunks)
    read = reading("number 2", _found([ScoredChunk(chunks[2], 1.0)]), store, FakeLanguageModel(), ChatSettings())
    assert [c.ordinal for c in read.added_to(read.sources[0])] == [1, 3]
    assert read.budget and read.left_out == 0 and read.seconds >= 0.0


def test_without_a_language_model_passages_stand_as_they_are(chunk: Any, fake_store: Any) -> None:
    class Away(FakeLanguageModel):
        def info(self) -> Any:
            raise ModelUnavailableError("away", "")

    chunks = [chunk(i, f"Sentence number {i}.", ordinal=i) for i in range(3)]
    found = _found([ScoredChunk(one, 1.0) for one in chunks])
    read = reading("number", found, fake_store(chunks), Away(), ChatSettings(passages=2))
    assert read.budget is None and len(read.sources) == 2
    assert all(not read.added_to(source) for source in read.sources)
