"""The progress bar of an ingestion on the terminal: stages, files, chunks, rate, the file under way, time left."""

from __future__ import annotations

import sys
import threading

from app.cli.state import say
from app.ingest_progress import Progress
from app.ingestion import Ingestion
from core.types import DocumentState

REDRAW_S = 0.4
MANY = 2000
"""Documents from which on the bar is drawn less often, as each time asks SQL for all of them."""
_SHOWN = (DocumentState.PARSING, DocumentState.CHUNKING, DocumentState.EMBEDDING, DocumentState.INDEXING)


def show_progress(ingestion: Ingestion) -> None:
    """Follow to the end with a bar on stderr. Ctrl-C stops cleanly, says what stays queued, raises KeyboardInterrupt.

    Raises:
        AliothError: what the work raised, e.g. the models process could not be started.
    """
    stop, ended = threading.Event(), threading.Event()
    failure: list[BaseException] = []

    def work() -> None:
        try:
            ingestion.follow(stop)
        except BaseException as error:
            failure.append(error)
        finally:
            ended.set()

    threading.Thread(target=work, name="ingestion").start()
    try:
        _draw_until(ended, ingestion)
    except KeyboardInterrupt:
        stop.set()
        ended.wait()  # not `join`: before Python 3.13 an interrupted one takes a running thread for an ended one
        _say_interrupted(ingestion)
        raise
    if failure:
        raise failure[0]


def describe(progress: Progress) -> str:
    """The words beside the bar."""
    parts = [f"{progress.chunks} chunks, {progress.rate:.0f}/s"]
    parts += [f"{progress.stages[state]} {state.value}" for state in _SHOWN if progress.stages.get(state)]
    if progress.stages.get(DocumentState.FAILED):
        parts.append(f"{progress.stages[DocumentState.FAILED]} failed")
    slowest = progress.slowest
    if slowest is not None and slowest.total > 1:
        unit = "page" if slowest.state is DocumentState.PARSING else "chunk"
        parts.append(f"{_short(slowest.path)} {unit} {slowest.done} of {slowest.total}")
    if progress.seconds_left:
        parts.append(f"about {duration(progress.seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _short(path: str, width: int = 30) -> str:
    name = path.rsplit("/", 1)[-1]
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _say_interrupted(ingestion: Ingestion) -> None:
    ingestion.poll()
    now = ingestion.totals()
    say(
        f"Stopped: {now['ready']} ready, {now['failed']} failed, {now['open']} stay queued. They are read in by the "
        "next `alioth serve` or `alioth ingest add`; `alioth ingest cancel` takes them out."
    )


def _draw_until(ended: threading.Event, ingestion: Ingestion) -> None:
    if not sys.stderr.isatty() or not ingestion.total:
        ended.wait()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("Reading in"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("files, {task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=ingestion.total, words="")
        while not ended.wait(REDRAW_S if ingestion.total < MANY else 5 * REDRAW_S):
            ingestion.poll()
            words = describe(ingestion.progress())
            bars.update(task, completed=ingestion.total - len(ingestion.open_ids), words=words)
