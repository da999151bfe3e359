"""The books of slots and kept states against a native memory that checks every call: no two answers ever mix."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any
from unittest import mock

import hypothesis.strategies as st
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from models.engine import slots as slots_module
from models.engine.answer_request import AnswerRequest
from models.engine.counts import Counts
from models.engine.llama_native import Aborted, NoRoom
from models.engine.pace import READ_CHUNK, Pace
from models.engine.prefixes import LEAST_TOKENS, Prefixes, common
from models.engine.slots import Slots
from models.protocols import Delta, GenerationSettings

SLOTS, CELLS, STATE_BYTES = 3, 160, 10
LIMIT = 60 * STATE_BYTES


class Native:
    """Remembers per sequence what was computed under which adapters; the next token is a function of all before it."""

    def __init__(self) -> None:
        self.held: list[list[int]] = [[] for _ in range(SLOTS)]
        self.worn: tuple[Any, ...] = ()
        self.rows: list[tuple[int, int, int, bool]] = []
        self.flag = False

    def abort(self, wanted: bool) -> None:
        self.flag = wanted

    def compute(self, rows: Sequence[tuple[int, int, int, bool]]) -> None:
        assert 0 < len(rows) <= READ_CHUNK
        if self.flag:
            raise Aborted
        if sum(map(len, self.held)) + len(rows) > CELLS:
            raise NoRoom
        for token, position, seq, _ in rows:
            assert position == len(self.held[seq]), "positions follow on what the sequence has"
            self.held[seq].append(token)
        self.rows = list(rows)

    def cut(self, seq: int, start: int) -> bool:
        del self.held[seq][start:]
        return True

    def copy(self, source: int, target: int, end: int) -> None:
        assert not self.held[target]
        self.held[target] = self.held[source][:end]

    def state_bytes(self, seq: int) -> int:
        return len(self.held[seq]) * STATE_BYTES

    def save(self, seq: int) -> Any:
        return (self.worn, list(self.held[seq]))

    def restore(self, seq: int, state: Any) -> bool:
        assert not self.held[seq] and state[0] == self.worn, "a state of other adapters"
        if sum(map(len, self.held)) + len(state[1]) > CELLS:
            return False
        self.held[seq] = list(state[1])
        return True

    def sampler(self, settings: GenerationSettings) -> Any:
        class Closes:
            def close(self) -> None: ...

        return Closes()

    def wear(self, adapters: Sequence[tuple[str, float]]) -> None:
        if tuple(adapters) != self.worn:
            self.worn = tuple(adapters)
            self.held = [[] for _ in range(SLOTS)]

    def sample(self, sampler: Any, index: int) -> int:
        assert self.rows[index][3], "logits that were not asked for"
        return following(self.held[self.rows[index][2]])

    def piece(self, token: int) -> bytes:
        return f"{token} ".encode()

    def ends_answer(self, token: int) -> bool:
        return token == 0


def following(tokens: Sequence[int]) -> int:
    return hash(tuple(tokens)) % 11


def expected(prompt: Sequence[int], most: int) -> str:
    tokens, text = list(prompt), ""
    for _ in range(most):
        token = following(tokens)
        if token == 0:
            break
        text += f"{token} "
        tokens.append(token)
    return text


class Clock:
    """Every look at it is a millisecond later, so that the same calls are made however busy the machine is."""

    def __init__(self) -> None:
        self._ticks = itertools.count()

    def monotonic(self) -> float:
        return next(self._ticks) / 1000

    perf_counter = monotonic


class Books(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._real_time = mock.patch.object(slots_module, "time", Clock())
        self._real_time.start()
        self.native, self.counts = Native(), Counts()
        self.prefixes = Prefixes(self.native, LIMIT)
        self.slots = Slots(
            self.native, SLOTS, self.prefixes, Pace(1000.0, {1: 0.01, 2: 0.03}), self.counts, answer_s=1e9
        )
        self.asked: list[tuple[AnswerRequest, list[int]]] = []

    @precondition(lambda self: self.slots.has_room)
    @rule(
        family=st.integers(1, 2), shared=st.integers(0, 60), own=st.lists(st.integers(1, 5), min_size=1, max_size=20),
        most=st.integers(1, 12), adapter=st.booleans(), background=st.booleans(),
    )  # fmt: skip
    def ask(self, family: int, shared: int, own: list[int], most: int, adapter: bool, background: bool) -> None:
        prompt = [family] * shared + own
        adapters = (("fine", 1.0),) if adapter else ()
        request = AnswerRequest(
            None, [], "u", list(prompt), GenerationSettings(max_tokens=most, adapters=adapters),
            threading.Event(), background, adapters,
        )  # fmt: skip
        if self.slots.suits(request):
            self.slots.start(request)
            self.asked.append((request, prompt))

    @rule(times=st.integers(1, 6))
    def step(self, times: int) -> None:
        for _ in range(times):
            self.slots.step()

    @precondition(lambda self: self.slots.active)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.slots.running())).cancel.set()

    @precondition(lambda self: self.slots.active)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        self.slots.pause(data.draw(st.sampled_from(self.slots.running())))

    @precondition(lambda self: self.slots.paused and self.slots.has_room)
    @rule()
    def resume(self) -> None:
        if self.slots.suits(self.slots.paused[0]):
            self.slots.start(self.slots.paused.pop(0))

    @invariant()
    def a_sequence_has_what_its_answer_computed_and_free_ones_nothing(self) -> None:
        for seq, held in enumerate(self.native.held):
            request = self.slots.active.get(seq)
            assert held == (request.tokens[: request.done] if request else [])
        assert len(self.slots.active) <= SLOTS and self.prefixes.size <= LIMIT

    def teardown(self) -> None:
        """Whatever happened, each answer comes to its end and is the one it would have been alone."""
        try:
            self._end_all()
        finally:
            self._real_time.stop()

    def _end_all(self) -> None:
        for _ in range(3000):
            if not (self.slots.active or self.slots.paused):
                break
            if self.slots.paused and self.slots.has_room and self.slots.suits(self.slots.paused[0]):
                self.slots.start(self.slots.paused.pop(0))
            self.slots.step()
        assert not self.slots.active and not self.slots.paused
        for request, prompt in self.asked:
            deltas: list[Any] = []
            while not request.out.empty():
                deltas.append(request.out.get())
            assert all(isinstance(delta, Delta) for delta in deltas), deltas
            text = "".join(delta.text for delta in deltas)
            whole = expected(prompt, request.settings.max_tokens)
            if request.cancel.is_set() and deltas[-1].finish_reason == "cancelled":
                assert whole.startswith(text)
            else:
                assert text == whole and deltas[-1].finish_reason in ("stop", "length")


TestBooks = Books.TestCase

tokens = st.lists(st.integers(0, 2), max_size=40)


@given(tokens, tokens)
def test_the_common_beginning_is_the_longest(one: list[int], other: list[int]) -> None:
    n = common(one, other)
    assert one[:n] == other[:n] and (n == min(len(one), len(other)) or one[n] != other[n])


@given(st.integers(1, 64), st.dictionaries(st.sampled_from([1, 2, 4, 8, 16]), st.floats(0.001, 1.0), max_size=5))
def test_the_chosen_width_is_never_slower_than_turns_or_all_at_once(answers: int, seconds: dict[int, float]) -> None:
    pace = Pace(300.0, {1: 0.01, **seconds})
    width = pace.width(answers)

    def rate(n: int) -> float:
        return n / pace.step_seconds(n)

    assert 1 <= width <= answers and rate(width) >= max(rate(1), rate(answers))


def test_a_prompt_is_read_whole_when_alone_and_in_small_pieces_beside_others() -> None:
    pace = Pace(300.0, {1: 0.01})
    assert pace.chunk(0) == READ_CHUNK and pace.chunk(3) == 24
    assert Pace(1e6, {1: 0.01}).chunk(3) == READ_CHUNK - 3


def test_a_state_of_other_adapters_is_never_put_back() -> None:
    native = Native()
    prefixes = Prefixes(native, 10_000)
    text = list(range(1, 2 * LEAST_TOKENS))
    native.held[0] = list(text)
    prefixes.keep(0, text, "one")
    assert prefixes.begin(0, [*text, 9], "other") == 0
    assert prefixes.begin(0, [*text, 9], "one") == len(text)
