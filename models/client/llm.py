"""The language model of a models process, seen from another process, through LangChain's OpenAI chat class."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import AliothError, ModelError
from models.answer_reader import AnswerReader
from models.files.catalog import catalog
from models.interruptible import InterruptibleHttp
from models.protocols import Delta, GenerationSettings, Lane, LanguageModelInfo, Message
from models.requests import openai_fields, response_format
from models.wire import LANE_HEADER, error_from

if TYPE_CHECKING:
    from models.client.connection import ModelsClient

_INFO_S = 30.0


class ClientLanguageModel:
    """A `LanguageModel` on the other side of HTTP. Thread-safe."""

    def __init__(self, client: ModelsClient, model_id: str) -> None:
        self._client = client
        self._id = model_id
        self._lock = threading.Lock()
        self._info: tuple[float, LanguageModelInfo] | None = None

    def info(self) -> LanguageModelInfo:
        """What the server says, at most half a minute old; for servers that say little, the catalogue.

        Raises:
            ModelUnavailableError: nothing answers.
        """
        if self._info is None or time.monotonic() - self._info[0] > _INFO_S:
            rows = {row["id"]: row for row in self._client.models()}
            # after `models use` our own server names another LLM than this process was started with
            now = next((row for row in rows.values() if row.get("role") == "llm"), {})
            row = rows.get(self._id) or now
            self._info = (time.monotonic(), _info(str(row.get("id") or self._id), row))
        return self._info[1]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text. A server without `/v1/tokens` gets an estimate that is rather too high."""
        import openai

        with self._client.errors():
            try:
                body = {"model": self._id, "texts": list(texts)}
                reply = self._client.openai().post("/tokens", body=body, cast_to=object)
            except openai.NotFoundError as error:
                if isinstance(error.body, dict) and error.body.get("code") == "not_found":
                    raise  # our own server, which does not know the model
                return [len(text.encode()) // 2 + 1 for text in texts]
        return [int(count) for count in reply["counts"]]

    def stream(
        self,
        messages: Sequence[Message],
        settings: GenerationSettings,
        cancel: threading.Event | None = None,
        user: str = "",
        lane: Lane = Lane.QUESTION,
    ) -> Iterator[Delta]:
        """See `LanguageModel.stream`. Closing the iterator or setting `cancel` cuts the connection at once."""
        chat, http = self._chat
        reader = AnswerReader(chat, http, messages, _options(settings, user, lane), self._error_of)
        return reader.deltas(cancel or threading.Event())

    def _error_of(self, error: Exception) -> AliothError:
        import openai

        if isinstance(error, openai.APIStatusError):
            return error_from(error.body, error.status_code)
        if isinstance(error, openai.APIConnectionError | EOFError) or self._chat[1].is_connection_error(error):
            return self._client.unavailable(error)
        if isinstance(error, openai.APIError):
            return error_from(error.body, None)
        return ModelError(f"The answer broke off: {error!r}.")

    @property
    def _chat(self) -> tuple[Any, InterruptibleHttp]:
        with self._lock:
            return self._built_chat

    @functools.cached_property
    def _built_chat(self) -> tuple[Any, InterruptibleHttp]:
        from models.langchain_openai_chat import PlacedChatOpenAI

        http = InterruptibleHttp()
        chat = PlacedChatOpenAI(
            model=self._id,
            base_url=f"{self._client.url}/v1",
            api_key=self._client.token or "none",
            max_retries=0,
            timeout=600,
            stream_usage=True,
            http_client=http.client,
        )
        return chat, http


def _options(settings: GenerationSettings, user: str, lane: Lane = Lane.QUESTION) -> dict[str, Any]:
    options = openai_fields(settings)
    options["extra_body"] = {
        "repeat_penalty": settings.repeat_penalty,
        "top_k": settings.top_k,
        "min_p": settings.min_p,
        **({"adapters": dict(settings.adapters)} if settings.adapters else {}),
        **response_format(settings.json_schema),
    }
    if user:
        options["user"] = user
    if lane is not Lane.QUESTION:
        options["extra_headers"] = {LANE_HEADER: lane.value}
    return options


def _info(model_id: str, row: dict[str, Any]) -> LanguageModelInfo:
    known = catalog().get(model_id)
    window = row.get("window") or row.get("max_model_len") or (known.window if known else 8192)
    languages = row.get("languages") or (known.languages if known else ("en", "zh"))
    return LanguageModelInfo(
        id=model_id,
        languages=tuple(languages),
        window=int(window),
        reading_rate=float(row.get("reading_rate") or 1000.0),
        small=bool(row.get("small", known.small if known else False)),
        adapters=tuple(map(str, row.get("adapters") or ())),
    )
