"""The embedder in this process: sentence-transformers on torch, in the number type the hardware is fast at."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import ContextOverflowError, WeightsError
from models.embedding.compute_thread import ComputeThread
from models.embedding.cpu import has_fast_bfloat16
from models.embedding.faster import faster, inputs_of
from models.embedding.tokenizer import FileTokenizer
from models.files.catalog import CatalogEntry
from models.known_answer import LEAST_GAP, PAIRS
from models.protocols import Embeddings, Lane, Tokenizer
from models.queueing.lanes import ComputeGate

log = logging.getLogger(__name__)

# what is computed at once: larger turns leave the caches of a core behind (64 texts of 200 tokens take a fifth more
# CPU time than 16), smaller ones do not pay for the calls
TOKENS_PER_THREAD = 3200
TOKENS_ON_CARD = 64_000
MOST_TEXTS = 256
BUSY_TEXTS = 16
"""Texts per turn while somebody asks: a question waits for a whole turn."""
QUIET_S = 5.0
COMPUTED_SHAPES = "16"
"""Shapes of texts for which torch keeps kernels. With its own 1,024 the process grew by 2 MB a call for ever."""


class SentenceTransformerEmbedder:
    """A verified model folder as an `Embedder`. Thread-safe: the gate lets one sub-batch compute at a time.

    Raises:
        WeightsError: the folder does not hold what the catalogue says, or the model gives wrong embeddings.
    """

    def __init__(
        self,
        folder: Path,
        entry: CatalogEntry,
        weights_sha256: str,
        *,
        threads: int,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        gate: ComputeGate | None = None,
    ) -> None:
        self.id = entry.id
        self.dimension = entry.dimension
        self.max_tokens = entry.window
        self.weights_sha256 = weights_sha256
        self.query_prefix = entry.query_prefix
        self.document_prefix = entry.document_prefix
        self._file_tokenizer = FileTokenizer(folder / "tokenizer.json", entry.window)
        self.tokenizer: Tokenizer = self._file_tokenizer
        self._gate = gate or ComputeGate()
        self._thread = ComputeThread("embed", self._gate)
        self._model, self.device, self.dtype = self._thread.run(lambda: _load(folder, threads, device, dtype))
        self._model.max_seq_length = entry.window
        self._tokens_per_turn = TOKENS_PER_THREAD * threads if self.device == "cpu" else TOKENS_ON_CARD
        self._inputs = self._thread.run(lambda: inputs_of(self._model, self._file_tokenizer))
        self._check(entry)

    def embed_documents(self, texts: Sequence[str], lane: Lane = Lane.INGEST) -> Embeddings:
        """See `Embedder.embed_documents`."""
        return self.embed([self.document_prefix + text for text in texts], lane)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """See `Embedder.embed_query`."""
        row: NDArray[np.float32] = self.embed([self._file_tokenizer.cut(self.query_prefix + text)], Lane.QUESTION)[0]
        return row

    def embed(self, texts: Sequence[str], lane: Lane) -> Embeddings:
        """Embeddings of texts that bear their prefix already, shape (n, dim), in the order of `texts`.

        Raises:
            ContextOverflowError: a text is longer than `max_tokens`.
        """
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        ids = self._file_tokenizer.ids(texts)
        lengths = [len(one) for one in ids]
        self._require_fit(lengths)
        # texts of one length side by side, the longest first: padding is computed like text
        order = sorted(range(len(texts)), key=lengths.__getitem__, reverse=True)
        while order:
            with self._turn(lane):
                size = self._texts_per_turn(lengths[order[0]])
                part, order = order[:size], order[size:]
                out[part] = self._encode([texts[i] for i in part], [ids[i] for i in part])
        return out

    def _texts_per_turn(self, longest: int) -> int:
        fitting = max(1, min(MOST_TEXTS, self._tokens_per_turn // max(1, longest)))
        return fitting if self._gate.quiet(QUIET_S) else min(fitting, BUSY_TEXTS)

    def _turn(self, lane: Lane) -> AbstractContextManager[None]:
        return self._gate.question() if lane is Lane.QUESTION else self._gate.ingest()

    def _require_fit(self, lengths: Sequence[int]) -> None:
        for index, length in enumerate(lengths):
            if length > self.max_tokens:
                raise ContextOverflowError(
                    f"Text {index + 1} of {len(lengths)} has {length} tokens; "
                    f"{self.id!r} reads at most {self.max_tokens} tokens.",
                    "Split it into smaller chunks.",
                )

    def _encode(self, texts: list[str], ids: list[list[int]]) -> Embeddings:
        """All computing is done by one thread: torch keeps buffers and a team of threads for each that calls it."""
        return self._thread.run(lambda: self._encode_here(texts, ids))

    def _encode_here(self, texts: list[str], ids: list[list[int]]) -> Embeddings:
        import torch

        with torch.inference_mode():
            inputs = self._inputs.of(ids) if self._inputs is not None else self._model.preprocess(texts)
            inputs = {name: one.to(self.device) if torch.is_tensor(one) else one for name, one in inputs.items()}
            raw = self._model(inputs)["sentence_embedding"]
        # norms of a bfloat16 normalisation are 0.998–1.004, so it is done here in float32
        vectors: Embeddings = raw.float().cpu().numpy()
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)

    def _check(self, entry: CatalogEntry) -> None:
        """Warm up, and see that near texts are near: wrong pooling or broken kernels show here, not in answers."""
        # one pair in each language that the model claims; an unknown language is asked in English
        for question, answer, other in [PAIRS[one] for one in entry.languages if one in PAIRS] or [PAIRS["en"]]:
            prefix = self.document_prefix
            texts = [self.query_prefix + question, prefix + answer, prefix + other]
            vectors = self._encode(texts, self._file_tokenizer.ids(texts))
            if vectors.shape[1] != entry.dimension:
                raise WeightsError(
                    f"{self.id!r} gives {vectors.shape[1]} dimensions, the catalogue says {entry.dimension}.",
                    "Correct the catalogue entry or the model folder.",
                )
            near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
            if not (np.isfinite(vectors).all() and near > far + LEAST_GAP):
                raise WeightsError(
                    f"{self.id!r} gives wrong embeddings on {self.device} in {self.dtype}: {question!r} and its answer "
                    f"have similarity {near:.2f}, with an unrelated text {far:.2f}; the first must be at least "
                    f"{LEAST_GAP} higher.",
                    "Set ALIOTH_MODELS__DTYPE=float32 or ALIOTH_MODELS__DEVICE=cpu.",
                )


def _load(folder: Path, threads: int, device: str, dtype: str) -> tuple[Any, str, str]:
    for name, value in (("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_DISABLE_TELEMETRY", "1")):
        os.environ[name] = value
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, COMPUTED_SHAPES)
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.set_num_threads(threads)
    where = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    kind = dtype if dtype != "auto" else _best_dtype(where)
    model = SentenceTransformer(
        str(folder),
        device=where,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"use_safetensors": True, "dtype": getattr(torch, kind)},
    )
    if type(model[-1]).__name__ == "Normalize":
        del model[-1]
    model.eval()
    if where == "cpu" and kind == "bfloat16":
        faster(model)
    log.info("loaded %s on %s in %s, %d threads", folder.name, where, kind, threads)
    return model, where, kind


def _best_dtype(device: str) -> str:
    if device == "cuda":
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if has_fast_bfloat16() else "float32"
