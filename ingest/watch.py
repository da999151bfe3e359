"""Watches a folder: says when to look again, and holds back what is still being written."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from pathlib import Path

from core.errors import AliothError
from ingest.archive_names import left_out
from ingest.folder_source import IGNORE_FILE
from ingest.sync_plan import Difference, Step

logger = logging.getLogger(__name__)

SETTLE_S = 0.6
"""Seconds over which a file's size and time of change must stand still, or a file be gone, before it counts."""
FULL_S = 300.0
"""Seconds after which the whole folder is looked at although nothing was heard: events get lost."""
FALLBACK_POLL_S = 2.0
"""Seconds between looks where the system cannot watch the folder."""
RETRY_FAILED_S = 30.0
"""Seconds in which a file that could not be taken is not tried again unless it changes."""
_TICK_MS = 200
_GROUP_MS = 600
"""Events that follow one another are taken together for at most this long."""
_REST = 5
"""Rest after a look, in times of what it took, so that a file that grows all day costs little."""
_LONGEST_S = 10.0


class Settling:
    """Lets through what has stood still since an earlier look. One per watched source; not thread-safe."""

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self._settle_s = settle_s
        self._seen: dict[tuple[str, str], tuple[Hashable, float]] = {}
        self._failed: dict[str, tuple[Hashable, float, AliothError]] = {}

    def split(self, difference: Difference, at: float | None = None) -> tuple[Difference, int]:
        """What may be carried out now, and how many things must wait for a later look.

        Args:
            at: monotonic seconds of this look; now by default.
        """
        at = time.monotonic() if at is None else at
        before, self._seen = self._seen, {}
        waiting = 0

        def settled(kind: str, path: str, shape: Hashable) -> bool:
            nonlocal waiting
            known = before.get((kind, path))
            since = known[1] if known and known[0] == shape else at
            self._seen[kind, path] = (shape, since)
            if at - since >= self._settle_s:
                return True
            waiting += 1
            return False

        ready = replace(
            difference,
            added=[s for s in difference.added if not self._hopeless(s, at) and settled("file", s.path, _shape(s))],
            changed=[s for s in difference.changed if not self._hopeless(s, at) and settled("file", s.path, _shape(s))],
            moved=[
                move
                for move in difference.moved
                if settled("move", move.path, (move.file.size, move.file.modified_ns, move.document.path))
            ],
            deleted=[document for document in difference.deleted if settled("gone", document.path, document.id)],
        )
        resting = [s.path for s in [*difference.added, *difference.changed] if self._hopeless(s, at)]
        ready.failed = [*difference.failed, *((path, self._failed[path][2]) for path in resting)]
        if waiting:
            ready.forgotten = []  # what waits may still turn out to have moved
        return ready, waiting

    def tried(self, steps: list[Step], difference: Difference, at: float | None = None) -> None:
        """`steps` were carried out: those that failed are let rest until they change or some time has passed."""
        at = time.monotonic() if at is None else at
        failed = dict([*difference.failed, *difference.conflicts])
        for step in steps:
            if step.path in failed:
                self._failed[step.path] = (_shape(step), at, failed[step.path])
            else:
                self._failed.pop(step.path, None)

    def _hopeless(self, step: Step, at: float) -> bool:
        known = self._failed.get(step.path)
        return known is not None and known[0] == _shape(step) and at - known[1] < RETRY_FAILED_S


def _shape(step: Step) -> Hashable:
    return (step.file.size, step.file.modified_ns)


def watch(folder: Path, look: Callable[[], float | None], stop: threading.Event, poll_s: float | None = None) -> None:
    """Call `look` at the start, soon after anything changes below `folder`, and every few minutes, until `stop` is set.

    A folder that goes is waited for. Many changes in a row lead to few looks.

    Args:
        look: gives the seconds after which it wants to be called again, or None.
        poll_s: look every so many seconds instead of listening, as network shares need it.
    """
    due = earliest = 0.0
    for changed in _signals(folder, stop, poll_s):
        now = time.monotonic()
        if changed:
            due = min(due, max(now, earliest))
        if now < due or stop.is_set():
            continue
        wait = look()
        end = time.monotonic()
        earliest = end + min(_REST * (end - now), _LONGEST_S)
        due = max(earliest, end + (FULL_S if wait is None else wait))


def _signals(folder: Path, stop: threading.Event, poll_s: float | None) -> Iterator[bool]:
    """True when something may have changed, False now and then, until `stop` is set."""
    while not stop.is_set():
        if poll_s is not None:
            yield from _ticks(stop, poll_s)
            continue
        try:
            yield from _events(folder, stop)
        except FileNotFoundError:  # the folder is away, for good or until a share is mounted again
            yield from _ticks(stop, FALLBACK_POLL_S)
        except (OSError, RuntimeError) as error:
            poll_s = FALLBACK_POLL_S
            logger.warning(
                "cannot listen for changes in %s (%s): looking every %.0f s instead; more watches are allowed with "
                "sysctl fs.inotify.max_user_watches",
                folder,
                error,
                poll_s,
            )


def _ticks(stop: threading.Event, seconds: float) -> Iterator[bool]:
    """One True, then False now and then until the time is over."""
    yield True
    end = time.monotonic() + seconds
    while not stop.is_set() and (left := end - time.monotonic()) > 0:
        stop.wait(min(left, _TICK_MS / 1000))
        yield False


def _events(folder: Path, stop: threading.Event) -> Iterator[bool]:
    """Signals of the operating system; ends when another folder took this one's place."""
    from watchfiles import watch as listen

    identity = _identity(folder)
    first = True
    # no filter of theirs: they stay silent while only filtered files change, and then nobody looks at the clock
    for changes in listen(
        folder,
        watch_filter=None,
        debounce=_GROUP_MS,
        step=50,
        rust_timeout=_TICK_MS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
        ignore_permission_denied=True,
        force_polling=False,
    ):
        if _identity(folder) != identity:
            yield True
            return
        yield first or any(_matters(folder, path) for _, path in changes)
        first = False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _matters(folder: Path, path: str) -> bool:
    try:
        parts = Path(path).relative_to(folder).parts
    except ValueError:
        return True
    return parts == (IGNORE_FILE,) or not any(left_out(part) for part in parts)
