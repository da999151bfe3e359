"""Our own corpus through the whole product: real parsers, Chroma, tantivy, MiniLM, SmolLM2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.evaluation import evaluate_answers, evaluate_retrieval
from app.wiring import Alioth
from core.settings import load_settings
from core.types import AnswerMode

RETRIEVAL_KEYS = [
    "questions", "judged", "hit@1", "hit@5", "hit@10", "recall@10", "mrr@10", "ndcg@10", "evidence@5", "evidence@10",
    "latency_ms", "ingest",
]  # fmt: skip
ANSWER_KEYS = [
    "questions", "token_f1", "contains", "refusal", "citation_precision", "unsupported_rate", "seconds_per_answer",
    "ingest",
]  # fmt: skip
REPORT_KEYS = (RETRIEVAL_KEYS, ANSWER_KEYS)
"""What other programs read, in this order; further figures stand elsewhere."""

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
DOCUMENTS, QUESTIONS = CORPUS / "documents.jsonl", CORPUS / "questions.jsonl"


@pytest.fixture(scope="module")
def alioth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alioth]:
    home = tmp_path_factory.mktemp("eval-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIOTH_HOME", str(home))
        patch.setenv("ALIOTH_MODELS__IDLE_S", "2")
        parts = Alioth(load_settings())
        yield parts
        parts.close()


@pytest.fixture(scope="module")
def retrieval(alioth: Alioth, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rows = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    report = evaluate_retrieval(alioth, DOCUMENTS, QUESTIONS, None, 1, rows)
    return report, [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]


def test_retrieval_on_our_own_corpus_stays_good(retrieval: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    report, rows = retrieval
    assert list(report) == RETRIEVAL_KEYS
    assert report["questions"] == len(rows) == 44 and report["judged"] == 39
    assert report["ingest"]["documents"] == 16 and report["ingest"]["failed"] == 0
    assert report["mrr@10"] >= 0.95, [row["qid"] for row in rows if row.get("mrr@10", 1.0) < 1.0]
    assert report["hit@5"] == 1.0
    assert report["evidence@5"] >= 0.95
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p95"]


def test_the_report_is_the_mean_of_the_rows(retrieval: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    report, rows = retrieval
    judged = [row["mrr@10"] for row in rows if row["gold"]]
    assert report["mrr@10"] == pytest.approx(sum(judged) / len(judged), abs=1e-4)
    for row in rows:
        assert len(row["documents"]) <= 10 and len(set(row["documents"])) == len(row["documents"])
        if row["gold"]:
            assert row["hit@1"] == float(row["documents"][0] in row["gold"])


def test_the_temporary_collection_is_gone(
    alioth: Alioth, retrieval: tuple[dict[str, Any], list[dict[str, Any]]]
) -> None:
    assert alioth.collections.list() == []
    assert alioth.vectors.keys() == []
    assert alioth.documents.pending() == 0


@pytest.mark.parametrize("mode", [AnswerMode.QUOTE, AnswerMode.AUTOMATIC])
def test_answers_are_cited_and_the_unanswerable_is_refused(alioth: Alioth, tmp_path: Path, mode: AnswerMode) -> None:
    rows_file = tmp_path / "rows.jsonl"
    report = evaluate_answers(alioth, DOCUMENTS, QUESTIONS, 16, 1, rows_file, mode)
    rows = [json.loads(line) for line in rows_file.read_text(encoding="utf-8").splitlines()]
    assert list(report) == ANSWER_KEYS
    assert report["questions"] == len(rows) == 16
    assert all({"rouge_l", "bleu", "citation_recall"} <= set(row) for row in rows if not row["refused"])
    assert report["contains"] >= 0.8, [row["answer"] for row in rows if row.get("contains") == 0.0]
    assert report["citation_precision"] >= 0.9
    assert report["refusal"] == {"recall": 1.0, "false_rate": 0.0}
    assert all(row["citations"] for row in rows if not row["refused"])
