"""Measure retrieval for several chunk sizes and overlaps: `python -m scripts.chunk_sizes`.

Prints the tables of docs/decisions/0013-chunk-size.md. Results go to artifacts/chunk-sizes, one file per run, so that a
run that was stopped goes on where it stopped. Everything runs through the product, in a data directory of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.evaluation import builder
from app.wiring import Alioth
from chat.retrieval.retrieve import Retrieval
from core.settings import load_settings
from core.types import Collection
from evals import metrics, retrieval
from evals.scoped import PassingRetriever
from evals.sets import EvalDocument, EvalQuestion, load_documents, load_questions, sample

ROOT = Path(__file__).resolve().parent.parent
SETS = ROOT.parent / "shared" / "eval"
RESULTS = ROOT / "artifacts" / "chunk-sizes"
NAMES = ("zh_rageval_dev", "zh_lawdocs_dev", "en_multicorp_dev", "en_rageval_dev")
SIZES = (96, 128, 160, 200, 214)
OVERLAPS = (0, 24, 48)
BUDGET_TOKENS = 1000
"""Embedder tokens of the best chunks that stand for what a prompt has room for: small chunks get more of them in."""
SHOWN = ("mrr@10", "evidence@5", "evidence@10", "budget")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help="sets")
    parser.add_argument("--questions", type=int, default=200, help="asked per set, a sample with seed 1")
    parser.add_argument("--characters", type=int, default=1_000_000, help="most text per set, whole documents")
    parser.add_argument("--only", nargs="*", metavar="SIZE,OVERLAP", help="these of the grid")
    parser.add_argument("--sets", type=Path, default=SETS, help="the folder of the sets")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="alioth-chunk-sizes-") as home:
        os.environ["ALIOTH_HOME"] = home
        for size, overlap in _grid(given.only):
            for name in given.names:
                _measure(given.sets / name, size, overlap, given.characters, given.questions)
    for name in given.names:
        print(_table(name))


def _grid(only: Sequence[str] | None) -> list[tuple[int, int]]:
    if not only:
        return list(itertools.product(SIZES, OVERLAPS))
    pairs = [one.split(",") for one in only]
    return [(int(size), int(overlap)) for size, overlap in pairs]


def _measure(folder: Path, size: int, overlap: int, most_characters: int, most_questions: int) -> None:
    target, taken = _result(folder.name, size, overlap), {"characters": most_characters, "questions": most_questions}
    if target.exists() and json.loads(target.read_text()).get("sample") == taken:
        return
    documents, questions = _sampled(folder, most_characters, most_questions)
    ingest = load_settings().ingest.model_copy(update={"chunk_tokens": size, "chunk_overlap": overlap})
    alioth = Alioth(load_settings(ingest=ingest))
    try:
        alioth.collections.list()
        recorder = _Recorder(alioth.retriever)
        started, inside = time.monotonic(), []
        by_id = {question.qid: question for question in questions}

        def note(row: dict[str, Any]) -> None:
            texts = _within(recorder.last, alioth, BUDGET_TOKENS)
            inside.append(metrics.evidence_recall(texts, by_id[row["qid"]].evidence))

        report = retrieval.evaluate_retrieval(builder(alioth), recorder, documents, questions, on_row=note)
        report |= {"sample": taken, "budget": metrics.mean(inside), "seconds": round(time.monotonic() - started, 1)}
        target.write_text(json.dumps(report, indent=1))
        print(f"{folder.name} {size}/{overlap}: " + "  ".join(f"{key} {report[key]:.3f}" for key in SHOWN), flush=True)
    finally:
        alioth.close()


class _Recorder(PassingRetriever):
    """The product's retriever; remembers what it gave last."""

    last: Retrieval | None = None

    def retrieve(self, query: str, collections: Sequence[Collection], k: int = 10, **given: Any) -> Retrieval:
        self.last = super().retrieve(query, collections, k, **given)
        return self.last


def _within(found: Retrieval | None, alioth: Alioth, tokens: int) -> list[str]:
    texts = [item.chunk.text for item in found.results] if found else []
    kept: list[str] = []
    for text, count in zip(texts, alioth.embedder.tokenizer.counts(texts), strict=True):
        tokens -= count
        if tokens < 0:
            break
        kept.append(text)
    return kept


def _sampled(folder: Path, characters: int, questions: int) -> tuple[list[EvalDocument], list[EvalQuestion]]:
    """Some documents (seed 1), and questions that have their evidence in them."""
    everything = load_documents(folder / "documents.jsonl")
    random.Random(1).shuffle(everything)
    kept: list[EvalDocument] = []
    for document in everything:
        characters -= len(document.text)
        if characters >= 0:
            kept.append(document)
    ids = {document.doc_id for document in kept}
    asked = [
        question
        for question in load_questions(folder / "questions.jsonl")
        if question.evidence and question.gold and set(question.gold) <= ids
    ]
    return kept, sample([dataclasses.replace(one, scope="") for one in asked], questions, 1)


def _result(name: str, size: int, overlap: int) -> Path:
    return RESULTS / f"{name}.{size}.{overlap}.json"


def _table(name: str) -> str:
    lines = [
        f"\n{name}\n",
        "| tokens, overlap | chunks | " + " | ".join(SHOWN) + " |",
        "|---|---|" + "---|" * len(SHOWN),
    ]
    for overlap in OVERLAPS:
        for size in SIZES:
            file = _result(name, size, overlap)
            if file.exists():
                report = json.loads(file.read_text())
                cells = [f"{report[key]:.3f}".lstrip("0") for key in SHOWN]
                lines.append(f"| {size}, {overlap} | {report['ingest']['chunks']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
