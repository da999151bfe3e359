"""The language model through the whole chat path beside the bare stream, fairness, stopping, reuse and memory."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.llm_server import LlmServer, llm_server
from evals.report import table
from models.protocols import Delta, GenerationSettings, Message

SLOTS = (1, 2, 4, 8)
USERS = 20
_TEXT = "The policy applies to all employees, who have to be told of it in writing before it takes effect. "


@dataclass(frozen=True)
class Shared:
    """20 users at once for a fixed time. jain: of tokens per user, 1 is equal. least: tokens of the worst served."""

    slots: int
    jain: float
    least: int
    together: float
    one_user: float


@dataclass
class LlmResult:
    """Rates in tokens per second; milliseconds; memory in MB by number of requests."""

    ours: float = 0.0
    bare: float = 0.0
    first_ms: float = 0.0
    bare_first_ms: float = 0.0
    reused_share: float = 0.0
    stop_writing_ms: float = 0.0
    stop_reading_ms: float = 0.0
    token_ms: float = 0.0
    shared: list[Shared] = field(default_factory=list)
    memory: dict[int, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.ours / max(self.bare, 1e-9)

    @property
    def added_first_ms(self) -> float:
        return self.first_ms - self.bare_first_ms


def measure_llm(quick: bool = False) -> LlmResult:
    """Everything in one run; about seven minutes on two quiet cores, one with `quick`."""
    result = LlmResult()
    with tempfile.TemporaryDirectory(prefix="alioth-bench-llm-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with llm_server(home, 1) as server, Bare(home) as bare:
            _rates(result, server, bare, rounds=1 if quick else 21, tokens=32 if quick else 192)
            _first(result, server, bare, rounds=3 if quick else 11)
            result.reused_share = _reuse(server, bare)
            result.stop_writing_ms, result.stop_reading_ms = _stops(server, rounds=1 if quick else 5)
            result.token_ms = 1000 / max(result.ours, 1e-9)
        for slots in SLOTS[:2] if quick else SLOTS:
            with llm_server(home, slots) as server:
                result.shared.append(_share(server, slots, seconds=4 if quick else 25))
        with llm_server(home, 1, keep_mb=16) as server:
            result.memory = _memory(server, 40 if quick else 1000)
    return result


class Bare:
    """llama-cpp-python's own class on the same weights file with the same threads."""

    def __init__(self, home: Path) -> None:
        from llama_cpp import Llama

        from models.embedding.cpu import physical_cores
        from models.files import weights
        from models.files.catalog import entry
        from models.files.requantise import copy_of

        self.entry = entry("smollm2-135m-instruct", home)
        source, digest = weights.resolve(self.entry.id, home), weights.weights_sha256(self.entry.id, home)
        file, threads = copy_of(source, digest, home), physical_cores()
        self._llama: Any = Llama(
            str(file), n_ctx=4096, n_batch=256, n_threads=threads, n_threads_batch=threads, verbose=False
        )

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_: object) -> None:
        self._llama.close()

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """The prompt as our models process reads it."""
        from models.chatml import render

        def tokenize(text: str, markers: bool) -> list[int]:
            return list(self._llama.tokenize(text.encode(), add_bos=False, special=markers))

        return render(messages, tokenize, self.entry.answer_prefix, self.entry.template)

    def rate(self, messages: Sequence[Message], tokens: int) -> float:
        """Tokens per second after the first."""
        self._llama.reset()
        first, count = 0.0, 0
        for _ in self._llama.generate(self.tokens(messages), temp=0.0, repeat_penalty=1.0):
            first = first or time.perf_counter()
            count += 1
            if count == tokens:
                break
        return (count - 1) / (time.perf_counter() - first)

    def read_ms(self, messages: Sequence[Message]) -> float:
        """Milliseconds of evaluating the prompt."""
        prompt = self.tokens(messages)
        self._llama.reset()
        started = time.perf_counter()
        self._llama.eval(prompt)
        return (time.perf_counter() - started) * 1000


def _rates(result: LlmResult, server: LlmServer, bare: Bare, rounds: int, tokens: int) -> None:
    prompt = [Message("user", f"{_TEXT * 8}\nWrite a long text about this.")]
    ours, plain = [], []
    list(server.llm.stream(prompt, GenerationSettings(max_tokens=2), user="warm"))
    for _ in range(rounds):
        plain.append(bare.rate(prompt, tokens))
        first = 0.0
        last = Delta()
        for last in server.llm.stream(prompt, GenerationSettings(max_tokens=tokens, repeat_penalty=1.0), user="a"):
            first = first or (time.perf_counter() if last.text else 0.0)
        ours.append((last.generated_tokens - 1) / (time.perf_counter() - first))
    result.ours, result.bare = statistics.median(ours), statistics.median(plain)


def _first(result: LlmResult, server: LlmServer, bare: Bare, rounds: int) -> None:
    """Each prompt begins differently, so that nothing of it is known."""
    ours, plain = [], []
    for number in range(rounds):
        prompt = [Message("user", f"{number} {_TEXT * 3}")]
        plain.append(bare.read_ms(prompt))
        started = time.perf_counter()
        stream = server.llm.stream(prompt, GenerationSettings(max_tokens=4), user="a")
        next(delta for delta in stream if delta.text)
        ours.append((time.perf_counter() - started) * 1000)
        list(stream)
    result.first_ms, result.bare_first_ms = statistics.median(ours), statistics.median(plain)


