"""Sections of docs/quality.md that are made from the rows: baselines, kinds of question, modes, refusal, and parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals import baselines, refusal
from evals.figures import RETRIEVAL
from evals.metrics import mean
from evals.report import Section

Row = dict[str, Any]
BY_KIND = ("en_gitlab_handbook", "zh_lawdocs_dev")
KIND_COLUMNS = ("hit@1", "hit@5", "hit@10", "mrr@10", "ndcg@10", "evidence@5", "evidence@10")
PART_TITLES = {
    "followups": "Follow-up questions",
    "verification": "The check of sentences",
    "injection": "Instructions hidden in documents",
    "alarms": "False alarms on clean documents",
    "modes": "The same questions in each mode",
    "ablation": "Each stage off in turn",
}
_NOT_SHOWN = frozenset(("latency_ms", "ingest"))


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured, by set. retrieval, strangers: rows. questions: as the sets have them.

    quoted, generated: reports of answers by the default mode and by the language model's own words. parts: what other
    commands printed, by their names.
    """

    retrieval: Mapping[str, Sequence[Row]]
    strangers: Mapping[str, Sequence[Row]]
    questions: Mapping[str, Sequence[Row]]
    generated: Mapping[str, Row]
    quoted: Mapping[str, Row]
    parts: Mapping[str, Row]


def sections(results: Results) -> list[Section]:
    """In the order of the page; one that has nothing to show is left out."""
    made = [
        _baselines(results),
        _kinds(results),
        _modes(results),
        *_refusal(results),
        *(section for name, part in results.parts.items() for section in part_sections(name, part)),
    ]
    return [section for section in made if section.rows]


def _baselines(results: Results) -> Section:
    rows: list[list[Any]] = []
    for name, fixed in baselines.MRR.items():
        same = baselines.same_questions(results.retrieval.get(name, ()))
        ours = mean(row.get("mrr@10") for row in same)
        if ours is None:
            continue
        whole = mean(row.get("mrr@10") for row in results.retrieval[name])
        rows.append([name, len(same), *fixed, ours, ours - max(fixed[:2]), ours - max(fixed[2:]), whole])
    column, best = baselines.best_fixed()
    said = ""
    if rows:
        means = [mean(row[place] for row in rows) for place in range(2, len(rows[0]))]
        ours = mean(row[7] for row in rows)
        if len(rows) == len(baselines.MRR) and ours is not None:
            said = f" Over all sets Alioth has {ours:.3f}, {ours - best:+.3f} against that."
        rows.append([f"**mean of {len(rows)}**", None, *means])
    text = (
        "MRR@10 at document level beside the frozen baselines of the design (MiniLM, BM25 over jieba's words, their "
        f"fusions by fixed weights), on the same questions; the best fixed column over all sets is {column} "
        f"({best:.3f}).{said} The last column is over every question of the set."
    )
    columns = (
        "set",
        "questions",
        *baselines.COLUMNS,
        "Alioth",
        "against the better of dense and BM25",
        "against the best fixed fusion of the set",
        "Alioth, all questions",
    )
    return Section("Beside the baselines", text, columns, rows)


def _kinds(results: Results) -> Section:
    rows: list[list[Any]] = []
    for name in BY_KIND:
        kind_of = {question["qid"]: str(question.get("type", "")) for question in results.questions.get(name, ())}
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in results.retrieval.get(name, ()):
            if row.get("gold"):
                groups[kind_of.get(row["qid"], "")].append(row)
        figures = [figure for figure in RETRIEVAL if figure.name in KIND_COLUMNS]
        ordered = sorted(figures, key=lambda figure: KIND_COLUMNS.index(figure.name))
        for kind, group in sorted(groups.items()):
            rows.append([f"{name}: {kind or 'other'}", len(group), *(figure.of(group) for figure in ordered)])
    return Section(
        "Kinds of question", "Retrieval, by the kind that a set names.", ("kind", "questions", *KIND_COLUMNS), rows
    )


