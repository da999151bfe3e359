"""The command line end to end: real Chroma, real llama.cpp, real MiniLM, one data directory."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.app.cli_driver import CommandLine

LEAVE = """# Leave policy

## Annual leave

Every employee has 25 days of annual leave per calendar year. Unused days expire on 31 March of the next year.

## Sick leave

Report sick before 9:30 to your manager. A doctor's note is needed from the fourth day on.
"""
TRAVEL = """# 差旅报销制度

## 住宿标准

国内出差住宿标准为每晚不超过450元，一线城市可放宽至每晚600元。

## 报销期限

员工应在出差结束后30日内提交报销申请，逾期须由部门总监书面批准。
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "leave.md").write_text(LEAVE, "utf-8")
    (folder / "sub").mkdir()
    (folder / "sub" / "差旅.md").write_text(TRAVEL, "utf-8")
    return folder


@pytest.fixture(scope="module")
def filled(alioth: CommandLine, folder: Path) -> CommandLine:
    alioth.ok("collection", "create", "Handbook 手册")
    added = alioth.ok("ingest", "add", folder, "--collection", "handbook 手册", "--json").json
    assert {row["path"]: row["state"] for row in added["documents"]} == {"leave.md": "ready", "sub/差旅.md": "ready"}
    return alioth


def test_a_folder_becomes_documents_with_relative_paths(filled: CommandLine) -> None:
    rows = filled.ok("ingest", "list", "-c", "Handbook 手册", "--json").json
    assert [(row["path"], row["state"], row["version"]) for row in rows] == [
        ("leave.md", "ready", 1),
        ("sub/差旅.md", "ready", 1),
    ]
    assert all(row["chunks"] >= 1 and row["problems"] == [] for row in rows)


def test_show_tells_what_happened_to_a_document(filled: CommandLine) -> None:
    report = filled.ok("ingest", "show", "leave.md", "-c", "Handbook 手册", "--json").json["report"]
    assert (report["pages_read"], report["truncations"], report["left_out"], report["language"]) == (1, 0, 0, "en")
    assert report["chunks"] > 0 and report["tokens"] <= report["chunks"] * report["window"]
    assert (report["hidden"], report["duplicates"], report["ocr"]["pages"]) == ([], [], 0)
    said = filled.ok("ingest", "show", "leave.md", "-c", "Handbook 手册").out
    assert "nothing; no passage was shortened" in said and "English 100%" in said


def test_the_same_bytes_again_change_nothing(filled: CommandLine, folder: Path) -> None:
    again = filled.ok("ingest", "add", folder, "-c", "Handbook 手册", "--json").json
    assert (again["unchanged"], again["submitted"]) == (2, 0)


def test_search_finds_both_languages(filled: CommandLine) -> None:
    english = filled.ok("search", "days of annual leave", "-c", "Handbook 手册", "--json").json["results"]
    explained = filled.ok("search", "住宿标准是多少", "-c", "Handbook 手册", "--json", "--explain").json
    chinese, passages = explained["results"], explained["explain"]["passages"]
    assert passages["read"][0]["document"] == chinese[0]["document"] and passages["budget_tokens"] > 0
    assert {"among", "fuse", "passages"} <= explained["explain"]["timings"].keys() | set(chinese[0]["stages"])
    assert english[0]["document"] == "leave.md" and "25 days" in english[0]["text"]
    assert chinese[0]["document"] == "sub/差旅.md" and "450元" in chinese[0]["text"]
    assert chinese[0]["locator"]["heading"] and {"keyword"} <= set(chinese[0]["stages"])


def test_a_chinese_question_is_answered_by_exact_sentences(filled: CommandLine) -> None:
    answer = filled.ok("ask", "国内出差住宿标准是每晚多少钱？", "-c", "Handbook 手册", "--json").json
    assert not answer["refused"]
    assert answer["mode"] == "quote" and answer["language"] == "zh"
    assert "450元" in answer["answer"] and "[1]" in answer["answer"]
    citation = answer["citations"][0]
    assert citation["document"] == "sub/差旅.md"
    assert citation["quote"] in TRAVEL
    assert {check["verdict"] for check in answer["verification"]} == {"supported"}


