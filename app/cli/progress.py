"""The progress bar of an ingestion on the terminal: files, chunks, rate, what failed."""

from __future__ import annotations

import sys
import threading

from app.ingestion import Ingestion


def show_progress(ingestion: Ingestion) -> None:
    """Follow to the end with a bar on stderr. Ctrl-C stops cleanly and raises KeyboardInterrupt.

    Raises:
        AliothError: what the work raised, e.g. the models process could not be started.
    """
    stop = threading.Event()
    failure: list[BaseException] = []

    def work() -> None:
        try:
            ingestion.follow(stop)
        except BaseException as error:
            failure.append(error)

    worker = threading.Thread(target=work, name="ingestion")
    worker.start()
    try:
        _draw_until_done(ingestion, worker)
    except KeyboardInterrupt:
        stop.set()
        worker.join()
        raise
    if failure:
        raise failure[0]


def _draw_until_done(ingestion: Ingestion, worker: threading.Thread) -> None:
    if not sys.stderr.isatty() or not ingestion.total:
        worker.join()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.fields[chunks]} chunks, {task.fields[rate]:.0f}/s, {task.fields[failed]} failed"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("Reading in", total=ingestion.total, chunks=0, rate=0.0, failed=0)
        while worker.is_alive():
            worker.join(0.4)
            ingestion.poll()
            now = ingestion.totals()
            done = ingestion.total - now["open"]
            rate = now["chunks"] / max(now["seconds"], 0.1)
            bars.update(task, completed=done, chunks=now["chunks"], rate=rate, failed=now["failed"])
