"""Remembers in the data directory which language models answered and which brought the process down.

A native crash leaves no Python behind to tell of it, so the phase is written down first; the next process reads it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from models.engine.load_note import LoadNote, parts_of
from models.files.catalog import catalog
from models.protocols import Delta

log = logging.getLogger(__name__)

RECORD: Final = Path("models", "llm_record.json")
"""Under ALIOTH_HOME: the last model that answered, failures in a row of others, and events."""
PHASE: Final = Path("models", "llm_phase.json")
"""Under ALIOTH_HOME: what a models process is doing now; gone when it ended in order."""
MOST_FAILURES: Final = 2
MOST_EVENTS: Final = 50

Phase = Literal["loading", "idle", "computing"]


@dataclass(frozen=True, slots=True)
class LoadEvent:
    """Something that people should know of a model's loading. at: ISO time in UTC. count: times in a row.

    code, values: what the text says, for a page in another language; see `models.engine.load_note`.
    """

    at: str
    model: str
    text: str
    count: int = 1
    code: str = ""
    values: dict[str, Any] = field(default_factory=dict)


class LlmRecord:
    """Of one models process. Thread-safe."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.RLock()
        self._model = ""
        self._computing = 0
        self._answered = ""

    def begin(self) -> None:
        """Count a failure when the process before ended while it loaded or computed."""
        before = _load(self._home / PHASE)
        if not before or _runs(before.get("pid")):
            return
        if before.get("phase") in ("loading", "computing"):
            model, doing = str(before.get("model", "")), "was loaded" if before["phase"] == "loading" else "computed"
            text = f"The models process ended while {model} {doing}."
            self.failed(model, LoadNote(text, f"ended_{before['phase']}", model=model))
        (self._home / PHASE).unlink(missing_ok=True)

    def choose(self, wanted: str) -> str:
        """The model to load: `wanted`, or when that failed MOST_FAILURES times in a row the last one that answered,
        else the one that comes with Alioth."""
        from models.files.weights import is_present

        bundled = next(one.id for one in catalog().values() if one.bundled and one.role == "llm")
        known, data = catalog(self._home), _load(self._home / RECORD)
        for model in (wanted, str(data.get("good", "")), bundled):
            there = model == wanted or (model in known and is_present(model, self._home))
            if there and (model == bundled or _times(data, model) < MOST_FAILURES):
                break
        if model != wanted:
            why, times = str(_failures(data).get(wanted, {}).get("why", "")), _times(data, wanted)
            text = (
                f"{wanted} failed {times} times in a row; {model} answers instead. {why} "
                f"`alioth models use {wanted}` tries it again."
            )
            self.note(wanted, LoadNote(text, "replaced", wanted=wanted, times=times, model=model))
        return model

    def loading(self, model: str) -> None:
        """From now on a sudden end is this model's."""
        with self._lock:
            self._model = model
            self._write_phase("loading")

    def loaded(self, model: str) -> None:
        """It is in memory and computes sense."""
        with self._lock:
            self._model = model
            self._write_phase("computing" if self._computing else "idle")

    def failed(self, model: str, why: str) -> None:
        """One more failure in a row of this model."""
        log.error("%s failed: %s", model, why)
        with self._lock:
            data = _load(self._home / RECORD)
            failures = {**_failures(data), model: {"times": _times(data, model) + 1, "why": why[:500]}}
            self._write({**data, "failed": failures})
        self.note(model, why if isinstance(why, LoadNote) else LoadNote(why, "failed", why=why))

    def watch(self, deltas: Iterator[Delta]) -> Iterator[Delta]:
        """The same deltas; remembers that something is computed, and in the end that the model answered."""
        with self._lock:
            model = self._model
            self._computing += 1
            if self._computing == 1:
                self._write_phase("computing")
        last = Delta()
        try:
            for last in deltas:
                yield last
        finally:
            close = getattr(deltas, "close", None)
            if close is not None:
                close()
            if last.finish_reason and last.generated_tokens:
                self._note_answer(model)
            with self._lock:
                self._computing -= 1
                if not self._computing:
                    self._write_phase("idle")

    def _note_answer(self, model: str) -> None:
        with self._lock:
            if self._answered == model:
                return
            self._answered = model
            data = _load(self._home / RECORD)
            failures = {name: one for name, one in _failures(data).items() if name != model}
            self._write({**data, "good": model, "failed": failures})

    def note(self, model: str, text: str) -> None:
        """Keep an event; the same one again is counted."""
        log.warning("%s", text)
        with self._lock:
            data = _load(self._home / RECORD)
            known = list(data.get("events", []))[-MOST_EVENTS + 1 :]
            now = datetime.now(UTC).isoformat(timespec="seconds")
            again = known and known[-1].get("model") == model and known[-1].get("text") == text
            count = int(known.pop().get("count", 1)) + 1 if again else 1
            event = {"at": now, "model": model, "text": text, "count": count, **parts_of(text)}
            self._write({**data, "events": [*known, event]})

    def ended(self) -> None:
        """This process ends in order."""
        with self._lock:
            if _load(self._home / PHASE).get("pid") == os.getpid():
                (self._home / PHASE).unlink(missing_ok=True)

    def _write_phase(self, phase: Phase) -> None:
        from models.files.weights import write_json

        write_json(self._home / PHASE, {"pid": os.getpid(), "model": self._model, "phase": phase})

    def _write(self, data: Mapping[str, Any]) -> None:
        from models.files.weights import write_json

        write_json(self._home / RECORD, data)


def load_events(home: Path) -> list[LoadEvent]:
    """What happened when language models were loaded, the newest first."""
    events = []
    for row in _load(home / RECORD).get("events", []):
        try:
            events.append(LoadEvent(**row))
        except TypeError:
            continue
    return events[::-1]


def forgive(model: str, home: Path) -> None:
    """Forget the failures of a model that a person chose (again)."""
    from models.files.weights import write_json

    data = _load(home / RECORD)
    if model in _failures(data):
        failures = {name: one for name, one in _failures(data).items() if name != model}
        write_json(home / RECORD, {**data, "failed": failures})


def _failures(data: Mapping[str, Any]) -> dict[str, Any]:
    failures = data.get("failed", {})
    return failures if isinstance(failures, dict) else {}


def _times(data: Mapping[str, Any], model: str) -> int:
    one = _failures(data).get(model, {})
    times = one.get("times", 0) if isinstance(one, dict) else 0
    return times if isinstance(times, int) else 0


def _runs(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0 or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _load(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