def test_an_english_question_is_answered_with_citations(filled: CommandLine) -> None:
    answer = filled.ok(
        "ask", "How many days of annual leave does an employee have?", "-c", "Handbook 手册", "--json"
    ).json
    assert not answer["refused"]
    assert "25" in answer["answer"]
    assert [c["document"] for c in answer["citations"]][:1] == ["leave.md"]


def test_a_generated_answer_streams_and_is_checked(filled: CommandLine) -> None:
    question = "When must sick leave be reported to the manager?"
    answer = filled.ok("ask", question, "-c", "Handbook 手册", "--mode", "answer", "--json").json
    assert answer["mode"] == "answer" and answer["answer"].strip()
    assert answer["timings"]["first_token"] > 0
    marked = {c["n"] for c in answer["citations"]}
    assert all(f"[{n}]" in answer["answer"] for n in marked)
    assert len(answer["verification"]) >= 1


def test_a_question_the_documents_do_not_answer_is_refused_in_its_language(filled: CommandLine) -> None:
    english = filled.ok("ask", "Who won the football world cup in 1998?", "-c", "Handbook 手册", "--json").json
    chinese = filled.ok("ask", "火星上有几座火山？", "-c", "Handbook 手册", "--json").json
    assert english["refused"] and english["language"] == "en" and not english["citations"]
    assert chinese["refused"] and chinese["language"] == "zh"


def test_a_follow_up_sees_the_conversation(filled: CommandLine) -> None:
    first = filled.ok("ask", "国内出差住宿标准是多少？", "-c", "Handbook 手册", "--json").json
    next_one = filled.ok(
        "ask", "那一线城市呢？", "-c", "Handbook 手册", "--conversation", first["conversation"], "--json"
    ).json
    assert next_one["conversation"] == first["conversation"]
    assert "600元" in next_one["answer"]


def test_people_see_the_answer_and_where_it_came_from(filled: CommandLine) -> None:
    shown = filled.ok("ask", "差旅报销要在几日内提交？", "-c", "Handbook 手册")
    assert "30日" in shown.out and "[1] sub/差旅.md — 差旅报销制度" in shown.out
    assert "住宿标准" not in shown.out  # the section beside it in the same chunk is not where the words stand


def test_document_tasks_give_cited_results_and_translation_is_refused_with_its_remedy(
    filled: CommandLine, tmp_path: Path
) -> None:
    where = ("-c", "Handbook 手册")
    summary = filled.ok("summarise", "leave.md", *where, "--length", "short", "--json").json
    assert summary["notices"] == ["summary_extract_small"]
    assert {c["document"] for c in summary["citations"]} == {"leave.md"}
    assert all(check["verdict"] == "supported" for check in summary["verification"])
    assert summary["task"]["coverage"]["chunks_read"] == summary["task"]["coverage"]["chunks"]
    assert all(len(c["date"]) == 10 and c["date_kind"] == "added" for c in summary["citations"])
    table = tmp_path / "table.csv"
    filled.ok("extract", *where, "--fields", "annual leave:number, 住宿标准:amount", "--csv", table)
    lines = table.read_text("utf-8-sig").splitlines()
    assert lines[0] == "document,annual leave,annual leave (source),住宿标准,住宿标准 (source)"
    assert [line.partition(",")[0] for line in lines[1:]] == ["leave.md", "sub/差旅.md"]
    compared = filled.ok("compare", "leave.md", "sub/差旅.md", *where, "--json").json
    assert compared["task"]["counts"]["added"] and compared["task"]["counts"]["removed"]
    refused = filled.run("translate", "国内出差住宿标准为每晚不超过450元。", "--to", "en")
    assert refused.code == 1 and "too small" in refused.err and "alioth models use" in refused.err
    filled.ok("user", "add", "mallory")
    for command in (["summarise"], ["extract", "--fields", "x"], ["compare", "leave.md", "sub/差旅.md"]):
        denied = filled.run("--as", "mallory", *command, *where)
        assert denied.code == 1 and "not shared with you" in denied.err and not denied.out.strip()


