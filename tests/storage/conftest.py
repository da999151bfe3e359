"""Real SQLite, PostgreSQL and Chroma for the tests of storage, and a bench that ingests without models."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import create_engine, text

from core.types import Collection, Fingerprint, Locator, NewChunk
from storage.chroma_server import chroma_command
from storage.chunks import ChunkStore
from storage.collections import CollectionStore
from storage.database import Database
from storage.documents import DocumentStore
from storage.migrate import migrate
from storage.vectors import VectorIndex

ROOT = Path(__file__).parents[2]
DIMENSION = 8


def fingerprint(**changes: object) -> Fingerprint:
    values: dict[str, object] = {
        "embedder_id": "test",
        "weights_sha256": "0" * 64,
        "dimension": DIMENSION,
        "normalised": True,
        "prefix": "",
        "chunker_version": "1",
    }
    return Fingerprint(**(values | changes))  # type: ignore[arg-type]


def unit_vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass
class Bench:
    """The stores on one database, and ingestion in one call."""

    db: Database
    collections: CollectionStore
    documents: DocumentStore
    chunks: ChunkStore
    collection: Collection
    worker: str = "bench"
    seed: int = field(default=0)

    def submit(self, path: str, content: str, **more: object) -> str:
        done = self.documents.submit(self.collection.id, path, hash_of(content), len(content), **more)  # type: ignore[arg-type]
        return done.version_id

    def take(self, version_id: str, worker: str | None = None, lease_s: float = 60) -> None:
        [claimed] = self.documents.claim(worker or self.worker, 1, lease_s, [version_id], max_attempts=99)
        assert claimed.version_id == version_id

    def store(self, version_id: str, texts: Sequence[str], worker: str | None = None, title: str = "") -> list[int]:
        worker = worker or self.worker
        self.documents.describe(
            version_id, worker, media_type="text/plain", title=title, pages=1, problems=(), facts={}
        )
        chunks = [NewChunk(place, words, Locator(page=place + 1)) for place, words in enumerate(texts)]
        self.seed += 1
        return self.documents.store_chunks(
            version_id, worker, chunks, [words.lower() for words in texts], unit_vectors(len(texts), self.seed)
        )

    def ingest(self, path: str, content: str, texts: Sequence[str] | None = None, title: str = "") -> list[int]:
        """Chunk ids of the version that is live afterwards. Texts default to one chunk with the content."""
        version_id = self.submit(path, content)
        self.take(version_id)
        ids = self.store(version_id, [content] if texts is None else texts, title=title)
        assert self.documents.switch(version_id, self.worker)
        return ids

    def document_id(self, path: str) -> str:
        found = self.documents.find(self.collection.id, path)
        assert found is not None
        return found.id

    def live(self) -> set[int]:
        return {int(i) for i in self.chunks.live_ids(self.collection.id)}


def hash_of(content: str) -> str:
    import hashlib

    return hashlib.sha256(content.encode()).hexdigest()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Address of a throw-away PostgreSQL server on a unix socket, without the database name."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt install postgresql)")
    as_root: dict[str, object] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
    home = Path(tempfile.mkdtemp(prefix="alioth-pg-", dir=memory if roomy else None))
    try:
        if as_root:
            shutil.chown(home, "postgres", "postgres")
        data = home / "data"
        subprocess.run(
            [folders[-1] / "initdb", "-D", data, "-A", "trust", "-U", "alioth", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=home,
            **as_root,  # type: ignore[call-overload]
        )
        server = subprocess.Popen(
            [folders[-1] / "postgres", "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home,
            **as_root,  # type: ignore[call-overload]
        )
        try:
            address = f"postgresql+psycopg://alioth@/DATABASE?host={home}"
            _wait_for_postgres(address.replace("DATABASE", "postgres"))
            yield address
        finally:
            server.send_signal(signal.SIGQUIT)  # at once, without writing anything out: nobody reads it again
            server.wait(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_for_postgres(url: str) -> None:
    engine = create_engine(url)
    for attempt in range(200):
        try:
            with engine.connect():
                break
        except Exception:
            if attempt == 199:
                raise
            time.sleep(0.05)
    engine.dispose()


def _run_on_server(address: str, statement: str) -> None:
    engine = create_engine(address.replace("DATABASE", "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a migrated database, to be copied."""
    _run_on_server(postgres_server, "CREATE DATABASE migrated")
    database = Database(postgres_server.replace("DATABASE", "migrated"))
    migrate(database, tmp_path_factory.mktemp("locks"))
    database.close()
    return "migrated"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    database = Database(f"sqlite:///{folder / 'alioth.db'}")
    migrate(database, folder)
    database.close()
    return folder / "alioth.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a database without tables, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'alioth.db'}"
    server: str = request.getfixturevalue("postgres_server")
    name = f"d{uuid.uuid4().hex}"
    _run_on_server(server, f"CREATE DATABASE {name}")
    return server.replace("DATABASE", name)


