"""Raw `SentenceTransformer.encode`: what the pipeline is measured against."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.wiring import Alioth


@dataclass(frozen=True)
class Raw:
    """Raw encoding of one list of texts: wall and CPU seconds."""

    seconds: float
    cpu_seconds: float
    texts: int = 1

    @property
    def rate(self) -> float:
        """Texts per second."""
        return self.texts / self.seconds

    def __add__(self, other: Raw) -> Raw:
        return Raw(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds, self.texts + other.texts)


class RawEncoder:
    """The embedder of an Alioth as sentence-transformers runs it, with as many threads and in the faster number type.

    In a process of its own, begun with the first texts, so that torch does not count as the worker's memory.
    """

    def __init__(self, alioth: Alioth) -> None:
        from models.embedding.cpu import has_fast_bfloat16, physical_cores
        from models.files.weights import resolve

        self.dtype = "bfloat16" if has_fast_bfloat16() else "float32"
        folder = resolve(alioth.settings.models.embedder, alioth.settings.home)
        threads = alioth.settings.models.threads or physical_cores()
        self._process = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=_load, initargs=(str(folder), threads, self.dtype)
        )

    def __enter__(self) -> RawEncoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.shutdown()

    def encode(self, texts: Sequence[str]) -> Raw:
        return self._process.submit(_encode, list(texts)).result()


_model: Any = None


def _load(folder: str, threads: int, dtype: str) -> None:
    global _model
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    _model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})


def _encode(texts: list[str]) -> Raw:
    _model.encode(texts[:32], show_progress_bar=False)
    cpu, started = time.process_time(), time.perf_counter()
    _model.encode(texts, show_progress_bar=False, convert_to_tensor=True)
    return Raw(time.perf_counter() - started, time.process_time() - cpu, len(texts))
