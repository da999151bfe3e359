"""The models process as an ASGI app: OpenAI shapes over one LLM and its embedders, for holders of the token."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import AliothError, InputError, ModelUnavailableError, NotFoundError, PermissionDeniedError
from models.embedding.embedders import Embedders
from models.engine.load_note import parts_of
from models.protocols import Delta, Embeddings, Lane, LanguageModel, Tokenizer
from models.queueing.limits import MOST_STREAMS
from models.requests import ChatRequest, EmbeddingRequest, TokensRequest, UseRequest
from models.serving.chat_stream import AnswerStream, chunk_lines, completion
from models.serving.rerank_service import RerankShelf, add_rerank
from models.serving.swap import LlmSwap
from models.wire import LANE_HEADER, error_body, pack, status_of

log = logging.getLogger(__name__)

T = TypeVar("T")
_OPEN_PATHS = frozenset({"/healthz"})


class ServedEmbedder(Protocol):
    """An embedder that also takes texts which bear their prefix already, as the OpenAI API does."""

    id: str
    dimension: int
    max_tokens: int
    weights_sha256: str
    tokenizer: Tokenizer

    def embed(self, texts: Sequence[str], lane: Lane) -> Embeddings: ...


class Served:
    """What the process serves; LLM and first embedder are None until they are loaded.

    others: further embedders, loaded on demand; None when there is only the first. watch: sees every answer pass.
    """

    def __init__(
        self,
        llm: LanguageModel | None = None,
        embedder: ServedEmbedder | None = None,
        others: Embedders[ServedEmbedder] | None = None,
    ) -> None:
        self.llm = llm
        self.embedder = embedder
        self.others = others
        self.languages: dict[str, tuple[str, ...]] = {}
        self.llm_sha256 = ""
        self.llm_notes: tuple[str, ...] = ()
        self.former_llms: frozenset[str] = frozenset()
        self.swap: LlmSwap | None = None
        self.shelf = RerankShelf()
        self.watch: Callable[[Iterator[Delta]], Iterator[Delta]] = lambda deltas: deltas

    @property
    def ready(self) -> bool:
        return self.llm is not None and self.embedder is not None

    def require_llm(self, model_id: str) -> LanguageModel:
        if self.llm is None:
            raise ModelUnavailableError("The models are still being loaded.", "Try again in a few seconds.")
        llm = self.llm
        # a client that started before the model was changed asks by the old name
        return llm if model_id in self.former_llms else _named(llm, llm.info().id, model_id)

    async def require_embedder(self, model_id: str) -> ServedEmbedder:
        """The embedder of this id, loaded first if need be."""
        if self.embedder is None:
            raise ModelUnavailableError("The models are still being loaded.", "Try again in a few seconds.")
        if self.others is not None and model_id != self.embedder.id:
            # shielded: others may wait for it too, and it is wanted again even if this caller went away
            return await asyncio.shield(asyncio.wrap_future(self.others.get(model_id)))
        return _named(self.embedder, self.embedder.id, model_id)


def build_app(llm: LanguageModel | None, embedder: ServedEmbedder | None, token: str) -> FastAPI:
    """The app over two loaded models; `serve` takes a `Served` that is filled later."""
    return serve(Served(llm, embedder), token)


def serve(served: Served, token: str) -> FastAPI:
    """The app over what `served` holds at each request.

    Args:
        token: bearer token that every path but /healthz asks for; not empty.

    Raises:
        InputError: the token is empty.
    """
    if not token:
        raise InputError("The models process needs a token.", "Set ALIOTH_MODELS__TOKEN.")
    app = FastAPI(title="Alioth models", docs_url=None, redoc_url=None, openapi_url=None)
    # apart from each other, so that neither queued answers nor ingestion can take the threads that questions need
    threads = {
        "answers": ThreadPoolExecutor(MOST_STREAMS, "answers"),
        Lane.QUESTION: ThreadPoolExecutor(16, "questions"),
        Lane.INGEST: ThreadPoolExecutor(8, "ingest"),
    }
    _add_guard(app, token)
    _add_health(app, served)
    _add_chat(app, served, threads["answers"])
    _add_swap(app, served, threads["answers"])
    _add_embeddings(app, served, threads)
    add_rerank(app, served.shelf)
    return app


def _add_guard(app: FastAPI, token: str) -> None:
    app.add_middleware(TokenGuard, token=token)

    @app.exception_handler(AliothError)
    async def ours(_: Request, error: AliothError) -> Response:
        return _refusal(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return _refusal(InputError(f"The field {place!r} of the request is wrong: {first['msg']}."))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        log.error("request failed", exc_info=error)
        return _refusal(AliothError(f"The models process failed: {type(error).__name__}.", "See logs/models.log."))


class TokenGuard:
    """ASGI middleware: without the bearer token nothing but /healthz answers. Compares in constant time."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN_PATHS:
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                refusal = PermissionDeniedError("The bearer token is missing or wrong.", "It is ALIOTH_MODELS__TOKEN.")
                await _refusal(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _add_health(app: FastAPI, served: Served) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        return JSONResponse({"ready": served.ready}, status_code=200 if served.ready else 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": _describe(served)}


def _add_chat(app: FastAPI, served: Served, threads: ThreadPoolExecutor) -> None:
    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        llm = served.require_llm(body.model)
        messages, lane = [message.to_message() for message in body.messages], _lane(request)
        answer = AnswerStream(
            lambda cancel: served.watch(llm.stream(messages, body.settings(), cancel, body.user, lane)), threads
        )
        await answer.start()
        if not body.stream:
            return JSONResponse(await completion(answer, body.model, request.is_disconnected))
        lines: AsyncIterator[str] = chunk_lines(answer, body.model, body.include_usage, request.is_disconnected)
        return StreamingResponse(lines, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.get("/v1/queue")
    async def queue() -> dict[str, Any]:
        figures = getattr(served.llm, "queue", None)  # other engines keep their own
        return figures() if figures is not None else {}

    @app.post("/v1/tokens")
    async def tokens(body: TokensRequest) -> dict[str, Any]:
        llm = served.require_llm(body.model)
        counts = await asyncio.get_running_loop().run_in_executor(threads, llm.count_tokens, body.texts)
        return {"model": body.model, "counts": counts}


def _add_swap(app: FastAPI, served: Served, threads: ThreadPoolExecutor) -> None:
    @app.post("/v1/llm")
    async def use(body: UseRequest) -> dict[str, Any]:
        if served.swap is None or served.llm is None:
            raise ModelUnavailableError("The models are still being loaded.", "Try again in a few seconds.")
        notes = await asyncio.get_running_loop().run_in_executor(threads, served.swap.use, body.model)
        return {"model": body.model, "notes": list(notes)}


def _add_embeddings(app: FastAPI, served: Served, threads: dict[Any, ThreadPoolExecutor]) -> None:
    @app.post("/v1/embeddings")
    async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
        texts, lane = body.texts(), _lane(request)
        lane = Lane.INGEST if lane is Lane.BACKGROUND else lane
        embedder = await served.require_embedder(body.model)
        loop = asyncio.get_running_loop()
        vectors = await loop.run_in_executor(threads[lane], embedder.embed, texts, lane)
        packed = body.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": i, "embedding": pack(row) if packed else row.tolist()}
            for i, row in enumerate(vectors)
        ]
        answer: dict[str, Any] = {"object": "list", "model": body.model, "data": data}
        if lane is not Lane.INGEST:  # our own ingestion knows them, and counting costs a twentieth of embedding
            tokens = sum(await loop.run_in_executor(threads[lane], embedder.tokenizer.counts, texts))
            answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse(answer)


def _lane(request: Request) -> Lane:
    name = request.headers.get(LANE_HEADER, Lane.QUESTION)
    try:
        return Lane(name)
    except ValueError:
        raise InputError(f"Unknown lane {name!r}.", f"{LANE_HEADER} is one of {', '.join(Lane)}.") from None


def _describe(served: Served) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if served.llm is not None:
        info = served.llm.info()
        rows.append(
            {
                "id": info.id,
                "role": "llm",
                "languages": list(info.languages),
                "window": info.window,
                "reading_rate": info.reading_rate,
                "small": info.small,
                **({"adapters": list(info.adapters)} if info.adapters else {}),
                "weights_sha256": served.llm_sha256,
                **_notes(getattr(served.llm, "live_notes", served.llm_notes)),
            }
        )
    besides = served.others.loaded() if served.others is not None else []
    for embedder, memory_mb in [*([(served.embedder, 0)] if served.embedder is not None else []), *besides]:
        rows.append(
            {
                "id": embedder.id,
                "role": "embedder",
                "languages": list(served.languages.get(embedder.id, ())),
                "window": embedder.max_tokens,
                "dimension": embedder.dimension,
                "weights_sha256": embedder.weights_sha256,
                **({"memory_mb": memory_mb} if memory_mb else {}),
                **getattr(embedder, "described", {}),
            }
        )
    if (reranker := served.shelf.row()) is not None:
        rows.append(reranker)
    return [{"object": "model", "created": 0, "owned_by": "alioth", **row} for row in rows]


def _notes(notes: Sequence[str]) -> dict[str, Any]:
    """As people read them, and beside it what each says, for pages in another language; nothing without any."""
    return {"notes": list(notes), "note_codes": [parts_of(note) for note in notes]} if notes else {}


def _named(model: T, actual: str, wanted: str) -> T:
    if wanted != actual:
        raise NotFoundError(f"No model {wanted!r} is loaded here.", f"This process serves {actual!r}.")
    return model


def _refusal(error: AliothError) -> JSONResponse:
    headers = {"Retry-After": "60"} if status_of(error) == 429 else None
    return JSONResponse(error_body(error), status_code=status_of(error), headers=headers)
