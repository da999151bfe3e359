"""What is found to the letter: article and part numbers, versions, addresses, phones, quoted words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chat.retrieval.exact import exact_terms, found_in, glossary_terms
from chat.retrieval.retrieve import Retriever


@pytest.mark.parametrize(
    ("question", "kinds"),
    [
        ("民法典第三十二条第二款怎么规定？", [("article", "第三十二条"), ("article", "第二款")]),
        ("What do §12.3 and Article 5(b) say?", [("article", "§12.3"), ("article", "Article 5(b)")]),
        ("Is Annex B binding?", [("article", "Annex B")]),
        ("价格 AB-1203/7", [("identifier", "AB-1203/7")]),
        ("ＡＢ－１２０３ 多少钱", [("identifier", "AB-1203")]),
        ("GB/T 9704-2012 要求什么", [("identifier", "GB/T 9704-2012")]),
        ("Does v2.4.1 or 3.10.2 fix it?", [("version", "v2.4.1"), ("version", "3.10.2")]),
        ("Who is hr@example.com?", [("mail", "hr@example.com")]),
        ("电话 010-62345678 是谁的", [("phone", "010-62345678")]),
        ("call +86 138 0013 8000", [("phone", "+86 138 0013 8000")]),
        (
            'where is "annual leave" and 「年假」 and “双减”',
            [("phrase", "annual leave"), ("phrase", "年假"), ("phrase", "双减")],
        ),
    ],
)
def test_a_question_says_what_it_wants_to_the_letter(question: str, kinds: list[tuple[str, str]]) -> None:
    assert [(term.kind, term.text) for term in exact_terms(question)] == kinds


@pytest.mark.parametrize(
    "question",
    [
        "How many days of leave in 2024?",
        "Revenue in Q3 2021 was 12,345,678 or 3.5 million?",
        "第一次来怎么办，三十天内",
        "COVID-19 rules 2019-2020",
        "Does section a new rule apply?",
        "it's 'fine'",
        '""',
    ],
)
def test_dates_amounts_and_plain_words_are_nothing_to_be_exact_about(question: str) -> None:
    assert exact_terms(question) == ()


@pytest.mark.parametrize(
    ("question", "text", "there"),
    [
        ("第三十二条", "依照本法第32条办理", True),
        ("第32条", "根据第三十二条的规定", True),
        ("第三十二条", "第一百三十二条", False),
        ("第三十二条", "第三十二条之一", False),
        ("第十二条之一", "第十二条之一 规定", True),
        ("第105条", "第一百零五条 有下列情形", True),
        ("AB-1203/7", "see ab-1203/7.", True),
        ("AB-1203/7", "AB-1203/75", False),
        ("AB-1203", "AB-1203/7", False),
        ("v2.4.1", "fixed in V2.4.1.", True),
        ("v2.4.1", "fixed in v2.4.10", False),
        ("18611112222", "tel 186-1111-2222", True),
        ("18611112222", "286111122223", False),
        ("010-62345678", "电话：(010)62345678", True),
        ("§12.3", "Section 12.3 applies", True),
        ("§12.3", "12.3 Term\nof notice", True),
        ("§12.3", "Section 12.30", False),
        ('"annual leave"', "the Annual\nLeave policy", True),
        ('"annual leave"', "leave annual", False),
        ("「年假」", "带薪年假十天", True),
    ],
)
def test_it_stands_there_to_the_letter_or_not(question: str, text: str, there: bool) -> None:
    assert bool(found_in(text, exact_terms(question))) is there


def test_most_eight_terms_are_taken_from_a_pasted_list() -> None:
    assert len(exact_terms(" ".join(f"XY-{n}00" for n in range(50)))) == 8


def test_chinese_glossary_words_are_found_whole() -> None:
    [term] = glossary_terms(["年假", "okr", "假"])
    assert term.text == "年假" and found_in("享有年假十天", [term]) and not found_in("今年放假", [term])


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("What does AB-1203/7 cost?", 907),
        ("第三十二条规定了什么？", 901),
        ('Who wrote "cost plan alpha"?', 902),
        ("谁的电话是18611112222", 903),
        ("who reads ops@example.com", 904),
    ],
)
def test_the_chunk_that_has_it_comes_first_among_many_alike(
    question: str,
    wanted: int,
    chunk: Callable[..., Any],
    collection: Callable[..., Any],
    fake_store: Callable[..., Any],
) -> None:
    like = [
        "What does AB-1203/8 cost? The cost of AB-1203 parts, part 7.",
        "第三十三条规定了什么，第一百三十二条规定了什么",
        "Who wrote the alpha plan? Cost alpha plan wrote.",
        "谁的电话是18611112223，谁的电话",
        "who reads ops at example.com, who reads",
    ]
    exact = {
        907: "Item AB-1203/7: 40 euros.",
        901: "依照第32条办理。",
        902: "It is called cost plan alpha.",
        903: "前台：186-1111-2222。",
        904: "Mail goes to ops@example.com.",
    }
    chunks = [chunk(n * 10 + i, f"{text} {n}", path=f"{n}-{i}") for n in range(20) for i, text in enumerate(like)]
    chunks += [chunk(i, text, path=f"x{i}") for i, text in exact.items()]
    store = fake_store(chunks)
    retriever = Retriever(store, store, store, lambda _: store.embedder)
    found = retriever.retrieve(question, [collection()])
    retriever.close()
    assert found.results[0].chunk.id == wanted
    assert found.results[0].stages["exact"] == 1.0 and found.trace.exact