def _reuse(server: LlmServer, bare: Bare) -> float:
    """Share of what the prompts of two turns have in common that was not read again, though others asked between."""
    one = [Message("system", "Answer from the text."), Message("user", f"{_TEXT * 12}\nWho has to be told?")]
    two = [*one, Message("assistant", "All employees."), Message("user", "In which form?")]
    settings = GenerationSettings(max_tokens=8)
    list(server.llm.stream(one, settings, user="a"))
    for other in range(3):
        list(server.llm.stream([Message("user", f"{other} {_TEXT * 4}")], settings, user=f"other {other}"))
    before = server.figures()["reused_tokens"]
    list(server.llm.stream(two, settings, user="a"))
    first, second = bare.tokens(one), bare.tokens(two)
    common = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first))
    return float(server.figures()["reused_tokens"] - before) / common


def _stops(server: LlmServer, rounds: int) -> tuple[float, float]:
    """Milliseconds from Stop until the model computes nothing any more: while it writes, while it reads."""
    long = GenerationSettings(max_tokens=2000, repeat_penalty=1.3)

    def writing(number: int) -> float:
        cancel = threading.Event()
        stream = server.llm.stream([Message("user", f"{number} Write down every word.")], long, cancel, "a")
        next(delta for delta in stream if delta.text)
        return _stop_ms(server, cancel, lambda: list(stream))

    def reading(number: int) -> float:
        cancel = threading.Event()
        stream = server.llm.stream([Message("user", f"{number} {_TEXT * 150}")], long, cancel, "a")
        thread = threading.Thread(target=lambda: list(stream))
        thread.start()
        while not server.figures()["running"]:
            time.sleep(0.01)
        time.sleep(0.4)
        return _stop_ms(server, cancel, thread.join)

    return (
        statistics.median(writing(number) for number in range(rounds)),
        statistics.median(reading(number) for number in range(rounds)),
    )


def _stop_ms(server: LlmServer, cancel: threading.Event, finish: Callable[[], object]) -> float:
    server.figures()  # the connection is there
    ender = threading.Thread(target=finish)
    started = time.perf_counter()
    cancel.set()
    ender.start()
    while server.figures()["running"]:
        pass
    elapsed = (time.perf_counter() - started) * 1000
    ender.join()
    return elapsed


def _share(server: LlmServer, slots: int, seconds: float) -> Shared:
    one = sum(_crowd(server, 1, seconds / 4)) / (seconds / 4)
    got = _crowd(server, USERS, seconds)
    jain = sum(got) ** 2 / (len(got) * max(1, sum(n * n for n in got)))
    return Shared(slots, jain, min(got), sum(got) / seconds, one)


def _crowd(server: LlmServer, users: int, seconds: float) -> list[int]:
    """Tokens that each user got who asks the same as all others again as soon as answered."""
    end, stop = time.monotonic() + seconds, threading.Event()
    got = [0] * users
    prompt, settings = [Message("user", "Write down every word that you know.")], GenerationSettings(max_tokens=16)

    def ask(user: int) -> None:
        while not stop.is_set():
            for delta in server.llm.stream(prompt, settings, stop, f"user {user}"):
                got[user] += delta.generated_tokens

    threads = [threading.Thread(target=ask, args=(user,)) for user in range(users)]
    for thread in threads:
        thread.start()
    time.sleep(max(0.0, end - time.monotonic()))
    stop.set()
    for thread in threads:
        thread.join()
    return got


def _memory(server: LlmServer, requests: int) -> dict[int, float]:
    """Resident MB of the models process before, after a tenth and after all requests, each of another prompt."""
    found = {}
    for number in range(requests):
        if number in (0, requests // 10):
            found[number] = server.resident_mb()
        list(server.llm.stream([Message("user", f"{number} {_TEXT}")], GenerationSettings(max_tokens=1)))
    return {**found, requests: server.resident_mb()}


_HEAD = """## Language model

Tokens per second through the whole chat path (our models process over HTTP, the client of the chat) beside the bare
stream of `llama_cpp.Llama` on the same weights, prompt and threads; milliseconds to the first piece of an answer beside
the bare evaluation of its prompt; the share of the tokens common to two turns that was not read again though others
asked in between; milliseconds from Stop until nothing is computed any more."""

_CROWD = f"""{USERS} users at once, each asking again as soon as answered, by the number of answers computed together
(slots). Jain's index of the tokens that each got: 1 is equal."""


def llm_section(result: LlmResult) -> list[str]:
    """Markdown for the performance page."""
    rows = [
        ("answer, tokens/s", f"{result.ours:.1f}", f"{result.bare:.1f}", f"{result.ratio:.3f}"),
        (
            "first piece, ms",
            f"{result.first_ms:.0f}",
            f"{result.bare_first_ms:.0f}",
            f"+{result.added_first_ms:.0f} ms",
        ),
        ("common tokens not read again", f"{result.reused_share:.1%}", "", ""),
        ("Stop while writing, ms", f"{result.stop_writing_ms:.0f}", f"{result.token_ms:.0f} (a token)", ""),
        ("Stop while reading, ms", f"{result.stop_reading_ms:.0f}", "", ""),
    ]
    crowd = [
        (f"{one.slots}", f"{one.jain:.3f}", f"{one.least}", f"{one.together:.1f}", f"{one.one_user:.1f}",
         f"{one.together / max(one.one_user, 1e-9):.2f}")
        for one in result.shared
    ]  # fmt: skip
    memory = ", ".join(f"{mb:.0f} MB after {number:,}" for number, mb in result.memory.items())
    return [
        _HEAD,
        table(("", "Alioth", "bare", "ratio"), rows),
        _CROWD,
        table(("slots", "Jain", "least tokens of one", "all, tokens/s", "one user alone, tokens/s", "ratio"), crowd),
        f"Memory of the models process over requests of different prompts, each kept for reuse up to 16 MB: {memory}.",
    ]
