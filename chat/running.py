"""Answers under way in this process: one thread and one buffer each, so that a page can leave and come back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from chat.events import AnswerEvent, Finished, Progress, Stage, Text, Waiting
from chat.ports import MessageWriter
from core.errors import AliothError, ConflictError, LimitError, ModelError, NotFoundError
from core.types import Answer, AnswerMode, ChatTurn, Collection

log = logging.getLogger(__name__)

MOST_PER_USER = 2
KEEP_S = 60.0
CHECK_S = 0.25
MAY_ASK_S = 1.0
RENEW_S = 5.0
"""Seconds between two signs of life for the answers under way here, and two looks for those of dead processes."""

MakeAnswer = Callable[
    [str, Sequence[Collection], Sequence[ChatTurn], AnswerMode, threading.Event, str], Iterator[AnswerEvent]
]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An answer as far as it has come.

    stage: the last stage name. place: how many are ahead in the model's queue, 0 when none. wait_s: for how many
    seconds by estimate, 0.0 when unknown. answer: set when done and not failed. error: why it failed, "" otherwise.
    progress: of a document task, else None.
    """

    text: str = ""
    stage: str = ""
    place: int = 0
    done: bool = False
    answer: Answer | None = None
    error: str = ""
    progress: Progress | None = None
    wait_s: float = 0.0


@dataclass(slots=True)
class _Run:
    message_id: str
    conversation_id: str
    user: str
    cancel: threading.Event
    attached: float
    snapshot: Snapshot = Snapshot()
    version: int = 0
    finished: float | None = None
    thread: threading.Thread | None = field(default=None, repr=False)


