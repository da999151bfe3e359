"""Question sets of collections: read from JSON Lines and CSV, written to both, matched with the documents there are."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from core.errors import InputError
from core.text import fold
from evals.sets import EvalQuestion, question_of, row_of
from ingest.decode import decode
from storage.feedback import JudgedAnswer
from storage.quality import ORIGINS, SetQuestion

MOST_BYTES = 20_000_000
COLUMNS = ("qid", "question", "documents", "answers", "evidence", "unanswerable", "scope", "note")
_NAMES = {
    "qid": ("qid", "id", "编号", "序号"),
    "question": ("question", "query", "问题", "提问"),
    "documents": ("documents", "document", "gold_doc_ids", "gold", "sources", "文档", "来源", "出处"),
    "answers": ("answers", "answer", "答案", "参考答案", "回答"),
    "evidence": ("evidence", "依据", "证据", "原文"),
    "unanswerable": ("unanswerable", "无答案", "不可回答"),
    "scope": ("scope", "范围"),
    "note": ("note", "notes", "备注", "说明"),
}
_COLUMN = {name: key for key, names in _NAMES.items() for name in names}
_YES = frozenset(("1", "true", "yes", "y", "是", "x", "✓"))
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
BETWEEN = "||"
"""Between several documents, answers or sentences in one cell of a CSV."""
TOGETHER = "&&"
"""Between strings that must all appear for one answer."""


def read_questions(data: bytes, name: str) -> list[SetQuestion]:
    """Questions of a file: CSV by its name, else JSON Lines.

    Raises:
        InputError: too large, or a line breaks the format; names the line.
    """
    if len(data) > MOST_BYTES:
        raise InputError(
            f"'{name}' has {len(data) / 1e6:.0f} MB, over the limit of {MOST_BYTES / 1e6:.0f} MB.", "Divide it."
        )
    text = decode(data).text
    questions = _from_csv(text, name) if name.lower().endswith((".csv", ".tsv")) else _from_jsonl(text, name)
    if not questions:
        raise InputError(f"'{name}' holds no question.", "Write one JSON object or one row per question.")
    return questions


def of_row(row: Mapping[str, Any], place: str, origin: str = "imported") -> SetQuestion:
    """A question of a set from an object of the sets' format. A qid is made of the words where there is none.

    Raises:
        InputError: the object breaks the format.
    """
    text = row.get("question")
    if isinstance(text, str) and not row.get("qid"):
        row = {**row, "qid": made_qid(text)}
    question = question_of(row, place)
    data = row_of(question)
    for key in ("qid", "question"):
        data.pop(key)
    known = ("type", "lang")
    data |= {key: str(row[key])[:60] for key in known if row.get(key)}
    kept = row.get("origin")
    origin = kept if kept in ORIGINS else origin
    return SetQuestion(question.qid, question.question, data, origin, str(row.get("note") or ""))


def made_qid(text: str, prefix: str = "q") -> str:
    """A short id from the words of a question: the same words give the same id."""
    return f"{prefix}-{hashlib.sha256(fold(text.strip()).encode()).hexdigest()[:10]}"


def to_row(question: SetQuestion) -> dict[str, Any]:
    """The object of the sets' format."""
    row: dict[str, Any] = {"qid": question.qid, "question": question.question, **question.data}
    row["origin"] = question.origin
    if question.note:
        row["note"] = question.note
    return row


def to_eval(question: SetQuestion) -> EvalQuestion:
    """What the runners take."""
    return question_of(to_row(question), f"question '{question.qid}'")


def to_jsonl(questions: Iterable[SetQuestion]) -> str:
    """JSON Lines in the sets' format."""
    return "".join(json.dumps(to_row(question), ensure_ascii=False) + "\n" for question in questions)


