"""`alioth eval` over files with this process's parts: measure, keep, compare with what was kept."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.types import AnswerMode, Principal

if TYPE_CHECKING:
    from app.wiring import Alioth
    from evals.corpus import CorpusBuilder
    from evals.sets import EvalQuestion

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Files:
    """What is measured. limit, seed: a sample of the questions. rows: where to write one object per question."""

    documents: Path
    questions: Path
    limit: int | None = None
    seed: int = 1
    rows: Path | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """report: as DESIGN's contract has it. asked, results: the questions and what came of each, in order."""

    kind: str
    files: Files
    report: dict[str, Any]
    asked: Sequence[EvalQuestion]
    results: list[Row] = field(default_factory=list)
    mode: AnswerMode | None = None

    def figures(self) -> dict[str, Any]:
        """The report with every further figure that its rows allow."""
        from evals.figures import summary

        extra = {name: value for name, value in summary(self.kind, self.results).items() if name not in self.report}
        for name in ("refusal_recall", "refusal_false_rate", "seconds_per_question"):
            extra.pop(name, None)  # the report has them under other names
        return self.report | extra


def evaluate_retrieval(
    alioth: Alioth, documents: Path, questions: Path, limit: int | None, seed: int, rows: Path | None
) -> dict[str, Any]:
    """The report of `alioth eval retrieval`."""
    return measure_retrieval(alioth, Files(documents, questions, limit, seed, rows)).report


def measure_retrieval(alioth: Alioth, files: Files) -> Measured:
    """Ingest the documents into a temporary collection and ask."""
    from evals import retrieval
    from evals.sets import load_documents, load_questions, sample

    documents, questions = load_documents(files.documents), load_questions(files.questions)
    results: list[Row] = []
    with _row_writer(files.rows, results) as on_row:
        report = retrieval.evaluate_retrieval(
            builder(alioth),
            alioth.retriever,
            documents,
            questions,
            limit=files.limit,
            seed=files.seed,
            on_row=on_row,
            progress=_show_count,
        )
    return Measured("retrieval", files, report, sample(questions, files.limit, files.seed), results)


def evaluate_answers(
    alioth: Alioth,
    documents: Path,
    questions: Path,
    limit: int | None,
    seed: int,
    rows: Path | None,
    mode: AnswerMode,
) -> dict[str, Any]:
    """The report of `alioth eval answers`."""
    return measure_answers(alioth, Files(documents, questions, limit, seed, rows), mode).report


def measure_answers(alioth: Alioth, files: Files, mode: AnswerMode) -> Measured:
    """Ingest the documents into a temporary collection and let every question be answered."""
    from evals import answers
    from evals.sets import load_documents, load_questions, sample

    documents, questions = load_documents(files.documents), load_questions(files.questions)
    results: list[Row] = []
    with _row_writer(files.rows, results) as on_row:
        report = answers.evaluate_answers(
            builder(alioth),
            alioth.retriever,
            alioth.answerer_with,
            documents,
            questions,
            limit=files.limit,
            seed=files.seed,
            mode=mode,
            on_row=on_row,
            progress=_show_count,
        )
    return Measured("answers", files, report, sample(questions, files.limit, files.seed), results, mode)


def keep(alioth: Alioth, who: Principal, name: str, measured: Measured) -> str:
    """Save it as a run of that name; gives the run's id."""
    from app.quality_work import facts_of
    from evals.sets import row_of

    files = measured.files
    settings: dict[str, Any] = {"limit": files.limit, "seed": files.seed, "documents": files.documents.name}
    if measured.mode is not None:
        settings["mode"] = measured.mode.value
    facts = facts_of(alioth, None) | {"ingest": measured.report["ingest"]}
    set_name = f"{files.questions.parent.name}/{files.questions.name}"
    asked = [row_of(question) for question in measured.asked]
    run = alioth.quality.save(who, name, measured.kind, set_name, asked, measured.results, settings, facts)
    return run.id


def baseline_rows(alioth: Alioth, who: Principal, baseline: str, kind: str) -> list[Row]:
    """The rows of a baseline: of a file that --rows wrote, or of a saved run by name or id.

    Raises:
        InputError: of another kind. NotFoundError: no such run.
    """
    from evals.figures import kind_of

    path = Path(baseline)
    if path.is_file():
        before = read_rows(path)
        before_kind = kind_of(before)
    else:
        run = alioth.quality.run(who, baseline)
        before = [result for _, result in alioth.quality.rows(who, run.id) if result]
        before_kind = run.kind
    if before_kind != kind:
        raise InputError(f"'{baseline}' is a run of {before_kind}, not of {kind}.", "Compare runs of one kind.")
    return before


def read_rows(path: Path) -> list[Row]:
    """Objects of a file that --rows wrote. Raises InputError."""
    rows: list[Row] = []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(
                f"'{path}', line {number} is not JSON: {error}.", "Give a file that --rows wrote."
            ) from error
        if not isinstance(row, dict) or "qid" not in row:
            raise InputError(f"'{path}', line {number} has no qid.", "Give a file that --rows wrote.")
        rows.append(row)
    return rows


def builder(alioth: Alioth) -> CorpusBuilder:
    """Makes temporary collections through this process's parts."""
    from evals.corpus import CorpusBuilder

    return CorpusBuilder(alioth.create_collection, alioth.collections, alioth.documents, alioth.intake, alioth.pipeline)


@contextlib.contextmanager
def _row_writer(path: Path | None, results: list[Row]) -> Iterator[Callable[[Row], None]]:
    """Takes rows: into `results`, and into the file when one is given."""
    if path is None:
        yield results.append
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"Cannot write '{path}': {error.strerror}.", "Give --rows a file in a folder that exists."
        ) from error
    with file:

        def write(row: Row) -> None:
            results.append(row)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

        yield write


def _show_count(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {total} questions" + ("\n" if done == total else ""))
        sys.stderr.flush()
