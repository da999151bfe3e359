"""Document tasks in one place: summarise, translate, extract, compare, each a stream of events like an answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from chat.retrieval.retrieve import Searches
from chat.tasks.compare import Comparer
from chat.tasks.documents import DocumentReader
from chat.tasks.extract import Extractor
from chat.tasks.model import TaskModel
from chat.tasks.summarise import Summariser
from chat.tasks.translate import Translator
from models.protocols import LanguageModel


class DocumentTasks:
    """The four tasks over one library. Thread-safe.

    Args:
        retriever, llm: give the part when a task needs it, since a comparison needs neither.
    """

    def __init__(
        self, reader: DocumentReader, retriever: Callable[[], Searches], llm: Callable[[], LanguageModel]
    ) -> None:
        self._reader = reader
        self._retriever = retriever
        self._llm = llm

    @cached_property
    def summariser(self) -> Summariser:
        return Summariser(self._reader, self._retriever(), self._model)

    @cached_property
    def translator(self) -> Translator:
        return Translator(self._reader, self._model)

    @cached_property
    def extractor(self) -> Extractor:
        return Extractor(self._reader, self._retriever(), self._model)

    @cached_property
    def comparer(self) -> Comparer:
        return Comparer(self._reader)

    @cached_property
    def _model(self) -> TaskModel:
        return TaskModel(self._llm())
