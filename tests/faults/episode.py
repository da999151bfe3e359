"""A seeded episode: random operations on documents while processes are killed; then a look at what is there."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psutil
from sqlalchemy import text

from core.types import Collection
from tests.faults.coverage import Coverage
from tests.faults.failpoints import Arm, find
from tests.faults.inspection import Finding, failed_by_fault, inspect, settle
from tests.faults.ledger import Ledger, make_content
from tests.faults.town import LEASE_S, STOP_S, Process, Town

LANES = ("lane0", "lane1")
WORKERS = ("worker0", "worker1")
PATIENCE_S = 1200.0
"""Seconds in which an episode must have come to its kills."""
CLOSING_S = 300.0
"""Seconds after which an episode that seeks the last places gives up; what it did not come to is told."""
_UNSAID = "the process died before it said so"


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL. where: a failpoint, or "at a random time". stage: what the process was doing, as SQL says."""

    role: str
    where: str
    stage: str


@dataclass
class Outcome:
    """What an episode came to. due: failpoints at which nothing had died when it ended, nor in those before it."""

    seed: int
    kills: list[Kill] = field(default_factory=list)
    pauses: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    documents: int = 0
    versions: int = 0
    chunks: int = 0
    retried: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    due: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.findings


@dataclass
class _Batch:
    process: Process
    operations: list[dict[str, Any]]