class RunningAnswers:
    """Starts answers, shows how far they are, stops them, and keeps what they wrote. Thread-safe.

    may_ask: whether a user may still; asked again and again for those whose answers are under way, and False stops
    them. An answer that nobody has looked at for `unattached_s` seconds is stopped. Finished ones can be looked
    at for a minute more; after that the stored message is the place to look.
    """

    def __init__(
        self,
        make_answer: MakeAnswer,
        conversations: MessageWriter,
        unattached_s: float = 10.0,
        most_per_user: int = MOST_PER_USER,
        may_ask: Callable[[str], bool] = lambda user: True,
    ) -> None:
        self._make_answer = make_answer
        self._conversations = conversations
        self._unattached_s = unattached_s
        self._most_per_user = most_per_user
        self._may_ask = may_ask
        self._runs: dict[str, _Run] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(
        self,
        conversation_id: str,
        user: str,
        question: str,
        collections: Sequence[Collection],
        history: Sequence[ChatTurn] = (),
        mode: AnswerMode = AnswerMode.AUTOMATIC,
        make: Callable[[threading.Event], Iterator[AnswerEvent]] | None = None,
    ) -> str:
        """Store the question and an empty answer, begin to answer, and give the answer's message id.

        make: what gives the events instead, for a document task; it gets the event that cancels it.

        Raises:
            InputError, LimitError: what `make_answer` refuses at once; nothing is stored then.
            LimitError: the user has too many answers under way.
            ConflictError: this conversation has an answer under way.
        """
        cancel = threading.Event()
        with self._changed:
            self._refuse_too_many(conversation_id, user)
            events = make(cancel) if make else self._make_answer(question, collections, history, mode, cancel, user)
            self._conversations.add_message(conversation_id, "user", question)
            message_id = self._conversations.add_message(conversation_id, "assistant", "", "streaming").id
            run = _Run(message_id, conversation_id, user, cancel, time.monotonic())
            run.thread = threading.Thread(
                target=self._work, args=(run, events), name=f"answer-{message_id[:8]}", daemon=True
            )
            self._runs[message_id] = run
        self.watch()
        run.thread.start()
        return message_id

    def watch(self) -> None:
        """Begin to look after answers: those under way here, and those that another process left when it died."""
        with self._changed:
            if self._watcher is None and not self._closing.is_set():
                self._watcher = threading.Thread(target=self._watch, name="answer-watcher", daemon=True)
                self._watcher.start()

    def snapshot(self, message_id: str) -> Snapshot:
        """How far the answer is; looking keeps it going.

        Raises:
            NotFoundError: not under way here (any more); the stored message has what there is.
        """
        with self._changed:
            run = self._run(message_id)
            run.attached = time.monotonic()
            return run.snapshot

    def touch(self, message_id: str) -> None:
        """Mark the answer as looked at; nothing happens when it is not under way."""
        with self._changed:
            if message_id in self._runs:
                self._runs[message_id].attached = time.monotonic()

    def attach(self, message_id: str) -> Iterator[Snapshot]:
        """A snapshot now and at every change, the last one `done`. Keeps the answer going while it is consumed."""
        seen = -1
        while True:
            with self._changed:
                run = self._run(message_id)
                self._changed.wait_for(lambda run=run, seen=seen: run.version != seen, timeout=1.0)  # type: ignore[misc]
                run.attached = time.monotonic()
                fresh, seen, snapshot = run.version != seen, run.version, run.snapshot
            if fresh:
                yield snapshot
            if snapshot.done:
                return

    def stop(self, message_id: str) -> None:
        """End the answer soon; what it wrote is kept. Nothing happens when it is not under way."""
        with self._changed:
            if message_id in self._runs:
                self._runs[message_id].cancel.set()

    def running(self, user: str | None = None) -> list[str]:
        """Message ids under way, of one user or of all."""
        with self._changed:
            return [r.message_id for r in self._runs.values() if r.finished is None and user in (None, r.user)]

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop every answer and wait until what they wrote is stored."""
        self._closing.set()
        with self._changed:
            runs = list(self._runs.values())
            for run in runs:
                run.cancel.set()
        end = time.monotonic() + timeout_s
        for run in runs:
            if run.thread is not None:
                run.thread.join(max(0.0, end - time.monotonic()))
        if self._watcher is not None:
            self._watcher.join(max(0.1, end - time.monotonic()))

    def _run(self, message_id: str) -> _Run:
        if message_id not in self._runs:
            raise NotFoundError(f"No answer {message_id!r} is under way.", "Load the stored message instead.")
        return self._runs[message_id]

    def _refuse_too_many(self, conversation_id: str, user: str) -> None:
        running = [run for run in self._runs.values() if run.finished is None]
        if any(run.conversation_id == conversation_id for run in running):
            raise ConflictError(
                f"Conversation {conversation_id!r} has an answer under way; one runs at a time.", "Wait or stop it."
            )
        mine = sum(run.user == user for run in running)
        if mine >= self._most_per_user:
            raise LimitError(
                f"{mine} of your answers are under way, the limit is {self._most_per_user}.", "Wait or stop one."
            )

    def _work(self, run: _Run, events: Iterator[AnswerEvent]) -> None:
        try:
            for event in events:
                self._apply(run, event)
            if run.snapshot.answer is None:
                self._fail(run, ModelError("The answer ended early.", "Ask again."))
        except AliothError as error:
            log.warning("Answer %s failed: %s", run.message_id, error)
            self._fail(run, error)
        except Exception:
            # The thread's last line of defence: the page must learn that no more text comes.
            log.exception("Answer %s failed", run.message_id)
            hint = "Ask again, or tell an administrator."
            self._fail(run, AliothError("The answer failed; the log has the reason.", hint))

    def _fail(self, run: _Run, error: AliothError) -> None:
        self._store(run, "failed", None, error)
        self._change(run, error=str(error), done=True)

    def _apply(self, run: _Run, event: AnswerEvent) -> None:
        if isinstance(event, Stage):
            self._change(run, stage=event.name, place=0)
        elif isinstance(event, Waiting):
            self._change(run, place=event.place, wait_s=event.seconds)
        elif isinstance(event, Progress):
            self._change(run, progress=event)
        elif isinstance(event, Text):
            self._change(run, text=run.snapshot.text + event.delta, place=0)
        elif isinstance(event, Finished):
            answer = event.answer
            self._store(run, "stopped" if answer.stopped else "complete", answer)
            self._change(run, text=answer.text, place=0, answer=answer, done=True)

    def _change(self, run: _Run, **fields: object) -> None:
        with self._changed:
            run.snapshot = replace(run.snapshot, **fields)  # type: ignore[arg-type]  # names of Snapshot's fields
            run.version += 1
            if run.snapshot.done and run.finished is None:
                run.finished = time.monotonic()
            self._changed.notify_all()

    def _store(self, run: _Run, state: str, answer: Answer | None, error: AliothError | None = None) -> None:
        """Before the snapshot says done, so that a page that reloads at once finds the stored text."""
        text = run.snapshot.text if answer is None else answer.text
        try:
            self._conversations.finish_message(run.message_id, state, text, answer, error)
        except AliothError:
            log.exception("Answer %s could not be stored; the conversation may be gone", run.message_id)

    def _stop_forbidden(self) -> None:
        """Outside the lock, as it asks the database."""
        for user in {run.user for run in list(self._runs.values()) if run.finished is None}:
            try:
                allowed = self._may_ask(user)
            except AliothError as error:
                log.warning("cannot tell whether %s may still ask: %s", user, error)
                continue
            if not allowed:
                for message_id in self.running(user):
                    self.stop(message_id)

    def _renew(self) -> None:
        """Outside the lock, as it writes to the database."""
        try:
            if mine := self.running():
                self._conversations.renew(mine)
            if stopped := self._conversations.fail_streaming():
                log.info("marked %d answers as stopped whose process is gone", stopped)
        except AliothError as error:
            log.warning("cannot renew the answers under way: %s", error)

    def _watch(self) -> None:
        asked = renewed = 0.0
        while not self._closing.wait(min(CHECK_S, self._unattached_s / 4)):
            now = time.monotonic()
            if now >= asked + MAY_ASK_S:
                asked = now
                self._stop_forbidden()
            if now >= renewed + RENEW_S:
                renewed = now
                self._renew()
            with self._changed:
                for run in list(self._runs.values()):
                    if run.finished is not None and now - max(run.finished, run.attached) > KEEP_S:
                        del self._runs[run.message_id]
                    elif run.finished is None and now - run.attached > self._unattached_s:
                        run.cancel.set()
