"""The page docs/quality.md from the reports that the evaluation printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.files import REASONS

RETRIEVAL_COLUMNS = ("hit@1", "hit@5", "hit@10", "recall@10", "mrr@10", "ndcg@10", "evidence@5", "evidence@10")
ANSWER_COLUMNS = ("token_f1", "contains")

_HEAD = """# Quality

Written by `make eval`; do not edit. Every figure of a set is what `alioth eval retrieval --json` or
`alioth eval answers --json` gives for it. What the figures mean is told in [evaluation.md](evaluation.md).
"""

_FILES = """Real files of other projects (`make corpus-test`), read by Alioth and, on the same machine, by plain
readers: files of which any text came; share of strings that a file is known to hold, easy ones and all; and share of
the words of a reference text, where there is one. OCR included."""

_REFUSED = """Files of which Alioth read nothing, by the reason that it gives. Among them are blank pages, pictures
without letters or in scripts that OCR does not know, and files that are there to be refused."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence or two, a table. rows: a name and figures; floats are shown to three places."""

    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def quality_page(
    retrieval: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, Mapping[str, Mapping[str, Any]]],
    skipped: Mapping[str, str],
    facts: Sequence[str],
    more: Sequence[Section] = (),
) -> str:
    """Markdown of the page.

    Args:
        retrieval, answers: report by name of the set, in the order of the rows.
        files: figures (`evals.files.GroupFigures` as a mapping) by reader, ours first, and group of files.
        skipped: reason by name of a set that was not measured.
        facts: lines about when, where and with which models.
        more: further sections, in their order, before that on files.
    """
    parts = [_HEAD, "\n".join(f"- {fact}" for fact in facts)]
    if retrieval:
        parts += ["## Retrieval", _retrieval_table(retrieval)]
    if answers:
        parts += ["## Answers", _answers_table(answers)]
    for section in more:
        parts += [f"## {section.title}", section.text, _section_table(section)]
    if files:
        parts += ["## Reading files", _FILES, _files_table(files), *_refused_table(files)]
    if skipped:
        parts += ["## Not measured", "\n".join(f"- {name}: {reason}" for name, reason in skipped.items())]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _section_table(section: Section) -> str:
    rows = [[cell if isinstance(cell, str) else figure(cell) for cell in row] for row in section.rows]
    return table(section.columns, rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def figure(value: Any, places: int = 3) -> str:
    """A number as the tables show it; a dash for what could not be judged."""
    if value is None:
        return "–"
    return f"{value:.{places}f}" if isinstance(value, float) else f"{value:,}"


def _retrieval_table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    header = ("set", "questions", *RETRIEVAL_COLUMNS, "p50 ms", "p95 ms", "documents", "chunks", "ingest s", "date")
    rows = []
    for name, report in reports.items():
        latency, ingest = report["latency_ms"], report["ingest"]
        rows.append(
            (
                name,
                figure(report["questions"]),
                *(figure(report[column]) for column in RETRIEVAL_COLUMNS),
                figure(latency["p50"], 1),
                figure(latency["p95"], 1),
                figure(ingest["documents"]),
                figure(ingest["chunks"]),
                figure(float(ingest["seconds"]), 0),
                report.get("date", ""),
            )
        )
    return f"{table(header, rows)}\n\n{_mean_line(reports)}"


def _mean_line(reports: Mapping[str, Mapping[str, Any]]) -> str:
    known = [report["mrr@10"] for report in reports.values() if report["mrr@10"] is not None]
    return f"Mean MRR@10 over the {len(known)} sets: **{sum(known) / len(known):.3f}**." if known else ""


def _answers_table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    header = (
        "set",
        "questions",
        *ANSWER_COLUMNS,
        "refused rightly",
        "refused wrongly",
        "citation precision",
        "unsupported sentences",
        "s per answer",
        "date",
    )
    rows = []
    for name, report in reports.items():
        rows.append(
            (
                name,
                figure(report["questions"]),
                *(figure(report[column]) for column in ANSWER_COLUMNS),
                figure(report["refusal"]["recall"]),
                figure(report["refusal"]["false_rate"]),
                figure(report["citation_precision"]),
                figure(report["unsupported_rate"]),
                figure(report["seconds_per_answer"], 2),
                report.get("date", ""),
            )
        )
    return table(header, rows)


def _files_table(files: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    readers = list(files)
    groups = list(files[readers[0]])
    columns = (("read", "read"), ("easy", "easy strings"), ("expected", "all strings"), ("recall", "reference words"))
    header = ["group", "files", *(f"{title}: {reader}" for _, title in columns for reader in readers)]
    rows = []
    for group in groups:
        cells = [files[reader].get(group, {}).get(key) for key, _ in columns for reader in readers]
        rows.append([group, figure(files[readers[0]][group]["files"]), *(figure(cell) for cell in cells)])
    return table(header, rows)


def _refused_table(files: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Files that gave no text, by group and reason; nothing when the figures do not tell."""
    groups = {group: row.get("refused") or {} for group, row in next(iter(files.values())).items()}
    reasons = [key for key in REASONS if any(refused.get(key) for refused in groups.values())]
    if not reasons:
        return []
    rows = [[group, *(figure(refused.get(key, 0)) for key in reasons)] for group, refused in groups.items() if refused]
    return [_REFUSED, table(["group", *(REASONS[key] for key in reasons)], rows)]
