"""Milliseconds of retrieval, without generation, at 1,000, 10,000 and 100,000 chunks, and more where asked for.

`python -m bench query --sizes 1000000 --home DIR` keeps what it fills in DIR: stopped, it goes on where it stood, and
started again when it is full it only asks.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from app.wiring import Alioth
from bench.ingest import ROOT, SHARED
from bench.processes import peak_mb_by_role
from core.errors import NotFoundError
from core.text import segment
from core.types import Collection, Locator, NewChunk
from evals.metrics import percentile

SIZES = (1_000, 10_000, 100_000)
QUERIES = 200
CLIENTS = 8
BATCH = 1_000
POOL = 3_000
WARM_UP = 10


@dataclass(frozen=True)
class QueryResult:
    """Milliseconds. made_up: the vectors are random and the texts sampled. clients_p95: with 8 clients at once.

    fill_seconds: of this run; 0 when it was full already. memory_mb: most that the largest process of each kind held so
    far, by kind: `worker` is the one that asks, which holds the keyword index.
    """

    chunks: int
    made_up: bool
    p50: float
    p95: float
    clients_p95: float
    fill_seconds: float
    memory_mb: Mapping[str, float] = field(default_factory=dict)


def measure_queries(alioth: Alioth, sizes: Sequence[int] = SIZES) -> list[QueryResult]:
    """One collection per size. Up to the size of the text pool the vectors are real, above they are random."""
    questions, texts = _questions(), _texts()
    tokens = [" ".join(segment(text)) for text in texts]
    results = []
    for size in sizes:
        collection = _collection(alioth, f"bench {size} chunks")
        made_up = size > len(texts)
        started = time.perf_counter()
        _fill(alioth, collection, size, texts, tokens, made_up)
        alioth.keyword.catch_up(collection.index_id)
        filled = time.perf_counter() - started if collection.chunks < size else 0.0
        result = _measure(alioth, collection, size, made_up, questions, filled)
        results.append(replace(result, memory_mb=peak_mb_by_role(alioth.settings.home)))
        print(f"{size:,} chunks: {_memory_line(results[-1])}", flush=True)
    return results


def _memory_line(result: QueryResult) -> str:
    return ", ".join(f"{name} {value:,.0f} MB" for name, value in result.memory_mb.items() if value)


def _collection(alioth: Alioth, name: str) -> Collection:
    """What an earlier run on this data directory filled, or a new one."""
    try:
        return alioth.collections.get(name)
    except NotFoundError:
        return alioth.create_collection(name)


def _measure(
    alioth: Alioth, collection: Collection, size: int, made_up: bool, questions: Sequence[str], filled: float
) -> QueryResult:
    def seconds(question: str) -> float:
        started = time.perf_counter()
        found = alioth.retriever.retrieve(question, [collection], 10)
        elapsed = time.perf_counter() - started
        assert found.results, f"nothing found for {question!r}"
        return elapsed

    for question in questions[:WARM_UP]:
        seconds(question)
    alone = [seconds(question) for question in questions]
    with ThreadPoolExecutor(CLIENTS) as clients:
        together = list(clients.map(seconds, questions))
    return QueryResult(size, made_up, _ms(alone, 0.5), _ms(alone, 0.95), _ms(together, 0.95), filled)


def _ms(seconds: Sequence[float], share: float) -> float:
    return (percentile(seconds, share) or 0.0) * 1000


def _fill(
    alioth: Alioth, collection: Collection, size: int, texts: Sequence[str], tokens: Sequence[str], made_up: bool
) -> None:
    """Documents of 1,000 chunks each through the stores' own operations, as the worker calls them.

    What is there already stays; each part is made from its own number, so that going on gives what one run would.
    """
    for number in range(collection.chunks, size, BATCH):
        rng, vectors_rng = random.Random(size + number), np.random.default_rng(size + number)
        count = min(BATCH, size - number)
        chosen = [rng.randrange(len(texts)) for _ in range(count)] if made_up else list(range(number, number + count))
        chunks = [
            NewChunk(place, f"{texts[index]} #{number + place}" if made_up else texts[index], Locator())
            for place, index in enumerate(chosen)
        ]
        if made_up:
            raw = vectors_rng.standard_normal((count, collection.fingerprint.dimension)).astype(np.float32)
            vectors = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        else:
            vectors = alioth.embedder.embed_documents([chunk.text for chunk in chunks])
        _store(alioth, collection, f"part-{number:07d}.txt", chunks, [tokens[index] for index in chosen], vectors)


def _store(
    alioth: Alioth,
    collection: Collection,
    path: str,
    chunks: Sequence[NewChunk],
    tokens: Sequence[str],
    vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    worker, documents = "bench", alioth.documents
    submission = documents.submit(collection.id, path, f"{path:0>64}"[-64:], 1)
    documents.claim(worker, 1, 600, [submission.version_id])
    ids = documents.store_chunks(submission.version_id, worker, chunks, tokens, vectors)
    alioth.vectors.upsert(collection.vector_key, ids, vectors)
    assert documents.switch(submission.version_id, worker), "the version must become live"


def _texts() -> list[str]:
    """Real paragraphs of 40 to 200 characters in both languages, all different."""
    paragraphs: dict[str, None] = {}
    for path in _jsonl("documents.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            for paragraph in json.loads(line)["text"].split("\n"):
                if len(paragraph.strip()) >= 40:
                    paragraphs[paragraph.strip()[:200]] = None
    pool = list(paragraphs)
    random.Random(1).shuffle(pool)
    return pool[:POOL]


def _questions() -> list[str]:
    pool = [
        json.loads(line)["question"]
        for path in _jsonl("questions.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    random.Random(1).shuffle(pool)
    return pool[:QUERIES]


def _jsonl(name: str) -> list[Path]:
    shared = [SHARED / folder / name for folder in ("en_gitlab_handbook", "xx_xquad", "zh_cmrc")]
    return [path for path in shared if path.exists()] or [ROOT / "tests" / "corpus" / name]
