"""When the honest answer is a refusal: what counts as evidence, without any search."""

from __future__ import annotations

import pytest

from chat.retrieval.refuse import Evidence, nearest_documents, refusal_text, weigh
from core.text import segment
from core.types import Locator, ScoredChunk, StoredChunk


def ranked(*texts: str) -> list[ScoredChunk]:
    return [
        ScoredChunk(StoredChunk(n, "c", f"d{n}", f"v{n}", 0, f"{n}.md", "", "", text, Locator()), 1.0 / n)
        for n, text in enumerate(texts, 1)
    ]


FILLING = tuple(f"第{n}条 其他事项另行规定。" for n in range(1, 30))


def evidence(question: str, *texts: str, similarity: float | None = None) -> Evidence:
    return weigh(segment(question), ranked(*texts, *FILLING), similarity)


def test_nothing_found_is_refused() -> None:
    assert weigh(segment("年假有几天"), [], None).too_little
    assert weigh(segment("How many days?"), [], 0.9).too_little


def test_a_passage_with_the_words_of_the_question_is_enough() -> None:
    found = evidence("试用期员工能否申请年假？", "试用期内的员工可以申请年假，经主管批准后生效。")
    assert not found.too_little
    assert found.coverage > 0.9


def test_a_question_about_something_else_is_refused() -> None:
    found = evidence("火星探测器的着陆速度是多少？", "试用期内的员工可以申请年假，经主管批准后生效。")
    assert found.too_little
    assert "火星" in found.missing


def test_words_that_frame_a_question_do_not_count_as_missing() -> None:
    plain = evidence("年假天数", "年假天数为十天。")
    framed = evidence("请问根据内容，年假天数分别是怎样的情况？请介绍", "年假天数为十天。")
    assert framed.coverage == plain.coverage


def test_a_long_story_is_not_refused_for_the_words_that_no_document_has() -> None:
    law = "停车场收取停车费应当明码标价，当事人对停车费有异议的，可以向价格主管部门投诉，交强险过期的车辆由交警扣留。"
    story = (
        "我表弟去年春节前后驾驶老家的面包车，因为交强险过期，被交警队拖到郊区那家停车场，一放就是整整十四个月，"
        "前天罚款手续总算办妥，兴冲冲跑过去提车，谁知老板张口便索要七千多元停车费，态度恶劣，还扬言砸碎玻璃，该怎么解决？"
    )
    found = evidence(story, law)
    assert found.weight > 36 and found.coverage < 0.5
    assert not found.too_little
    short = "停车场老板扬言砸碎玻璃态度恶劣兴冲冲"
    assert evidence(short, law).too_little


def test_a_reading_embedder_weighs_similarity_and_gives_stories_little_credit() -> None:
    assert not evidence("How much leave?", "Employees get 25 days of leave.", similarity=0.6).too_little
    assert evidence("How much leave?", "Pumps are cleaned weekly.", similarity=0.1).too_little
    long = " ".join(f"word{n}" for n in range(80))
    assert evidence(long, "Pumps are cleaned weekly.", similarity=0.1).too_little


def test_a_question_that_stands_nearer_to_a_few_chunks_than_to_the_rest_has_more_evidence() -> None:
    def spread(*near: float) -> Evidence:
        found = [ScoredChunk(item.chunk, 1.0, {"dense": d}) for item, d in zip(ranked(*"abc"), near, strict=True)]
        return weigh(["leave"], found, max(near))

    flat, peaked = spread(0.4, 0.39, 0.38), spread(0.4, 0.1, 0.05)
    assert flat.spread == pytest.approx(0.02) and peaked.spread == pytest.approx(0.35)
    assert peaked.score > flat.score


def test_foreign_passages_of_an_unmeasured_embedder_are_not_judged_by_words() -> None:
    assert not weigh(segment("年假有几天"), ranked("Employees get 25 days of leave."), None, foreign=True).too_little


def test_a_refusal_speaks_the_language_of_the_question_and_names_documents_once() -> None:
    found = ranked("a", "b")
    names = nearest_documents([*found, *found])
    assert names == ("1.md", "2.md")
    assert refusal_text("zh", names).endswith("最接近的文档：1.md、2.md。")
    assert refusal_text("en", ()).endswith("answer to this question.")
