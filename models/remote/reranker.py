"""A reranker on other servers: POST /rerank as Jina, Cohere, llama.cpp, vLLM and TEI have it."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import CancelledError, ModelUnavailableError
from models.known_answer import PAIRS
from models.remote.http import RemoteFailure, RemoteServer, no_api
from models.remote.replicas import Replica, Replicas

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 30.0
EVERY_S: Final = 30.0


class RemoteReranker:
    """A `ServedReranker` over one or several servers. Thread-safe; `close` ends its threads.

    A server is used once it put the answer of a known pair before an unrelated text.
    """

    def __init__(self, urls: Sequence[str], key: str, model_id: str, name: str, every_s: float = EVERY_S) -> None:
        self.id = model_id
        self._name = name
        servers = [RemoteServer(url, key) for url in urls]
        self.replicas: Replicas[_Form] = Replicas(servers, self._prove, every_s=every_s)
        self.replicas.start()

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f"not used: {one.problem}" for one in self.replicas.all if one.problem)

    def scores(self, question: str, texts: Sequence[str], cancel: threading.Event | None = None) -> NDArray[np.float32]:
        """Shape (n,), higher is better, in the order of `texts`.

        Raises:
            ModelUnavailableError: no server answers. CancelledError: `cancel` was set before one was asked.
        """
        tried: list[Replica[_Form]] = []
        while (one := self._next(tried)) is not None:
            if cancel is not None and cancel.is_set():
                raise CancelledError("The reranking was stopped.")
            tried.append(one)
            one.running += 1
            try:
                scores = one.facts.ask(one.server, self._name, question, texts) if one.facts else None
            except RemoteFailure as failure:
                if not failure.elsewhere:
                    raise failure.error() from None
                self.replicas.failed(one, failure)
            else:
                if scores is not None:
                    self.replicas.succeeded(one)
                    return scores
            finally:
                one.running -= 1
        raise ModelUnavailableError(
            f"No server of the reranker {self.id!r} answers: {self.replicas.problem()}.", "`alioth doctor` tells more."
        )

    def close(self) -> None:
        self.replicas.close()

    def _next(self, tried: Sequence[Replica[_Form]]) -> Replica[_Form] | None:
        return min(
            (one for one in self.replicas.usable() if one not in tried), key=lambda one: one.running, default=None
        )

    def _prove(self, server: RemoteServer) -> _Form:
        form, good, failure = None, False, None
        for candidate in _forms(server):
            try:
                good = any(self._orders(candidate, server, language) for language in PAIRS)
            except RemoteFailure as error:
                if error.kind not in ("refused", "request", "no api"):
                    raise
                failure = failure or error
            else:
                form = candidate
                break
        if form is None:
            assert failure is not None
            raise RemoteFailure("refused", failure.message)
        if not good:
            raise RemoteFailure(
                "refused", f"{server.url!r} is no reranker: it does not put an answer before an unrelated text"
            )
        return form

    def _orders(self, form: _Form, server: RemoteServer, language: str) -> bool:
        question, answer, other = PAIRS[language]
        # the answer stands second, so that a server that only counts up is not taken for a reranker
        scores = form.ask(server, self._name, question, [other, answer])
        return bool(scores[1] > scores[0])


class _Form:
    """How one server wants to be asked. texts: the field of the texts."""

    def __init__(self, url: str, texts: str) -> None:
        self._url, self._texts = url, texts

    def ask(self, server: RemoteServer, name: str, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        body: dict[str, Any] = {"query": question, self._texts: list(texts)}
        if name:
            body["model"] = name
        reply = server.post(self._url, body, TIMEOUT_S)
        rows: Any = reply.get("results", reply.get("data")) if isinstance(reply, dict) else reply
        try:
            found = {int(row["index"]): float(row[_score_field(row)]) for row in rows}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise no_api(server.url, "") from None
        if sorted(found) != list(range(len(texts))) or not all(map(math.isfinite, found.values())):
            raise RemoteFailure("no api", f"{server.url!r} does not give one finite score for each text")
        return np.array([found[place] for place in range(len(texts))], dtype=np.float32)


def _score_field(row: dict[str, Any]) -> str:
    return "relevance_score" if "relevance_score" in row else "score"


def _forms(server: RemoteServer) -> list[_Form]:
    roots = [server.url] if server.root == server.url else [server.url, server.root]
    return [_Form(f"{root}/rerank", field) for root in roots for field in ("documents", "texts")]
