"""Deterministic stand-ins for tests of pure logic; nothing in the product uses them."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import ContextOverflowError
from models.protocols import Delta, Embeddings, GenerationSettings, Lane, LanguageModelInfo, Message

_WORD = re.compile(r"[\u3400-\u9fff]|\w+")


class FakeTokenizer:
    """Words and single Han characters are tokens; two special ones count as with BERT. Unknown: Han characters."""

    def __init__(self, max_tokens: int = 256) -> None:
        self.max_tokens = max_tokens

    def count(self, text: str) -> int:
        return len(_WORD.findall(text)) + 2

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in _WORD.finditer(text)]

    def unknown_share(self, text: str) -> float:
        words = _WORD.findall(text)
        return sum("\u3400" <= word <= "\u9fff" for word in words) / len(words) if words else 0.0


class FakeEmbedder:
    """Hashed bag of words: texts that share words are near. The same in every process."""

    def __init__(self, dimension: int = 32, max_tokens: int = 256, model_id: str = "fake-embedder") -> None:
        self.id = model_id
        self.dimension = dimension
        self.max_tokens = max_tokens
        self.weights_sha256 = hashlib.sha256(f"{model_id} {dimension}".encode()).hexdigest()
        self.query_prefix = ""
        self.document_prefix = ""
        self.tokenizer = FakeTokenizer(max_tokens)

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        return self.embed(texts, lane)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self._vector(_WORD.findall(text.lower())[: self.max_tokens - 2])

    def embed(self, texts: Sequence[str], lane: Lane) -> Embeddings:
        for text in texts:
            if (tokens := self.tokenizer.count(text)) > self.max_tokens:
                raise ContextOverflowError(f"A text has {tokens} tokens; {self.id!r} reads at most {self.max_tokens}.")
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            out[row] = self._vector(_WORD.findall(text.lower()))
        return out

    def _vector(self, words: Sequence[str]) -> NDArray[np.float32]:
        vector = np.zeros(self.dimension, dtype=np.float32)
        for word in words:
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            vector[int.from_bytes(digest[:4], "little") % self.dimension] += 1.0 if digest[4] % 2 else -1.0
        norm = float(np.linalg.norm(vector))
        if norm == 0.0:
            vector[0], norm = 1.0, 1.0
        return np.asarray(vector / norm, dtype=np.float32)


Script = Sequence[str] | Callable[[Sequence[Message]], str]


class FakeLanguageModel:
    """Answers from a script: its texts in turn (the last one for ever), or a function of the messages.

    Keeps every prompt in `prompts`. Streams word by word; honours stop texts, max_tokens, the window and cancel.
    """

    def __init__(
        self,
        script: Script = ("An answer.",),
        *,
        languages: tuple[str, ...] = ("en", "zh"),
        window: int = 4096,
        small: bool = False,
        model_id: str = "fake-llm",
        adapters: tuple[str, ...] = (),
    ) -> None:
        self._script = script
        self._info = LanguageModelInfo(model_id, languages, window, 10_000.0, small, adapters)
        self._lock = threading.Lock()
        self.prompts: list[list[Message]] = []

    def info(self) -> LanguageModelInfo:
        return self._info

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_WORD.findall(text)) for text in texts]

    def stream(
        self,
        messages: Sequence[Message],
        settings: GenerationSettings,
        cancel: threading.Event | None = None,
        user: str = "",
        lane: Lane = Lane.QUESTION,
    ) -> Iterator[Delta]:
        tokens = sum(self.count_tokens([message.content for message in messages]))
        if tokens + settings.max_tokens > self._info.window:
            raise ContextOverflowError(
                f"The prompt has {tokens} tokens and the answer may have {settings.max_tokens}; "
                f"the window is {self._info.window}."
            )
        return self._deltas(self._next(messages), tokens, settings, cancel or threading.Event())

    def _next(self, messages: Sequence[Message]) -> str:
        with self._lock:
            self.prompts.append(list(messages))
            if callable(self._script):
                return self._script(messages)
            return self._script[min(len(self.prompts), len(self._script)) - 1]

    def _deltas(self, text: str, tokens: int, settings: GenerationSettings, cancel: threading.Event) -> Iterator[Delta]:
        cut = min((at for mark in settings.stop if mark and (at := text.find(mark)) >= 0), default=len(text))
        words = re.findall(r"\s*[\u3400-\u9fff]|\s*[^\s\u3400-\u9fff]+|\s+$", text[:cut])
        given = 0
        for word in words[: settings.max_tokens]:
            if cancel.is_set():
                break
            given += 1
            yield Delta(text=word)
        reason = "cancelled" if cancel.is_set() else ("stop" if given == len(words) else "length")
        yield Delta(finish_reason=reason, prompt_tokens=tokens, generated_tokens=given)
