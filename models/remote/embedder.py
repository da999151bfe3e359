"""An embedder on other servers (POST /v1/embeddings), held to the vectors that it gave at its first use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import ContextOverflowError, ModelUnavailableError, WeightsError
from models.estimated_tokenizer import EstimatedTokenizer
from models.known_answer import LEAST_GAP, PAIRS
from models.protocols import Embeddings, Lane, Tokenizer
from models.remote.facts import find_entry
from models.remote.http import RemoteFailure, RemoteServer, no_api
from models.remote.pins import FILE, LEAST_LIKENESS, PROBE, Pin, load_pin, make_pin
from models.remote.replicas import Replica, Replicas
from models.wire import unpack

log = logging.getLogger(__name__)

BATCH: Final = 32
TIMEOUT_S: Final = 60.0
EVERY_S: Final = 30.0
DEFAULT_WINDOW: Final = 512
"""Tokens, where the catalogue does not know the model: what the shortest of the common embedders read."""


class RemoteEmbedder:
    """A `ServedEmbedder` over one or several servers of one model. Thread-safe; `close` ends its threads.

    `dimension` is 0 and `weights_sha256` empty until a server answered for the first time. Window, prefixes and
    languages come from the catalogue where it knows the name; else which of the known pairs it orders well.
    """

    def __init__(
        self, urls: Sequence[str], key: str, model_id: str, name: str, home: Path, every_s: float = EVERY_S
    ) -> None:
        self.id = model_id
        self._name, self._home = name, home
        known = find_entry(name, "embedder")
        self.max_tokens = known.window if known else DEFAULT_WINDOW
        self.query_prefix = known.query_prefix if known else ""
        self.document_prefix = known.document_prefix if known else ""
        self._claimed: tuple[str, ...] = known.languages if known else ()
        self._learn(self._claimed or ("en",))
        self._lock = threading.Lock()
        self._keep(load_pin(name, home))
        servers = [RemoteServer(url, key) for url in urls]
        self.replicas: Replicas[bool] = Replicas(servers, self._prove, every_s=every_s)
        self.replicas.start()

    @property
    def described(self) -> dict[str, Any]:
        """What clients need beside the usual: prefixes, languages, and why servers are not used."""
        problem = self.replicas.problem()
        return {
            "query_prefix": self.query_prefix,
            "document_prefix": self.document_prefix,
            "languages": list(self.languages),
            **({"notes": [f"not used: {problem}"]} if problem else {}),
        }

    def embed(self, texts: Sequence[str], lane: Lane) -> Embeddings:
        """Embeddings of texts that bear their prefix already, shape (n, dim), norm 1, in the order of `texts`.

        Raises:
            ContextOverflowError: a text is longer than `max_tokens`.
            ModelUnavailableError: no server answers. WeightsError: the servers give another model's vectors.
        """
        self._require_fit(texts)
        parts = [self._part(texts[start : start + BATCH], lane) for start in range(0, len(texts), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), dtype=np.float32)

    def close(self) -> None:
        self.replicas.close()

    def _keep(self, pin: Pin | None) -> None:
        self._pin = pin
        self.dimension = pin.dimension if pin else 0
        self.weights_sha256 = pin.sha256 if pin else ""

    def _learn(self, languages: tuple[str, ...]) -> None:
        self.languages = languages
        self.tokenizer: Tokenizer = EstimatedTokenizer(self.max_tokens, languages)

    def _require_fit(self, texts: Sequence[str]) -> None:
        for index, length in enumerate(self.tokenizer.counts(texts)):
            if length > self.max_tokens:
                raise ContextOverflowError(
                    f"Text {index + 1} of {len(texts)} has about {length} tokens; "
                    f"{self.id!r} reads at most {self.max_tokens} tokens.",
                    "Split it into smaller chunks.",
                )

    def _part(self, texts: Sequence[str], lane: Lane) -> Embeddings:
        tried: list[Replica[bool]] = []
        while (one := self._least_busy(tried)) is not None:
            tried.append(one)
            one.running += 1
            try:
                vectors = self._checked(one.server, texts, lane)
            except RemoteFailure as failure:
                if not failure.elsewhere:
                    raise failure.error() from None
                self.replicas.failed(one, failure)
                log.warning("another server embeds instead: %s", failure.message)
            else:
                self.replicas.succeeded(one)
                return vectors
            finally:
                one.running -= 1
        raise self._away()

    def _least_busy(self, tried: Sequence[Replica[bool]]) -> Replica[bool] | None:
        return min(
            (one for one in self.replicas.usable() if one not in tried), key=lambda one: one.running, default=None
        )

    def _away(self) -> ModelUnavailableError | WeightsError:
        problem = self.replicas.problem()
        if _ANOTHER in problem:
            return WeightsError(
                f"The embedding servers are not used: {problem}.",
                f"Serve the former model again. To go over to the new one, remove '{self._home / FILE}', restart "
                "Alioth and run `alioth collection reindex`.",
            )
        return ModelUnavailableError(f"No server of {self.id!r} answers: {problem}.", "`alioth doctor` tells more.")

    def _checked(self, server: RemoteServer, texts: Sequence[str], lane: Lane) -> Embeddings:
        """What is kept carries the probe along, so that no batch of another model gets among the vectors."""
        if lane is not Lane.INGEST:
            return self._request(server, texts)
        vectors = self._request(server, [*texts, PROBE])
        self._require_same(server, vectors[-1])
        return vectors[:-1]

    def _require_same(self, server: RemoteServer, vector: Any) -> None:
        if self._pin is not None and (likeness := self._pin.likeness(vector)) < LEAST_LIKENESS:
            raise RemoteFailure(
                "refused",
                f"{server.url!r} {_ANOTHER} {self._name!r} than it did at first (likeness {likeness:.3f}, must be "
                f"{LEAST_LIKENESS}; {len(vector)} dimensions, first {self._pin.dimension})",
            )

    def _prove(self, server: RemoteServer) -> bool:
        """The check of one server: its vectors make sense and are those that were pinned."""
        vector = self._request(server, [PROBE])[0]
        with self._lock:
            if self._pin is None:
                self._learn(self._read_languages(server))
                self._keep(make_pin(self._name, vector, self._home))
                log.info("pinned %s with %d dimensions", self.id, self.dimension)
                return True
        self._require_same(server, vector)
        if self.replicas.facts() is None:
            self._learn(self._read_languages(server))
        return True

    def _read_languages(self, server: RemoteServer) -> tuple[str, ...]:
        """Those whose known pair it orders well; all that the catalogue claims must be among them."""
        good = []
        for language, (question, answer, other) in PAIRS.items():
            prefix = self.document_prefix
            rows = self._request(server, [self.query_prefix + question, prefix + answer, prefix + other])
            if float(rows[0] @ rows[1]) > float(rows[0] @ rows[2]) + LEAST_GAP:
                good.append(language)
        wanted = set(self._claimed) & set(PAIRS)
        if not good or not wanted <= set(good):
            missing = ", ".join(sorted((wanted or set(PAIRS)) - set(good)))
            raise RemoteFailure(
                "refused",
                f"{server.url!r} gives wrong embeddings for {self._name!r}: a question ({missing}) is not nearer to "
                "its answer than to an unrelated text",
            )
        return self._claimed or tuple(good)

    def _request(self, server: RemoteServer, texts: Sequence[str]) -> Embeddings:
        body = {"model": self._name, "input": list(texts), "encoding_format": "float"}
        reply = server.post(f"{server.url}/embeddings", body, TIMEOUT_S)
        try:
            rows = sorted(reply["data"], key=lambda row: int(row["index"]))
            if [int(row["index"]) for row in rows] != list(range(len(texts))):
                raise ValueError("indexes")
            vectors = np.stack([_vector(row["embedding"]) for row in rows])
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise no_api(server.url, "") from None
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(vectors).all() or not (norms > 1e-9).all():
            raise RemoteFailure("no api", f"{server.url!r} gives embeddings that are no numbers, or zero")
        return np.asarray(vectors / norms, dtype=np.float32)


_ANOTHER: Final = "gives other vectors for"


def _vector(value: object) -> Any:
    """One embedding as float64 (dim,), whether it came as numbers or as base64 of float32."""
    row = unpack(value).astype(np.float64) if isinstance(value, str) else np.asarray(value, dtype=np.float64)
    if row.ndim != 1 or not len(row):
        raise ValueError("shape")
    return row
