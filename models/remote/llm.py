"""A language model on other servers: one fair queue before them, fail-over until the first word of an answer."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from core.errors import InputError, ModelUnavailableError
from models.answer_reader import AnswerReader
from models.engine.load_note import LoadNote
from models.protocols import Delta, GenerationSettings, Lane, LanguageModelInfo, Message
from models.queueing.limits import AnswerLimits, waited_too_long
from models.remote.facts import ServerFacts, count, facts_of, is_small
from models.remote.http import RemoteFailure, RemoteHttp, RemoteServer, failure_of
from models.remote.replicas import Replica, Replicas
from models.remote.thinking import WithoutThinking
from models.remote.turns import Turn, Turns
from models.requests import openai_fields, response_format
from models.token_estimate import estimated_tokens
from models.wire import require_fit

log = logging.getLogger(__name__)

UNKNOWN_WINDOW: Final = 4096
"""Tokens, for a server that does not tell; most have more, and ALIOTH_MODELS__LLM_WINDOW says so."""
FIRST_RATE: Final = 1000.0
"""Prompt tokens per second that are expected until one was measured."""
_POLL_S: Final = 0.02
_COUNTED: Final = 8192
_MEASURED_TOKENS: Final = 200


@dataclass(frozen=True, slots=True)
class RemoteLlmOptions:
    """See core.settings.ModelSettings.llm_*; None or 0 asks the server. timeout_s: without a piece of an answer.

    limits: of the queue before the servers, and seconds of one answer.
    """

    id: str
    name: str = ""
    window: int = 0
    languages: tuple[str, ...] = ()
    small: bool | None = None
    at_once: int = 4
    timeout_s: float = 120.0
    extra: dict[str, Any] = field(default_factory=dict)
    limits: AnswerLimits = field(default_factory=AnswerLimits)


class RemoteLanguageModel:
    """A `LanguageModel` over one or several OpenAI-compatible servers. Thread-safe; `close` ends its threads.

    Building it asks each server once; one that does not answer is asked again in the background.
    """

    def __init__(self, urls: Sequence[str], key: str, options: RemoteLlmOptions, every_s: float | None = None) -> None:
        self._options = options
        self._key = key
        self._rate = FIRST_RATE
        self._answer_s = 0.0
        self._closing = threading.Event()
        servers = [RemoteServer(url, key) for url in urls]
        pace = {} if every_s is None else {"every_s": every_s}
        self.replicas: Replicas[ServerFacts] = Replicas(
            servers, lambda server: facts_of(server, options.name), changed=lambda: self._turns.grant(), **pace
        )
        what = options.name or "the language model"
        self._turns: Turns[ServerFacts] = Turns(self.replicas, options.at_once, what, options.limits)
        self._count = functools.lru_cache(_COUNTED)(self._counted)
        self.replicas.start()

    notes: tuple[str, ...] = ()
    """Of loading; there is none here."""

    @property
    def live_notes(self) -> tuple[str, ...]:
        """Which servers answer now, and why others do not."""
        return tuple(
            LoadNote(f"{one.url} serves {one.facts.model!r}", "serves", url=one.url, model=one.facts.model)
            if one.usable and one.facts
            else LoadNote(f"not used: {one.problem}", "unused", url=one.url, why=one.problem)
            for one in self.replicas.all
        )

    def info(self) -> LanguageModelInfo:
        """What the settings say, else the servers, else the catalogue. Never raises."""
        options, facts = self._options, self.replicas.facts()
        known = facts.known if facts else None
        return LanguageModelInfo(
            id=options.id,
            languages=options.languages or (known.languages if known else ("en", "zh")),
            window=options.window or (facts.window if facts else 0) or UNKNOWN_WINDOW,
            reading_rate=self._rate,
            small=is_small(facts) if options.small is None else options.small,
            adapters=tuple(facts.adapters) if facts else (),
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """By a server where it can, else rather too many."""
        return [self._count(text) for text in texts]

    def stream(
        self,
        messages: Sequence[Message],
        settings: GenerationSettings,
        cancel: threading.Event | None = None,
        user: str = "",
        lane: Lane = Lane.QUESTION,
    ) -> Iterator[Delta]:
        """See `LanguageModel.stream`. The request is queued by this call, not by the first `next`.

        Args:
            lane: BACKGROUND goes to a server after all others, and never takes its last free place.

        Raises:
            InputError: an adapter was chosen that a server does not have.
            ContextOverflowError: prompt plus max_tokens exceed the window.
            LimitError: too many requests wait already; or, while iterating, this one waited too long.
            ModelUnavailableError: no server answers, or one failed after the first word.
        """
        if self._closing.is_set():
            raise ModelUnavailableError("The language model is shutting down.", "Try again in a moment.")
        for one in self.replicas.usable():
            if one.facts is not None:
                lora_field(settings, one.facts, one.url)
        self._require_fit(messages, settings)
        turn = self._turns.ask(user, lane is Lane.BACKGROUND)
        deltas = self._deltas(turn, messages, settings, cancel or threading.Event())
        next(deltas)  # from here on, closing it or dropping it leaves the queue
        return deltas

    def close(self) -> None:
        """End open answers as cancelled, and the background checks."""
        self._closing.set()
        self.replicas.close()

    def _require_fit(self, messages: Sequence[Message], settings: GenerationSettings) -> None:
        facts = self.replicas.facts()
        window = self._options.window or (facts.window if facts else 0)
        if not window or facts is None or not facts.counts:
            return  # the server knows better than an estimate
        require_fit(sum(self.count_tokens([message.content for message in messages])), settings.max_tokens, window)

    def _counted(self, text: str) -> int:
        for one in self.replicas.usable():
            if one.facts is not None and one.facts.counts:
                try:
                    return count(one.server, one.facts, text)
                except RemoteFailure as failure:
                    log.info("%s did not count tokens: %s", one.url, failure.message)
        return estimated_tokens(text)

    # ------------------------------------------------------------------ one answer

    def _deltas(
        self,
        turn: Turn[ServerFacts],
        messages: Sequence[Message],
        settings: GenerationSettings,
        cancel: threading.Event,
    ) -> Iterator[Delta]:
        try:
            yield Delta()
            while True:
                yield from self._wait(turn, cancel)
                if turn.replica is None:
                    yield Delta(finish_reason="cancelled")
                    return
                shown = False
                try:
                    for delta in self._answer(turn.replica, messages, settings, cancel):
                        shown = shown or bool(delta.text)
                        yield delta
                    self.replicas.succeeded(turn.replica)
                    return
                except RemoteFailure as failure:
                    self._blame(turn.replica, failure)
                    if shown and failure.elsewhere:
                        raise _broken(failure) from None
                    if not failure.elsewhere:
                        raise failure.error() from None
                    log.warning("another server takes a request over: %s", failure.message)
                    self._turns.again(turn, busy=failure.kind == "busy")
        finally:
            self._turns.done(turn)

    def _blame(self, replica: Replica[ServerFacts], failure: RemoteFailure) -> None:
        if failure.elsewhere:
            self.replicas.failed(replica, failure)

    def _wait(self, turn: Turn[ServerFacts], cancel: threading.Event) -> Iterator[Delta]:
        """Until it has a server; `turn.replica` stays None when it was cancelled."""
        place = 0
        while not turn.ready.wait(_POLL_S):
            if cancel.is_set() or self._closing.is_set():
                self._turns.done(turn)
                return
            if turn.patient_until:
                self._turns.grant()
            waited = time.monotonic() - turn.asked_at
            if not turn.background and waited > self._options.limits.wait_s:
                raise waited_too_long(waited, self._options.limits.wait_s)
            now = self._turns.place(turn)
            if now and now != place:
                place = now
                yield Delta(place=place, wait_s=self._expected_s(place))
        if turn.error is not None:
            raise turn.error

    def _answer(
        self,
        replica: Replica[ServerFacts],
        messages: Sequence[Message],
        settings: GenerationSettings,
        cancel: threading.Event,
    ) -> Iterator[Delta]:
        assert replica.facts is not None
        chat, http = self._chat(replica)
        limits = self._options.limits
        watch = _Patience(replica.url, self._options.timeout_s, limits.answer_s, cancel, self._closing)
        options = request_options(settings, replica.facts, replica.url, self._options.extra)
        reader = AnswerReader(chat, http, messages, options, lambda error: failure_of(error, replica.url, self._key))
        watch.reader = reader
        text, started, first = WithoutThinking(), time.monotonic(), 0.0
        for delta in watch.deltas(reader):
            if delta.finish_reason == "timeout":
                yield replace(delta, text=text.finish())
                return
            first = first or time.monotonic() - started
            visible = text.feed(delta.text) if delta.text else ""
            if delta.finish_reason:
                visible += text.finish()
                self._measured(delta.prompt_tokens, first)
                took = time.monotonic() - started
                self._answer_s += (0.3 if self._answer_s else 1.0) * (took - self._answer_s)
                yield Delta(visible, 0, delta.finish_reason, delta.prompt_tokens, delta.generated_tokens)
            elif visible:
                yield Delta(visible)
            if reader.pieces > 2 * settings.max_tokens + 64 and not delta.finish_reason:
                yield Delta("", 0, "length")  # a server that does not know max_tokens would go on for ever
                return

    def _expected_s(self, place: int) -> float:
        """Seconds until that place is served, by the last answers; 0.0 before the first."""
        at_once = max(1, len(self.replicas.usable())) * self._options.at_once
        return self._answer_s * place / at_once

    def _measured(self, prompt_tokens: int, seconds: float) -> None:
        """Follows the prompts read; short ones tell the way there and back, not the reading."""
        if prompt_tokens >= _MEASURED_TOKENS and seconds > 0:
            rate = min(50_000.0, max(50.0, prompt_tokens / seconds))
            self._rate += 0.3 * (rate - self._rate)

    def _chat(self, replica: Replica[ServerFacts]) -> tuple[Any, RemoteHttp]:
        assert replica.facts is not None
        return self._built_chat(replica.url, replica.facts.model, replica.facts.flavour)

    @functools.cached_property
    def _built_chat(self) -> Callable[[str, str, str], tuple[Any, RemoteHttp]]:
        lock = threading.Lock()
        built: dict[tuple[str, str, str], tuple[Any, RemoteHttp]] = {}

        def of(url: str, model: str, flavour: str) -> tuple[Any, RemoteHttp]:
            with lock:
                if (url, model, flavour) not in built:
                    built[url, model, flavour] = self._build(url, model, flavour)
                return built[url, model, flavour]

        return of

    def _build(self, url: str, model: str, flavour: str) -> tuple[Any, RemoteHttp]:
        from models.langchain_openai_chat import EngineChatOpenAI

        http = RemoteHttp(url)
        chat = EngineChatOpenAI(
            model=model,
            base_url=url,
            api_key=self._key or "none",
            max_retries=0,  # a second attempt goes to another server
            timeout=self._options.timeout_s,
            stream_usage=True,
            http_client=http.client,
            use_responses_api=False,
            new_token_limit=flavour == "openai",
        )
        return chat, http


class _OverTime(Exception):
    """An answer took longer than one may."""


class _Patience:
    """Notices an answer that stands still or never ends, and a model that is being closed."""

    def __init__(
        self, url: str, timeout_s: float, answer_s: float, cancel: threading.Event, closing: threading.Event
    ) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._until = time.monotonic() + answer_s
        self._closing = closing
        self.stop = cancel
        self.reader: AnswerReader | None = None

    def deltas(self, reader: AnswerReader) -> Iterator[Delta]:
        """Those of the reader; an answer over its time, also one of which nothing can be shown, ends as `timeout`."""
        try:
            for delta in reader.deltas(self.stop, self.look):
                self.look()
                yield delta
        except _OverTime:
            yield Delta(finish_reason="timeout")

    def look(self) -> None:
        if time.monotonic() > self._until:
            raise _OverTime
        if self._closing.is_set():
            raise RemoteFailure("away", "Alioth's models process is shutting down")
        if self.reader is not None and time.monotonic() - self.reader.last_piece > self._timeout_s:
            raise RemoteFailure("away", f"{self._url!r} sent nothing for {self._timeout_s:.0f} s")


def lora_field(settings: GenerationSettings, facts: ServerFacts, url: str) -> list[dict[str, Any]]:
    """Every adapter of a llama.cpp server with the scale that this answer wants; [] for servers without any.

    Where no adapter was chosen, each has the scale that the server was started with. All are always named: of a request
    that names none, the server may go on from what it read under another adapter, and it ignores ids it does not know.

    Raises:
        InputError: an adapter was chosen that the server does not have.
    """
    chosen = dict(settings.adapters)
    for name in chosen:
        if name not in facts.adapters:
            listed = ", ".join(map(repr, facts.adapters)) or "none"
            raise InputError(
                f"Adapters of another engine are used by its own names: {url!r} has no {name!r}; it has {listed}.",
                "Start llama.cpp's server with --lora FILE --lora-init-without-apply, or switch the adapter off.",
            )
    return [
        {"id": one.id, "scale": chosen.get(name, 0.0) if chosen else one.scale} for name, one in facts.adapters.items()
    ]


def request_options(
    settings: GenerationSettings, facts: ServerFacts, url: str, extra: dict[str, Any]
) -> dict[str, Any]:
    """Fields of a request that this kind of server knows; `extra` goes before all of them.

    Raises:
        InputError: see `lora_field`.
    """
    options = openai_fields(settings)
    body: dict[str, Any] = {}
    if facts.flavour in ("llama.cpp", "vllm"):
        repeat = "repeat_penalty" if facts.flavour == "llama.cpp" else "repetition_penalty"
        body = {repeat: settings.repeat_penalty, "top_k": settings.top_k, "min_p": settings.min_p}
    if lora := lora_field(settings, facts, url):
        body["lora"] = lora
    body |= response_format(settings.json_schema) | extra
    if body:
        options["extra_body"] = body
    return options


def _broken(failure: RemoteFailure) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"The answer broke off in the middle: {failure.message}.", "What came until then is kept. Ask again."
    )