def _modes(results: Results) -> Section:
    """Quotes beside the language model's own words."""
    rows: list[list[Any]] = []
    for name, generated in results.generated.items():
        quoted = results.quoted.get(name)
        for mode, report in (("default", quoted), ("own words", generated)):
            if report is None:
                continue
            rows.append(
                [
                    f"{name}: {mode}",
                    report["questions"],
                    *(report[key] for key in ("token_f1", "contains", "citation_precision", "unsupported_rate")),
                    report["refusal"]["false_rate"],
                    report["seconds_per_answer"],
                    report.get("date", ""),
                ]
            )
    text = (
        "The same questions answered in the default mode, which shows the documents' own sentences with so small a "
        "model, and in the bundled model's own words."
    )
    columns = (
        "set: mode",
        "questions",
        "token_f1",
        "contains",
        "citation precision",
        "unsupported sentences",
        "refused wrongly",
        "s per answer",
        "date",
    )
    return Section("Answers by mode", text, columns, rows)


def _refusal(results: Results) -> list[Section]:
    sets: dict[str, refusal.Judged] = {}
    for name, rows in results.retrieval.items():
        unanswerable = {str(one["qid"]) for one in results.questions.get(name, ()) if one.get("unanswerable")}
        one = refusal.judged(rows, unanswerable, results.strangers.get(name, ()))
        if one.answerable:
            sets[name] = one
    if not sets:
        return []
    by_set: list[list[Any]] = [
        [
            name,
            len(one.answerable),
            refusal.share_refused(one.answerable),
            len(one.unanswerable),
            refusal.share_refused(one.unanswerable),
            len(one.foreign),
            refusal.share_refused(one.foreign),
        ]
        for name, one in sets.items()
    ]
    held = refusal.point(list(sets.values()), 0.0)
    by_set.append(["**mean over sets**", None, held.answerable, None, held.unanswerable, None, held.foreign])
    columns = (
        "set",
        "answerable",
        "refused",
        "unanswerable",
        "refused",
        "of another set",
        "refused",
    )
    text = "Share refused at the limit in force, by what the questions are. None of the last kind has an answer here."
    points = [
        [f"{one.limit:+.2f}", one.answerable, one.unanswerable, one.foreign]
        for one in sorted([*refusal.curve(list(sets.values())), held], key=lambda one: one.limit)
    ]
    about = (
        "The same, means over sets, when the limit on the evidence's score is moved; +0.00 is in force. Questions that "
        "name somebody whom no document names are refused at any limit."
    )
    return [
        Section("Refusal", text, columns, by_set),
        Section("Refusal: the whole curve", about, ("limit", "answerable", "unanswerable", "of another set"), points),
    ]


def part_sections(name: str, part: Mapping[str, Any]) -> list[Section]:
    """What another command measured: a table for each set of figures that its reports hold.

    part: `runs` (what was printed, by set) and `date`.
    """
    groups: dict[tuple[str, ...], list[list[Any]]] = defaultdict(list)
    for label, report in part["runs"].items():
        for path, figures in _leaves(report, [label]):
            groups[tuple(figures)].append([" / ".join(path), *figures.values()])
    title, made = PART_TITLES.get(name, name), []
    for number, (columns, rows) in enumerate(groups.items()):
        text = f"As `alioth eval {name} --json` gave it on {part.get('date', '')}." if not number else ""
        made.append(Section(title if not number else f"{title} ({number + 1})", text, ("what", *columns), rows))
    return made


def _leaves(report: Mapping[str, Any], path: list[str]) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Every mapping with figures of its own, and where it stands."""
    figures = {key: value for key, value in report.items() if value is None or isinstance(value, int | float)}
    if figures:
        yield path, figures
    for key, value in report.items():
        if isinstance(value, Mapping) and key not in _NOT_SHOWN:
            yield from _leaves(value, [*path, str(key)])
