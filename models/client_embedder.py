"""The embedder of a models process, seen from another process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError, NotFoundError
from models import weights
from models.catalog import entry
from models.protocols import Embeddings, Lane, Tokenizer
from models.tokenizer import FileTokenizer
from models.wire import LANE_HEADER, unpack

if TYPE_CHECKING:
    from models.client import ModelsClient

BATCH = 128
"""Texts per request: some seconds of work on a CPU, so that a stopped caller leaves little behind."""


class ClientEmbedder:
    """An `Embedder` whose facts come from the catalogue and whose vectors come from the server. Thread-safe.

    Uses the plain OpenAI client: LangChain's `OpenAIEmbeddings` is as fast, but importing it costs every command that
    only searches two more seconds of CPU.
    """

    def __init__(self, client: ModelsClient, model_id: str, home: Path) -> None:
        found = entry(model_id, home)
        if found.role != "embedder":
            raise NotFoundError(f"{model_id!r} is no embedder but a {found.role}.", "`alioth models list` shows them.")
        self._client = client
        self.id = found.id
        self.dimension = found.dimension
        self.max_tokens = found.window
        self.query_prefix = found.query_prefix
        self.document_prefix = found.document_prefix
        self.weights_sha256 = weights.weights_sha256(model_id, home)
        self._file_tokenizer = FileTokenizer(weights.resolve(model_id, home) / "tokenizer.json", found.window)
        self.tokenizer: Tokenizer = self._file_tokenizer

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        """See `Embedder.embed_documents`. A text over the window is found by the server before it computes."""
        parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        rows = [self._request([self.document_prefix + text for text in part], lane) for part in parts]
        return np.concatenate(rows) if rows else np.zeros((0, self.dimension), dtype=np.float32)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """See `Embedder.embed_query`."""
        row: NDArray[np.float32] = self._request([self._file_tokenizer.cut(self.query_prefix + text)], Lane.QUESTION)[0]
        return row

    def _request(self, texts: list[str], lane: Lane) -> Embeddings:
        with self._client.errors():
            reply = self._client.openai().embeddings.create(
                model=self.id, input=texts, encoding_format="base64", extra_headers={LANE_HEADER: str(lane)}
            )
        vectors = np.stack([unpack(row.embedding) for row in sorted(reply.data, key=lambda row: row.index)])
        if vectors.shape != (len(texts), self.dimension):
            raise ModelError(
                f"The server gave embeddings of shape {vectors.shape} for {self.id!r}, "
                f"must be ({len(texts)}, {self.dimension}).",
                "Does it serve another model under this name?",
            )
        # other servers may leave them as they came out of the model
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
