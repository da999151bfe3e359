"""The part of docs/performance.md that is about ingestion."""

from __future__ import annotations

from collections.abc import Sequence

from bench.ingest import ROUNDS, STAGES, IngestResult
from bench.processes import ROLES
from evals.report import table

_HEAD = """## Ingestion

Chunks per second of the whole pipeline (take in, parse, chunk, embed, segment, store, index, switch; processes warm)
against raw `SentenceTransformer.encode` on the same texts in the same run, in {dtype}; where there are very many
chunks, on a sample of them. Both are done {rounds} times in turn (the large amounts once), and their means stand side
by side. Above 1 the whole pipeline is faster than encoding alone: texts are sorted by length across documents,
tokenised once, and the weights are laid out for the processor beforehand. The CPU ratio is the same by processor
seconds of all processes, which other work on the machine distorts less. Busy: share of the time in which the embedder
had a call to work on; before it lies the reading of the first file, after it the storing of the last chunks. Again:
seconds of a second pass over the same files, unchanged."""

_SHARES = """Share of the processor seconds of all processes that each stage takes. Chunk includes the report and the
search for near-duplicates; index the segmented words, the rows, the vectors and the switch; rest taking in, deciding
and waiting."""

_MEMORY = """Processor seconds, and the most memory that the largest process of each kind ever held, in MB. The worker
here is the measuring process, whose peak begins at what it held before the run."""


def ingest_section(results: Sequence[IngestResult]) -> list[str]:
    """Paragraphs and tables in Markdown."""
    dtype = next((result.raw_dtype for result in results if result.raw_dtype), "float32")
    parts = [
        _HEAD.format(dtype=dtype, rounds=ROUNDS),
        _speed(results),
        _SHARES,
        _stages(results),
        _MEMORY,
        _processes(results),
    ]
    notes = [f"- {result.name}: {result.left_out:,} characters are over the limit for one file and were left out."
             for result in results if result.left_out]  # fmt: skip
    notes += [f"- {result.name}: compared with both indexes entry by entry afterwards, {result.findings} findings."
              for result in results if result.findings is not None]  # fmt: skip
    return [*parts, "\n".join(notes)] if notes else parts


def _speed(results: Sequence[IngestResult]) -> str:
    header = (
        "documents", "files", "failed", "chunks", "s", "chunks/s", "raw chunks/s", "ratio", "CPU ratio", "busy",
        "again, s",
    )  # fmt: skip
    rows = [
        (
            result.name,
            f"{result.files:,}",
            str(result.failed),
            f"{result.chunks:,}",
            f"{result.seconds:.1f}",
            f"{result.rate:.1f}",
            f"{result.raw.rate:.1f}" if result.raw else "-",
            f"{result.wall_ratio:.2f}" if result.raw else "-",
            f"{result.cpu_ratio:.2f}" if result.raw else "-",
            f"{result.busy:.0%}",
            f"{result.again:.1f}",
        )
        for result in results
    ]
    return table(header, rows)


def _stages(results: Sequence[IngestResult]) -> str:
    rows = [
        (result.name, *(f"{result.stages[stage] / max(1e-9, sum(result.stages.values())):.0%}" for stage in STAGES))
        for result in results
    ]
    return table(("documents", *STAGES), rows)


def _processes(results: Sequence[IngestResult]) -> str:
    header = ("documents", *(f"{role}, s" for role in ROLES), *(f"{role}, MB" for role in ROLES))
    rows = [
        (
            result.name,
            *(f"{result.cpu[role]:.1f}" for role in ROLES),
            *(f"{result.peak_mb[role]:,.0f}" for role in ROLES),
        )
        for result in results
    ]
    return table(header, rows)
