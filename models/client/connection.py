"""The one way from the other processes to the models process, or to any OpenAI-compatible server."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import AliothError, ModelUnavailableError
from core.settings import REMOTE
from models.protocols import Embedder, LanguageModel, Reranker
from models.wire import error_from


class ModelsClient:
    """Clients of one server. Thread-safe; building it touches neither network nor weights.

    Args:
        url: `http://host:port`, without `/v1`.
        token: bearer token.
        home: data directory, for the tokenizer files.
        llm_id, embedder_id: what `llm` and `embedder` use when no id is given.
    """

    def __init__(
        self,
        url: str,
        token: str,
        home: Path,
        *,
        llm_id: str = "smollm2-135m-instruct",
        embedder_id: str = "all-minilm-l6-v2",
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._token = token
        self._home = home
        self._llm_id = llm_id
        self._embedder_id = embedder_id
        self._lock = threading.Lock()
        self._embedders: dict[str, Embedder] = {}

    def embedder(self, model_id: str | None = None) -> Embedder:
        """Needs no server: dimension, window, prefixes and sha256 are the catalogue's, the tokenizer is a local file.

        Of an embedder on another server (`remote:…`) the models process tells them.

        Raises:
            NotFoundError: the catalogue has no such embedder, or no server has it.
            ModelUnavailableError: it is on another server, which has not answered yet.
            WeightsError: its tokenizer file is missing or of another sha256.
        """
        from models.client.embedder import ClientEmbedder

        wanted = model_id or self._embedder_id
        if wanted.startswith(f"{REMOTE}:"):
            return self._remote_embedder(wanted)
        with self._lock:
            if wanted not in self._embedders:
                self._embedders[wanted] = ClientEmbedder(self, wanted, self._home)
            return self._embedders[wanted]

    def _remote_embedder(self, wanted: str) -> Embedder:
        from models.client.embedder import FACTS_S, ServerEmbedder

        with self._lock:
            known = self._embedders.get(wanted)
        if isinstance(known, ServerEmbedder) and time.monotonic() - known.asked < FACTS_S:
            return known
        # asked again now and then: the administrator may have gone over to another model under this name
        found = ServerEmbedder(self, wanted)
        with self._lock:
            self._embedders[wanted] = found
        return found

    def reranker(self, model_id: str) -> Reranker:
        """The reranker of that id; the server is asked at the first use."""
        from models.client.reranker import ClientReranker

        return ClientReranker(self, model_id)

    @functools.cache  # noqa: B019 - a process has one or two clients, and they live as long as it does
    def llm(self) -> LanguageModel:
        """The language model; the server is asked at the first use."""
        from models.client.llm import ClientLanguageModel

        return ClientLanguageModel(self, self._llm_id)

    def health(self) -> dict[str, Any]:
        """`alive` and `ready` (loaded) of the server, and the models it names. Never raises for a dead server."""
        try:
            rows = self.models()
        except ModelUnavailableError as error:
            return {"alive": False, "ready": False, "models": [], "problem": str(error)}
        return {"alive": True, "ready": {"llm", "embedder"} <= {row.get("role") for row in rows}, "models": rows}

    def models(self) -> list[dict[str, Any]]:
        """Rows of `/v1/models`: id, role, window, ... (other servers give fewer fields).

        Raises:
            ModelUnavailableError: nothing answers.
        """
        with self.errors():
            return [model.model_dump() for model in self.openai().models.list().data]

    def use(self, model_id: str) -> list[str]:
        """Let another language model of the catalogue answer; waits until it is loaded. What did not fit, in words.

        Raises:
            NotFoundError, WeightsError, ModelError: it cannot be loaded, and the former one goes on.
        """
        with self.errors():
            reply: Any = self.openai().post("/llm", body={"model": model_id}, cast_to=object)
        return [str(note) for note in reply.get("notes", [])]

    @functools.cached_property
    def _openai(self) -> Any:
        import httpx  # noqa: F401 - whole before openai looks at it: chromadb may be importing it in another thread
        from openai import OpenAI

        # a second attempt would compute everything twice; who calls knows better when to try again
        return OpenAI(base_url=f"{self.url}/v1", api_key=self._token or "none", max_retries=0, timeout=600)

    def openai(self) -> Any:
        """The plain OpenAI client of this server."""
        with self._lock:
            return self._openai

    @property
    def token(self) -> str:
        return self._token

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what the OpenAI client raises into our errors."""
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            raise error_from(error.body, error.status_code) from None
        except openai.APIConnectionError as error:
            raise self.unavailable(error) from error
        except openai.APIError as error:
            raise error_from(error.body, None) from None

    def unavailable(self, cause: BaseException) -> AliothError:
        """The error for a server that does not answer."""
        return ModelUnavailableError(
            f"The models process at {self.url!r} does not answer ({type(cause).__name__}).",
            "Is it running? `alioth doctor` tells; with `alioth serve` it comes back by itself.",
        )
