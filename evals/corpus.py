"""The documents of a question set as a temporary collection, read in through the ordinary pipeline."""

from __future__ import annotations

import re
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.filters import Filters
from core.types import Collection, DocumentState
from evals.sets import EvalDocument
from ingest.intake import Intake
from ingest.pipeline import Pipeline
from storage.collections import CollectionStore
from storage.documents import DocumentStore

_UNSAFE = re.compile(r"[^0-9A-Za-z\u3400-\u9fff._-]+")
_MARKDOWN = re.compile(r"^(?:#{1,6} |[-*+] |\d+\. |>|```|\|)|\]\(|\*\*", re.MULTILINE)
_SPECIAL = re.compile(r"([\\`*_\[\]<&])")
_LINE_START = re.compile(r"^(\d*)([#+=>|~.)-])")


@dataclass(frozen=True, slots=True)
class IngestFigures:
    """seconds: from the first submission to the last document that can be asked."""

    documents: int
    chunks: int
    seconds: float
    failed: int = 0


class Corpus:
    """A collection whose documents map back to the ids of a question set."""

    def __init__(self, collection: Collection, documents: Sequence[EvalDocument], figures: IngestFigures) -> None:
        self.collection = collection
        self.figures = figures
        self._by_path = {path: document for path, document in zip(logical_paths(documents), documents, strict=True)}

    def doc_id(self, path: str) -> str:
        """Id in the question set of the document at this logical path."""
        return self._by_path[path].doc_id

    def scope(self, name: str) -> Filters:
        """The documents from which a question of this `scope` may be answered: those of this parent.

        Raises:
            InputError: there is none.
        """
        paths = tuple(path for path, document in self._by_path.items() if document.parent == name)
        if not paths:
            raise InputError(f"No document has the parent '{name}' that a question names.", "Correct its 'scope'.")
        return Filters(documents=paths)


@dataclass(frozen=True, slots=True)
class CorpusBuilder:
    """Reads documents in. create: makes an empty collection of this name with the fingerprint of the settings."""

    create: Callable[[str], Collection]
    collections: CollectionStore
    documents: DocumentStore
    intake: Intake
    pipeline: Pipeline

    @contextmanager
    def build(self, documents: Sequence[EvalDocument], stop: threading.Event | None = None) -> Iterator[Corpus]:
        """The corpus; its collection is removed from all three stores at the end, whatever happens.

        Raises:
            InputError: no document could be read.
        """
        collection = self.create(f"eval-{uuid.uuid4().hex[:12]}")
        try:
            figures = self._ingest(collection, documents, stop or threading.Event())
            yield Corpus(self.collections.get_by_id(collection.id), documents, figures)
        finally:
            self.collections.delete(collection.id)
            self.pipeline.purge()

    def _ingest(
        self, collection: Collection, documents: Sequence[EvalDocument], stop: threading.Event
    ) -> IngestFigures:
        with tempfile.TemporaryDirectory(prefix="alioth-eval-") as name:
            folder = Path(name)
            for path, document in zip(logical_paths(documents), documents, strict=True):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(as_markdown(document.title, document.text), encoding="utf-8")
            started = time.monotonic()
            submitted = [self.intake.add(collection, source) for source in self.intake.scan([folder])]
            self._work([submission.version_id for submission in submitted], collection, stop)
            seconds = time.monotonic() - started
        ready = self.documents.count(collection.id, [DocumentState.READY])
        failed = self.documents.list(collection.id, limit=1, states=[DocumentState.FAILED])
        if not ready:
            reason = failed[0].error["message"] if failed and failed[0].error else "none was read"
            raise InputError(f"None of the {len(documents)} documents could be read: {reason}", "Check the file.")
        chunks = self.collections.get_by_id(collection.id).chunks
        return IngestFigures(ready, chunks, round(seconds, 3), len(documents) - ready)

    def _work(self, version_ids: list[str], collection: Collection, stop: threading.Event) -> None:
        """Take part in the work until nothing is open, beside other workers if there are any."""
        while not stop.is_set():
            self.pipeline.drain(stop, version_ids)
            if not self.documents.pending(collection.id):
                return
            stop.wait(0.2)


def logical_paths(documents: Sequence[EvalDocument]) -> list[str]:
    """A file path for each document, from its id, safe and different from all others."""
    taken: set[str] = set()
    paths: list[str] = []
    for document in documents:
        parts = [_UNSAFE.sub("-", part).strip(".- ")[:80] for part in document.doc_id.split("/")]
        stem = "/".join(part for part in parts if part) or "document"
        path, number = f"{stem}.md", 1
        while path.lower() in taken:
            number += 1
            path = f"{stem}-{number}.md"
        taken.add(path.lower())
        paths.append(path)
    return paths


def as_markdown(title: str, text: str) -> str:
    """The document as a Markdown file: the title as its heading; plain text is escaped so that none of it is lost."""
    body = text if _MARKDOWN.search(text) else _escaped(text)
    heading = " ".join(title.split())
    first_line = text.strip().split("\n", 1)[0].lstrip("# ").strip()
    if not heading or first_line == heading:
        return body
    return f"# {heading}\n\n{body}"


def _escaped(text: str) -> str:
    """Plain text whose every character survives a Markdown parser; each line stays a line."""
    lines = (_SPECIAL.sub(r"\\\1", line.strip()) for line in text.splitlines())
    return "\n".join(_LINE_START.sub(r"\1\\\2", line) for line in lines)
