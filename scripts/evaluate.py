"""`make eval`: run `alioth eval` over every evaluation set that is here and rewrite docs/quality.md.

Reports and rows go to artifacts/eval, so that a run that was stopped goes on where it stopped (--fresh begins anew).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from evals.report import quality_page
from ingest.chunk import CHUNKER_VERSION

ROOT = Path(__file__).resolve().parent.parent
SETS = ROOT.parent / "shared" / "eval"
OWN = ROOT / "tests" / "corpus"
RESULTS = ROOT / "artifacts" / "eval"
ALIOTH = Path(sys.executable).with_name("alioth")
ANSWER_QUESTIONS = 40
SEED = 1
NAMES = (
    "zh_cmrc",
    "zh_rageval_dev",
    "zh_lawdocs_dev",
    "zh_rgb_fact",
    "xx_xquad",
    "en_gitlab_handbook",
    "en_multicorp_dev",
    "en_mtrag_dev",
    "en_rageval_dev",
    "en_policyqa",
    "en_financebench_dev",
    "en_rgb_fact",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="sets; all of them without any")
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured")
    parser.add_argument("--questions", type=int, default=ANSWER_QUESTIONS, help="answered per set")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    folders = {"own corpus": OWN} | {name: SETS / name for name in NAMES}
    wanted = {name: folders[name] for name in given.names} if given.names else folders
    with tempfile.TemporaryDirectory(prefix="alioth-eval-home-") as home:
        environment = {**os.environ, "ALIOTH_HOME": home, "ALIOTH_MODELS__IDLE_S": "120"}
        for name, folder in wanted.items():
            if (folder / "questions.jsonl").exists():
                _measure(name, folder, environment, given.fresh, given.questions)
    (ROOT / "docs" / "quality.md").write_text(_page(folders, given.questions), encoding="utf-8")
    print("docs/quality.md is written.")
    return 0


def _measure(name: str, folder: Path, environment: dict[str, str], fresh: bool, questions: int) -> None:
    for kind, extra in (("retrieval", []), ("answers", ["--limit", str(questions), "--seed", str(SEED)])):
        target = _result(name, kind)
        if target.exists() and not fresh:
            continue
        print(f"{kind} on {name} …", flush=True)
        inputs = ["--documents", str(folder / "documents.jsonl"), "--questions", str(folder / "questions.jsonl")]
        rows = ["--rows", str(target.with_suffix(".rows.jsonl"))]
        command = [str(ALIOTH), "eval", kind, *inputs, *extra, *rows, "--json"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        report = json.loads(done.stdout) | {"chunker": CHUNKER_VERSION}
        target.write_text(json.dumps(report) + "\n")


def _result(name: str, kind: str) -> Path:
    return RESULTS / f"{name.replace(' ', '_')}.{kind}.json"


def _reports(folders: dict[str, Path], kind: str) -> dict[str, Any]:
    found = {name: json.loads(_result(name, kind).read_text()) for name in folders if _result(name, kind).exists()}
    return {name: {"chunker": "1"} | report for name, report in found.items()}  # the first reports did not say


def _page(folders: dict[str, Path], questions: int) -> str:
    retrieval, answers = _reports(folders, "retrieval"), _reports(folders, "answers")
    older = sorted(
        name
        for name in folders
        if any(known.get(name, {}).get("chunker", CHUNKER_VERSION) != CHUNKER_VERSION for known in (retrieval, answers))
    )
    skipped = {
        name: "not measured yet" if (folder / "questions.jsonl").exists() else f"'{folder.name}' is not on this machine"
        for name, folder in folders.items()
        if name not in retrieval
    }
    facts = (
        f"Measured on {datetime.date.today()}: {os.cpu_count()} CPU cores ({platform.machine()}), no GPU used, the "
        "bundled models (all-MiniLM-L6-v2, SmolLM2-135M-Instruct), default settings.",
        f"Retrieval: every question of a set. Answers: {questions} questions of each set, seed {SEED}.",
        *([f"Measured before chunker {CHUNKER_VERSION}, not repeated yet: {', '.join(older)}."] if older else ()),
    )
    files = RESULTS / "files.json"
    read = json.loads(files.read_text()) if files.exists() else {}
    return quality_page(retrieval, answers, read, skipped, facts)


if __name__ == "__main__":
    raise SystemExit(main())
