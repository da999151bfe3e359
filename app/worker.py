"""The worker process: `python -m app.worker`. Ingests whatever SQL says is due, until SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.following import Followers
from app.quality_work import working as evaluating
from app.wiring import Alioth
from core.errors import AliothError, IndexUnavailableError, StoreUnavailableError
from core.log import configure_logging
from core.settings import load_settings
from storage import leftovers

if TYPE_CHECKING:
    from ingest.doorbell import Doorbell

log = logging.getLogger(__name__)

BELL_RETRY_S = 5.0
CLEAR_RETRY_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Serve the queue. Exit code 0 after SIGTERM or SIGINT, 1 when it cannot work."""
    options = _options(arguments)
    try:
        settings = load_settings()
        configure_logging(settings.log, settings.home / "logs", "worker")
        alioth = Alioth(settings, start_services=not options.supervised)
        with _clearing(alioth), Followers(alioth), evaluating(alioth):
            _bell(alioth).serve(lambda stop: work(alioth, stop), lambda: outstanding(alioth))
        alioth.close()
    except AliothError as error:
        sys.stderr.write(f"{error}\n")
        log.error("%s", error)
        return 1
    return 0


def _bell(alioth: Alioth) -> Doorbell:
    """The doorbell; waited for while the disk or the database does not let it be opened."""
    while True:
        try:
            return alioth.doorbell
        except StoreUnavailableError as error:
            log.warning("the worker waits %.0f s: %s %s", BELL_RETRY_S, error.message, error.hint)
            time.sleep(BELL_RETRY_S)


def work(alioth: Alioth, stop: threading.Event) -> None:
    """Everything that is due now. A part that does not answer is waited for; the next ring tries again."""
    try:
        alioth.pipeline.drain(stop)
    except AliothError as error:
        log.warning("stopped for now: %s", error)


@contextlib.contextmanager
def _clearing(alioth: Alioth) -> Iterator[None]:
    """Beside the work, clear away what killed processes left, at the start and then every hour."""
    stop = threading.Event()

    def clear() -> None:
        while not stop.is_set():
            wait_s = leftovers.EVERY_S
            try:
                alioth.leftovers.clear()
                alioth.leftovers.clear_vectors()
                alioth.keyword.drop_unknown()
            except (IndexUnavailableError, StoreUnavailableError) as error:
                log.warning("what killed processes left is cleared later: %s", error)
                wait_s = min(wait_s, CLEAR_RETRY_S)
            except Exception:  # nothing depends on this turn
                log.exception("what killed processes left could not be cleared")
            stop.wait(wait_s)

    thread = threading.Thread(target=clear, name="leftovers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def outstanding(alioth: Alioth) -> int:
    """Versions to ingest or to clear away."""
    return alioth.documents.pending() + len(alioth.documents.purgeable(1)) + len(alioth.collections.dropped())


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.worker", description=__doc__)
    parser.add_argument("--supervised", action="store_true", help="another process starts Chroma and the models")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
