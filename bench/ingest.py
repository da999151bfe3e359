"""Chunks per second of the whole pipeline against raw `SentenceTransformer.encode` on the same texts, in one run."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from app.ingestion import Ingestion
from app.wiring import Alioth
from bench.workplace import cpu_seconds, resident_mb
from core.types import Collection, DocumentState, NewChunk

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "eval"
SOURCES = {
    "Markdown files and pictures (en_gitlab_handbook)": SHARED / "en_gitlab_handbook" / "raw",
    "mixed English files (en_multicorp_dev)": SHARED / "en_multicorp_dev" / "raw_mixed",
    "mixed Chinese files (zh_rageval_dev)": SHARED / "zh_rageval_dev" / "raw_mixed",
    "this project's docs": ROOT / "docs",
}


@dataclass(frozen=True)
class Raw:
    """Raw encoding of one list of texts: wall and CPU seconds."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class IngestResult:
    """seconds, cpu_seconds: of the pipeline, with warm processes. memory_mb: of all processes right after."""

    name: str
    files: int
    failed: int
    chunks: int
    seconds: float
    cpu_seconds: float
    memory_mb: float
    float32: Raw
    bfloat16: Raw

    @property
    def wall_ratio(self) -> float:
        """Above 1 the pipeline is faster than raw float32 encoding alone."""
        return self.float32.seconds / self.seconds

    @property
    def cpu_ratio(self) -> float:
        """The same in CPU seconds, which a busy machine does not distort."""
        return self.float32.cpu_seconds / self.cpu_seconds


def measure_ingest(alioth: Alioth, folder: Path, name: str) -> IngestResult:
    """Read a folder into a new collection with warm processes, then encode its chunks raw."""
    alioth.embedder.embed_documents(["warm"])
    home = alioth.settings.home
    collection = alioth.create_collection(f"bench {name}")
    before, started = cpu_seconds(home), time.perf_counter()
    ingestion = Ingestion(alioth, collection)
    ingestion.submit(alioth.intake.scan([folder]))
    ingestion.follow(threading.Event())
    seconds, cpu = time.perf_counter() - started, cpu_seconds(home) - before
    totals = ingestion.totals()
    texts = _embedded_texts(alioth, collection)
    return IngestResult(
        name=name,
        files=totals["submitted"],
        failed=totals["failed"],
        chunks=len(texts),
        seconds=seconds,
        cpu_seconds=cpu,
        memory_mb=resident_mb(home),
        float32=_encode(alioth, texts, "float32"),
        bfloat16=_encode(alioth, texts, "bfloat16"),
    )


def _embedded_texts(alioth: Alioth, collection: Collection) -> list[str]:
    """Exactly what the embedder read."""
    rows = alioth.documents.list(collection.id, states=[DocumentState.READY])
    stored = [chunk for row in rows for chunk in alioth.chunks.of_version(row.version_id)]
    return [NewChunk(c.ordinal, c.text, c.locator, c.context).embedded_text for c in stored]


def _encode(alioth: Alioth, texts: list[str], dtype: str) -> Raw:
    import torch
    from sentence_transformers import SentenceTransformer

    from models.weights import resolve

    folder = resolve(alioth.settings.models.embedder, alioth.settings.home)
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})
    model.encode(texts[:32], show_progress_bar=False)
    cpu, started = time.process_time(), time.perf_counter()
    model.encode(texts, show_progress_bar=False, convert_to_tensor=True)
    return Raw(time.perf_counter() - started, time.process_time() - cpu)
