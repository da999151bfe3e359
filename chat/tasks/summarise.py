"""Summaries of whole documents: by a capable language model, else the sentences that cover them best."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chat.cite import without_marks
from chat.events import AnswerEvent, Finished, Progress, Stage, Text
from chat.retrieval.retrieve import Searches
from chat.tasks.documents import DocumentReader, TaskDocument, heading_of, shortened_citation
from chat.tasks.extractive import central_sentences
from chat.tasks.map_reduce import MapReduce
from chat.tasks.model import Clock, TaskModel
from core.errors import InputError, ModelUnavailableError
from core.text import detect_language
from core.types import Answer, AnswerMode, Citation, SentenceCheck, StoredChunk, Verdict
from models.protocols import Lane

log = logging.getLogger(__name__)

SENTENCES = {"short": 4, "medium": 9, "long": 18}
WORDS = {"short": 120, "medium": 280, "long": 550}
LENGTHS = tuple(SENTENCES)
METHODS = ("automatic", "generate", "extract")
SAMPLE_CHARS = 4000
_ITEM_NUMBER = re.compile(r"^\(?\d{1,2}[.)、]\s*(?=\D)|^[-*•·]\s+")

Chunks = Mapping[str, list[StoredChunk]]
"""Document id to its chunks."""


class Summariser:
    """Summarises documents as a stream of events. Thread-safe."""

    def __init__(self, reader: DocumentReader, retriever: Searches, model: TaskModel) -> None:
        self._reader = reader
        self._retriever = retriever
        self._model = model

    def summarise(
        self,
        documents: Sequence[TaskDocument],
        length: str = "medium",
        language: str = "",
        method: str = "automatic",
        cancel: threading.Event | None = None,
        user: str = "",
    ) -> Iterator[AnswerEvent]:
        """Events in order, `Finished` last. The arguments are checked before this returns.

        Args:
            length: short, medium or long. language: of the summary, `zh` or `en`; "" takes the documents' own.
            method: `generate` asks the model whatever it is, `extract` never, `automatic` where it is up to it.

        Raises:
            InputError: no document, or another length or method.
        """
        if not documents:
            raise InputError("No document was chosen to summarise.", "Name one, or a collection that has some.")
        if length not in LENGTHS or method not in METHODS:
            raise InputError(
                f"Cannot summarise with length {length!r} and method {method!r}.",
                f"The length is one of {', '.join(LENGTHS)}, the method one of {', '.join(METHODS)}.",
            )
        return self._events(documents, length, language, method, cancel or threading.Event(), user)

    def _events(
        self,
        documents: Sequence[TaskDocument],
        length: str,
        language: str,
        method: str,
        cancel: threading.Event,
        user: str,
    ) -> Iterator[AnswerEvent]:
        started = time.perf_counter()
        yield Stage("read")
        chunks = {d.document_id: self._reader.of_version(d.version_id) for d in documents}
        spoken = Counter(_language(found) for found in chunks.values() if found)
        main = spoken.most_common(1)[0][0] if spoken else "en"
        notices: list[str] = []
        generate = method == "generate"
        if method == "automatic":
            lacking = self._model.lacks({*spoken, language or main})
            generate = not lacking
            if lacking:
                notices.append(f"summary_extract_{lacking}")
        finished: tuple[Answer, int] | None = None
        if generate and spoken:
            try:
                finished = yield from self._generate(documents, chunks, length, language or main, cancel, user)
            except ModelUnavailableError as error:
                log.warning("Summarising with the documents' own sentences: %s", error)
                notices.append("summary_extract_away")
        if finished is None:
            finished = yield from self._extract(documents, chunks, length, cancel)
        answer, read = finished
        coverage = _coverage(documents, chunks, read)
        if coverage["pages_without_text"] or coverage["documents_without_text"]:
            notices.append("task_pages_without_text")
        yield Finished(
            Answer(
                answer.text,
                language if answer.mode is AnswerMode.ANSWER and language else main,
                answer.mode,
                stopped=cancel.is_set(),
                citations=answer.citations,
                verification=answer.verification,
                notices=tuple(notices),
                timings={"total": time.perf_counter() - started},
                task={"kind": "summary", "length": length, "coverage": coverage},
            )
        )

    def _generate(
        self,
        documents: Sequence[TaskDocument],
        chunks: Chunks,
        length: str,
        language: str,
        cancel: threading.Event,
        user: str,
    ) -> Generator[AnswerEvent, None, tuple[Answer, int]]:
        every = [chunk for document in documents for chunk in chunks[document.document_id]]
        work = MapReduce(self._model, every, WORDS[length], language, cancel, user)
        yield from work.events()
        yield Stage("verify")
        embedder = self._retriever.reading_embedder(documents[0].collection, work.text) if work.text else None
        embed = None if embedder is None else lambda texts: embedder.embed_documents(texts, Lane.QUESTION)
        found = work.supported(embed)
        answer = Answer(found.text, "", AnswerMode.ANSWER, citations=found.citations, verification=found.checks)
        return answer, work.read

    def _extract(
        self, documents: Sequence[TaskDocument], chunks: Chunks, length: str, cancel: threading.Event
    ) -> Generator[AnswerEvent, None, tuple[Answer, int]]:
        text = ""
        citations: list[Citation] = []
        checks: list[SentenceCheck] = []
        most = _share(SENTENCES[length], len(documents))
        clock = Clock(sum(len(found) for found in chunks.values()))
        for document in documents:
            own = chunks[document.document_id]
            if cancel.is_set():
                break
            if not own:
                continue
            piece = "\n" if text else ""
            if len(documents) > 1:
                piece += f"## {_named(document)}\n"
            heading, root = "", _shared_heading(own)
            for sentence in central_sentences(own, most, self._embeddings(document, own)):
                above = heading_of(sentence.chunk, root)
                if above and above != heading:
                    piece += f"### {above}\n"
                heading = above
                n = len(citations) + 1
                words = _ITEM_NUMBER.sub("", without_marks(sentence.text))
                start = len(text) + len(piece) + len("- ")
                piece += f"- {words} [{n}]\n"
                end = len(text) + len(piece) - 1
                citations.append(shortened_citation(n, sentence.chunk, sentence.text))
                checks.append(SentenceCheck(words, Verdict.SUPPORTED, "The document's own words.", start, end, (n,)))
            text += piece
            yield Text(piece)
            yield clock.after(len(own))
        answer = Answer(text, "", AnswerMode.QUOTE, citations=tuple(citations), verification=tuple(checks))
        return answer, clock.done

    def _embeddings(self, document: TaskDocument, chunks: Sequence[StoredChunk]) -> NDArray[np.float32] | None:
        if self._retriever.reading_embedder(document.collection, _sample(chunks)) is None:
            return None
        ids, matrix = self._reader.embeddings([chunk.id for chunk in chunks])
        return matrix if ids == [chunk.id for chunk in chunks] else None


def _coverage(documents: Sequence[TaskDocument], chunks: Chunks, read: int) -> dict[str, Any]:
    """JSON: how many chunks were read of how many, and what had no text to read."""
    return {
        "documents": len(documents),
        "chunks": sum(len(found) for found in chunks.values()),
        "chunks_read": read,
        "pages_without_text": [
            {"document": document.path, "pages": list(document.pages_without_text)}
            for document in documents
            if document.pages_without_text
        ],
        "documents_without_text": [d.path for d in documents if not chunks[d.document_id]],
    }


def _shared_heading(chunks: Sequence[StoredChunk]) -> int:
    """How many headings, outermost first, stand above every chunk that has one: the document's own title."""
    paths = [chunk.locator.heading for chunk in chunks if chunk.locator.heading]
    shared = next((n for n, level in enumerate(zip(*paths, strict=False)) if len(set(level)) > 1), None)
    return min(map(len, paths), default=0) if shared is None else shared


def _share(sentences: int, documents: int) -> int:
    """Sentences for each of several documents: fewer each, and some for every one."""
    return sentences if documents == 1 else max(2, round(sentences * 1.5 / documents))


def _named(document: TaskDocument) -> str:
    return document.title if document.title and document.title != document.path else document.path


def _sample(chunks: Sequence[StoredChunk]) -> str:
    """Text from all over a document, for telling its language."""
    step = max(1, len(chunks) // 8)
    return "\n".join(chunk.text[: SAMPLE_CHARS // 8] for chunk in chunks[::step])[:SAMPLE_CHARS]


def _language(chunks: Sequence[StoredChunk]) -> str:
    return detect_language(_sample(chunks))


__all__ = ["LENGTHS", "METHODS", "Progress", "Summariser"]