def test_a_changed_file_replaces_the_old_one_without_ghosts(filled: CommandLine, folder: Path) -> None:
    (folder / "leave.md").write_text(LEAVE.replace("25 days", "28 days"), "utf-8")
    changed = filled.ok("ingest", "add", folder / "leave.md", "-c", "Handbook 手册", "--json").json
    assert [(row["outcome"], row["state"]) for row in changed["documents"]] == [("changed", "ready")]
    texts = [
        r["text"] for r in filled.ok("search", "annual leave days", "-c", "Handbook 手册", "--json").json["results"]
    ]
    assert any("28 days" in text for text in texts) and not any("25 days" in text for text in texts)
    assert filled.ok("ingest", "list", "-c", "Handbook 手册", "--json").json[0]["version"] == 2
    assert filled.ok("index", "verify", "--json").json == []


def test_a_deleted_document_is_gone_from_every_index(filled: CommandLine, folder: Path) -> None:
    extra = folder.parent / "canary.txt"
    extra.write_text("The canary word is zanzibarine.", "utf-8")
    filled.ok("ingest", "add", extra, "-c", "Handbook 手册")
    assert filled.ok("search", "zanzibarine", "-c", "Handbook 手册", "--json").json["results"]
    filled.ok("ingest", "delete", "canary.txt", "-c", "Handbook 手册")
    results = filled.ok("search", "zanzibarine", "-c", "Handbook 手册", "--json").json["results"]
    assert not [r for r in results if r["document"] == "canary.txt"]
    assert filled.ok("index", "verify", "--json").json == []


def test_both_indexes_can_be_built_again_from_sql(filled: CommandLine) -> None:
    before = filled.ok("search", "annual leave", "-c", "Handbook 手册", "--json").json["results"]
    counts = filled.ok("index", "rebuild", "--json").json
    assert all(row["vectors"] == row["keyword"] > 0 for row in counts)
    after = filled.ok("search", "annual leave", "-c", "Handbook 手册", "--json").json["results"]
    assert [r["text"] for r in before] == [r["text"] for r in after]
    assert filled.ok("index", "verify", "--json").json == []


def test_a_user_sees_only_what_is_granted(filled: CommandLine) -> None:
    link = filled.ok("user", "add", "wang", "--json").json["url"]
    assert "/setup?token=" in link
    refused = filled.run("--as", "wang", "search", "leave", "-c", "Handbook 手册")
    assert refused.code == 1 and "days" not in refused.out
    assert filled.ok("--as", "wang", "collection", "list", "--json").json == []
    filled.ok("collection", "grant", "Handbook 手册", "read", "--user", "wang")
    assert filled.ok("--as", "wang", "search", "leave", "-c", "Handbook 手册", "--json").json["results"]
    assert filled.run("--as", "wang", "ingest", "delete", "leave.md", "-c", "Handbook 手册").code == 1
    filled.ok("user", "disable", "wang")
    assert filled.run("--as", "wang", "search", "leave", "-c", "Handbook 手册").code == 1


def test_the_doctor_finds_everything_in_order(filled: CommandLine) -> None:
    checks = filled.ok("doctor", "--json").json
    assert {check["name"] for check in checks} >= {"models process", "chroma", "database", "indexes"}
    assert all(check["ok"] for check in checks), checks


