"""Alioth's retrieval as a LangChain retriever and its answers as a Runnable, for a company's own chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig

from chat.events import Finished, Text
from chat.question import check_question
from core.filters import Filters
from core.types import Answer, ChatTurn, Collection, ScoredChunk

Allowed = Callable[[], Sequence[Collection]]
LONGEST_QUESTION = 4000


class AliothRetriever(BaseRetriever):
    """`AliothRetriever(retriever=…, collections=[…], k=10).invoke("question")` gives LangChain documents.

    Only the given collections are searched. Give `allowed` instead of `collections` to have the reader's rights asked
    for at each question; `app.chains` builds it so. filters: only documents that pass.
    """

    retriever: Any
    collections: list[Any] = []  # noqa: RUF012  # pydantic copies it for each instance
    allowed: Allowed | None = None
    k: int = 10
    filters: Filters = Filters()

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        collections = list(self.allowed()) if self.allowed else self.collections
        question = check_question(query, LONGEST_QUESTION)
        found = self.retriever.retrieve(question, collections, self.k, filters=self.filters)
        return [_document(item) for item in found.results]


class AliothAnswers(Runnable[Any, dict[str, Any]]):
    """Answers with checked citations: `invoke("question")` gives a dictionary (see `answer_dict`).

    The input is a question, or a dictionary with `question`, `history` (pairs of role and text) and `filters` (JSON
    form). `stream` gives dictionaries with `text` as it is written, then the whole answer.

    Args:
        answer: `Answerer.answer`. allowed: the collections that may be searched now.
    """

    def __init__(self, answer: Callable[..., Iterator[Any]], allowed: Allowed) -> None:
        self._answer, self._allowed = answer, allowed

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """The finished answer."""
        return self._call_with_config(lambda asked: list(self._parts(asked))[-1], input, config)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """`{"text": …}` pieces, then the finished answer."""
        yield from self._parts(input)

    def _parts(self, asked: Any) -> Iterator[dict[str, Any]]:
        given: dict[str, Any] = {"question": asked} if isinstance(asked, str) else dict(asked)
        history = [ChatTurn(role, text) for role, text in given.get("history", ())]
        filters = Filters.from_dict(given.get("filters", {}))
        for event in self._answer(given["question"], list(self._allowed()), history, filters=filters):
            if isinstance(event, Text):
                yield {"text": event.delta}
            elif isinstance(event, Finished):
                yield answer_dict(event.answer)


def answer_dict(answer: Answer) -> dict[str, Any]:
    """answer, citations, refused, verification, filters and mode, of JSON types; keys as of `alioth ask --json`."""
    return {
        "answer": answer.text,
        "citations": [
            {"n": c.n, "document": c.document, "locator": c.locator.to_dict(), "quote": c.quote, "chunk_id": c.chunk_id}
            for c in answer.citations
        ],
        "refused": answer.refused,
        "verification": [
            {"sentence": check.sentence, "verdict": check.verdict.value, "reason": check.reason}
            for check in answer.verification
        ],
        "filters": dict(answer.filters),
        "mode": answer.mode.value,
        "language": answer.language,
    }


def _document(item: ScoredChunk) -> Document:
    chunk = item.chunk
    return Document(
        id=str(chunk.id),
        page_content=chunk.text,
        metadata={
            "document": chunk.path,
            "title": chunk.title,
            "locator": chunk.locator.to_dict(),
            "score": item.score,
            "collection_id": chunk.collection_id,
        },
    )