def to_csv(questions: Iterable[SetQuestion]) -> str:
    """A table for spreadsheets, without histories. What would be taken for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for question in questions:
        data = question.data
        answers = [one if isinstance(one, str) else f" {TOGETHER} ".join(one) for one in data.get("answers", ())]
        cells = {
            "qid": question.qid,
            "question": question.question,
            "documents": f" {BETWEEN} ".join(data.get("gold_doc_ids", ())),
            "answers": f" {BETWEEN} ".join(answers),
            "evidence": f" {BETWEEN} ".join(data.get("evidence", ())),
            "unanswerable": "1" if data.get("unanswerable") else "",
            "scope": str(data.get("scope", "")),
            "note": question.note,
        }
        writer.writerow([_quoted(cells[name]) for name in COLUMNS])
    return out.getvalue()


def match_documents(questions: Sequence[SetQuestion], paths: Sequence[str]) -> tuple[list[SetQuestion], list[str]]:
    """The questions with their documents named by logical path, and the names that fit none or several documents.

    A name fits by the whole path, else without its ending, else by the file name with or without it.
    """
    known: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        pure = PurePosixPath(path)
        for key in (path, str(pure.with_suffix("")), pure.name, pure.stem):
            known[key.casefold()].add(path)
    missing: dict[str, None] = {}
    matched = []
    for question in questions:
        gold = []
        for name in question.data.get("gold_doc_ids", ()):
            found = {name} if name in paths else known.get(str(name).casefold(), set())
            if len(found) != 1:
                missing[str(name)] = None
            gold.append(next(iter(found)) if len(found) == 1 else str(name))
        data = {**question.data, "gold_doc_ids": list(dict.fromkeys(gold))}
        matched.append(dataclasses.replace(question, data=data))
    return matched, list(missing)


def of_feedback(judged: JudgedAnswer, collection_id: str) -> SetQuestion:
    """A question that a reader asked. What a thumb up confirmed counts as known: documents, answer, or the refusal."""
    from evals.metrics import without_marks

    cited = [citation for citation in judged.citations if citation.collection_id == collection_id]
    data: dict[str, Any] = {"gold_doc_ids": []}
    if judged.history:
        data["history"] = [{"role": turn.role, "content": turn.text} for turn in judged.history]
    if judged.rating > 0 and judged.refused:
        data["unanswerable"] = True
    elif judged.rating > 0:
        data["gold_doc_ids"] = list(dict.fromkeys(citation.document for citation in cited))
        data["answers"] = [" ".join(without_marks(judged.answer).split())]
        data["evidence"] = [citation.quote for citation in cited if citation.quote.strip()]
    return SetQuestion(f"f-{judged.message_id[:12]}", judged.question[:4000], data, "feedback", judged.reason)


def _from_jsonl(text: str, name: str) -> list[SetQuestion]:
    questions = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"'{name}', line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{place} is not JSON: {error}.", "Write one JSON object per line.") from error
        if not isinstance(row, dict):
            raise InputError(f"{place} is a {type(row).__name__}, not an object.", "Write one JSON object per line.")
        questions.append(of_row(row, place))
    return questions


def _from_csv(text: str, name: str) -> list[SetQuestion]:
    sample = text[:4096]
    delimiter = max(",;\t", key=lambda mark: sample.partition("\n")[0].count(mark))
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"'{name}' is no CSV: {error}.", "Export it anew as CSV, or as JSON Lines.") from error
    if not rows:
        return []
    columns = [_COLUMN.get(cell.strip().casefold(), "") for cell in rows[0]]
    if "question" not in columns:
        raise InputError(
            f"'{name}' has no column 'question': its first row is {', '.join(rows[0])[:120]!r}.",
            f"Name the columns in the first row: {', '.join(COLUMNS)}.",
        )
    questions = []
    for number, cells in enumerate(rows[1:], 2):
        values = {column: _plain(cell) for column, cell in zip(columns, cells, strict=False) if column}
        if any(values.values()):
            questions.append(_of_cells(values, f"'{name}', row {number}"))
    return questions


def _of_cells(values: Mapping[str, str], place: str) -> SetQuestion:
    answers: list[Any] = []
    for one in _parts(values.get("answers", ""), BETWEEN):
        together = _parts(one, TOGETHER)
        answers.append(together[0] if len(together) == 1 else together)
    row = {
        "qid": values.get("qid", ""),
        "question": values.get("question", ""),
        "gold_doc_ids": _parts(values.get("documents", ""), BETWEEN),
        "answers": answers,
        "evidence": _parts(values.get("evidence", ""), BETWEEN),
        "unanswerable": values.get("unanswerable", "").casefold() in _YES,
        "scope": values.get("scope", ""),
        "note": values.get("note", ""),
    }
    return of_row(row, place)


def _parts(cell: str, mark: str) -> list[str]:
    return [part.strip() for part in cell.split(mark) if part.strip()]


def _quoted(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _plain(cell: str) -> str:
    text = cell.strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
