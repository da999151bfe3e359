"""`alioth eval` end to end: sets made, measured, kept and compared; the gate fails when something is worse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.app.cli_driver import CommandLine

LEAVE = """# Leave

Annual leave refers to the paid days off that every employee has.

Employees report sick within 2 hours after the start of their shift.
"""
TRAVEL = """# 差旅报销

员工应在出差结束后30天内提交报销申请，逾期须书面批准。
"""


@pytest.fixture(scope="module")
def filled(alioth: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "leave.md").write_text(LEAVE, "utf-8")
    (folder / "差旅.md").write_text(TRAVEL, "utf-8")
    alioth.ok("collection", "create", "handbook")
    alioth.ok("ingest", "add", folder, "-c", "handbook")
    return alioth


def test_questions_are_made_measured_and_compared(filled: CommandLine, tmp_path: Path) -> None:
    made = filled.ok("eval", "sets", "generate", "auto", "-c", "handbook", "--json").json
    assert made["added"] >= 3 and made["missing_documents"] == []
    exported = filled.ok("eval", "sets", "export", "auto", "-c", "handbook").out
    questions = [json.loads(line) for line in exported.splitlines()]
    assert "据“差旅报销”，员工应在出差结束后多少天内提交报销申请？" in {one["question"] for one in questions}
    file = tmp_path / "own.csv"
    file.write_text("question,documents\nWho wins?,nowhere.md\n", "utf-8")
    imported = filled.ok("eval", "sets", "import", "auto", file, "-c", "handbook", "--json").json
    assert imported == {"added": 1, "replaced": 0, "missing_documents": ["nowhere.md"]}
    shown = filled.ok("eval", "run", "--set", "auto", "-c", "handbook", "--save", "first", "--json").json
    assert shown["state"] == "done" and shown["done"] == len(questions) + 1
    assert 0 < shown["figures"]["hit@10"] < 1 and shown["facts"]["embedder"] == "all-minilm-l6-v2"
    again = filled.ok("eval", "run", "--set", "auto", "-c", "handbook", "--save", "second", "--gate", "first")
    assert "Not worse than 'first': 4 questions compared" in again.err
    compared = filled.ok("eval", "compare", "first", "second", "--json").json
    assert compared["questions"] == shown["done"] and compared["wins"] == compared["losses"] == []
    assert [one["name"] for one in filled.ok("eval", "runs", "-c", "handbook", "--json").json] == ["second", "first"]


def test_a_stranger_finds_no_set_and_no_run(filled: CommandLine) -> None:
    filled.ok("user", "add", "stranger", "--json")
    refused = filled.run("--as", "stranger", "eval", "sets", "list", "-c", "handbook")
    assert refused.code == 1 and "not shared" in refused.err
    assert filled.ok("--as", "stranger", "eval", "runs", "--json").json == []
    assert filled.run("--as", "stranger", "eval", "show", "first").code == 1


def test_the_gate_names_what_is_worse_and_exits_1(alioth: CommandLine, tmp_path: Path) -> None:
    documents, questions, rows = (tmp_path / name for name in ("documents.jsonl", "questions.jsonl", "rows.jsonl"))
    texts = [{"doc_id": f"d{n}", "title": f"Part {n}", "text": f"Machine {n} runs at {n} bar."} for n in range(1, 5)]
    documents.write_text("".join(json.dumps(one) + "\n" for one in texts), "utf-8")
    asked = [
        {
            "qid": f"q{n}",
            "question": f"At how many bar does machine {n % 4 + 1} run?",
            "gold_doc_ids": [f"d{(n + 1) % 4 + 1}"],
        }
        for n in range(24)
    ]
    questions.write_text("".join(json.dumps(one) + "\n" for one in asked), "utf-8")
    given = ("eval", "retrieval", "--documents", documents, "--questions", questions)
    first = alioth.ok(*given, "--save", "base", "--rows", rows, "--json")
    assert list(first.json)[:3] == ["questions", "judged", "hit@1"] and "Saved as run 'base'" in first.err
    perfect = [json.loads(line) | {"mrr@10": 1.0} for line in rows.read_text("utf-8").splitlines()]
    rows.write_text("".join(json.dumps(row) + "\n" for row in perfect), "utf-8")
    worse = alioth.run(*given, "--gate", rows, "--json")
    assert worse.code == 1 and "mrr@10 1.0000 -> " in worse.err and worse.json["questions"] == 24
    unknown = alioth.run(*given, "--gate", "nothing")
    assert unknown.code == 1 and "'nothing'" in unknown.err and unknown.out == ""
