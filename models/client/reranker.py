"""The reranker of a models process, seen from another process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError, ModelUnavailableError

if TYPE_CHECKING:
    from models.client.connection import ModelsClient

PATIENCE_S: Final = 5.0
"""Seconds that a question waits for it."""
PAUSE_S: Final = 30.0
"""After it took too long, questions go on without it for so long instead of waiting in vain each time."""


class ClientReranker:
    """A `Reranker` on the other side of HTTP. Thread-safe."""

    def __init__(self, client: ModelsClient, model_id: str, patience_s: float = PATIENCE_S) -> None:
        self.id = model_id
        self._client = client
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._rest_until = 0.0

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Reranker.scores`.

        Raises:
            ModelUnavailableError: there is none, or it took too long now or a little while ago.
            ModelError: it gave nonsense.
        """
        import openai

        if time.monotonic() < self._rest_until:
            raise ModelUnavailableError(f"The reranker {self.id!r} took over {self._patience_s:.0f} s a moment ago.")
        body = {"model": self.id, "query": question, "documents": list(texts)}
        with self._client.errors():
            try:
                reply: Any = self._client.openai().post(
                    "/rerank", body=body, cast_to=object, options={"timeout": self._patience_s}
                )
            except openai.APITimeoutError:
                with self._lock:
                    self._rest_until = time.monotonic() + PAUSE_S
                raise ModelUnavailableError(
                    f"The reranker {self.id!r} took over {self._patience_s:.0f} s.",
                    "Take a smaller one, or one on a card.",
                ) from None
        return self._ordered(reply, len(texts))

    def _ordered(self, reply: Any, count: int) -> NDArray[np.float32]:
        scores = np.full(count, np.nan, dtype=np.float32)
        for row in reply["results"]:
            scores[int(row["index"])] = float(row["relevance_score"])
        if not np.isfinite(scores).all():
            raise ModelError(f"The reranker {self.id!r} does not give one finite score for each text.")
        return scores