@pytest.fixture
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Database]]:
    """Opens a fresh migrated database of a kind, `sqlite` or `postgresql`; it goes when the test ends."""
    opened: list[Database] = []

    def open_one(kind: str) -> Database:
        if kind == "sqlite":
            path = tmp_path / f"{len(opened)}" / "alioth.db"
            path.parent.mkdir()
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            opened.append(Database(f"sqlite:///{path}"))
        else:
            server: str = request.getfixturevalue("postgres_server")
            template: str = request.getfixturevalue("postgres_template")
            name = f"d{uuid.uuid4().hex}"
            _run_on_server(server, f"CREATE DATABASE {name} TEMPLATE {template}")
            opened.append(Database(server.replace("DATABASE", name)))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()
        if database.dialect == "postgresql":
            server = request.getfixturevalue("postgres_server")
            name = str(database.engine.url.database)
            _run_on_server(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_db(open_database: Callable[[str], Database]) -> Database:
    """A migrated SQLite database, where the kind does not matter."""
    return open_database("sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest, open_database: Callable[[str], Database]) -> Database:
    """A migrated database of each kind: the contract is one."""
    return open_database(request.param)


def make_bench(database: Database) -> Bench:
    collections = CollectionStore(database)
    return Bench(
        database,
        collections,
        DocumentStore(database),
        ChunkStore(database),
        collections.create("Handbook", fingerprint()),
    )


@pytest.fixture
def bench(db: Database) -> Bench:
    """A bench on each kind of database."""
    return make_bench(db)


@pytest.fixture
def sqlite_bench(sqlite_db: Database) -> Bench:
    """A bench on SQLite, where the kind of database does not matter."""
    return make_bench(sqlite_db)


@pytest.fixture
def make_fingerprint() -> Callable[..., Fingerprint]:
    """Fingerprints with some fields changed."""
    return fingerprint


@pytest.fixture
def make_vectors() -> Callable[..., NDArray[np.float32]]:
    """Random vectors of norm 1: count, seed, dimension."""
    return unit_vectors


@dataclass
class ChromaServer:
    """A real Chroma server in a folder of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "chroma.log").open("ab") as log:
            self.process = subprocess.Popen(
                chroma_command(self.folder / "data", "127.0.0.1", self.port), stdout=log, stderr=log
            )
        index = VectorIndex(self.url)
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

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def chroma_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Chroma server shared by the tests; use keys of your own."""
    server = ChromaServer(tmp_path_factory.mktemp("chroma"), _free_port())
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def own_chroma(tmp_path: Path) -> Iterator[ChromaServer]:
    """A Chroma server that the test may kill."""
    server = ChromaServer(tmp_path, _free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def vectors(chroma_url: str) -> Iterator[VectorIndex]:
    """A client of the shared Chroma server."""
    index = VectorIndex(chroma_url)
    yield index
    index.close()


@pytest.fixture
def start_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python code in a process of its own; arguments follow the code. Killed when the test ends."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