def test_verify_judges_an_answer_on_its_own(alioth: CommandLine, tmp_path: Path) -> None:
    sources = tmp_path / "sources.jsonl"
    sources.write_text(
        json.dumps({"n": 1, "text": "合同金额为1.2亿元，于2017年签订。"}, ensure_ascii=False) + "\n", "utf-8"
    )
    good = alioth.ok("verify", "--answer", "合同金额为1.2亿元[1]。", "--sources", sources, "--json").json
    bad = alioth.ok("verify", "--answer", "合同金额为1.3亿元[1]。", "--sources", sources, "--json").json
    assert [c["verdict"] for c in good] == ["supported"]
    assert [c["verdict"] for c in bad] == ["unsupported"] and "1.3" in bad[0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["search", "x", "-c", "Nowhere"], 1, ["'Nowhere'", "collection create"]),
        (["ask", "", "-c", "Handbook 手册"], 1, ["question"]),
        (["ask", "？！…", "-c", "Handbook 手册"], 1, ["question"]),
        (["ask", "x" * 100_000, "-c", "Handbook 手册"], 1, ["100,000", "4,000"]),
        (["ingest", "add", "/no/such/file.pdf", "-c", "Handbook 手册"], 1, ["/no/such/file.pdf"]),
        (["ingest", "show", "nothing.pdf", "-c", "Handbook 手册"], 1, ["'nothing.pdf'", "ingest list"]),
        (["collection", "create", "HANDBOOK 手册"], 1, ["handbook 手册"]),
        (["user", "disable", "nobody"], 1, ["nobody"]),
        (["service", "nonsense"], 1, ["'nonsense'", "chroma"]),
        (["search"], 2, ["Missing argument"]),
        (["serach", "x"], 2, ["serach"]),
        (["search", "x", "-c", "A", "-k", "0"], 2, ["-k"]),
        (["--as", "ghost", "collection", "list"], 1, ["ghost"]),
    ],
)
def test_mistakes_get_a_message_and_the_right_exit_code(
    filled: CommandLine, arguments: list[str], code: int, words: list[str]
) -> None:
    result = filled.run(*arguments)
    assert result.code == code, result.err
    assert all(word.lower() in result.err.lower() for word in words), result.err


def test_every_bad_file_is_named_and_the_good_one_stays(filled: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("The badge office is in room 4711.", "utf-8")
    (tmp_path / "empty.txt").write_text("", "utf-8")
    (tmp_path / "damaged.pdf").write_bytes(b"%PDF-1.7\n" + b"\x00garbage" * 50)
    program = tmp_path / "program.exe"
    program.write_bytes(b"MZ" + bytes(range(256)) * 8)
    result = filled.run("ingest", "add", tmp_path, program, "-c", "Handbook 手册", "--json")
    assert result.code == 1
    states = {row["path"]: (row["state"], (row["error"] or {}).get("code")) for row in result.json["documents"]}
    assert states["good.txt"] == ("ready", None)
    assert states["empty.txt"] == ("failed", "empty")
    assert states["damaged.pdf"] == ("failed", "unreadable")
    assert states["program.exe"] == ("failed", "unsupported")
    assert "4711" in filled.ok("search", "badge office room", "-c", "Handbook 手册", "--json").out


def test_files_of_other_types_in_a_folder_are_left_out_and_named(filled: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 64)
    nothing = filled.run("ingest", "add", tmp_path, "-c", "Handbook 手册")
    assert nothing.code == 1 and "holds no documents" in nothing.err
    (tmp_path / "note.txt").write_text("The car park closes at 22:00.", "utf-8")
    added = filled.ok("ingest", "add", tmp_path, "-c", "Handbook 手册")
    assert "Left out 1 file" in added.err and "clip.mp4" in added.err


def test_ctrl_c_during_ingestion_gives_everything_back_and_loses_nothing(filled: CommandLine, tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"note-{number:02}.txt").write_text(f"Note {number} is about topic {number * 7}. " * 60, "utf-8")
    filled.ok("collection", "create", "Interrupted")
    process = subprocess.Popen(
        filled.command("ingest", "add", str(tmp_path), "-c", "Interrupted"),
        env=filled.environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        rows = filled.ok("ingest", "list", "-c", "Interrupted", "--json").json
        if any(row["state"] != "queued" for row in rows):
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 130) and "Traceback" not in errors
    rows = filled.ok("ingest", "list", "-c", "Interrupted", "--json").json
    assert {row["state"] for row in rows} <= {"queued", "ready"}
    with sqlite3.connect(filled.home / "alioth.db") as database:
        assert database.execute("select count(*) from versions where lease_owner is not null").fetchone() == (0,)
    done = filled.ok("ingest", "add", tmp_path, "-c", "Interrupted", "--json").json
    assert done["failed"] == 0
    rows = filled.ok("ingest", "list", "-c", "Interrupted", "--json").json
    assert [row["state"] for row in rows] == ["ready"] * 60 and {row["version"] for row in rows} == {1}
    assert filled.ok("index", "verify", "--json").json == []


def test_help_is_there_for_every_command(alioth: CommandLine) -> None:
    for command in ("ingest add", "ask", "search", "eval retrieval", "index verify", "serve", "user reset"):
        assert "Usage" in alioth.ok(*command.split(), "--help").out
