"""Real SQLite, Chroma, tantivy and MiniLM with a few documents, and small fakes for the pure logic of chat."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from chat.retrieval.retrieve import Retriever
from core.text import segment
from core.types import Collection, Fingerprint, Locator, NewChunk, ScoredChunk, StoredChunk
from models.fakes import FakeEmbedder
from models.protocols import (
    Delta,
    Embedder,
    GenerationSettings,
    Lane,
    LanguageModelInfo,
    Message,
    fingerprint_of,
)
from storage.chroma_server import chroma_command
from storage.chunks import ChunkStore
from storage.collections import CollectionStore
from storage.conversations import ConversationStore
from storage.database import Database
from storage.documents import DocumentStore
from storage.keyword import KeywordIndex
from storage.migrate import migrate
from storage.vectors import VectorIndex

LEAVE = [
    "Employees receive 25 days of paid annual leave per year. Unused days expire on 31 March of the next year.",
    "Sick leave must be reported to the team lead before 10:00. A doctor's note is needed from the third day.",
    "The travel policy allows first class trains for journeys longer than three hours.",
]
PUMP = [
    "The P-200 pump must be switched off before the filter is cleaned.",
    "Maria Schmidt leads the maintenance group since May 2021. The pump was bought for 48,000 euros.",
]
REPORT = [
    "华夏娱乐有限公司成立于2001年5月，注册地为上海，主要从事电影制作和音乐制作。",
    "2020年，公司营业收入为30亿元，净利润为3.5亿元。公司没有发生重大诉讼。",
    "员工每年享有15天带薪年假，未休完的年假不得转入下一年度。",
]


def make_fingerprint(key: str = "a") -> Fingerprint:
    return Fingerprint("fake", hashlib.sha256(key.encode()).hexdigest(), 32, True, "", "1")


def make_chunk(
    chunk_id: int, text: str, *, collection: str = "c1", path: str = "a.md", ordinal: int = 0, title: str = ""
) -> StoredChunk:
    version = f"v-{collection}-{path}"
    return StoredChunk(
        chunk_id, collection, f"d-{path}", version, ordinal, path, title, "", text, Locator(page=ordinal + 1)
    )


def make_collection(collection_id: str = "c1", key: str = "a") -> Collection:
    return Collection(collection_id, collection_id, make_fingerprint(key), datetime.now(UTC))


@dataclass
class FakeStore:
    """Chunks, vectors and keywords in one dictionary: brute force, so that tests can compare with it."""

    chunks: list[StoredChunk]
    embedder: Embedder
    ghosts: set[int] = field(default_factory=set)
    vectors: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        matrix = self.embedder.embed_documents([chunk.text for chunk in self.chunks])
        self.vectors = {chunk.id: row for chunk, row in zip(self.chunks, matrix, strict=True)}

    def load_live(self, chunk_ids: Sequence[int], collection_ids: Sequence[str]) -> dict[int, StoredChunk]:
        wanted = set(chunk_ids) - self.ghosts
        return {c.id: c for c in self.chunks if c.id in wanted and c.collection_id in collection_ids}

    def neighbours(self, chunk: StoredChunk, before: int, after: int) -> list[StoredChunk]:
        same = [c for c in self.chunks if c.version_id == chunk.version_id]
        near = [c for c in same if chunk.ordinal - before <= c.ordinal <= chunk.ordinal + after]
        return sorted(near, key=lambda c: c.ordinal)

    def embeddings(self, chunk_ids: Sequence[int]) -> tuple[list[int], NDArray[np.float32]]:
        return list(chunk_ids), np.stack([self.vectors[i] for i in chunk_ids])

    def query(self, key: str, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        found = [c for c in self.chunks if key.startswith(f"c-{c.collection_id}-")]
        scored = [(c.id, float(self.vectors[c.id] @ vector)) for c in found]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]

    def search(
        self,
        collection_ids: Sequence[str],
        tokens: Sequence[str],
        k: int,
        instead: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
        required: Sequence[str] = (),
        versions: Sequence[str] | None = None,
    ) -> list[tuple[int, float]]:
        wanted, others = set(tokens), {word for _, words in instead for word in words} - set(tokens)
        having = [(c, set(segment(c.text))) for c in self.chunks if versions is None or c.version_id in versions]
        scored = [
            (c.id, len(wanted & words) + 0.5 * len(others & words)) for c, words in having if words >= set(required)
        ]
        live = [(i, s) for i, s in scored if s and self._collection(i) in collection_ids]
        return sorted(live, key=lambda pair: (-pair[1], pair[0]))[:k]

    def _collection(self, chunk_id: int) -> str:
        return next(c.collection_id for c in self.chunks if c.id == chunk_id)


@pytest.fixture
def chunk() -> Callable[..., StoredChunk]:
    return make_chunk


@pytest.fixture
def collection() -> Callable[..., Collection]:
    return make_collection


@pytest.fixture
def fake_store() -> Callable[..., FakeStore]:
    """Build a store from chunks: `fake_store(chunks, ghosts={3})`."""

    def build(chunks: Sequence[StoredChunk], ghosts: set[int] | None = None) -> FakeStore:
        return FakeStore(list(chunks), FakeEmbedder(), ghosts or set())

    return build


@pytest.fixture
def scored() -> Callable[..., list[ScoredChunk]]:
    """Chunks with these texts, ranked as given, each its own document unless `path` says otherwise."""

    def build(*texts: str, path: str = "", title: str = "") -> list[ScoredChunk]:
        return [
            ScoredChunk(make_chunk(i, text, path=path or f"{i}.md", ordinal=i, title=title), 1.0 / (i + 1))
            for i, text in enumerate(texts)
        ]

    return build


@dataclass
class ScriptedModel:
    """A language model that says what it is told, one word a delta; remembers its prompts."""

    words: str = ""
    languages: tuple[str, ...] = ("en", "zh")
    small: bool = False
    window: int = 8192
    reading_rate: float = 10_000.0
    places: Sequence[int] = ()
    fail_after: int | None = None
    error: Exception | None = None
    prompts: list[list[Message]] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)

    def info(self) -> LanguageModelInfo:
        if self.error is not None and self.fail_after is None:
            raise self.error
        return LanguageModelInfo("scripted", self.languages, self.window, self.reading_rate, self.small)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) // 4 + 1 for text in texts]

    def stream(
        self,
        messages: Sequence[Message],
        settings: GenerationSettings,
        cancel: threading.Event | None = None,
        user: str = "",
        lane: Lane = Lane.QUESTION,
    ) -> Iterator[Delta]:
        self.prompts.append(list(messages))
        self.lanes.append(lane)
        for place in self.places:
            yield Delta(place=place)
        for index, word in enumerate(self.words.split(" ")):
            if self.error is not None and index == self.fail_after:
                raise self.error
            if cancel is not None and cancel.is_set():
                yield Delta(finish_reason="cancelled")
                return
            yield Delta(("" if index == 0 else " ") + word)
        yield Delta(finish_reason="stop")


@pytest.fixture
def scripted() -> type[ScriptedModel]:
    return ScriptedModel


# ------------------------------------------------------------------ the real parts


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    """The bundled embedder, in this process."""
    from models.embedding.sentence_transformer import SentenceTransformerEmbedder
    from models.files.catalog import entry
    from models.files.weights import resolve, weights_sha256

    home = tmp_path_factory.mktemp("weights")
    model = "all-minilm-l6-v2"
    return SentenceTransformerEmbedder(resolve(model, home), entry(model), weights_sha256(model, home), threads=1)


@pytest.fixture(scope="session")
def chat_chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real Chroma server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("chroma")
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(chroma_command(folder / "data", "127.0.0.1", port), stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    index = VectorIndex(url)
    deadline = time.monotonic() + 30
    while True:
        try:
            index.ping()
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    index.close()
    yield url
    process.terminate()
    process.wait(60)


@dataclass
class Library:
    """Real stores with documents in them."""

    db: Database
    collections: CollectionStore
    documents: DocumentStore
    chunks: ChunkStore
    conversations: ConversationStore
    vectors: VectorIndex
    keyword: KeywordIndex
    embedder: Embedder
    retriever: Retriever

    def add(self, collection: Collection, path: str, texts: Sequence[str], title: str = "") -> list[int]:
        """Put a document in, or a new version of it; ids of its live chunks."""
        content = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        done = self.documents.submit(collection.id, path, content, 100)
        [claimed] = self.documents.claim("tests", 1, 60, [done.version_id])
        self.documents.describe(
            claimed.version_id, "tests", media_type="text/plain", title=title, pages=1, problems=(), facts={}
        )
        pieces = [NewChunk(i, text, Locator(page=i + 1)) for i, text in enumerate(texts)]
        matrix = self.embedder.embed_documents([piece.embedded_text for piece in pieces])
        tokens = [" ".join(segment(text)) for text in texts]
        ids = self.documents.store_chunks(claimed.version_id, "tests", pieces, tokens, matrix)
        self.vectors.upsert(collection.vector_key, ids, matrix)
        assert self.documents.switch(claimed.version_id, "tests")
        return ids


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, minilm: Embedder, chat_chroma: str) -> Iterator[Library]:
    """A library shared by the tests; use collections of your own for what you change."""
    home = tmp_path_factory.mktemp("library")
    db = Database(f"sqlite:///{home / 'alioth.db'}")
    migrate(db, home)
    chunks, vectors, keyword = ChunkStore(db), VectorIndex(chat_chroma), KeywordIndex(home / "keyword", db)
    retriever = Retriever(chunks, vectors, keyword, lambda _: minilm)
    yield Library(
        db,
        CollectionStore(db),
        DocumentStore(db),
        chunks,
        ConversationStore(db),
        vectors,
        keyword,
        minilm,
        retriever,
    )
    retriever.close()
    vectors.close()
    db.close()


@pytest.fixture(scope="session")
def shelf(library: Library) -> Mapping[str, Collection]:
    """Two filled collections and an empty one: handbook (English), reports (Chinese), empty."""
    fingerprint = fingerprint_of(library.embedder, "1")
    made = {name: library.collections.create(name, fingerprint) for name in ("handbook", "reports", "empty")}
    library.add(made["handbook"], "leave.md", LEAVE, "Leave and travel")
    library.add(made["handbook"], "pump.md", PUMP, "Pumps")
    library.add(made["reports"], "华夏娱乐.docx", REPORT, "华夏娱乐有限公司")
    return made
