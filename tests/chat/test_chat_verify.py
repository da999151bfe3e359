"""The sentence check: what must agree exactly, what need only be close, and the reasons it gives."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chat.facts.numerals import arabic
from chat.facts.values import names_of, values_of
from chat.verification.verify import check_answer, sentences_of
from core.errors import ModelUnavailableError
from core.types import Verdict

EN = (
    "Acme Corp was founded in Oslo on 3 May 2012 by Maria Schmidt. In March 2021 Acme Corp acquired DataPro for "
    "$50 million. Acme Corp does not sell customer data. In April 2021 a new product line was launched. "
    "Revenue grew by 12% to 3.65 billion euros."
)
ZH = (
    "华夏娱乐有限公司成立于2001年5月3日，注册地为上海。2020年，公司营业收入为30亿元，净利润为三亿五千万元。"
    "被告人王某某于2022年6月15日被刑事拘留。公司没有发生重大诉讼。员工享有15天年假，增长率为百分之十二。"
)

TRUE = [
    "Acme Corp was founded in Oslo on May 3, 2012.",
    "Maria Schmidt founded Acme Corp on 2012-05-03.",
    "In March 2021 Acme Corp acquired DataPro for 50,000,000 dollars.",
    "Acme Corp does not sell customer data.",
    "Revenue grew by 12 percent to about 3.7 billion euros.",
    "华夏娱乐有限公司成立于二〇〇一年五月三日。",
    "2020年公司营业收入为3,000,000,000元。",
    "公司净利润为３.５亿元。",
    "王某某于2022年6月15日被刑事拘留。",
    "公司没有发生重大诉讼。",
    "员工享有十五天年假，增长率为12％。",
]
FALSE = [
    ("Acme Corp was founded in Oslo on May 4, 2012.", "May 4, 2012"),
    ("Acme Corp was founded in Bergen on May 3, 2012.", "Bergen"),
    ("In March 2021 Acme Corp acquired DataPro for $51 million.", "51 million"),
    ("In April 2021 Acme Corp acquired DataPro for $50 million.", "April 2021"),
    ("Acme Corp sells customer data.", "not"),
    ("Acme Corp was not founded in Oslo on 3 May 2012.", "not"),
    ("Revenue grew by 13% to 3.65 billion euros.", "13%"),
    ("华夏娱乐有限公司成立于2001年6月3日。", "2001年6月3日"),
    ("2020年公司营业收入为31亿元。", "31亿"),
    ("公司净利润为四亿五千万元。", "450000000"),
    ("李某某于2022年6月15日被刑事拘留。", "李某某"),
    ("公司发生重大诉讼。", "没"),
    ("员工没有享有15天年假。", "没"),
    ("员工享有十六天年假。", "16"),
]


@pytest.mark.parametrize("sentence", TRUE)
def test_a_true_sentence_is_supported_however_its_values_are_written(sentence: str) -> None:
    [check] = check_answer(f"{sentence} [1]", {1: ZH if _is_zh(sentence) else EN})
    assert check.verdict is Verdict.SUPPORTED, check.reason


@pytest.mark.parametrize(("sentence", "named"), FALSE)
def test_an_altered_value_is_caught_and_named(sentence: str, named: str) -> None:
    [check] = check_answer(f"{sentence} [1]", {1: ZH if _is_zh(sentence) else EN})
    assert check.verdict is Verdict.UNSUPPORTED
    assert named in check.reason


def _is_zh(sentence: str) -> bool:
    return bool(re.search(r"[\u4e00-\u9fff]", sentence))


def test_a_sentence_is_checked_against_what_it_cites_and_nothing_else() -> None:
    sources = {1: "The warranty lasts two years.", 2: "Returns are accepted within 30 days of delivery."}
    checks = check_answer(
        "Returns are accepted within 30 days of delivery [1]. The warranty lasts two years [1].", sources
    )
    assert [check.verdict for check in checks] == [Verdict.UNSUPPORTED, Verdict.SUPPORTED]
    assert "30" in checks[0].reason
    [both] = check_answer("The warranty lasts two years and returns are accepted within 30 days [1][2].", sources)
    assert both.verdict is Verdict.SUPPORTED
    assert both.cited == (1, 2)


def test_a_sentence_without_a_mark_is_uncited_when_others_have_marks() -> None:
    checks = check_answer("The warranty lasts two years [1]. It is long.", {1: "The warranty lasts two years."})
    assert [check.verdict for check in checks] == [Verdict.SUPPORTED, Verdict.UNCITED]


def test_a_text_without_any_mark_is_checked_against_all_sources() -> None:
    checks = check_answer(
        "The warranty lasts two years. It costs 99 euros.",
        {1: "The warranty lasts two years.", 2: "It costs 98 euros."},
    )
    assert [check.verdict for check in checks] == [Verdict.SUPPORTED, Verdict.UNSUPPORTED]
    assert "99" in checks[1].reason


def test_an_unknown_number_of_a_source_is_unsupported() -> None:
    [check] = check_answer("The warranty lasts two years [4].", {1: "The warranty lasts two years."})
    assert check.verdict is Verdict.UNSUPPORTED
    assert "[4]" in check.reason


def test_a_sentence_about_something_else_is_unsupported() -> None:
    [check] = check_answer("The canteen serves vegetarian lunch daily [1].", {1: "The warranty lasts two years."})
    assert check.verdict is Verdict.UNSUPPORTED
    assert "does not mention" in check.reason


def test_across_languages_similarity_decides() -> None:
    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        near = np.array([1.0, 0.0], dtype=np.float32)
        far = np.array([0.0, 1.0], dtype=np.float32)
        return np.stack([far if "canteen" in text else near for text in texts])

    source = {1: "保修期为两年。"}
    assert check_answer("The warranty is long [1].", source, embed)[0].verdict is Verdict.SUPPORTED
    assert check_answer("The canteen is open [1].", source, embed)[0].verdict is Verdict.UNSUPPORTED
    assert check_answer("The warranty is long [1].", source)[0].verdict is Verdict.UNSUPPORTED


def test_an_embedder_that_is_away_leaves_the_sentence_unsupported_and_not_the_answer_broken() -> None:
    def gone(texts: Sequence[str]) -> NDArray[np.float32]:
        raise ModelUnavailableError("The models process does not answer.")

    [check] = check_answer("The warranty is long [1].", {1: "保修期为两年。"}, gone)
    assert check.verdict is Verdict.UNSUPPORTED
    assert "could not be compared" in check.reason


def test_offsets_give_the_sentence_back_and_marks_belong_to_what_they_follow() -> None:
    text = "First fact [1]. Second fact.[2] 第三。[1]\n- [2] Fourth fact."
    found = sentences_of(text)
    assert [s.cited for s in found] == [(1,), (2,), (1,), (2,)]
    assert [s.text for s in found] == ["First fact .", "Second fact.", "第三。", "Fourth fact."]
    for sentence in found:
        assert sentence.text.split()[0].rstrip(".。") in text[sentence.start : sentence.end]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("三十亿元", "30亿元"),
        ("二〇二一年", "2021年"),
        ("第二十五条", "第25条"),
        ("一万二千三百人", "12300人"),
        ("百分之三十五", "百分之35"),
        ("三点五亿", "3.5亿"),
        ("三次", "3次"),
        ("一个人十分高兴", "一个人十分高兴"),
        ("万一千万不要", "万一千万不要"),
        ("统一安排", "统一安排"),
    ],
)
def test_chinese_numerals_become_digits_and_other_words_stay(written: str, read: str) -> None:
    assert arabic(written) == read


def test_numbers_with_scales_and_dates_of_every_form_compare() -> None:
    assert {n.value for n in values_of("3.5亿元").numbers} == {n.value for n in values_of("350 million").numbers}
    forms = ["2021年5月3日", "2021-05-03", "May 3, 2021", "3rd of May 2021", "3 May, 2021", "二〇二一年五月三日"]
    assert {(d.year, d.month, d.day) for form in forms for d in values_of(form).dates} == {(2021, 5, 3)}
    assert not values_of("1. First\n2. Second").numbers


def test_names_identifiers_and_titles_are_found() -> None:
    assert names_of("The pump P-200 was bought by Maria Schmidt in May.") == ["P-200", "Maria", "Schmidt"]
    assert "王某某" in names_of("被告人王某某的职业")
    assert "劳动合同法" in names_of("根据《劳动合同法》的规定")


# ------------------------------------------------------------------ on real answers

_EVAL = Path(__file__).parents[3] / "shared" / "eval"


@pytest.mark.parametrize("name", ["zh_rageval_dev", "en_rageval_dev"])
def test_on_real_answers_most_alterations_are_caught_and_few_truths_flagged(name: str) -> None:
    if not (_EVAL / name).exists():
        pytest.skip(f"the evaluation set {name} is not beside this checkout")
    documents = {row["doc_id"]: row for row in _rows(_EVAL / name / "documents.jsonl")}
    questions = _rows(_EVAL / name / "questions.jsonl")
    caught, flagged = [], []
    for question in questions[:150]:
        digits = re.search(r"\d{2,}", " ".join(question["answers"]))
        if digits is None or not question.get("evidence") or len(question["gold_doc_ids"]) != 1:
            continue
        truth = " ".join(question["answers"])
        document = documents[question["gold_doc_ids"][0]]
        source = {1: f"{document['title']}\n{document['text']}"}
        first, last = digits.span()
        altered = f"{truth[:first]}{int(digits.group()) + 3}{truth[last:]}"
        flagged.append(any(c.verdict is not Verdict.SUPPORTED for c in check_answer(truth, source)))
        caught.append(any(c.verdict is not Verdict.SUPPORTED for c in check_answer(altered, source)))
    assert len(caught) >= 10, name
    assert sum(caught) / len(caught) >= 0.85
    assert sum(flagged) / len(flagged) <= 0.25


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


PARALLEL = {
    1: "Advance purchase\n- Domestic: At least 14 days in advance\n- International: At least 21 days in advance",
    2: "住宿标准：\n一线城市每晚不超过600元\n二线城市每晚不超过450元",
}


@pytest.mark.parametrize(
    ("sentence", "verdict"),
    [
        ("Book domestic flights at least 14 days in advance [1].", Verdict.SUPPORTED),
        ("Book domestic flights at least 21 days in advance [1].", Verdict.UNSUPPORTED),
        ("Book international flights at least 14 days in advance [1].", Verdict.UNSUPPORTED),
        ("一线城市住宿每晚不超过600元[2]。", Verdict.SUPPORTED),
        ("一线城市住宿每晚不超过450元[2]。", Verdict.UNSUPPORTED),
        ("二线城市住宿标准为每晚450元[2]。", Verdict.SUPPORTED),
    ],
)
def test_a_number_that_belongs_to_the_statement_beside_it_is_not_supported(sentence: str, verdict: Verdict) -> None:
    [check] = check_answer(sentence, PARALLEL)
    assert check.verdict is verdict, check.reason


# ------------------------------------------------------------------ units, counts, owners, organisations

SITE = (
    "The contract runs for five (5) years and may be ended within 30 days. The site covers 12 square kilometres. "
    "Over 200 handbags were seized. Taylor was charged with theft and fined $100,000. The plant does not emit smoke."
)
COURT = (
    "盛达能源有限公司完成了对新能源科技有限公司的收购，获得55%的股权，涉案金额超过500万元。"
    "被告人没有报警，而是驾车逃离现场。仲裁时效为一年。"
)


@pytest.mark.parametrize(
    ("sentence", "source", "named"),
    [
        ("The contract runs for five months.", SITE, "unit"),
        ("The contract may be ended within 30 weeks.", SITE, "unit"),
        ("The site covers 12 square miles.", SITE, "unit"),
        ("Over 205 handbags were seized.", SITE, "205"),
        ("Taylor was charged with theft and fined 100,000 euros.", SITE, "unit"),
        ("Taylor was never charged with theft.", SITE, "never"),
        ("The plant does emit smoke.", SITE, "not"),
        ("盛达能源有限公司获得55‰的股权。", COURT, "55"),
        ("涉案金额超过507万元。", COURT, "507"),
        ("盛达能源有限公司完成了对澜赋科技有限公司的收购。", COURT, "澜赋科技"),
        ("被告人没有报警，而不是驾车逃离现场。", COURT, "不"),
        ("被告人报警后驾车逃离现场。", COURT, "没"),
    ],
)
def test_a_changed_unit_round_figure_organisation_or_denial_is_caught(sentence: str, source: str, named: str) -> None:
    [check] = check_answer(f"{sentence} [1]", {1: source})
    assert check.verdict is Verdict.UNSUPPORTED
    assert named in check.reason


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("The contract runs for 5 years.", SITE),
        ("There were two measures against Taylor: a charge of theft and a fine of $100,000.", SITE),
        ("盛达能源有限公司完成了对新能源科技有限公司的收购。", COURT),
        ("被告人没有报警，驾车逃离现场。", COURT),
        ("被告人驾车逃离现场。", COURT),
        ("盛达能源获得了百分之五十五的股权。", COURT),
    ],
)
def test_what_the_source_says_in_other_words_passes(sentence: str, source: str) -> None:
    [check] = check_answer(f"{sentence} [1]", {1: source})
    assert check.verdict is Verdict.SUPPORTED, check.reason


def test_a_comparison_takes_each_figure_from_the_source_it_names() -> None:
    sources = {
        1: "Acme\nTotal assets were $5 billion in 2021.",
        2: "Nordic Steel\nTotal assets were $800 million in 2017.",
    }
    true = "Acme had more total assets with $5 billion, while Nordic Steel had $800 million [1][2]."
    false = "Acme had more total assets with $800 million, while Nordic Steel had $5 billion [1][2]."
    assert [check_answer(text, sources)[0].verdict for text in (true, false)] == [
        Verdict.SUPPORTED,
        Verdict.UNSUPPORTED,
    ]


def test_times_and_step_labels_are_no_counts() -> None:
    source = "The shift begins at 18时 and ends at 20:30. Open the lid, then press the lever."
    [shift] = check_answer("The shift begins at 18:00 and ends at 20:30 [1].", {1: source})
    [step] = check_answer("Step 2: press the lever of the lid [1].", {1: source})
    assert shift.verdict is step.verdict is Verdict.SUPPORTED


def test_other_words_pass_by_similarity_where_an_embedder_reads() -> None:
    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[1.0, 0.0] if "holiday" in t or "leave" in t else [0.0, 1.0] for t in texts], np.float32)

    said, source = "Everybody gets generous holiday time yearly.", {1: "Staff take paid leave. The roof is flat."}
    assert check_answer(f"{said} [1]", source)[0].verdict is Verdict.UNSUPPORTED
    assert check_answer(f"{said} [1]", source, embed)[0].verdict is Verdict.SUPPORTED
