"""`POST /v1/rerank` of the models process, in the shape that Jina, llama.cpp and vLLM share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from core.errors import AliothError, ModelUnavailableError, NotFoundError

_POLL_S: Final = 0.1
_AT_ONCE: Final = 8
MOST_DOCUMENTS: Final = 1000


class ServedReranker(Protocol):
    """A reranker in the models process. notes: what is wrong with its servers, in sentences."""

    id: str

    @property
    def notes(self) -> tuple[str, ...]: ...

    def scores(self, question: str, texts: Sequence[str], cancel: threading.Event | None = None) -> NDArray[np.float32]:
        """Shape (n,), higher is better, in the order of `texts`; CancelledError soon after `cancel` was set."""
        ...


class RerankShelf:
    """The reranker of the process, or why there is none."""

    def __init__(self) -> None:
        self.reranker: ServedReranker | None = None
        self.problem = "none is configured (ALIOTH_MODELS__RERANKER)"

    def load(self, make: Callable[[], ServedReranker]) -> None:
        """Take what `make` gives; a failure is kept as the problem, since questions are answered without one too."""
        try:
            self.reranker = make()
        except AliothError as error:
            self.problem = str(error)
            raise

    def row(self) -> dict[str, Any] | None:
        """What `/v1/models` says of it."""
        if self.reranker is None:
            return None
        notes = list(self.reranker.notes)
        return {"id": self.reranker.id, "role": "reranker", **({"notes": notes} if notes else {})}

    def require(self, model_id: str) -> ServedReranker:
        if self.reranker is None:
            raise ModelUnavailableError(f"There is no reranker: {self.problem}.", "Questions are answered without.")
        if model_id not in ("", self.reranker.id):
            raise NotFoundError(f"No reranker {model_id!r} is loaded here.", f"This one serves {self.reranker.id!r}.")
        return self.reranker


class RerankRequest(BaseModel):
    model: str = ""
    query: str
    documents: list[str] = Field(max_length=MOST_DOCUMENTS)
    top_n: int | None = Field(None, ge=1)


def add_rerank(app: FastAPI, shelf: RerankShelf) -> None:
    """Add the route. A caller that goes away stops the computing after the turn under way."""
    threads = ThreadPoolExecutor(_AT_ONCE, "rerank")

    @app.post("/v1/rerank")
    async def rerank(body: RerankRequest, request: Request) -> Response:
        reranker, cancel = shelf.require(body.model), threading.Event()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(threads, reranker.scores, body.query, body.documents, cancel)
        try:
            while not (await asyncio.wait({work}, timeout=_POLL_S))[0]:
                if await request.is_disconnected():
                    cancel.set()
            scores = work.result()
        finally:
            cancel.set()
        order = sorted(range(len(scores)), key=lambda place: (-float(scores[place]), place))[: body.top_n]
        results = [{"index": place, "relevance_score": float(scores[place])} for place in order]
        return JSONResponse({"model": reranker.id, "object": "list", "results": results})
