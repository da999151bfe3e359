"""`alioth serve` with real processes, and a real Chromium in front of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "build" / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SLOW_MS = 120_000


class Served:
    """A running `alioth serve`: its address, the one-time link it printed, its data directory."""

    def __init__(self, url: str, link: str, home: Path) -> None:
        self.url, self.link, self.home = url, link, home


@contextmanager
def serve(folder: Path, **settings: str) -> Iterator[Served]:
    """Everything of it, until the end of the block. settings: variables of the environment."""
    port = _free_port()
    environment = {**os.environ, "ALIOTH_HOME": str(folder / "data"), "PYTHONPATH": str(ROOT), **settings}
    with (folder / "serve.out").open("w+b") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--port", str(port), "--no-help-collection"],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )
        try:
            yield Served(f"http://127.0.0.1:{port}", _link(process, folder / "serve.out"), folder / "data")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser, until the end of the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def shot(page: Page, name: str) -> None:
    """Keep a picture of the page for people to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def choose_mode(page: Page, name: str) -> None:
    """How the chat page is to answer."""
    page.get_by_test_id("stSelectbox").locator("input").click()
    page.get_by_role("option", name=name).click()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _link(process: subprocess.Popen[bytes], out: Path, seconds: float = 240) -> str:
    """The set-up link, once the models are loaded too."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        text = out.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"http://\S+/setup\?token=\S+", text)
        if found and "models is ready" in text:
            return found.group()
        time.sleep(0.5)
    raise AssertionError(f"alioth serve printed no set-up link:\n{out.read_text(encoding='utf-8', errors='replace')}")
