"""Vectors in Chroma: one Chroma collection per knowledge base and fingerprint, ids and vectors only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from core.errors import IndexUnavailableError, SettingsError, StorageError
from storage.database import slices

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 120.0
_PAGE: Final = 5000
_SELF_K: Final = 10
_SELF_NEAR: Final = 0.995
"""A vector is itself when its similarity is above this: SQL keeps float16, Chroma float32."""
_EQUAL: Final = 1e-5
"""Two vectors are equal when they are as similar to each other as to themselves, but for rounding."""
_ASKED: Final = 500

HNSW: Final = {"space": "ip", "max_neighbors": 32, "ef_construction": 200, "ef_search": 200}
"""Chroma's own 16, 100 and 100 leave some vectors that no question reaches: docs/decisions/0016-vector-graph.md."""


class VectorIndex:
    """Client of one Chroma server. Thread-safe. Connects at first use.

    Vectors must have norm 1; similarity is their inner product, -1.0 to 1.0, higher is nearer.
    Every method raises IndexUnavailableError when the server does not answer.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(
                f"Cannot use {url!r} as the address of Chroma: it must begin with http:// or https://.",
                "Check ALIOTH_CHROMA__URL.",
            )
        self.url = url
        self._lock = threading.Lock()
        self._connection: Any = None
        self._handles: dict[str, Any] = {}
        self._batch = 0

    def upsert(self, key: str, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Write vectors (n, dim) under chunk ids, replacing those there; searchable when this returns."""
        if not len(ids):
            return
        if vectors.ndim != 2 or len(ids) != vectors.shape[0] or len(set(ids)) != len(ids):
            raise StorageError(
                f"Cannot index {len(ids)} ids with vectors of shape {vectors.shape}: one row per id, no id twice.",
                "Report this fault.",
            )
        if not bool(np.isfinite(vectors).all()):
            raise StorageError("Cannot index a vector that is not finite.", "Check the embedder.")
        size = self._batch_size()
        for start in range(0, len(ids), size):
            names = [str(i) for i in ids[start : start + size]]
            rows = np.ascontiguousarray(vectors[start : start + size], dtype=np.float32)
            self._on(key, partial(_upsert, names, rows), create=True)

    def query(self, key: str, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """The `k` nearest as (chunk id, similarity), nearest first, ties by id; [] when nothing is there."""
        if k < 1:
            return []
        if not bool(np.isfinite(vector).all()):
            raise StorageError("Cannot search with a vector that is not finite.", "Check the embedder.")
        row = np.asarray(vector, dtype=np.float32).reshape(1, -1)
        found = self._on(key, lambda c: c.query(query_embeddings=row, n_results=k, include=["distances"]))
        if found is None:
            return []
        pairs = zip(found["ids"][0], found["distances"][0], strict=True)
        out = [(int(name), 1.0 - float(distance)) for name, distance in pairs]
        return sorted(out, key=lambda pair: (-pair[1], pair[0]))

    def delete(self, key: str, ids: Sequence[int]) -> None:
        """Remove vectors; unknown ids are passed over."""
        for part in slices([str(i) for i in ids], self._batch_size() if len(ids) else _PAGE):
            self._on(key, partial(_delete, part))

    def present(self, key: str, ids: Sequence[int]) -> set[int]:
        """Which of these ids the server gives back."""
        out: set[int] = set()
        for part in slices([str(i) for i in ids], _PAGE):
            out.update(int(name) for name in self._on(key, partial(_get, part)) or ())
        return out

    def ids(self, key: str) -> NDArray[np.int64]:
        """Every id there, ascending, (n,) int64."""
        out: list[int] = []
        while True:
            names = self._on(key, partial(_page, len(out))) or []
            out.extend(int(name) for name in names)
            if len(names) < _PAGE:
                return np.unique(np.array(out, dtype=np.int64))

    def read(self, key: str, ids: Sequence[int]) -> tuple[list[int], NDArray[np.float32]]:
        """The vectors as the server gives them back: ids found, ascending, and (n, dim) float32; (0, 0) when none."""
        found: dict[int, Any] = {}
        for part in slices([str(i) for i in ids], _ASKED):
            answer = self._on(key, partial(_get_vectors, part))
            if answer is not None:
                found.update(zip(map(int, answer["ids"]), answer["embeddings"], strict=True))
        names = sorted(found)
        if not names:
            return [], np.zeros((0, 0), dtype=np.float32)
        return names, np.array([found[i] for i in names], dtype=np.float32)

    def unreached(self, key: str, ids: Sequence[int], vectors: NDArray[np.float32]) -> dict[int, bool]:
        """Those of `ids` to which their own vectors (n, dim), asked as questions, do not lead.

        The graph behind the vectors is an approximate one, so a vector can be there and never be found. True for one
        in whose place an equal one is found, as of a text that stands in two documents: nothing is hidden by that.
        """
        out: dict[int, bool] = {}
        for start in range(0, len(ids), _ASKED):
            rows = np.ascontiguousarray(vectors[start : start + _ASKED], dtype=np.float32)
            part = ids[start : start + _ASKED]
            found = self._on(key, partial(_nearest, rows))
            if found is None:
                out.update(dict.fromkeys(part, False))
                continue
            own = np.einsum("ij,ij->i", rows, rows)
            for place, (names, distances) in enumerate(zip(found["ids"], found["distances"], strict=True)):
                near = {int(n): 1.0 - d for n, d in zip(names, distances, strict=True)}
                if near.get(part[place], -1.0) <= _SELF_NEAR:
                    out[part[place]] = max(near.values(), default=-1.0) > own[place] - _EQUAL
        return out

    def count(self, key: str) -> int:
        """How many vectors are there; 0 when the Chroma collection is absent."""
        return int(self._on(key, lambda c: c.count()) or 0)

    def drop(self, key: str) -> None:
        """Remove the whole Chroma collection; nothing happens when it is absent."""
        from chromadb.errors import NotFoundError as ChromaNotFound

        with self._translated():
            try:
                self._client().delete_collection(key)
            except ChromaNotFound:
                logger.debug("Chroma collection %s was absent", key)
        with self._lock:
            self._handles.pop(key, None)

    def keys(self) -> list[str]:
        """Names of all Chroma collections, sorted."""
        with self._translated():
            client = self._client()
            out: list[str] = []
            while True:
                page = [
                    c if isinstance(c, str) else c.name for c in client.list_collections(limit=1000, offset=len(out))
                ]
                out.extend(page)
                if len(page) < 1000:
                    return sorted(out)

    def ping(self) -> None:
        """Return when the server answers."""
        with self._translated():
            self._client().heartbeat()

    def close(self) -> None:
        """Give the connections back; the next call opens new ones."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._handles.clear()
        if connection is not None:
            connection._session.close()
            connection.stop()

    def _on(self, key: str, action: Callable[[Any], T], *, create: bool = False) -> T | None:
        """Run `action` on the Chroma collection; None when it is absent. A handle gone stale is fetched anew."""
        from chromadb.errors import NotFoundError as ChromaNotFound

        with self._translated():
            for fresh in (False, True):
                try:
                    return action(self._handle(key, create=create, fresh=fresh))
                except ChromaNotFound:
                    if fresh:
                        with self._lock:
                            self._handles.pop(key, None)
        if create:
            raise IndexUnavailableError(
                f"The vector collection {key!r} was removed while it was being written.", "Try again."
            )
        return None

    def _handle(self, key: str, *, create: bool, fresh: bool) -> Any:
        with self._lock:
            handle = None if fresh else self._handles.get(key)
        if handle is None:
            from chromadb.api.models.Collection import Collection

            server = self._client()
            if create:
                how: Any = {"hnsw": HNSW, "embedding_function": None}
                model = server.create_collection(key, configuration=how, get_or_create=True)
            else:
                model = server.get_collection(key)
            handle = Collection(client=server, model=model, embedding_function=None)
            with self._lock:
                self._handles[key] = handle
        return handle

    def _batch_size(self) -> int:
        if not self._batch:
            with self._translated():
                self._batch = int(self._client().get_max_batch_size())
        return self._batch

    def _client(self) -> Any:
        with self._lock:
            if self._connection is None:
                self._connection = _connect(self.url)
            return self._connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import httpx
        from chromadb.errors import ChromaError

        try:
            yield
        except httpx.TransportError as error:
            raise IndexUnavailableError(
                f"The vector server at {self.url!r} does not answer: {type(error).__name__}.",
                "Start it with `alioth serve`, or check ALIOTH_CHROMA__URL.",
            ) from error
        except ChromaError as error:
            raise IndexUnavailableError(
                f"The vector server at {self.url!r} refused: {error}.",
                "See its log; `alioth index rebuild` makes the vectors anew from the database.",
            ) from error
        except (httpx.HTTPError, ValueError) as error:
            raise IndexUnavailableError(
                f"The server at {self.url!r} does not speak as Chroma does: {error}.", "Check ALIOTH_CHROMA__URL."
            ) from error


def _upsert(names: list[str], rows: NDArray[np.float32], collection: Any) -> None:
    collection.upsert(ids=names, embeddings=rows)


def _delete(names: list[str], collection: Any) -> None:
    collection.delete(ids=names)


def _get(names: list[str], collection: Any) -> list[str]:
    return list(collection.get(ids=names, include=[])["ids"])


def _get_vectors(names: list[str], collection: Any) -> Any:
    return collection.get(ids=names, include=["embeddings"])


def _nearest(rows: NDArray[np.float32], collection: Any) -> Any:
    return collection.query(query_embeddings=rows, n_results=_SELF_K, include=["distances"])


def _page(offset: int, collection: Any) -> list[str]:
    return list(collection.get(include=[], limit=_PAGE, offset=offset)["ids"])


def _connect(url: str) -> Any:
    """Chroma's HTTP interface with time limits, and deaf to proxies of the environment: nothing leaves the house.

    chromadb.HttpClient makes its own connection without either, so the layer below it is taken.
    """
    import httpx
    from chromadb.api import ServerAPI
    from chromadb.config import Settings, System

    parts = urlsplit(url)
    settings = Settings(anonymized_telemetry=False)
    settings.chroma_api_impl = "chromadb.api.fastapi.FastAPI"
    settings.chroma_server_host = parts.hostname
    settings.chroma_server_http_port = parts.port or (443 if parts.scheme == "https" else 80)
    settings.chroma_server_ssl_enabled = parts.scheme == "https"
    system = System(settings)
    server: Any = system.instance(ServerAPI)  # type: ignore[type-abstract]  # Chroma's own registry
    system.start()
    plain = server._session
    server._session = httpx.Client(
        timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
        headers=plain.headers,
        trust_env=False,
    )
    plain.close()
    return server
