"""The whole pipeline against raw `SentenceTransformer.encode` on the same texts in one run, and where its time goes."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

from app.ingestion import Ingestion
from app.wiring import Alioth
from bench.ingest_sets import OFFICE, ROOT, SHARED, large_file, many_files, office_files, text_sets
from bench.processes import cpu_by_role, forget_peak, peak_mb_by_role
from bench.raw import Raw, RawEncoder
from bench.workplace import workplace
from core.types import Collection, DocumentState, NewChunk

__all__ = ["ROOT", "SHARED", "IngestResult", "measure_bulk", "measure_ingest", "measure_office", "measure_texts"]

MOST_FILES, QUICK_FILES = 120, 3
RAW_TEXTS, QUICK_RAW_TEXTS = 2_000, 96
"""Texts that are encoded raw at most, spread over all: the rest takes as long."""
ROUNDS = 3
"""Times that a set is read in and then encoded raw, in turn: the speed of a shared machine changes in seconds."""
LARGE_MB, QUICK_LARGE_MB = 50, 1
_WARM = {
    "1.md": "# Holidays\n\n" + "Every employee is entitled to 25 days of paid leave in a year.\n\n" * 40,
    "2.md": "# 年假\n\n" + "每位员工每年享有二十五天带薪年假，须提前两周书面申请。\n\n" * 40,
    "3.txt": "The pump must be switched off before the filter is cleaned.\n" * 40,
    "4.csv": "part,text\n" + "".join(f"{number},Replace the seal 更换密封圈\n" for number in range(40)),
}
STAGES = ("parse", "OCR", "chunk", "embed", "index", "rest")


@dataclass(frozen=True)
class IngestResult:
    """seconds, cpu: of the pipeline with warm processes, CPU seconds by process; stages: CPU seconds by stage; means
    over the rounds.

    again: seconds of a second pass over the unchanged files. peak_mb: by process, of its whole life. left_out:
    characters beyond the limit for one file. raw: None when it was not measured. busy: share of `seconds` in which
    a call of the embedder was under way. findings: what `alioth index verify` found; None when it was not asked.
    """

    name: str
    files: int
    failed: int
    chunks: int
    seconds: float
    again: float
    cpu: Mapping[str, float]
    stages: Mapping[str, float]
    peak_mb: Mapping[str, float]
    raw: Raw | None
    raw_dtype: str = ""
    left_out: int = 0
    texts_only: bool = False
    refused: Sequence[str] = field(default=())
    busy: float = 0.0
    findings: int | None = None

    @property
    def cpu_seconds(self) -> float:
        return sum(self.cpu.values())

    @property
    def rate(self) -> float:
        """Chunks per second."""
        return self.chunks / self.seconds

    @property
    def wall_ratio(self) -> float:
        """Above 1 the pipeline is faster than raw encoding alone."""
        return self.rate / self.raw.rate if self.raw else 0.0

    @property
    def cpu_ratio(self) -> float:
        """The same in CPU seconds, which a busy machine distorts less."""
        if self.raw is None or not self.cpu_seconds:
            return 0.0
        return (self.chunks / self.cpu_seconds) / (self.raw.texts / self.raw.cpu_seconds)


def measure_texts(quick: bool = False) -> Iterator[IngestResult]:
    """Sets of files that hold text only, in both languages."""
    return _measured([(one.name, one.make) for one in text_sets()], quick, texts_only=True)


def measure_office(quick: bool = False) -> Iterator[IngestResult]:
    """Sets with PDF and Office files and pictures."""
    there = [(name, partial(office_files, source)) for name, source in OFFICE.items() if source.is_dir()]
    return _measured(there, quick)


def measure_bulk(documents: int, quick: bool = False, megabytes: int = LARGE_MB) -> Iterator[IngestResult]:
    """Thousands of small files, then one large text; all is compared with the indexes afterwards."""
    size = QUICK_LARGE_MB if quick else megabytes
    many = (f"{documents:,} small text files", lambda folder, most: many_files(folder, documents))
    large = (f"one text of {size} MB", lambda folder, most: large_file(folder, size))
    return _measured([many, large] if size else [many], quick, texts_only=True, verify=True)


def _measured(
    sets: Sequence[tuple[str, Callable[[Path, int], Any]]],
    quick: bool,
    texts_only: bool = False,
    verify: bool = False,
) -> Iterator[IngestResult]:
    """Each in a data directory and with processes of its own; `quick`: all in one, and few files of each."""
    files, raw_texts = (QUICK_FILES, QUICK_RAW_TEXTS) if quick else (MOST_FILES, RAW_TEXTS)
    rounds = 1 if quick or verify else ROUNDS
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(workplace()) if quick else None
        for name, make in sets:
            place = contextlib.nullcontext(shared) if shared is not None else workplace()
            with _folder() as folder, place as alioth:
                make(folder, files)
                yield measure_ingest(alioth, folder, name, raw_texts, texts_only, verify, rounds)


def measure_ingest(
    alioth: Alioth,
    folder: Path,
    name: str,
    raw_texts: int = RAW_TEXTS,
    texts_only: bool = False,
    verify: bool = False,
    rounds: int = ROUNDS,
) -> IngestResult:
    """Read a folder into a new collection with warm processes and encode its chunks raw, in turn; read it once more.

    Args:
        raw_texts: chunks that are encoded raw at most; 0 for none.
        verify: compare SQL with both indexes, entry by entry, afterwards.
        rounds: how often all this is done, each time in a collection of its own.
    """
    _warm_up(alioth, name)
    forget_peak()
    with RawEncoder(alioth) as encoder:
        done = []
        for number in range(1, rounds + 1):
            run = _Run(alioth, alioth.create_collection(f"bench {name} {number}"), folder)
            texts = _embedded_texts(alioth, run.collection, raw_texts) if raw_texts else []
            done.append((run, encoder.encode(texts) if texts else None))
    runs, raws = [run for run, _ in done], [raw for _, raw in done if raw is not None]
    cpu = {role: mean(run.cpu[role] for run in runs) for role in runs[0].cpu}
    threads = {stage: mean(run.clock.seconds[stage] for run in runs) for stage in runs[0].clock.seconds}
    last = runs[-1]
    spent, left_out = _told(alioth, last.collection)
    started = time.perf_counter()
    _read_in(alioth, last.collection, folder)
    again = time.perf_counter() - started
    totals = last.ingestion.totals()
    seconds = mean(run.seconds for run in runs)
    return IngestResult(
        name=name,
        files=totals["submitted"],
        failed=totals["failed"],
        chunks=totals["chunks"],
        seconds=seconds,
        again=again,
        cpu=cpu,
        stages=_stages(cpu, threads, spent),
        peak_mb=last.peak_mb,
        raw=functools.reduce(operator.add, raws) if raws else None,
        raw_dtype=encoder.dtype,
        left_out=left_out,
        texts_only=texts_only,
        refused=[f"{row['path']}: {row['error']['message']}" for row in last.ingestion.report() if row["error"]],
        busy=mean(run.clock.embedding for run in runs) / seconds,
        findings=_findings(alioth, last.collection) if verify else None,
    )


class _Run:
    """A folder read into a collection, and what that cost."""

    def __init__(self, alioth: Alioth, collection: Collection, folder: Path) -> None:
        home = alioth.settings.home
        self.collection, self.clock = collection, _Clock()
        before, started = cpu_by_role(home), time.perf_counter()
        with self.clock.watching():
            self.ingestion = _read_in(alioth, collection, folder)
        self.seconds, after = time.perf_counter() - started, cpu_by_role(home)
        self.cpu = {role: after[role] - before[role] for role in after}
        self.peak_mb = peak_mb_by_role(home)


def _findings(alioth: Alioth, collection: Collection) -> int:
    from storage.consistency import compare

    return len(compare(collection, alioth.db, alioth.vectors, alioth.keyword, alioth.files).findings)


class _Clock:
    """CPU seconds of the pipeline's threads, by what they do.

    embedding: wall seconds in which a call of the embedder was under way.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.embedding = 0.0
        self._calls = 0
        self._since = 0.0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        from ingest.run_stages import Stages

        with contextlib.ExitStack() as stack:
            for method, stage in (("prepare", "chunk"), ("embed", "embed"), ("store", "index")):
                timed = self._timed(getattr(Stages, method), stage)
                stack.enter_context(mock.patch.object(Stages, method, timed))
            yield

    def _timed(self, work: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = time.thread_time()
            with self._lock:
                self._count(stage, 1)
            try:
                return work(*arguments)
            finally:
                with self._lock:
                    self.seconds[stage] += time.thread_time() - began
                    self._count(stage, -1)

        return timed

    def _count(self, stage: str, change: int) -> None:
        if stage != "embed":
            return
        now = time.perf_counter()
        if self._calls:
            self.embedding += now - self._since
        self._calls, self._since = self._calls + change, now


def _stages(cpu: Mapping[str, float], threads: Mapping[str, float], spent: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds of each of STAGES.

    Args:
        cpu: by process. threads: by what the worker's threads did. spent: wall seconds of parse, and OCR in it.
    """
    ocr = spent["ocr"] / spent["parse"] if spent["parse"] else 0.0
    known = threads.get("chunk", 0.0) + threads.get("embed", 0.0) + threads.get("index", 0.0)
    return {
        "parse": cpu["parsers"] * (1 - ocr),
        "OCR": cpu["parsers"] * ocr,
        "chunk": threads.get("chunk", 0.0),
        "embed": cpu["models"] + threads.get("embed", 0.0),
        "index": cpu["chroma"] + threads.get("index", 0.0),
        "rest": max(0.0, cpu["worker"] - known),
    }


def _warm_up(alioth: Alioth, name: str) -> None:
    """Every process has loaded what it needs for texts of both languages."""
    with _folder() as folder:
        for file, text in _WARM.items():
            (folder / file).write_text(text, encoding="utf-8")
        _read_in(alioth, alioth.create_collection(f"warm-up {name}"), folder)


def _read_in(alioth: Alioth, collection: Collection, folder: Path) -> Ingestion:
    ingestion = Ingestion(alioth, collection)
    ingestion.submit(alioth.intake.scan([folder]))
    ingestion.follow(threading.Event())
    return ingestion


def _told(alioth: Alioth, collection: Collection) -> tuple[dict[str, float], int]:
    """Wall seconds of parse and of OCR in it, and characters left out, from the reports of the documents."""
    from storage.versions import VersionStore

    seconds, left_out = {"parse": 0.0, "ocr": 0.0}, 0
    ids = [row.version_id for row in alioth.documents.list(collection.id, states=[DocumentState.READY])]
    for start in range(0, len(ids), 500):
        for facts in VersionStore(alioth.db).facts([one for one in ids[start : start + 500] if one]).values():
            for stage in seconds:
                seconds[stage] += facts.get("seconds", {}).get(stage, 0.0)
            left_out += facts.get("left_out", 0)
    return seconds, left_out


def _embedded_texts(alioth: Alioth, collection: Collection, most: int) -> list[str]:
    """Exactly what the embedder read; of many, some spread over all."""
    rows = alioth.documents.list(collection.id, states=[DocumentState.READY])
    texts = [
        NewChunk(c.ordinal, c.text, c.locator, c.context).embedded_text
        for row in rows
        for c in alioth.chunks.of_version(row.version_id)
    ]
    return texts[:: max(1, len(texts) // most)][:most]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="alioth-bench-files-") as name:
        yield Path(os.path.realpath(name))
