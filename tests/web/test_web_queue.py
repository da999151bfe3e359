"""Five people ask one language model with one slot, each in a browser: places, moving on, stopping."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from app.model_choice import queue_figures
from app.web.gate import COOKIE
from app.web.messages import say
from app.wiring import Alioth
from auth.tokens import new_token, token_hash
from core.settings import Settings
from core.types import Role
from models.protocols import GenerationSettings, Message
from tests.app.cli_driver import CommandLine
from tests.web.browsing import CHROMIUM, SLOW_MS, Served, choose_mode, chromium, serve, shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(600),
]

HANDBOOK = """# Handbook

## Parking

The car park has 60 places. A place costs 25 euros a month.

## 停车

停车场共有六十个车位，每个车位每月二十五元。
"""
ASKED = {
    "ann": ("en", "How much is a place in the car park?"),
    "bo": ("zh", "停车场每个车位每月多少元？"),
    "cy": ("en", "How many places has the car park?"),
    "di": ("zh", "停车场共有多少个车位？"),
    "ed": ("en", "What does a place in the car park cost?"),
}
ENDLESS = json.dumps({"type": "array", "minItems": 100, "items": {"type": "string", "minLength": 500}})
"""A form that nobody fills in: 50,000 characters at least."""
LONG = "停车场每个车位每月多少元？" * 150
"""Some 3,800 tokens, which take seconds to read."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {"ALIOTH_MODELS__SLOTS": "1", "ALIOTH_MODELS__THREADS": "1", "ALIOTH_CHAT__ANSWER_TOKENS": "32"}
    with serve(tmp_path_factory.mktemp("queue"), **settings) as running:
        yield running


@pytest.fixture
def alioth(served: Served, tmp_path: Path) -> Iterator[Alioth]:
    """The served one's data, with a handbook in it."""
    file = tmp_path / "handbook.md"
    file.write_text(HANDBOOK, encoding="utf-8")
    cli = CommandLine(served.home, {})
    cli.ok("collection", "create", "Handbook")
    cli.ok("ingest", "add", file, "-c", "Handbook")
    parts = Alioth(Settings(home=served.home))
    yield parts
    parts.close()


@contextmanager
def busy(alioth: Alioth) -> Iterator[None]:
    """The only slot is taken until the end of the block, however slow the machine."""
    form, ended = GenerationSettings(max_tokens=6000, json_schema=ENDLESS), threading.Event()
    writing = alioth.llm.stream([Message("user", "Fill in the form.")], form, ended, "somebody")
    next(delta for delta in writing if delta.text)  # it is served from here on
    try:
        with slowed(models_process(alioth)):
            yield
    finally:
        ended.set()
        list(writing)


@contextmanager
def slowed(process: psutil.Process) -> Iterator[None]:
    """It computes a tenth of the time, so that what it writes lasts, and costs little."""
    enough = threading.Event()

    def now_and_then() -> None:
        while not enough.wait(0.05):
            process.suspend()
            enough.wait(0.45)
            process.resume()

    thread = threading.Thread(target=now_and_then)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def models_process(alioth: Alioth) -> psutil.Process:
    """Of this data directory."""
    home = str(alioth.settings.home)
    for process in psutil.process_iter(["cmdline", "environ"]):
        command, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if "app.model_server" in command and environment.get("ALIOTH_HOME") == home:
            return process
    raise AssertionError(f"no models process of {home}")


def sign_in(alioth: Alioth, browser: Browser, served: Served, name: str) -> Page:
    """Their chat page, with the question typed."""
    language, question = ASKED[name]
    user, token = alioth.accounts_store.add_user(name, "!"), new_token()
    alioth.accounts_store.add_sign_in(token_hash(token), user.id, datetime.now(UTC) + timedelta(hours=1))
    alioth.accounts_store.grant(alioth.collections.list()[0].id, "user", user.id, Role.READ)
    locale = {"en": "en-GB", "zh": "zh-CN"}[language]
    context = browser.new_context(locale=locale, viewport={"width": 1100, "height": 640})
    context.add_cookies([{"name": COOKIE, "value": token, "url": served.url}])
    page = context.new_page()
    page.goto(served.url)
    page.get_by_test_id("stChatInput").wait_for(timeout=SLOW_MS)
    choose_mode(page, say("chat.mode_answer", language))
    page.get_by_test_id("stChatInput").locator("textarea").fill(question)
    return page


def stop(page: Page, name: str) -> None:
    page.get_by_role("button", name=say("chat.stop", ASKED[name][0])).click()


def wait_for_place(page: Page, name: str, place: int) -> None:
    """Until the page says how many are ahead."""
    words = say("chat.queue", ASKED[name][0], place=place)
    page.get_by_text(re.compile(re.escape(words) + r"(\D|$)")).wait_for(timeout=SLOW_MS)


def wait_for_end(page: Page, name: str) -> str:
    """Until another question can be asked; what is shown."""
    page.get_by_role("button", name=say("chat.stop", ASKED[name][0])).wait_for(state="detached", timeout=SLOW_MS)
    page.wait_for_function("() => !document.querySelector('[data-testid=stChatInput] textarea').disabled")
    return page.get_by_test_id("stChatMessage").last.inner_text()


def wait_for_queue(alioth: Alioth, running: int) -> None:
    """Until so many answers are computed."""
    end = time.monotonic() + SLOW_MS / 1000
    while queue_figures(alioth)["running"] != running:
        assert time.monotonic() < end, queue_figures(alioth)
        time.sleep(0.02)


def test_five_people_see_their_places_move_on_and_can_stop(alioth: Alioth, served: Served) -> None:
    with chromium() as browser:
        pages = {name: sign_in(alioth, browser, served, name) for name in ASKED}
        with busy(alioth):
            for place, (name, page) in enumerate(pages.items(), start=1):
                page.get_by_test_id("stChatInput").locator("textarea").press("Enter")
                wait_for_place(page, name, place)
            for name, page in pages.items():
                shot(page, f"queue_{name}")

            stop(pages["cy"], "cy")  # one who waits
            assert say("chat.stopped", "en") in wait_for_end(pages["cy"], "cy")
            wait_for_place(pages["di"], "di", 3)
            wait_for_place(pages["ed"], "ed", 4)
            assert queue_figures(alioth)["waiting"] == 4

        for name in ("ann", "bo", "di", "ed"):  # the slot is free, and each comes in turn
            assert say("chat.stopped", ASKED[name][0]) not in wait_for_end(pages[name], name)
        shot(pages["ann"], "queue_ann_answered")

        box = pages["bo"].get_by_test_id("stChatInput").locator("textarea")
        box.fill(LONG)
        box.press("Enter")
        wait_for_queue(alioth, running=1)
        stop(pages["bo"], "bo")  # one who is served
        assert say("chat.stopped", "zh") in wait_for_end(pages["bo"], "bo")
        wait_for_queue(alioth, running=0)
        assert queue_figures(alioth)["waiting"] == 0
