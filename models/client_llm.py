"""The language model of a models process, seen from another process, through LangChain's OpenAI chat class."""

from __future__ import annotations

import functools
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import AliothError, ModelError
from models.catalog import catalog
from models.interruptible import InterruptibleHttp
from models.protocols import Delta, GenerationSettings, LanguageModelInfo, Message
from models.wire import PLACE_FIELD

if TYPE_CHECKING:
    from models.client import ModelsClient

_POLL_S = 0.02
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
    ) -> Iterator[Delta]:
        """See `LanguageModel.stream`. Closing the iterator or setting `cancel` cuts the connection at once."""
        return _Reader(self._client, self._chat, _options(settings, user), messages).deltas(cancel or threading.Event())

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


class _Reader:
    """Reads one answer in a thread, so that the caller never waits on a socket."""

    def __init__(
        self,
        client: ModelsClient,
        chat: tuple[Any, InterruptibleHttp],
        options: dict[str, Any],
        messages: Sequence[Message],
    ) -> None:
        self._client = client
        self._chat, self._http = chat
        self._options = options
        self._messages = [(message.role, message.content) for message in messages]
        self._items: queue.SimpleQueue[Delta | AliothError] = queue.SimpleQueue()

    def deltas(self, cancel: threading.Event) -> Iterator[Delta]:
        connection = self._http.connection()
        threading.Thread(target=self._read, args=(connection,), name="llm-reader", daemon=True).start()
        try:
            while True:
                if cancel.is_set():
                    yield Delta(finish_reason="cancelled")
                    return
                try:
                    item = self._items.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
                if isinstance(item, AliothError):
                    raise item
                yield item
                if item.finish_reason:
                    return
        finally:
            connection.cut()

    def _read(self, connection: Any) -> None:
        reason = ""
        usage: dict[str, Any] = {}
        try:
            with connection, self._client.errors():
                for chunk in self._chat.stream(self._messages, **self._options):
                    place = int(chunk.additional_kwargs.get(PLACE_FIELD, 0))
                    if chunk.content or place:
                        self._items.put(Delta(text=str(chunk.content), place=place))
                    reason = chunk.response_metadata.get("finish_reason") or reason
                    usage = chunk.usage_metadata or usage
            if not reason:
                raise self._client.unavailable(EOFError())
            tokens = (int(usage.get("input_tokens", 0)), int(usage.get("output_tokens", 0)))
            self._items.put(Delta("", 0, reason, *tokens))
        except AliothError as error:
            self._items.put(error)
        except Exception as error:
            # the server died, or the caller left and cut the connection, in the middle of an answer
            cut = self._http.is_connection_error(error)
            self._items.put(self._client.unavailable(error) if cut else ModelError(f"The answer broke off: {error!r}."))


def _options(settings: GenerationSettings, user: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "seed": settings.seed,
        "extra_body": {"repeat_penalty": settings.repeat_penalty},
    }
    if settings.stop:
        options["stop"] = list(settings.stop)
    if user:
        options["user"] = user
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
    )
