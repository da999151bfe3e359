"""`alioth serve` with the real models, killed process by process while documents come in."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from app.wiring import Alioth
from core.settings import load_settings
from ingest.intake import SourceFile
from tests.faults.episode import Kill, Outcome
from tests.faults.inspection import Finding, failed_by_fault, inspect, settle
from tests.faults.ledger import Ledger, make_content
from tests.faults.ports import reserve
from tests.faults.town import ROOT, variables

_WORDS = {"web": "app.server", "worker": "app.worker", "models": "app.model_server", "chroma": "chromadb_rust"}
_VICTIMS = ("web", "worker", "serve", "models", "chroma", "parser child")
"""Each has its turn before any comes again. `serve` is the supervisor itself, started again as the system would."""
READY_S = 1200.0


class Served:
    """A running `alioth serve` over a data directory of its own. Looks like a Town to the inspection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.homes = [folder / "home"]
        self.homes[0].mkdir(parents=True)
        self.port = reserve()
        own = {"ALIOTH_HOME": str(self.homes[0]), "ALIOTH_INGEST__LEASE_S": "3", "ALIOTH_INGEST__MAX_ATTEMPTS": "1000"}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ALIOTH_")}
        with variables(own):
            self.alioth = Alioth(load_settings(), start_services=False)
        self._environment = clean | own
        self.start()
        self.wait_ready()

    def start(self) -> None:
        """`alioth serve`, from the first or again."""
        command = [sys.executable, "-m", "app.cli", "serve", "--port", str(self.port), "--no-help-collection"]
        with (self.folder / "serve.log").open("a") as log:
            self.process = subprocess.Popen(
                command, env=self._environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )

    def kill_supervisor(self) -> None:
        """SIGKILL; what it had started ends with it, and only then is it started again."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(family, timeout=READY_S)
        assert not alive, f"{alive} outlived the supervisor"
        self.start()

    def children(self) -> dict[str, psutil.Process]:
        """Living processes by name; `parser child` when the worker has one."""
        found: dict[str, psutil.Process] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    command = " ".join(child.cmdline())
                    if "ingest.parser_child" in command:
                        found["parser child"] = child
                    for name, word in _WORDS.items():
                        if word in command and child.ppid() == self.process.pid:
                            found[name] = child
        return found

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200) and _WORDS.keys() <= self.children().keys()
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self) -> None:
        until = time.monotonic() + READY_S
        while not self.is_ready():
            assert time.monotonic() < until, (self.folder / "serve.log").read_text()[-3000:]
            time.sleep(0.2)

    def orphans(self) -> list[str]:
        """Parser processes of this data directory whose worker is dead."""
        ours = {self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children(recursive=True))}
        out = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            environment = process.info["environ"] or {}
            if environment.get("ALIOTH_HOME") == str(self.homes[0]) and process.pid not in ours | {os.getpid()}:
                out.append(f"{process.pid}: {' '.join(process.info['cmdline'] or [])[:120]}")
        return out

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *exc: object) -> None:
        self.alioth.close()
        self.process.terminate()
        try:
            self.process.wait(240)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill `kills` processes of a running product at random times, one at a time, each back before it dies again."""
    rng, ledger, outcome, began = random.Random(seed), Ledger(), Outcome(seed), time.monotonic()
    with Served(folder) as served:
        collection = served.alioth.create_collection("Served")
        sources = folder / "sources"
        sources.mkdir()
        number = 0
        victims: list[str] = []
        while len(outcome.kills) < kills:
            for _ in range(rng.randint(2, 6)):
                number += 1
                content = make_content(seed * 100_000 + number, rng)
                ledger.know(content)
                source = content.write(sources)
                path = f"doc-{rng.randint(0, 3 * kills)}"
                served.alioth.intake.add(collection, SourceFile(source, path, len(content.data)))
                ledger.done(path, content.number, True)
                outcome.operations["add"] += 1
            time.sleep(rng.uniform(0.2, 2.0))
            victims = victims or rng.sample(_VICTIMS, len(_VICTIMS))
            _kill_one(served, victims.pop(), outcome)
        served.wait_ready()
        outcome.findings += settle(served)
        failed = failed_by_fault(served.alioth, collection, ledger)
        for row in failed:
            served.alioth.documents.retry(row.id)
        served.alioth.doorbell.ring()
        outcome.retried = len(failed)
        outcome.findings += [*settle(served), *inspect(served, collection, ledger)]
        outcome.documents = len(served.alioth.documents.list(collection.id))
        outcome.chunks = len(served.alioth.chunks.live_ids(collection.id))
        if served.process.poll() is not None:
            outcome.findings.append(Finding("wrong", f"`alioth serve` ended with code {served.process.returncode}"))
    outcome.seconds = time.monotonic() - began
    return outcome


def _kill_one(served: Served, victim: str, outcome: Outcome) -> None:
    if victim == "serve":
        served.wait_ready()
        outcome.kills.append(Kill(victim, "at a random time", _stage(served)))
        served.kill_supervisor()
        return
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        process = served.children().get(victim)
        if process is not None and (victim != "models" or served.is_ready()):
            stage = _stage(served)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                outcome.kills.append(Kill(victim, "at a random time", stage))
            return
        if victim == "parser child":  # it starts with the next document
            victim = "worker"
        time.sleep(0.1)
    raise AssertionError(f"{victim} did not come back in {READY_S:.0f} s")


def _stage(served: Served) -> str:
    from sqlalchemy import text

    with served.alioth.db.read() as session:
        held = set(session.scalars(text("select distinct state from versions where lease_owner is not null")))
    return next((state for state in ("indexing", "embedding", "chunking", "parsing") if state in held), "idle")
