"""Changes between two documents, and the answer that shows them with a citation for either side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chat.cite import without_marks
from chat.tasks.documents import PlacedSentence, TaskDocument, shortened_citation
from core.text import detect_language
from core.types import Answer, AnswerMode, Citation, SentenceCheck, Verdict

KINDS = ("values", "added", "removed", "reworded", "moved")
"""Kinds of change in the order in which they are shown."""
MOST_KEPT = 400
MOST_IN_TEXT = 30
_TEXTS = {
    "zh": {
        "same": "两份文档的文字没有不同。",
        "count": "共 {n} 处不同：",
        "more": "其余 {n} 处见下表。",
        "values": "数值、日期或名称不同 {n}",
        "added": "新增 {n}",
        "removed": "删除 {n}",
        "reworded": "改写 {n}",
        "moved": "移动 {n}",
    },
    "en": {
        "same": "The texts of the two documents do not differ.",
        "count": "{n} differences: ",
        "more": "{n} more are in the table.",
        "values": "{n} with other figures, dates or names",
        "added": "{n} added",
        "removed": "{n} removed",
        "reworded": "{n} reworded",
        "moved": "{n} moved",
    },
}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. values: (before, after) of the figures, dates and names that differ."""

    kind: str
    left: PlacedSentence | None
    right: PlacedSentence | None
    values: tuple[tuple[str, str], ...] = ()


def comparison_answer(
    left: TaskDocument, right: TaskDocument, changes: Sequence[Change], sentences: Sequence[int]
) -> Answer:
    """Counts and the first changes as text; `task` has up to 400 changes, whose words are in the citations.

    Args:
        sentences: how many each document has.
    """
    language = _language(changes)
    texts = _TEXTS[language]
    citations: list[Citation] = []
    checks: list[SentenceCheck] = []
    rows: list[dict[str, Any]] = []
    counts = Counter(change.kind for change in changes)
    text = _headline(counts, texts)
    for number, change in enumerate(changes[:MOST_KEPT]):
        marks = []
        for side in (change.left, change.right):
            marks.append(len(citations) + 1 if side else None)
            if side:
                citations.append(shortened_citation(len(citations) + 1, side.chunk, side.text))
        rows.append(
            {"kind": change.kind, "left": marks[0], "right": marks[1], "values": [list(v) for v in change.values]}
        )
        if number < MOST_IN_TEXT:
            line = _line(change, marks)
            start = len(text) + len("\n- ")
            text += f"\n- {line}"
            cited = tuple(n for n in marks if n)
            checks.append(SentenceCheck(line, Verdict.SUPPORTED, "The documents' own words.", start, len(text), cited))
    if len(changes) > MOST_IN_TEXT:
        text += "\n\n" + texts["more"].format(n=len(changes) - MOST_IN_TEXT)
    task = {
        "kind": "comparison",
        "left": {"document": left.path, "document_id": left.document_id, "sentences": sentences[0]},
        "right": {"document": right.path, "document_id": right.document_id, "sentences": sentences[1]},
        "counts": {kind: counts[kind] for kind in KINDS},
        "changes": rows,
        "left_out": max(0, len(changes) - MOST_KEPT),
    }
    return Answer(text, language, AnswerMode.QUOTE, citations=tuple(citations), verification=tuple(checks), task=task)


def _headline(counts: Counter[str], texts: dict[str, str]) -> str:
    if not counts:
        return texts["same"]
    parts = [texts[kind].format(n=counts[kind]) for kind in KINDS if counts[kind]]
    joint, end = ("，", "。") if texts is _TEXTS["zh"] else (", ", ".")
    return texts["count"].format(n=counts.total()) + joint.join(parts) + end + "\n"


def _line(change: Change, marks: Sequence[int | None]) -> str:
    sides = [
        f"{sign}{without_marks(side.text)} [{n}]"
        for sign, side, n in zip(("− ", "+ "), (change.left, change.right), marks, strict=True)
        if side
    ]
    differing = "; ".join(f"{before or '∅'} → {after or '∅'}" for before, after in change.values)
    return (f"{differing}: " if differing else "") + " ".join(sides)


def _language(changes: Sequence[Change]) -> str:
    sides = [side for change in changes[:20] for side in (change.left, change.right) if side]
    return "zh" if detect_language(" ".join(side.text for side in sides)) == "zh" else "en"
