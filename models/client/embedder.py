"""The embedders of a models process, seen from another process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError, ModelUnavailableError, NotFoundError
from models.embedding.tokenizer import FileTokenizer
from models.estimated_tokenizer import EstimatedTokenizer
from models.files import weights
from models.files.catalog import entry
from models.protocols import Embeddings, Lane, Tokenizer
from models.wire import LANE_HEADER, unpack

if TYPE_CHECKING:
    from models.client.connection import ModelsClient

BATCH = 128
"""Texts per request: some seconds of work on a CPU, so that a stopped caller leaves little behind."""
FACTS_S = 30.0
"""Seconds that what the models process says of an embedder on another server holds."""


class _ServedVectors:
    """What embedders share whose vectors a models process computes; who inherits sets the facts. Thread-safe.

    Uses the plain OpenAI client: LangChain's `OpenAIEmbeddings` is as fast, but importing it costs every command that
    only searches two more seconds of CPU.
    """

    id: str
    dimension: int
    query_prefix: str
    document_prefix: str
    _client: ModelsClient
    _cut: Callable[[str], str]

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        """See `Embedder.embed_documents`. A text over the window is found by the server before it computes."""
        parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        rows = [self._request([self.document_prefix + text for text in part], lane) for part in parts]
        return np.concatenate(rows) if rows else np.zeros((0, self.dimension), dtype=np.float32)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """See `Embedder.embed_query`."""
        row: NDArray[np.float32] = self._request([self._cut(self.query_prefix + text)], Lane.QUESTION)[0]
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


class ClientEmbedder(_ServedVectors):
    """An `Embedder` whose facts come from the catalogue and whose vectors come from the server."""

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
        self._cut = self._file_tokenizer.cut


class ServerEmbedder(_ServedVectors):
    """An `Embedder` of which the models process knows all, as another server computes it. asked: clock of its facts.

    Raises:
        NotFoundError: the models process has no such embedder.
        ModelUnavailableError: it does not answer, or the other server has not answered it yet.
    """

    def __init__(self, client: ModelsClient, model_id: str) -> None:
        row = next((row for row in client.models() if row["id"] == model_id and row.get("role") == "embedder"), None)
        if row is None:
            raise NotFoundError(
                f"The models process has no embedder {model_id!r}.",
                "Set ALIOTH_MODELS__EMBEDDER_URLS and ALIOTH_MODELS__EMBEDDER_NAME as they were.",
            )
        if not row["dimension"]:
            raise ModelUnavailableError(
                f"The server of {model_id!r} has not answered yet: {'; '.join(row.get('notes', []))}.",
                "`alioth doctor` tells more.",
            )
        self._client = client
        self.asked = time.monotonic()
        self.id = model_id
        self.dimension = int(row["dimension"])
        self.max_tokens = int(row["window"])
        self.query_prefix = str(row["query_prefix"])
        self.document_prefix = str(row["document_prefix"])
        self.weights_sha256 = str(row["weights_sha256"])
        estimated = EstimatedTokenizer(self.max_tokens, row["languages"])
        self.tokenizer: Tokenizer = estimated
        self._cut = estimated.cut
