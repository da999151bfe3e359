"""Every figure against values worked out by hand, and against the scoring that others use, where that is here."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import metrics

SCORE = Path(__file__).resolve().parents[3] / "shared" / "eval" / "score.py"
TEXTS = st.text(alphabet="ab 12.,的中国企业。-_Ａ", max_size=30)


@pytest.fixture(scope="module")
def score() -> ModuleType:
    if not SCORE.exists():
        pytest.skip("the shared evaluation folder is not here")
    spec = importlib.util.spec_from_file_location("shared_score", SCORE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rank_figures_follow_their_definitions() -> None:
    ranked = ["d", "a", "c", "b"]
    assert metrics.hit(ranked, ["a", "b"], 1) == 0.0
    assert metrics.hit(ranked, ["a", "b"], 2) == 1.0
    assert metrics.recall(ranked, ["a", "b"], 3) == 0.5
    assert metrics.reciprocal_rank(ranked, ["a", "b"], 10) == 0.5
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    assert metrics.ndcg(ranked, ["a", "b"], 10) == pytest.approx(gain / (1 + 1 / math.log2(3)))


def test_a_perfect_ranking_scores_one_and_a_useless_one_zero() -> None:
    gold = ["a", "b"]
    for figure in (metrics.hit, metrics.recall, metrics.reciprocal_rank, metrics.ndcg):
        assert figure(["a", "b", "x"], gold, 10) == 1.0
        assert figure(["x", "y"], gold, 10) == 0.0
        assert figure([], gold, 10) == 0.0


def test_gold_below_the_cut_does_not_count() -> None:
    ranked = [f"x{n}" for n in range(10)] + ["a"]
    for figure in (metrics.hit, metrics.recall, metrics.reciprocal_rank, metrics.ndcg):
        assert figure(ranked, ["a"], 10) == 0.0


def test_evidence_counts_sentences_whose_first_thirty_characters_stand_in_a_chunk() -> None:
    chunks = ["Backups are kept for 35 days, and copied to Graz", "员工应在费用发生后四十五天内提交报销单"]
    assert metrics.evidence_recall(chunks, ["Backups are kept for 35 days and"]) == 1.0
    assert metrics.evidence_recall(chunks, ["费用发生后，四十五天内", "nowhere to be found"]) == 0.5
    assert metrics.evidence_recall(chunks, ["short"]) is None
    assert metrics.evidence_recall(chunks, []) is None


def test_evidence_does_not_join_across_chunks() -> None:
    assert metrics.evidence_recall(["the lamp lasts", "two thousand hours"], ["lamp lasts two thousand"]) == 0.0


def test_f1_compares_chinese_by_characters_and_english_by_words() -> None:
    assert metrics.f1("总经理是沈静宜", "沈静宜") == pytest.approx(2 * 3 / (7 + 3))
    assert metrics.f1("The lamp, a lamp!", "lamp") == pytest.approx(2 * 1 / (2 + 1))
    assert metrics.f1("something else", "lamp") == 0.0
    assert metrics.best_f1("lamp", [("bulb",), ("lamp",)]) == 1.0
    assert metrics.best_f1("lamp", []) == 0.0


def test_contains_wants_all_parts_of_one_answer() -> None:
    answers = [("公开", "机密"), ("four levels",)]
    assert metrics.contains("分为公开、内部、机密。", answers) == 1.0
    assert metrics.contains("分为公开、内部。", answers) == 0.0
    assert metrics.contains("There are four levels.", answers) == 1.0


def test_rouge_and_bleu_read_chinese_and_reward_only_what_is_shared() -> None:
    for figure in (metrics.rouge_l, metrics.bleu):
        for text in ("员工应在三十天内提交报销单", "Receipts are due within thirty days"):
            assert figure(text, [(text,)]) == pytest.approx(1.0)
            assert 0.0 < figure(text[:-3], [("something else",), (text,)]) < 1.0
            assert figure(text, [("xyz",)]) == 0.0
            assert figure(text, []) == figure("", [(text,)]) == 0.0


def test_rouge_l_is_the_longest_common_subsequence_over_both_lengths() -> None:
    assert metrics.rouge_l("a1 b1 c1 d1", [("a1 x1 c1 y1 d1",)]) == pytest.approx(2 * 3 / (4 + 5))
    assert metrics.rouge_l("总经理是沈静宜", [("沈静宜",)]) == pytest.approx(2 * 3 / (7 + 3))
    assert metrics.rouge_l("d1 c1 b1 a1", [("a1 b1 c1 d1",)]) == pytest.approx(2 / 8)  # order counts


def test_citation_marks_are_no_part_of_the_answer() -> None:
    assert metrics.without_marks("35 days [1]，见【2】［3］ and [1, 2].") == "35 days ，见 and ."


def test_means_leave_out_what_cannot_be_judged() -> None:
    assert metrics.mean([1.0, None, 0.0]) == 0.5
    assert metrics.mean([None]) is None
    assert metrics.percentile([], 0.5) is None
    assert metrics.percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert metrics.percentile([1.0, 2.0], 0.95) == 2.0


@given(answer=TEXTS, wanted=st.lists(TEXTS, min_size=1, max_size=3))
def test_answer_figures_equal_the_shared_scoring(score: ModuleType, answer: str, wanted: list[str]) -> None:
    assert metrics.f1(answer, wanted[0]) == pytest.approx(score.f1(answer, wanted[0]))
    assert metrics.contains(answer, [tuple(wanted)]) == float(score.contains(answer, [wanted]))


@given(
    ranked=st.lists(st.sampled_from("abcdefghijklmnop"), unique=True),
    gold=st.sets(st.sampled_from("abcdxyz"), min_size=1),
)
def test_rank_figures_equal_the_shared_scoring(score: ModuleType, ranked: list[str], gold: set[str]) -> None:
    theirs = score.retrieval(ranked, gold, 10)
    assert metrics.hit(ranked, gold, 10) == float(theirs["hit"])
    assert metrics.recall(ranked, gold, 10) == pytest.approx(theirs["recall"])
    assert metrics.reciprocal_rank(ranked, gold, 10) == pytest.approx(theirs["rr"])


@given(chunks=st.lists(TEXTS, max_size=3), evidence=st.lists(TEXTS, max_size=3))
def test_evidence_equals_the_shared_scoring(score: ModuleType, chunks: list[str], evidence: list[str]) -> None:
    assert metrics.evidence_recall(chunks, evidence) == score.evidence_recall(chunks, evidence)