class Episode:
    """Runs on a town whose other episodes came to rest. The seed decides operations, contents, places and victims;
    how processes interleave is the machine's.

    Args:
        coverage: which places were come to in the episodes before; without it this one begins anew.
        closing: kill only at places where nothing died yet, until there is none left or CLOSING_S are over.
    """

    def __init__(
        self, town: Town, seed: int, kills: int, coverage: Coverage | None = None, closing: bool = False
    ) -> None:
        self._town = town
        self._coverage = coverage or Coverage(town.alioth.db.dialect)
        self._closing = closing
        self._rng = random.Random(seed)
        self._wanted = kills
        self._ledger = Ledger()
        self._outcome = Outcome(seed)
        self._collection = town.collection(f"Episode {seed} {town.folder.name}")
        self._side: Collection | None = None
        self._next_operation = 0
        self._next_content = seed * 10_000
        self._batches: dict[str, _Batch] = {}
        self._queued: dict[str, list[dict[str, Any]]] = {lane: [] for lane in LANES}
        self._races: dict[str, list[tuple[int | None, bool]]] = {}
        self._racing: set[str] = set()
        self._paused: dict[str, float] = {}
        self._journal_read = _journal_lines(town)
        self._parser_kills = 0
        self._sources = town.folder / "sources"
        self._sources.mkdir(exist_ok=True)

    @property
    def collection(self) -> Collection:
        return self._collection

    def run(self) -> Outcome:
        """The whole episode: faults, then everything started again, then the look."""
        began = time.monotonic()
        self._under_fire()
        self._restart_everything()
        self._outcome.findings += settle(self._town, idle=self._keep_running)
        self._retry_failed()
        self._outcome.findings += inspect(self._town, self._collection, self._ledger)
        self._count()
        self._leave()
        self._outcome.seconds = time.monotonic() - began
        return self._outcome

    # ---------------------------------------------------------------- under fire

    def _under_fire(self) -> None:
        for name in WORKERS:
            self._town.start_worker(name, self._arm("worker"))
        began = time.monotonic()
        shot = time.monotonic() + self._rng.uniform(0.3, 1.2)
        while (going := self._goes_on(time.monotonic() - began)) or self._batches:
            if going:
                self._submit_more()
                if time.monotonic() > shot and not self._closing:
                    self._shoot()
                    shot = time.monotonic() + self._rng.uniform(0.2, 1.2)
            self._keep_running()
            assert time.monotonic() - began < PATIENCE_S, f"only {len(self._outcome.kills)} kills in {PATIENCE_S:.0f} s"
            time.sleep(0.02)

    def _goes_on(self, seconds: float) -> bool:
        if self._closing:
            return bool(self._coverage.due()) and seconds < CLOSING_S
        return len(self._outcome.kills) < self._wanted

    def _keep_running(self) -> None:
        """Start again what ended, as a supervisor does, and take in what submitters said."""
        for name, when in list(self._paused.items()):
            if time.monotonic() > when:
                del self._paused[name]
                if self._town.processes[name].alive:
                    self._town.kill(name, signal.SIGCONT)
        for process in self._town.look():
            self._note_end(process)
            if process.role == "submitter":
                self._take_in(process)
            elif process.role == "worker" and process.name in WORKERS:
                self._paused.pop(process.name, None)
                self._town.start_worker(process.name, self._arm("worker"))
            elif process.role == "models":
                self._town.start_models(self._arm("models", 0.3))
            elif process.role == "chroma":
                self._town.start_chroma()

    def _arm(self, role: str, chance: float = 0.85) -> Arm | None:
        """Where the next process of this role kills itself; none when enough were killed."""
        if self._closing:
            return self._coverage.choose(role, self._rng) if self._coverage.due(role) else None
        armed = sum(1 for process in self._town.processes.values() if process.alive and process.arm)
        if len(self._outcome.kills) + armed >= self._wanted or self._rng.random() > chance:
            return None
        return self._coverage.choose(role, self._rng)

    def _shoot(self) -> None:
        """SIGKILL from outside, at no particular place; sometimes a worker only freezes for longer than its lease."""
        worker = self._rng.choice(WORKERS)
        victim = self._rng.choices(["worker", "models", "chroma", "parser", "pause"], [3, 2, 1, 3, 1])[0]
        if victim == "pause":
            if self._town.processes[worker].alive and worker not in self._paused:
                self._town.kill(worker, signal.SIGSTOP)
                self._paused[worker] = time.monotonic() + LEASE_S + 1.0
                self._outcome.pauses += 1
        elif victim == "parser":
            children = self._town.parser_children(worker)
            if children:
                stage = self._stage(self._town.processes[worker])
                with contextlib.suppress(psutil.NoSuchProcess):
                    self._rng.choice(children).kill()
                    self._parser_kills += 1
                    self._outcome.kills.append(Kill("parser child", "at a random time", stage))
        else:
            name = worker if victim == "worker" else victim
            if self._town.processes[name].alive and (not self._town.processes[name].arm or self._rng.random() < 0.2):
                self._town.processes[name].arguments["stage"] = self._stage(self._town.processes[name])
                self._town.kill(name)

    def _note_end(self, process: Process) -> None:
        if process.ended == -signal.SIGKILL:
            if not self._note_place(process):
                stage = process.arguments.get("stage", "")
                self._outcome.kills.append(Kill(process.role, "at a random time", stage))
        elif process.ended != 0 or process.role != "submitter":
            log = self._town.folder / f"{process.name}.log"
            words = log.read_text(errors="replace")[-600:] if log.exists() else ""
            self._outcome.findings.append(
                Finding("wrong", f"{process.name} ended by itself with code {process.ended}: {words}")
            )

    def _note_place(self, process: Process) -> bool:
        """Record that it died at a failpoint, if it did."""
        lines = _journal_lines(self._town)[len(self._journal_read) :]
        found = next((line for line in lines if line["pid"] == process.pid), None)
        if found is None:
            return False
        arm = Arm(found["point"], found["nth"], found["after"])
        self._coverage.died(process.role, arm)
        self._outcome.kills.append(Kill(process.role, arm.shown, find(process.role, arm.point).stage))
        return True

    def _stage(self, process: Process) -> str:
        """The furthest state among the versions that a worker holds; of everybody's for shared processes."""
        query = "select distinct state from versions where lease_owner is not null"
        if process.role == "worker":
            query += f" and lease_owner like '%-{process.pid}-%'"
        with self._town.alioth.db.read() as session:
            states = set(session.scalars(text(query)))
        order = ("indexing", "embedding", "chunking", "parsing")
        return next((state for state in order if state in states), "idle")

    # ---------------------------------------------------------------- operations

    def _submit_more(self) -> None:
        for lane in LANES:
            if lane in self._batches:
                continue
            operations = [*self._queued[lane], *[self._operation(lane) for _ in range(self._rng.randint(1, 5))]]
            self._queued[lane] = []
            process = self._town.start_submitter(lane, self._collection, operations, self._arm("submitter", 0.5))
            self._batches[lane] = _Batch(process, operations)

    def _operation(self, lane: str) -> dict[str, Any]:
        paths = [path for path in self._ledger.paths if path.startswith(f"{lane}/")]
        choice = self._rng.random()
        if choice < 0.45 or len(paths) < 3:
            return self._add(f"{lane}/doc-{self._rng.randint(0, 30)}", "add")
        if choice < 0.60:
            return self._add(self._rng.choice(paths), "change")
        if choice < 0.70:
            return self._again(lane, self._rng.choice(paths))
        if choice < 0.75:
            return self._record({"kind": "cancel", "path": self._rng.choice(paths)}, "cancel", None)
        if choice < 0.84:
            return self._record({"kind": "delete", "path": self._rng.choice(paths)}, "delete", None)
        if choice < 0.94:
            return self._race(lane)
        return self._drop()

    def _add(self, path: str, name: str) -> dict[str, Any]:
        self._next_content += 1
        content = make_content(self._next_content, self._rng)
        self._ledger.know(content)
        source = content.write(self._sources)
        known = self._ledger.at(path)  # a document keeps its ending, so that its name says nothing new
        operation = {"kind": "add", "path": path, "source": str(source), "upload": self._rng.random() < 0.5}
        return self._record(operation, "add again" if known.ever and name == "add" else name, content.number)

    def _again(self, lane: str, path: str) -> dict[str, Any]:
        """The same bytes once more: at the same path, or at another as well."""
        known = [number for number in self._ledger.at(path).newest if number is not None]
        if not known:
            return self._add(path, "add again")
        content = self._ledger.contents[self._rng.choice(known)]
        target = path if self._rng.random() < 0.5 else f"{lane}/copy-{self._rng.randint(0, 5)}"
        operation = {"kind": "add", "path": target, "source": str(content.write(self._sources)), "upload": False}
        return self._record(operation, "same bytes", content.number)

    def _race(self, lane: str) -> dict[str, Any]:
        """Both lanes do something to one path at the same moment."""
        path = f"race/doc-{self._rng.randint(0, 4)}"
        if path in self._racing:  # one race at a time, so that it is known which came last
            return self._add(f"{lane}/doc-{self._rng.randint(0, 30)}", "add")
        self._racing.add(path)
        other = LANES[1 - LANES.index(lane)]
        meeting = {"meet": str(self._town.folder / f"meet-{self._next_operation}"), "of": 2}
        operations = []
        same = self._rng.random() < 0.3
        first = self._add(path, "race") | meeting
        if same:
            second = self._record({**first}, "race", first["content"])
        elif self._rng.random() < 0.3:
            second = self._record({"kind": "delete", "path": path}, "race", None)
        else:
            second = self._add(path, "race")
        operations = [first, second | meeting]
        for operation in operations:
            operation["race"] = f"{path}:{meeting['meet']}"
        self._queued[other].insert(0, operations[1])
        return operations[0]

    def _drop(self) -> dict[str, Any]:
        """A whole collection goes while its documents are on their way."""
        if self._side is None:
            self._side = self._town.collection(f"Side {self._outcome.seed} {self._next_operation}")
            for number in range(4):
                self._next_content += 1
                content = make_content(self._next_content, self._rng, "sections")
                with content.write(self._sources).open("rb") as stream:
                    self._town.alioth.intake.add_bytes(self._side, f"side-{number}.md", stream)
            return self._record({"kind": "delete", "path": "nothing"}, "delete", None)
        dropped, self._side = self._side, None
        return self._record({"kind": "drop", "collection": dropped.id, "path": ""}, "drop a collection", None)

    def _record(self, operation: dict[str, Any], name: str, content: int | None) -> dict[str, Any]:
        self._next_operation += 1
        self._outcome.operations[name] += 1
        return {**operation, "id": self._next_operation, "content": content}

    def _take_in(self, process: Process) -> None:
        """Bring the ledger up to date with what a submitter said, and begin anew with what it did not come to."""
        batch = self._batches.pop(process.name)
        said = self._town.acknowledged(process)
        begun = False
        rest: list[dict[str, Any]] = []
        for operation in batch.operations:
            if operation["id"] in said:
                self._settle(operation, said[operation["id"]])
            elif not begun:
                begun = True
                self._settle(operation, _UNSAID)
                if operation["kind"] == "drop" or ("race" not in operation and self._rng.random() < 0.5):
                    rest.append(self._record({**operation}, "repeat", operation["content"]))
            else:
                rest.append(operation)
        if rest:  # what was recorded is carried out, also when enough was killed
            again = self._town.start_submitter(process.name, self._collection, rest, None)
            self._batches[process.name] = _Batch(again, rest)

    def _settle(self, operation: dict[str, Any], error: str | None) -> None:
        if error is not None and error != _UNSAID:
            self._outcome.refused.append(error)
        if operation["kind"] == "drop":
            return
        if operation["kind"] == "cancel":
            self._ledger.cancelled(operation["path"])
            return
        path, result = operation["path"], operation["content"]
        if "race" not in operation:
            self._ledger.done(path, result, error is None)
            return
        met = self._races.setdefault(operation["race"], [])
        met.append((result, error is None))
        if len(met) == 1:  # the other half may be on its way: until it has been heard, both may hold
            self._ledger.done(path, result, False)
        else:
            self._ledger.raced(path, met)
            self._racing.discard(path)

    # ---------------------------------------------------------------- rest

    def _restart_everything(self) -> None:
        for name in WORKERS:
            process = self._town.processes[name]
            result = self._town.stop(name)
            if result == -signal.SIGKILL:  # it came to its place while it was giving back what it held
                self._note_place(process)
            if result is None:
                self._outcome.findings.append(Finding("stuck", f"{name} did not end on SIGTERM"))
            elif result not in (0, -signal.SIGTERM, -signal.SIGKILL):  # by a signal when it had only just begun
                self._outcome.findings.append(Finding("wrong", f"{name} ended with code {result}"))
            self._paused.pop(name, None)
            self._town.start_worker(name)

    def _retry_failed(self) -> None:
        """A parser that was killed costs its document; trying again, as a person would, must heal it."""
        failed = failed_by_fault(self._town.alioth, self._collection, self._ledger)
        if not failed or not self._parser_kills:
            return
        tasks = [{"kind": "retry", "document": row.id, "path": row.path} for row in failed]
        operations = [self._record(task, "retry", None) for task in tasks]
        retry = self._town.start_submitter("retry", self._collection, operations)
        self._outcome.retried += len(failed)
        self._town.await_end(retry, STOP_S)
        self._outcome.findings += settle(self._town, idle=self._keep_running)

    def _count(self) -> None:
        rows = self._town.alioth.documents.list(self._collection.id)
        self._outcome.documents = len(rows)
        self._outcome.versions = len(self._ledger.contents)
        self._outcome.chunks = len(self._town.alioth.chunks.live_ids(self._collection.id))

    def _leave(self) -> None:
        """Make room for the next episode."""
        for name in WORKERS:
            self._town.stop(name)
        for path in self._sources.iterdir():
            path.unlink()


def _journal_lines(town: Town) -> list[dict[str, Any]]:
    path = town.folder / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
