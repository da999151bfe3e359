"""Questions made from documents: each stands on words of its chunk; vague sentences make none; documents mix."""

from __future__ import annotations

import pytest

from core.types import Locator, StoredChunk
from evals import metrics
from evals.generate import drafts_of, generate
from evals.generate_llm import sound_draft, writer
from models.fakes import FakeLanguageModel


def chunk(
    text: str, title: str = "", heading: tuple[str, ...] = (), path: str = "a.md", number: int = 0
) -> StoredChunk:
    return StoredChunk(number, "c", path, "v", number, path, title, "", text, Locator(heading=heading))


def made(text: str, **more: object) -> dict[str, tuple[str, str]]:
    return {draft.kind: (draft.question, draft.answer) for draft in drafts_of(chunk(text, **more))}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "kind", "question", "answer"),
    [
        ("邀请招标，是指招标人邀请特定的法人投标。", "definition", "邀请招标是指什么？", "招标人邀请特定的法人投标"),
        ("信达百货是一家成立多年的中国零售公司。", "definition", "什么是信达百货？", "一家成立多年的中国零售公司"),
        (
            "员工应在出差结束后30天内提交报销单，逾期不予受理。",
            "number",
            "据“差旅”，员工应在出差结束后多少天内提交报销单？",
            "30天",
        ),
        ("本季度员工满意度达到了80%。", "number", "据“差旅”，本季度员工满意度达到了多少？", "80%"),
        (
            "第三条 出差须事先经部门主管书面批准。",
            "article",
            "《差旅》第三条是怎么规定的？",
            "出差须事先经部门主管书面批准。",
        ),
        ("城市 | 标准\n柏林 | 140 欧元\n", "table", "在“差旅”中，柏林的标准是什么？", "140 欧元"),
        (
            "Recall refers to the share of documents found.",
            "definition",
            "What does “Recall” mean?",
            "the share of documents found",
        ),
        (
            "Slack is an important part of our communication.",
            "definition",
            "What is Slack?",
            "an important part of our communication",
        ),
        (
            "Employees send their receipts within 30 days after the trip.",
            "number",
            "According to “差旅”: Employees send their receipts within how many days after the trip?",
            "30 days",
        ),
        ("City | Rate\nBerlin | 140\n", "table", "According to “差旅”, what is the Rate of Berlin?", "140"),
    ],
)
def test_a_sentence_becomes_the_question_it_answers(text: str, kind: str, question: str, answer: str) -> None:
    assert made(text, title="差旅")[kind] == (question, answer)


@pytest.mark.parametrize(
    "text",
    [
        "这是指上述情况下的例外处理。",
        "总资产的增加主要是由于资产收购和重组。",
        "It is a matter of judgement for the team.",
        "公司成立于2005年3月12日，至今已有20年。",
        "They must be sent within 30 days of the trip.",
        "In 2019 the company opened 14 offices in Europe.",
        "| a | b",
        "",
    ],
)
def test_what_cannot_stand_alone_makes_no_question(text: str) -> None:
    assert made(text) == {}


def test_a_heading_asks_for_what_stands_below_it_unless_it_says_nothing() -> None:
    text = "住宿费用\n住宿费用凭发票按标准据实报销。"
    assert made(text, title="差旅", heading=("差旅", "二、住宿费用"))["heading"] == (
        "“差旅”中，关于“住宿费用”是怎么说的？",
        "住宿费用凭发票按标准据实报销。",
    )
    assert "heading" not in made(text, title="差旅", heading=("差旅", "附则"))
    assert "heading" not in made(text, title="差旅", heading=("差旅",))


def test_every_question_names_its_document_and_words_that_stand_in_it() -> None:
    documents = [
        [
            chunk(
                "员工应在30天内提交报销单，逾期不予受理。\n邀请招标，是指招标人邀请特定的法人投标。",
                "差旅",
                path="a.md",
            )
        ],
        [chunk("Recall refers to the share of documents found.", "Words", path="b.md")],
        [chunk("nothing to ask for", path="c.md")],
    ]
    questions = generate(documents, 10)
    assert {one.data["gold_doc_ids"][0] for one in questions} == {"a.md", "b.md"}
    texts = {path: "\n".join(c.text for c in chunks) for chunks in documents for path in [chunks[0].path]}
    for one in questions:
        assert one.origin == "generated"
        text = texts[one.data["gold_doc_ids"][0]]
        assert metrics.evidence_recall([text], one.data["evidence"]) == 1.0 and one.data["answers"][0] in text


def test_few_questions_come_from_different_documents_and_the_seed_decides_which() -> None:
    letters = "甲乙丙丁戊己庚辛壬癸"
    documents = [
        [chunk(f"{a}部门应在15天内提交报销单。", "差旅", path=f"{a}.md", number=n)] for n, a in enumerate(letters)
    ]
    first = generate(documents, 5, seed=1)
    assert len({one.data["gold_doc_ids"][0] for one in first}) == 5
    assert first == generate(documents, 5, seed=1) != generate(documents, 5, seed=2)


def test_a_model_that_is_too_small_is_not_asked() -> None:
    llm = FakeLanguageModel(("Q: What?\nA: x",), small=True)
    assert writer(llm)(chunk("Employees send their receipts within 30 days after the trip.")) is None


def test_a_capable_model_words_the_question_and_its_answer_must_stand_in_the_chunk() -> None:
    text = "Employees send their receipts within 30 days after the trip. Flights are booked by the office."
    llm = FakeLanguageModel(("Q: When are receipts due?\nA: within 30 days after the trip",), small=False)
    draft = writer(llm)(chunk(text))
    assert draft is not None and draft.question == "When are receipts due?"
    assert draft.evidence == "Employees send their receipts within 30 days after the trip."


@pytest.mark.parametrize(
    "reply", ["", "I cannot help.", "Q: Why?\nA: because of the king of Spain", "Q: \nA: 30 days", "问题：多久\n答案："]
)
def test_what_a_model_invents_is_no_question(reply: str) -> None:
    assert sound_draft(reply, "Receipts are sent within 30 days.") is None


def test_chinese_replies_are_read() -> None:
    draft = sound_draft("问题：报销期限是多久？\n答案：30天", "员工应在30天内提交报销单。")
    assert draft is not None and (draft.question, draft.answer) == ("报销期限是多久？", "30天")
