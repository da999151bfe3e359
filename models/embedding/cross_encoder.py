"""The reranker in this process: a cross-encoder through sentence-transformers, from verified safetensors."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import CancelledError, WeightsError
from models.embedding.compute_thread import ComputeThread
from models.files.catalog import CatalogEntry
from models.known_answer import PAIRS
from models.queueing.lanes import ComputeGate

log = logging.getLogger(__name__)

TEXTS_PER_TURN: Final = 8
"""Pairs computed at once: between two turns other questions get the processor, and a stopped caller is noticed."""


class CrossEncoderReranker:
    """A verified model folder as a `ServedReranker`. Thread-safe: one turn computes at a time.

    Raises:
        WeightsError: the folder holds no reranker, or one that does not order known pairs.
    """

    def __init__(
        self,
        folder: Path,
        entry: CatalogEntry,
        *,
        threads: int,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        gate: ComputeGate | None = None,
    ) -> None:
        self.id = entry.id
        self.max_tokens = entry.window
        self.languages = entry.languages
        self.notes: tuple[str, ...] = ()
        self._gate = gate or ComputeGate()
        self._thread = ComputeThread("rerank", self._gate)
        self._model = self._thread.run(lambda: _load(folder, entry, threads, device))
        self._check(entry)

    def scores(self, question: str, texts: Sequence[str], cancel: threading.Event | None = None) -> NDArray[np.float32]:
        """Shape (n,), higher is better, in the order of `texts`. A pair over the window is cut at its end.

        Raises:
            CancelledError: `cancel` was set.
        """
        out = np.zeros(len(texts), dtype=np.float32)
        # texts of one length side by side: padding is computed like text
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]), reverse=True)
        for start in range(0, len(order), TEXTS_PER_TURN):
            if cancel is not None and cancel.is_set():
                raise CancelledError("The reranking was stopped.")
            part = order[start : start + TEXTS_PER_TURN]
            with self._gate.question():
                out[part] = self._compute([(question, texts[place]) for place in part])
        return out

    def close(self) -> None:
        """Nothing to end: its thread ends by itself."""

    def _compute(self, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
        """All computing is done by one thread: torch keeps buffers and a team of threads for each that calls it."""
        return self._thread.run(lambda: self._compute_here(pairs))

    def _compute_here(self, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
        found = self._model.predict(pairs, batch_size=len(pairs), show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(found, dtype=np.float32).reshape(len(pairs), -1)[:, 0]

    def _check(self, entry: CatalogEntry) -> None:
        """See that an answer comes before an unrelated text: a head that was never trained shows here."""
        for language in [one for one in entry.languages if one in PAIRS] or ["en"]:
            question, answer, other = PAIRS[language]
            near, far = (float(one) for one in self._compute([(question, answer), (question, other)]))
            if not (np.isfinite([near, far]).all() and near > far):
                raise WeightsError(
                    f"{entry.id!r} does not order a known pair ({language}): {question!r} and its answer score "
                    f"{near:.3f}, with an unrelated text {far:.3f}; the first must be higher.",
                    "Is it a reranker for that language? Import it again with the right --languages, or take another.",
                )


def _load(folder: Path, entry: CatalogEntry, threads: int, device: str) -> Any:
    for name, value in (("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_DISABLE_TELEMETRY", "1")):
        os.environ[name] = value
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.set_num_threads(threads)
    where = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model = CrossEncoder(
            str(folder),
            device=where,
            max_length=entry.window,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{entry.id!r} cannot be loaded: {error}.", "Pull or import it again.") from error
    _require_head(folder, entry, model)
    if model.num_labels != 1:
        raise WeightsError(
            f"{entry.id!r} gives {model.num_labels} figures for a pair; a reranker gives one.",
            "It is a classifier. Take a reranker, see `alioth models list`.",
        )
    log.info("loaded %s on %s, %d threads", folder.name, where, threads)
    return model


def _require_head(folder: Path, entry: CatalogEntry, model: Any) -> None:
    """The score head must come from the file: transformers makes up one that is missing, and only warns."""
    from safetensors import safe_open

    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            names.update(opened.keys())
    head = {name for name, _ in model.model.named_parameters() if name.startswith(("classifier", "score"))}
    missing = sorted(head - names)
    if missing or not head:
        raise WeightsError(
            f"{entry.id!r} has no trained score head: {', '.join(missing) or 'no classifier'} is not in its files.",
            "It is not a reranker, or only half of one. Take another.",
        )
