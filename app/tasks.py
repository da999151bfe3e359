"""Document tasks for a person: which documents they may read, the task's title, its stream, and its JSON form."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import InputError, LimitError, NotFoundError
from core.types import Answer, Citation, Collection, Principal, Role

if TYPE_CHECKING:
    from app.wiring import Alioth
    from chat.events import AnswerEvent
    from chat.tasks.documents import TaskDocument
    from core.types import DocumentRow
    from storage.versions import DocumentDate

MOST_DOCUMENTS = 500

MakeEvents = Callable[[threading.Event], "Iterator[AnswerEvent]"]


@dataclass(frozen=True, slots=True)
class Task:
    """One task ready to run. question: what the conversation shows. make: its events, given what cancels it."""

    question: str
    collections: tuple[Collection, ...]
    make: MakeEvents


class Tasks:
    """Makes tasks from what a person chose, after asking the permissions. Thread-safe.

    named: the word for a kind of task (summary, table, comparison, translation) in titles.
    """

    def __init__(self, alioth: Alioth, named: Callable[[str], str] = str.capitalize) -> None:
        self._alioth = alioth
        self._named = named

    def documents(self, who: Principal, collection_id: str, paths: Sequence[str] = ()) -> list[TaskDocument]:
        """Readable documents of a collection that answer now, by path; all of them when no path is given.

        Raises:
            NotFoundError: no such collection for this person, or no such document that is ready.
            LimitError: more than 500 documents.
        """
        collection = self._alioth.permissions.require(who, collection_id, Role.READ)
        rows = {row.path: row for row in self._alioth.documents.list(collection.id) if row.live_version_id}
        missing = next((path for path in paths if path not in rows), None)
        if missing is not None:
            raise NotFoundError(
                f"The collection '{collection.name}' has no document '{missing}' that is ready.",
                f"See: alioth ingest list --collection '{collection.name}'",
            )
        chosen = [rows[path] for path in dict.fromkeys(paths)] if paths else [rows[path] for path in sorted(rows)]
        if len(chosen) > MOST_DOCUMENTS:
            raise LimitError(
                f"{len(chosen)} documents were chosen, over the limit of {MOST_DOCUMENTS} for one task.",
                "Choose fewer of them by their paths.",
            )
        return [_task_document(row, collection) for row in chosen]

    def summarise(
        self,
        who: Principal,
        documents: Sequence[TaskDocument],
        length: str,
        language: str = "",
        method: str = "automatic",
    ) -> Task:
        """See chat.tasks.summarise."""
        summariser = self._alioth.tasks.summariser

        def make(cancel: threading.Event) -> Iterator[AnswerEvent]:
            return summariser.summarise(documents, length, language, method, cancel, who.user_id)

        return Task(_titled(self._named("summary"), documents), _collections(documents), make)

    def extract(self, who: Principal, documents: Sequence[TaskDocument], fields: str) -> Task:
        """See chat.tasks.extract. fields: names between commas. Raises InputError for names that cannot be used."""
        from chat.tasks.fields import parse_fields

        wanted = parse_fields(fields)
        if not documents:
            raise InputError("No document was chosen to extract from.", "Name one, or a collection that has some.")
        extractor = self._alioth.tasks.extractor

        def make(cancel: threading.Event) -> Iterator[AnswerEvent]:
            return extractor.extract(documents, wanted, cancel, who.user_id)

        title = f"{self._named('table')}: {', '.join(field.name for field in wanted)}"
        return Task(_titled(title, documents), _collections(documents), make)

    def translate(
        self,
        who: Principal,
        target: str,
        text: str = "",
        document: TaskDocument | None = None,
        pages: tuple[int, int] | None = None,
    ) -> Task:
        """See chat.tasks.translate."""
        translator = self._alioth.tasks.translator

        def make(cancel: threading.Event) -> Iterator[AnswerEvent]:
            return translator.translate(text, document, target, pages, cancel, who.user_id)

        shown = document.path if document else " ".join(text.split())[:200]
        return Task(
            f"{self._named('translation')} → {target}: {shown}", _collections([document] if document else []), make
        )

    def compare(self, who: Principal, left: TaskDocument, right: TaskDocument) -> Task:
        """See chat.tasks.compare. Raises InputError for one document with itself."""
        if left.version_id == right.version_id:
            raise InputError(f"'{left.path}' cannot be compared with itself.", "Choose two documents.")
        comparer = self._alioth.tasks.comparer

        def make(cancel: threading.Event) -> Iterator[AnswerEvent]:
            return comparer.compare(left, right, cancel)

        return Task(f"{self._named('comparison')}: {left.path} ⇄ {right.path}", _collections([left, right]), make)

    def run(self, task: Task) -> Iterator[AnswerEvent]:
        """The events of a task in the caller's thread, nothing stored."""
        return task.make(threading.Event())

    def start(self, who: Principal, task: Task) -> str:
        """Begin a task in the background as a new conversation of this person; the conversation's id.

        Raises:
            InputError, LimitError, ModelError: the task cannot begin; no conversation is left then.
        """
        conversations = self._alioth.conversations
        made = conversations.create(who.user_id, [c.id for c in task.collections], title=task.question[:120])
        try:
            self._alioth.running.start(made.id, who.user_id, task.question, list(task.collections), make=task.make)
        except Exception:
            conversations.delete(made.id, who.user_id)
            raise
        return made.id


def citation_dates(alioth: Alioth, citations: Sequence[Citation]) -> dict[str, DocumentDate]:
    """Version id to the date of its document, for sources as they are shown."""
    from storage.versions import VersionStore

    return VersionStore(alioth.db).dates(list(dict.fromkeys(citation.version_id for citation in citations)))


def table_csv(answer: Answer) -> str:
    """The table of an extraction as CSV with a header; each value followed by the place it stands at.

    A value that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    names = [field["name"] for field in answer.task["fields"]]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(text) for text in ("document", *(n for name in names for n in (name, f"{name} (source)")))])
    by_number = {citation.n: citation for citation in answer.citations}
    for row in answer.task["rows"]:
        cells = [row["document"]]
        for cell in row["cells"]:
            cells += [cell["value"], place_short(by_number.get(cell["n"]))] if cell else ["", ""]
        writer.writerow([_cell(text) for text in cells])
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def place_short(citation: Citation | None) -> str:
    """Where a value stands, in a few words without a language."""
    if citation is None:
        return ""
    where = citation.locator
    parts = [f"p. {where.page}"] if where.page else []
    parts += [f"slide {where.slide}"] if where.slide else []
    parts += [f"{where.sheet} {where.cells or ''}".strip()] if where.sheet else []
    parts += [" › ".join(where.heading)] if where.heading else []
    parts += [f"lines {where.lines[0]}–{where.lines[1]}"] if where.lines and not parts else []
    return ", ".join(parts)


def _task_document(row: DocumentRow, collection: Collection) -> TaskDocument:
    from chat.tasks.documents import TaskDocument

    empty = tuple(sorted({p.page for p in row.problems if p.code == "page_without_text" and p.page}))
    return TaskDocument(row.id, row.live_version_id or "", collection, row.path, row.title, row.pages, empty)


def _collections(documents: Sequence[TaskDocument]) -> tuple[Collection, ...]:
    return tuple({document.collection.id: document.collection for document in documents}.values())


def _titled(start: str, documents: Sequence[TaskDocument]) -> str:
    names = ", ".join(document.path for document in documents[:3])
    return f"{start}: {names}{' …' if len(documents) > 3 else ''}"
