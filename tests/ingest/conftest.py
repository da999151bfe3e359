"""Real SQLite, Chroma, tantivy and parser processes for the tests of ingest; small files made on the spot."""

from __future__ import annotations

import io
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.settings import IngestSettings
from core.types import Collection, ParsedDocument
from ingest.chunk import CHUNKER_VERSION
from ingest.intake import Intake
from ingest.parse import parse_file
from ingest.parser_pool import ParserPool
from ingest.parsers import Limits
from ingest.pipeline import Pipeline
from models.fakes import FakeEmbedder
from models.protocols import Embedder, fingerprint_of
from storage.chroma_server import chroma_command
from storage.chunks import ChunkStore
from storage.collections import CollectionStore
from storage.database import Database
from storage.documents import DocumentStore
from storage.files import FolderFileStore
from storage.keyword import KeywordIndex
from storage.migrate import migrate
from storage.vectors import VectorIndex

EVAL = Path(__file__).resolve().parents[3] / "shared" / "eval"


@pytest.fixture
def evaluation_files() -> Path:
    """The development files beside the repository; tests on them are skipped on a plain clone."""
    if not EVAL.is_dir():
        pytest.skip("the evaluation files ../shared/eval are not on this machine")
    return EVAL


@pytest.fixture
def parse(tmp_path: Path) -> Callable[..., ParsedDocument]:
    """Parse bytes under a name, in this process."""

    def run(name: str, data: bytes, limits: Limits | None = None, max_bytes: int = 200_000_000) -> ParsedDocument:
        path = tmp_path / "original"
        path.write_bytes(data)
        return parse_file(path, name, limits or Limits(ocr_seconds=0), max_bytes)

    return run


@pytest.fixture(scope="session")
def parsers() -> Iterator[ParserPool]:
    """Two warm parser processes for the whole run."""
    with ParserPool(IngestSettings(), 2) as pool:
        yield pool


@pytest.fixture(scope="session")
def chroma_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Chroma server on a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("chroma")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(chroma_command(folder / "data", "127.0.0.1", port), stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            probing = VectorIndex(url)
            _wait_for(probing)
            probing.close()
            yield url
        finally:
            server.terminate()
            server.wait()


def _wait_for(vectors: VectorIndex) -> None:
    from core.errors import IndexUnavailableError

    for _ in range(300):
        try:
            vectors.ping()
            return
        except IndexUnavailableError:
            time.sleep(0.05)
    raise TimeoutError("Chroma did not answer within 15 s")


@dataclass
class RecordingBell:
    """A doorbell that counts."""

    rings: list[list[str]] = field(default_factory=list)

    def ring(self, version_ids: Sequence[str] = ()) -> None:
        self.rings.append(list(version_ids))


@dataclass
class House:
    """Everything ingestion works with, on real stores."""

    home: Path
    db: Database
    collections: CollectionStore
    documents: DocumentStore
    chunks: ChunkStore
    vectors: VectorIndex
    keyword: KeywordIndex
    files: FolderFileStore
    parsers: ParserPool
    embedder: FakeEmbedder
    collection: Collection
    settings: IngestSettings
    bell: RecordingBell

    @property
    def intake(self) -> Intake:
        return Intake(self.settings, self.documents, self.files, self.bell)

    def pipeline(self, worker: str = "worker-1", embedder: Embedder | None = None) -> Pipeline:
        chosen = embedder or self.embedder
        return Pipeline(
            self.settings,
            self.documents,
            self.vectors,
            self.keyword,
            self.files,
            lambda collection: chosen,
            self.parsers,
            worker,
            self.collections,
        )

    def add(self, name: str, data: bytes | str) -> str:
        raw = data.encode() if isinstance(data, str) else data
        return self.intake.add_bytes(self.collection, name, io.BytesIO(raw)).version_id

    def ingest(self, name: str, data: bytes | str) -> str:
        version_id = self.add(name, data)
        self.pipeline(f"w-{version_id[:8]}").drain(threading.Event(), [version_id])
        return version_id

    def state(self, version_id: str) -> str:
        return self.documents.get_many([version_id])[version_id].state.value

    def live(self) -> set[int]:
        return {int(chunk_id) for chunk_id in self.chunks.live_ids(self.collection.id)}

    def in_vectors(self) -> set[int]:
        return {int(chunk_id) for chunk_id in self.vectors.ids(self.collection.vector_key)}

    def in_keyword(self) -> set[int]:
        return {int(chunk_id) for chunk_id in self.keyword.ids(self.collection.id)}


@pytest.fixture
def house(tmp_path: Path, chroma_url: str, parsers: ParserPool) -> Iterator[House]:
    db = Database(f"sqlite:///{tmp_path / 'alioth.db'}")
    migrate(db, tmp_path)
    embedder = FakeEmbedder()
    collections = CollectionStore(db)
    vectors = VectorIndex(chroma_url)
    yield House(
        tmp_path,
        db,
        collections,
        DocumentStore(db),
        ChunkStore(db),
        vectors,
        KeywordIndex(tmp_path / "keyword", db),
        FolderFileStore(tmp_path / "files"),
        parsers,
        embedder,
        collections.create("Handbook", fingerprint_of(embedder, CHUNKER_VERSION)),
        IngestSettings(lease_s=5),
        RecordingBell(),
    )
    vectors.close()
    db.close()
