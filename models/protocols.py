"""The four interfaces everything that computes stands behind, and the values they take and give."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.types import Fingerprint

Embeddings = NDArray[np.float32]
"""(n, dim) float32, each row of Euclidean norm 1 within 1e-5."""


class Lane(StrEnum):
    """Who goes first on the processor: questions before ingestion before background work."""

    QUESTION = "question"
    INGEST = "ingest"
    BACKGROUND = "background"


class Tokenizer(Protocol):
    """Tokenizer of an embedder, usable without loading its weights. Thread-safe."""

    max_tokens: int

    def count(self, text: str) -> int:
        """Tokens of `text`, special tokens included, nothing cut."""
        ...

    def counts(self, texts: Sequence[str]) -> list[int]:
        """`count` of each, in order, faster."""
        ...

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of each token without special ones, in order."""
        ...

    def unknown_share(self, text: str) -> float:
        """Share of tokens the embedder has no entry for, 0.0–1.0; 0.0 for empty text."""
        ...


class Embedder(Protocol):
    """Text to vectors. Thread-safe."""

    id: str
    dimension: int
    max_tokens: int
    weights_sha256: str
    query_prefix: str
    document_prefix: str
    tokenizer: Tokenizer

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        """Embeddings in the order of `texts`. An empty list gives shape (0, dim).

        Raises:
            ContextOverflowError: a text is longer than `max_tokens` with its prefix; nothing is ever cut silently.
            ModelUnavailableError: the models process does not answer.
        """
        ...

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Shape (dim,), norm 1. A question longer than the window is cut at its end, as it only steers a search."""
        ...


def fingerprint_of(embedder: Embedder, chunker_version: str) -> Fingerprint:
    """The index fingerprint of vectors that this embedder makes of chunks that this chunker makes."""
    return Fingerprint(
        embedder_id=embedder.id,
        weights_sha256=embedder.weights_sha256,
        dimension=embedder.dimension,
        normalised=True,
        prefix=f"{embedder.query_prefix}\x1f{embedder.document_prefix}",
        chunker_version=chunker_version,
    )


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt. role: system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """max_tokens: most tokens generated. temperature 0 is greedy. stop: texts that end the answer, left out of it.

    top_k: candidates kept, 0 all. min_p: share of the likeliest candidate's probability that others need, 0.0 off.
    json_schema: JSON text of a schema that the answer must follow; empty is free text. adapters: id and scale of
    each LoRA adapter. `models.engine.sampling.require_valid` knows the limits.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 0.95
    repeat_penalty: float = 1.1
    seed: int = 0
    stop: tuple[str, ...] = ()
    top_k: int = 0
    min_p: float = 0.0
    json_schema: str = ""
    adapters: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LanguageModelInfo:
    """languages: ISO codes it reads and writes well. reading_rate: prompt tokens per second measured at load.

    small: True for models so small that their own wording is not to be trusted without checks. adapters: those that
    another engine's servers have loaded; adapters of our own engine lie in a folder instead.
    """

    id: str
    languages: tuple[str, ...]
    window: int
    reading_rate: float
    small: bool = False
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed answer. place: how many are ahead in the queue while waiting (text empty), else 0.

    wait_s: seconds that this will take by the rates measured, 0.0 when unknown.
    """

    text: str = ""
    place: int = 0
    finish_reason: str = ""
    prompt_tokens: int = 0
    generated_tokens: int = 0
    wait_s: float = 0.0


class LanguageModel(Protocol):
    """Prompt to text. Thread-safe: callers queue."""

    def info(self) -> LanguageModelInfo: ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens."""
        ...

    def stream(
        self,
        messages: Sequence[Message],
        settings: GenerationSettings,
        cancel: threading.Event | None = None,
        user: str = "",
        lane: Lane = Lane.QUESTION,
    ) -> Iterator[Delta]:
        """Deltas in order; the last one has a `finish_reason`: stop, length, timeout or cancelled.

        Args:
            cancel: set it to stop at once, also while the prompt is read.
            user: fair share is by this key.
            lane: BACKGROUND may wait until nobody else asks, and gives way.

        Raises:
            ContextOverflowError: prompt plus max_tokens exceed the window.
            ModelUnavailableError: the models process does not answer.
        """
        ...


class Reranker(Protocol):
    """Second-stage scores. None is bundled; see the catalogue."""

    id: str

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n,), higher is better, in the order of `texts`."""
        ...


@dataclass(frozen=True, slots=True)
class RecognisedLine:
    """A line read from an image. box: x0, y0, x1, y1 in pixels from the top left. confidence: 0.0–1.0."""

    text: str
    box: tuple[float, float, float, float]
    confidence: float


class OcrEngine(Protocol):
    """Image to lines."""

    def read(self, image: NDArray[np.uint8]) -> list[RecognisedLine]:
        """Lines in reading order of an RGB image (height, width, 3) uint8."""
        ...
