"""Places at which a process under test kills itself, put around the product's own functions from outside."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Failpoint:
    """A function of the product. stage: the word of the report. calls: about how often it is called in an episode."""

    name: str
    stage: str
    module: str
    attribute: str
    calls: int = 4


@dataclass(frozen=True, slots=True)
class Arm:
    """Kill at the `nth` call of `point`, before it or (`after`) when it has returned.

    freeze: no death, but sleep there, without renewing leases, until the file `thaw` lies beside the journal.
    dies: after it was frozen, it makes the call and is killed then.
    only: count no calls but those with an argument that holds this text, e.g. a document's path.
    parser: not this process dies, but its parser, and at every such call; the point is `parser`.
    """

    point: str
    nth: int
    after: bool
    freeze: bool = False
    dies: bool = False
    only: str = ""
    parser: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def shown(self) -> str:
        return f"{'after' if self.after else 'before'} {self.point}"


_WORKER = (
    Failpoint("claim", "claim", "storage.documents", "DocumentStore.claim", 6),
    Failpoint("renew", "lease", "storage.documents", "DocumentStore.renew", 2),
    Failpoint("release", "lease", "storage.documents", "DocumentStore.release", 1),
    Failpoint("set_state", "report a stage", "storage.documents", "DocumentStore.set_state", 4),
    Failpoint("parse", "parse", "ingest.parser_pool", "ParserPool.parse"),
    Failpoint("chunk", "chunk", "ingest.run_stages", "chunk_document"),
    Failpoint("describe", "describe", "storage.documents", "DocumentStore.describe"),
    Failpoint("embed", "embed", "models.client.embedder", "ClientEmbedder.embed_documents", 3),
    Failpoint("store_chunks", "store chunks", "storage.documents", "DocumentStore.store_chunks"),
    Failpoint("vectors.upsert", "vectors", "storage.vectors", "VectorIndex.upsert"),
    Failpoint("vectors.present", "vectors", "storage.vectors", "VectorIndex.present"),
    Failpoint("switch", "switch", "storage.documents", "DocumentStore.switch"),
    Failpoint("fail", "fail", "storage.documents", "DocumentStore.fail", 1),
    Failpoint("purgeable", "purge", "storage.documents", "DocumentStore.purgeable", 3),
    Failpoint("vectors.delete", "purge", "storage.vectors", "VectorIndex.delete", 2),
    Failpoint("purged", "purge", "storage.documents", "DocumentStore.purged", 2),
    Failpoint("remove_unused", "purge", "storage.documents", "DocumentStore.remove_unused", 2),
    Failpoint("files.delete", "purge", "storage.files", "FolderFileStore.delete", 2),
    Failpoint("vectors.drop", "purge", "storage.vectors", "VectorIndex.drop", 1),
    Failpoint("keyword.catch_up", "keywords", "storage.keyword", "KeywordIndex.catch_up", 2),
    Failpoint("keyword.commit", "keywords", "storage.keyword_replica", "mark", 2),
    Failpoint("keyword.load", "keywords", "storage.keyword_replica", "Replica._load", 2),
    Failpoint("sql.commit", "SQL commit", "storage.database", "Database.write", 20),
)
_SUBMITTER = (
    Failpoint("files.put", "keep the file", "storage.files", "FolderFileStore.put", 3),
    Failpoint("files.copy", "keep the file", "storage.files", "_copy", 3),
    Failpoint("files.fsync", "keep the file", "os", "fsync", 8),
    Failpoint("files.rename", "keep the file", "pathlib", "Path.replace", 3),
    Failpoint("files.sync_folder", "keep the file", "storage.files", "_sync_folder", 8),
    Failpoint("submit", "submit", "storage.documents", "DocumentStore.submit", 3),
    Failpoint("delete", "delete", "storage.documents", "DocumentStore.delete", 1),
    Failpoint("ring", "ring", "ingest.doorbell", "Doorbell.ring", 3),
    Failpoint("sql.commit", "SQL commit", "storage.database", "Database.write", 4),
)
_MODELS = (Failpoint("embed", "embed", "models.fakes", "FakeEmbedder.embed", 4),)

_PARSER = Failpoint("parser", "parse", "ingest.parser_process", "ParserProcess.ask", 1)
"""In the worker, for a document whose parser is to die whenever it is asked to read it."""

POINTS: dict[str, tuple[Failpoint, ...]] = {"worker": _WORKER, "submitter": _SUBMITTER, "models": _MODELS}


def find(role: str, name: str) -> Failpoint:
    """The point of a role by name."""
    return next(point for point in (*POINTS[role], _PARSER) if point.name == name)


def install(role: str, arm: Arm, journal: Path) -> None:
    """Put the failpoint into this process. Its death is written to `journal` first, as one JSON line."""
    point = find(role, arm.point)
    owner: Any = importlib.import_module(point.module)
    *path, name = point.attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    trigger = _Trigger(arm, journal)
    if arm.freeze:
        _sleep_through_renewals(trigger)
    original = getattr(owner, name)
    setattr(owner, name, (_around_commit if point.name == "sql.commit" else _around)(original, trigger))


def _sleep_through_renewals(trigger: _Trigger) -> None:
    from storage.documents import DocumentStore

    renew = DocumentStore.renew

    def wrapped(*args: Any, **kwargs: Any) -> list[str]:
        trigger.sleep()
        return renew(*args, **kwargs)

    DocumentStore.renew = wrapped  # type: ignore[method-assign]


class _Trigger:
    def __init__(self, arm: Arm, journal: Path) -> None:
        self._arm = arm
        self._lock = threading.Lock()
        self._calls = 0
        self.frozen = False
        self._thaw = journal.parent / "thaw"
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def hit(self, arguments: Sequence[Any] = ()) -> bool:
        if self._arm.only and not any(isinstance(a, str | dict) and self._arm.only in str(a) for a in arguments):
            return False
        if self._arm.parser:
            self._end_parser(arguments[0])
            return False
        with self._lock:
            self._calls += 1
            return self._calls == self._arm.nth

    def _end_parser(self, child: Any) -> None:
        self._write()
        child._process.kill()
        child._process.wait()

    def before(self, due: bool) -> None:
        if due and not self._arm.after:
            self._die()

    def after(self, due: bool) -> None:
        if due and self._arm.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if due and self._arm.after:
            self._die()

    def _die(self) -> None:
        self._write()
        if not self._arm.freeze:
            os.kill(os.getpid(), signal.SIGKILL)
        self.frozen = True
        self.sleep()
        self.frozen = False

    def _write(self) -> None:
        line = json.dumps({"pid": os.getpid(), **self._arm.to_json()})
        os.write(self._journal, line.encode() + b"\n")

    def sleep(self) -> None:
        """Until the thaw, if it is frozen. Not by SIGSTOP: a thread may be in a transaction, and all would wait."""
        while self.frozen and not self._thaw.exists():
            time.sleep(0.05)


def _around(original: Callable[..., Any], trigger: _Trigger) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        due = trigger.hit(args)
        trigger.before(due)
        try:
            return original(*args, **kwargs)
        finally:
            trigger.after(due)

    return wrapped


def _around_commit(original: Callable[..., Any], trigger: _Trigger) -> Callable[..., Any]:
    """`before`: everything of the transaction is done but its commit. `after`: committed, and nobody knows yet."""

    @contextmanager
    def write(self: Any) -> Iterator[Any]:
        due = trigger.hit()
        with original(self) as session:
            yield session
            if due:
                session.flush()
            trigger.before(due)
        trigger.after(due)

    return write
