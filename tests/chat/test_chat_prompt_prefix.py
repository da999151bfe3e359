"""What two turns of a conversation have in common stands first, so that a model need not read it again."""

from __future__ import annotations

import threading
from typing import Any

from chat.context import single_sources
from chat.generation import fence_word
from chat.prompt import build_prompt
from chat.running import RunningAnswers
from core.types import ChatTurn


def flat(messages: Any) -> str:
    return "\n".join(message.content for message in messages)


def test_two_turns_over_the_same_passages_differ_only_after_them(scored: Any) -> None:
    sources = single_sources(scored("The pump is blue.", "The gate is green."), 2)
    fence = fence_word(0, "What is blue?", ())
    earlier = [ChatTurn("user", "What is blue?")]
    one = flat(build_prompt("What is blue?", sources, "en", fence=fence))
    two = flat(build_prompt("And green?", sources, "en", fence=fence, earlier=earlier))
    common = next(n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    assert common > one.rindex(f"<<end {fence}>>")


class Messages:
    def __init__(self) -> None:
        self.states: list[str] = []

    def add_message(self, conversation_id: str, role: str, text: str, state: str = "complete") -> Any:
        return type("Stored", (), {"id": f"{role}-{conversation_id}"})()

    def finish_message(self, message_id: str, state: str, text: str, answer: Any, error: Any = None) -> None:
        self.states.append(state)

    def renew(self, message_ids: Any) -> None: ...

    def fail_streaming(self) -> int:
        return 0


def test_the_answers_of_a_user_who_was_disabled_are_stopped_and_no_others() -> None:
    disabled: set[str] = set()
    stops: dict[str, threading.Event] = {}
    ended = {user: threading.Event() for user in ("ann", "bob")}

    def make(user: str) -> Any:
        def events(stop: threading.Event) -> Any:
            stops[user] = stop

            def work() -> Any:
                stop.wait(120)
                ended[user].set()
                yield from ()

            return work()

        return events

    running = RunningAnswers(
        lambda *_: iter(()), Messages(), unattached_s=600, may_ask=lambda user: user not in disabled
    )
    try:
        for user in ("ann", "bob"):
            running.start(user, user, "What is blue?", [], make=make(user))
        disabled.add("ann")
        assert ended["ann"].wait(60)
        assert not stops["bob"].is_set()
    finally:
        running.close()
