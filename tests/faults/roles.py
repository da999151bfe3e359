"""What the processes under test run: the product's own entry points, and the models process with a fake embedder."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EMBEDDER = "all-minilm-l6-v2"
"""The fake embedder goes by this name: its dimension, window and tokenizer are in the catalogue."""
DIMENSION = 384
_MODULES = (
    "app.worker",
    "chromadb.api.fastapi",
    "chromadb.api.models.Collection",
    "huey",
    "huey.consumer",
    "ingest.intake",
    "ingest.pipeline",
    "ingest.doorbell",
    "models.client.connection",
    "models.client.embedder",
    "models.fakes",
    "models.serving.service",
    "openai",
    "psycopg",
    "storage.chunks",
    "storage.collections",
    "storage.consistency",
    "storage.documents",
    "storage.files",
    "storage.keyword",
    "storage.migrate",
    "storage.vectors",
    "tantivy",
    "tokenizers",
    "uvicorn",
)
HASTE: dict[tuple[str, str], float] = {
    ("ingest.doorbell", "SWEEP_S"): 0.5,
    ("ingest.doorbell", "MAX_DELAY_S"): 0.1,
    ("ingest.pipeline", "FIRST_DELAY_S"): 0.2,
    ("ingest.pipeline", "LONGEST_DELAY_S"): 0.5,
    ("storage.database", "BUSY_TIMEOUT_S"): 3.0,
    ("storage.leftovers", "AGE_S"): 3.0,
    ("storage.leftovers", "EVERY_S"): 1.0,
}
"""Waiting times that are made short, so that what heals in a minute heals in a second. No rule changes."""


def preload() -> None:
    """Import everything that a role needs, and load the dictionaries, before the first fork."""
    for name in _MODULES:
        importlib.import_module(name)
    from core.text import segment

    segment("预先加载 words")
    for (module, name), value in HASTE.items():
        found = importlib.import_module(module)
        assert hasattr(found, name), f"{module}.{name} is gone: adapt tests/faults/roles.py"
        setattr(found, name, value)


def worker(arguments: dict[str, Any]) -> int:
    """`python -m app.worker --supervised`."""
    from app import worker as product

    return product.main(["--supervised"])


def models(arguments: dict[str, Any]) -> int:
    """The real models service over the fake embedder, on a fixed loopback port."""
    import uvicorn

    from models.fakes import FakeEmbedder, FakeLanguageModel
    from models.serving.service import build_app

    embedder = _SlowEmbedder(FakeEmbedder(DIMENSION, 1_000_000, EMBEDDER))
    app = build_app(FakeLanguageModel(), embedder, arguments["token"])
    uvicorn.run(app, host="127.0.0.1", port=arguments["port"], log_level="warning", lifespan="off", ws="none")
    return 0


class _SlowEmbedder:
    """The fake at about the pace of a real model, so that deaths fall into the middle of a call."""

    def __init__(self, fake: Any) -> None:
        self._fake = fake

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fake, name)

    def embed(self, texts: Any, lane: Any) -> Any:
        time.sleep(min(0.5, 0.004 * len(texts)))
        return self._fake.embed(texts, lane)


def submitter(arguments: dict[str, Any]) -> int:
    """What the web page and the command line do with documents, one operation after the other.

    Each operation's end is written to `arguments["acknowledged"]` as one JSON line: {"id", "error"}.
    """
    from app.wiring import Alioth
    from core.settings import load_settings

    alioth = Alioth(load_settings(), start_services=False)
    target = os.open(arguments["acknowledged"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    collection = alioth.collections.get_by_id(arguments["collection"])
    for operation in arguments["operations"]:
        error = _perform(alioth, collection, operation)
        os.write(target, json.dumps({"id": operation["id"], "error": error}).encode() + b"\n")
    return 0


def _perform(alioth: Any, collection: Any, operation: dict[str, Any]) -> str | None:
    from core.errors import AliothError

    if operation.get("meet"):
        _meet(Path(operation["meet"]), operation["of"])
    try:
        _ACTIONS[operation["kind"]](alioth, collection, operation)
    except AliothError as error:
        return f"{type(error).__name__}: {error}"
    return None


def _meet(place: Path, of: int) -> None:
    """Wait up to a second for the other process that does something to the same path."""
    (place.parent / f"{place.name}.{os.getpid()}").touch()
    until = time.monotonic() + 1.0
    while len(list(place.parent.glob(f"{place.name}.*"))) < of and time.monotonic() < until:
        time.sleep(0.005)


def _add(alioth: Any, collection: Any, operation: dict[str, Any]) -> None:
    from ingest.intake import SourceFile

    source = Path(operation["source"])
    if operation.get("upload"):
        with source.open("rb") as stream:
            alioth.intake.add_bytes(collection, operation["path"], stream)
    else:
        alioth.intake.add(collection, SourceFile(source, operation["path"], source.stat().st_size))


def _delete(alioth: Any, collection: Any, operation: dict[str, Any]) -> None:
    from core.errors import NotFoundError

    found = alioth.documents.find(collection.id, operation["path"])
    if found is not None:
        try:
            alioth.documents.delete(found.id)
        except NotFoundError:  # the other process was faster
            return
        alioth.doorbell.ring()


def _cancel(alioth: Any, collection: Any, operation: dict[str, Any]) -> None:
    from core.errors import NotFoundError

    found = alioth.documents.find(collection.id, operation["path"])
    if found is not None:
        with contextlib.suppress(NotFoundError):  # the other process deleted it
            alioth.documents.cancel(found.id)


def _drop(alioth: Any, collection: Any, operation: dict[str, Any]) -> None:
    from core.errors import NotFoundError

    try:
        alioth.collections.delete(operation["collection"])
    except NotFoundError:  # an earlier attempt did it and died before it could say so
        return
    alioth.doorbell.ring()


def _retry(alioth: Any, collection: Any, operation: dict[str, Any]) -> None:
    alioth.documents.retry(operation["document"])
    alioth.doorbell.ring()


_ACTIONS: dict[str, Callable[[Any, Any, dict[str, Any]], None]] = {
    "add": _add,
    "cancel": _cancel,
    "delete": _delete,
    "drop": _drop,
    "retry": _retry,
}

ROLES: dict[str, Callable[[dict[str, Any]], int]] = {"worker": worker, "models": models, "submitter": submitter}
