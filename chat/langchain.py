"""Alioth's retrieval as a LangChain retriever, for a company's own chains."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from chat.retrieve import Retriever
from core.types import Collection, ScoredChunk


class AliothRetriever(BaseRetriever):
    """`AliothRetriever(retriever=…, collections=[…], k=10).invoke("question")` gives LangChain documents.

    Only the given collections are searched; whoever builds it decides which the reader may see.
    """

    retriever: Any
    collections: list[Any]
    k: int = 10

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        source: Retriever = self.retriever
        collections: list[Collection] = self.collections
        return [_document(item) for item in source.retrieve(query, collections, self.k).results]


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
