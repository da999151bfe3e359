"""The page docs/performance.md."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from bench.ingest import IngestResult
from bench.ingest_report import ingest_section
from bench.llm import LlmResult, llm_section
from bench.processes import ROLES
from bench.query import QueryResult
from bench.start import StartResult
from evals.report import table

_HEAD = """# Performance

Written by `make bench`; do not edit."""

_START = """## Start

Seconds from `alioth serve` (not the first one on the data directory) until the page answers and until the models are
loaded; then seconds from a question about the help collection to the first piece of its generated answer by the bundled
model: the first question after the start, and one after it. The asking process is warmed first, as the web process
warms itself when the models are loaded."""

_QUERY = """## Queries

Retrieval of the ten best chunks without generation: embedding of the question, dense and keyword search, the join to
live rows, fusion. 200 real questions in both languages after 10 to warm up; then the same with 8 clients at once."""


def performance_page(
    ingest: Sequence[IngestResult],
    queries: Sequence[QueryResult],
    load: float,
    start: StartResult | None = None,
    llm: LlmResult | None = None,
) -> str:
    """Markdown. load: average load of the machine when the run began."""
    facts = (
        f"- {datetime.date.today()}, {_processor()}, {os.cpu_count()} cores, no GPU, "
        f"Python {platform.python_version()}.\n"
        f"- Average load of the machine when the run began: {load:.1f}."
    )
    parts = [_HEAD, facts]
    if start:
        parts += [_START, _start_table(start)]
    if ingest:
        parts += ingest_section(ingest)
    if llm:
        parts += llm_section(llm)
    if queries:
        parts += [_QUERY, _query_table(queries)]
        if any(result.made_up for result in queries):
            parts.append("*: random vectors with sampled real text stand in for documents.")
    return "\n\n".join(parts) + "\n"


def _start_table(result: StartResult) -> str:
    header = ("page", "models", "language", "first question", "later question")
    rows = [
        (
            f"{result.page:.1f}",
            f"{result.models:.1f}",
            language,
            f"{result.first_token[language]:.2f}",
            f"{result.later_token[language]:.2f}",
        )
        for language in result.first_token
    ]
    return table(header, rows)


def _query_table(results: Sequence[QueryResult]) -> str:
    roles = [role for role in ROLES if any(result.memory_mb.get(role) for result in results)]
    names = tuple(f"{role}, MB" for role in roles)
    header = ("chunks", "p50 ms", "p95 ms", "8 clients, p95 ms", "filled in s", *names)
    rows = [
        (
            f"{result.chunks:,}{'*' if result.made_up else ''}",
            f"{result.p50:.1f}",
            f"{result.p95:.1f}",
            f"{result.clients_p95:.1f}",
            f"{result.fill_seconds:.0f}",
            *(f"{result.memory_mb.get(role, 0.0):,.0f}" for role in roles),
        )
        for result in results
    ]
    return table(header, rows)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
