"""Waiting for the model over HTTP: turns, places and figures of a real models process with one slot."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from models.protocols import Lane
from models.queueing.limits import MAX_WAITING, MAX_WAITING_PER_USER
from models.wire import LANE_HEADER, PLACE_FIELD, WAIT_FIELD
from tests.models.conftest import ENDLESS, TOKEN
from tests.models.odd_server import wait_until

LLM = "smollm2-135m-instruct"


class Asked:
    """One streamed answer; what came of it so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.text, self.reason = "", ""
        self.places: list[tuple[int, int]] = []
        self._lines = response.iter_lines()

    def step(self) -> bool:
        """Read one piece; False at the end."""
        for line in self._lines:
            if line == "data: [DONE]":
                return False
            if line:
                chunk = json.loads(line.removeprefix("data: "))
                if PLACE_FIELD in chunk:
                    self.places.append((chunk[PLACE_FIELD], chunk[WAIT_FIELD]))
                for choice in chunk["choices"]:
                    self.text += choice["delta"].get("content", "")
                    self.reason = choice["finish_reason"] or self.reason
                return True
        return False

    def until_text(self) -> Asked:
        while not self.text:
            assert self.step()
        return self

    def until_place(self, place: int) -> Asked:
        """Until it is told this place; the same place is told again every second."""
        while not self.places or self.places[-1][0] != place:
            assert self.step()
        return self

    def finish(self) -> Asked:
        while self.step():
            pass
        return self


class Service:
    """The models process, seen by one of its clients."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self.url, self._stack = url, stack
        self.http = stack.enter_context(
            httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=120)
        )

    def body(self, user: str, tokens: int, endless: bool) -> dict[str, Any]:
        made: dict[str, Any] = {"model": LLM, "user": user, "max_tokens": tokens, "stream": True}
        if endless:  # so that a small model cannot come to an end of its own
            made["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": ENDLESS}}
        return made | {"messages": [{"role": "user", "content": f"Tell {user} a story."}]}

    def send(
        self, user: str, tokens: int = 8, lane: Lane = Lane.QUESTION, *, endless: bool = False
    ) -> contextlib.AbstractContextManager[httpx.Response]:
        headers = {LANE_HEADER: lane.value} if lane is not Lane.QUESTION else {}
        body = self.body(user, tokens, endless)
        return self.http.stream("POST", "/v1/chat/completions", json=body, headers=headers)

    def ask(self, user: str, tokens: int = 8, lane: Lane = Lane.QUESTION, *, endless: bool = False) -> Asked:
        """Returns when it is queued; a slot is not waited for."""
        response = self._stack.enter_context(self.send(user, tokens, lane, endless=endless))
        assert response.status_code == 200, response.read()
        return Asked(response)

    def hold(self, user: str = "holder", lane: Lane = Lane.QUESTION) -> Asked:
        """A long answer that has the slot."""
        return self.ask(user, 2000, lane, endless=True).until_text()

    def send_unread(self, user: str, stream: bool) -> socket.socket:
        """A long answer that is never read, over a connection that can be dropped at any time."""
        body = json.dumps(self.body(user, 2000, True) | {"stream": stream}).encode()
        url = urlsplit(self.url)
        connection = self._stack.enter_context(socket.create_connection((url.hostname, url.port), timeout=60))
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        return connection

    def queue(self) -> dict[str, Any]:
        figures: dict[str, Any] = self.http.get("/v1/queue").json()
        return figures

    def idle(self) -> bool:
        figures = self.queue()
        return not any(figures[name] for name in ("running", "waiting", "waiting_background", "paused"))


@pytest.fixture
def service(server_url: str) -> Iterator[Service]:
    with contextlib.ExitStack() as stack:
        made = Service(server_url, stack)
        wait_until(made.idle)
        yield made
    with contextlib.ExitStack() as stack:
        wait_until(Service(server_url, stack).idle)


def test_who_waits_is_told_place_and_seconds_and_the_queue_counts_them(service: Service) -> None:
    idle = service.queue()
    assert (idle["model"], idle["slots"], idle["wait_s"]) == (LLM, 1, 0.0)
    assert idle["limits"]["waiting"] == MAX_WAITING and idle["limits"]["waiting_per_user"] == MAX_WAITING_PER_USER
    held = service.hold()
    ann, second, bob = service.ask("ann"), service.ask("ann"), service.ask("bob")
    waiting = [ann.until_place(1), bob.until_place(2), second.until_place(3)]
    figures = service.queue()
    assert [figures[name] for name in ("running", "waiting", "waiting_background")] == [1, 3, 0]
    assert figures["wait_s"] > 0 and figures["reading_rate"] > 0 and figures["writing_rate"] > 0
    assert all(asked.places[-1][1] > 0 for asked in waiting)
    held.response.close()
    assert [asked.finish().reason for asked in waiting] == ["length"] * 3 and all(asked.text for asked in waiting)


def test_the_background_lane_waits_for_all_others_and_gives_way_to_them(service: Service) -> None:
    held = service.hold()
    background = service.ask("evaluation", 400, Lane.BACKGROUND, endless=True).until_place(1)
    question = service.ask("person").until_place(1)
    background.until_place(2)
    figures = service.queue()
    assert (figures["running"], figures["waiting"], figures["waiting_background"]) == (1, 1, 1)
    held.response.close()
    assert question.finish().text
    written = background.until_text().text
    late = service.ask("person", 300, endless=True).until_text()
    figures = service.queue()
    assert (figures["running"], figures["paused"]) == (1, 1), "it left the slot in the middle"
    late.response.close()
    while background.text == written:
        assert background.step()
    background.response.close()


def test_one_user_cannot_fill_the_queue(service: Service) -> None:
    held = service.hold("ann")
    waiting = [service.ask("ann") for _ in range(MAX_WAITING_PER_USER)]
    with service.send("ann") as refused:
        error = json.loads(refused.read())["error"]
    assert (refused.status_code, error["code"], refused.headers["Retry-After"]) == (429, "limit", "60")
    assert f"the limit is {MAX_WAITING} in all and {MAX_WAITING_PER_USER} per user" in error["message"]
    assert f"Place {MAX_WAITING_PER_USER + 1}" in error["hint"]
    bob = service.ask("bob").until_place(2)
    for asked in waiting:
        asked.response.close()
    held.response.close()
    assert bob.finish().text


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_client_that_goes_away_leaves_slot_and_queue(service: Service, stream: bool) -> None:
    before = service.queue()["cancelled"]
    answered = service.send_unread("gone", stream)
    wait_until(lambda: service.queue()["running"] == 1)
    waiting = service.send_unread("gone too", stream)
    wait_until(lambda: service.queue()["waiting"] == 1)
    waiting.close()
    wait_until(lambda: service.queue()["waiting"] == 0)
    assert service.queue()["running"] == 1
    answered.close()
    wait_until(service.idle)
    assert service.queue()["cancelled"] == before + 1, "what only waited was never begun"
    assert service.ask("next").finish().text


def test_people_take_turns_however_much_each_of_them_asks(service: Service) -> None:
    held = service.hold()
    users = [f"user {number}" for number in range(4)]
    first, second = zip(*((service.ask(user), service.ask(user)) for user in users), strict=True)
    for place, asked in enumerate([*first, *second], start=1):
        asked.until_place(place)
    held.response.close()
    assert {asked.finish().reason for asked in [*first, *second]} == {"length"}
