"""`make eval`: measure what has not been measured yet, or what is asked for anew, and rewrite docs/quality.md.

Results go to artifacts/eval, so that a run that was stopped goes on where it stopped and every row keeps its date.
  python -m scripts.evaluate                          everything that is missing
  python -m scripts.evaluate --fresh zh_cmrc          that set again, the rest stays
  python -m scripts.evaluate --only verification      nothing but this part, if it is missing
  python -m scripts.evaluate --only verification --fresh verification
  python -m scripts.evaluate --page                   only write the page
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

from evals.quality_sections import Results, sections
from evals.report import quality_page
from ingest.chunk import CHUNKER_VERSION
from scripts.evaluate_set import KINDS

ROOT = Path(__file__).resolve().parent.parent
SETS = ROOT.parent / "shared" / "eval"
OWN = ROOT / "tests" / "corpus"
RESULTS = ROOT / "artifacts" / "eval"
ALIOTH = Path(sys.executable).with_name("alioth")
ANSWER_QUESTIONS = 40
SEED = 1
OWN_NAME = "own corpus"
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
STRANGERS = {
    "zh_cmrc": ("zh_lawdocs_dev",),
    "zh_rageval_dev": ("zh_cmrc",),
    "zh_lawdocs_dev": ("zh_rgb_fact",),
    "zh_rgb_fact": ("zh_lawdocs_dev",),
    "xx_xquad": ("zh_rgb_fact", "en_gitlab_handbook"),
    "en_gitlab_handbook": ("en_rgb_fact",),
    "en_multicorp_dev": ("en_policyqa",),
    "en_mtrag_dev": ("en_multicorp_dev",),
    "en_rageval_dev": ("en_multicorp_dev",),
    "en_policyqa": ("en_rgb_fact",),
    "en_financebench_dev": ("en_multicorp_dev",),
    "en_rgb_fact": ("en_multicorp_dev",),
}
"""Whose questions a set is asked beside its own, to see whether they are refused."""
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "followups": (("en_mtrag_dev", "en_rageval_dev", "zh_rageval_dev", "en_gitlab_handbook"), ("--limit", "300")),
    "verification": (
        (
            "zh_rageval_dev",
            "zh_lawdocs_dev",
            "zh_cmrc",
            "xx_xquad",
            "en_rageval_dev",
            "en_multicorp_dev",
            "en_gitlab_handbook",
        ),
        ("--limit", "80"),
    ),
    "injection": (("en_bipia_injection", "xx_canary_injection"), ("--limit", "24")),
    "modes": (("zh_rageval_dev", "zh_cmrc", "en_rageval_dev", "xx_xquad"), ("--limit", "40")),
    "alarms": (NAMES, ()),
    "ablation": (("zh_rageval_dev", "zh_rgb_fact", "en_rageval_dev", "en_gitlab_handbook"), ()),
}
"""Other commands of `alioth eval`: on which sets, with which options more."""
ADVICE = frozenset(("zh_lawdocs_dev",))
"""Sets whose reference answers are people's advice, which no document bears out."""
BY_FOLDER = frozenset(("injection", "alarms"))
"""Those of them that take the folders of sets as arguments."""
ALL_AT_ONCE = frozenset(("alarms",))
DERIVED = ("refusal",)
"""Made anew from the rows of the sets whenever the page is written; nothing is measured for them alone."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these sets or parts; everything without any")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="the same, one at a time")
    parser.add_argument(
        "--fresh", action="append", default=[], metavar="NAME", help="measure this again; all: everything"
    )
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="of a set")
    parser.add_argument("--questions", type=int, default=ANSWER_QUESTIONS, help="answered per set and mode")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    folders = {OWN_NAME: OWN} | {name: SETS / name for name in NAMES}
    wanted = [*given.names, *given.only] or [*folders, *PARTS]
    unknown = sorted({*wanted, *given.fresh} - {*folders, *PARTS, *DERIVED, "all"})
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join([*folders, *PARTS])}")
    if not given.page:
        _measure_all(given, folders, wanted)
    (ROOT / "docs" / "quality.md").write_text(_page(folders, given.questions), encoding="utf-8")
    print("docs/quality.md is written.")
    return 0


def _measure_all(given: argparse.Namespace, folders: dict[str, Path], wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="alioth-eval-home-") as home:
        environment = {**os.environ, "ALIOTH_HOME": home, "ALIOTH_MODELS__IDLE_S": "120"}
        for name in wanted:
            fresh = name in given.fresh or "all" in given.fresh
            if name in PARTS:
                _measure_part(name, environment, fresh)
            elif name in folders and (folders[name] / "questions.jsonl").exists():
                kinds = [kind for kind in given.kinds if fresh or not _result(name, kind).exists()]
                if kinds:
                    _measure_set(name, folders[name], kinds, environment, given.questions)


def _measure_set(name: str, folder: Path, kinds: list[str], environment: dict[str, str], questions: int) -> None:
    print(f"{name}: {', '.join(kinds)} …", flush=True)
    strangers = [SETS / other / "questions.jsonl" for other in STRANGERS.get(name, ())]
    command = [sys.executable, "-m", "scripts.evaluate_set", str(folder), str(RESULTS / _stem(name))]
    command += ["--kinds", *kinds, "--questions", str(questions), "--strangers"]
    command += [str(path) for path in strangers if path.exists()]
    subprocess.run(command, env=environment, cwd=ROOT, check=True)


def _measure_part(name: str, environment: dict[str, str], fresh: bool) -> None:
    target = RESULTS / f"{name}.json"
    if (target.exists() and not fresh) or not SETS.exists() or not _has_command(name):
        return
    names, options = PARTS[name]
    folders = [SETS / one for one in names if (SETS / one).is_dir()]
    runs: dict[str, Any] = {}
    for some in [folders] if name in ALL_AT_ONCE else [[folder] for folder in folders]:
        label = name if name in ALL_AT_ONCE else some[0].name
        print(f"{name} on {label} …", flush=True)
        inputs = [str(folder) for folder in some]
        if name not in BY_FOLDER:
            inputs = ["--documents", str(some[0] / "documents.jsonl"), "--questions", str(some[0] / "questions.jsonl")]
        if name == "verification" and label in ADVICE:
            inputs.append("--no-answers")
        command = [str(ALIOTH), "eval", name, *inputs, *options, "--json"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        runs[label] = json.loads(done.stdout)
    report = {"runs": runs, "date": str(datetime.date.today())}
    target.write_text(json.dumps(report, ensure_ascii=False) + "\n", "utf-8")


def _has_command(name: str) -> bool:
    from app.cli.evaluate import app

    return any(command.name == name for command in app.registered_commands)


def _stem(name: str) -> str:
    return name.replace(" ", "_")


def _result(name: str, kind: str) -> Path:
    return RESULTS / f"{_stem(name)}.{kind}.json"


def _reports(folders: dict[str, Path], kind: str) -> dict[str, Any]:
    """Reports by set; what an older one does not say is told from its file."""
    found = {}
    for name in folders:
        path = _result(name, kind)
        if path.exists():
            written = datetime.date.fromtimestamp(path.stat().st_mtime)
            found[name] = {"chunker": "1", "date": str(written)} | json.loads(path.read_text("utf-8"))
    return found


def _rows(name: str, kind: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{_stem(name)}.{kind}.rows.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _results(folders: dict[str, Path], parts: dict[str, Any]) -> Results:
    questions = {
        name: [json.loads(line) for line in (folder / "questions.jsonl").read_text("utf-8").split("\n") if line.strip()]
        for name, folder in folders.items()
        if (folder / "questions.jsonl").exists()
    }
    return Results(
        retrieval={name: _rows(name, "retrieval") for name in folders},
        strangers={name: _rows(name, "strangers") for name in folders},
        questions=questions,
        generated=_reports(folders, "generated"),
        quoted=_reports(folders, "answers"),
        parts=parts,
    )


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
    parts = {
        name: json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        for name in PARTS
        if (RESULTS / f"{name}.json").exists()
    }
    skipped |= {name: "not measured yet" for name in PARTS if name not in parts}
    facts = (
        f"Written on {datetime.date.today()}; each row tells when it was measured: {os.cpu_count()} CPU cores "
        f"({platform.machine()}), no GPU used, the bundled models (all-MiniLM-L6-v2, SmolLM2-135M-Instruct), default "
        "settings.",
        f"Retrieval: every question of a set. Answers: {questions} questions of each set, seed {SEED}.",
        *([f"Measured before chunker {CHUNKER_VERSION}, not repeated yet: {', '.join(older)}."] if older else ()),
    )
    files = RESULTS / "files.json"
    read = json.loads(files.read_text("utf-8")) if files.exists() else {}
    return quality_page(retrieval, answers, read, skipped, facts, sections(_results(folders, parts)))


if __name__ == "__main__":
    raise SystemExit(main())
