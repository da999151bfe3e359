"""A collection as it stands, measured where it is: documents are named by their logical paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.filters import Filters
from core.types import Collection


class Measured(Protocol):
    """What a runner must know of the documents it asks: `evals.corpus.Corpus` or `LiveCorpus`."""

    @property
    def collection(self) -> Collection: ...

    def doc_id(self, path: str) -> str:
        """What questions call the document at this logical path."""
        ...

    def scope(self, name: str) -> Filters:
        """The documents from which a question of this scope may be answered."""
        ...


@dataclass(frozen=True, slots=True)
class LiveCorpus:
    """A collection whose questions name documents by path. A scope is a path or a folder."""

    collection: Collection

    def doc_id(self, path: str) -> str:
        """The path itself."""
        return path

    def scope(self, name: str) -> Filters:
        """The document itself, or any of the folder."""
        return Filters(paths=(name,))
