"""Seconds from `alioth serve` to the first page, to the models, and to the first token of a first answer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from app.services import choose_port
from app.serving import HELP_COLLECTION
from app.warm import is_ready, warm
from app.wiring import Alioth
from chat.events import Text
from core.settings import load_settings
from core.types import AnswerMode

QUESTIONS = {"en": "What formats of files can I add to a collection?", "zh": "如何把一个文件夹的文档加入知识库？"}
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class StartResult:
    """Seconds since `alioth serve` began: the page answers; the models are loaded.

    first_token, later_token: seconds from a question to the first piece of its generated answer, for the first
    question after the start and for one asked after it, by language of the question. The asking process is warmed
    first, as the web process warms itself when the models are loaded.
    """

    page: float
    models: float
    first_token: dict[str, float]
    later_token: dict[str, float]


def measure_start() -> StartResult:
    """Serve the data directory of the environment once to fill it, then measure one start per language."""
    port = choose_port(None)
    os.environ["ALIOTH_WEB__PORT"] = str(port)
    _serve_once(port, None)
    first, later = {}, {}
    for language, question in QUESTIONS.items():
        page, models, first[language], later[language] = _serve_once(port, question)
    return StartResult(page, models, first, later)


def _serve_once(port: int, question: str | None) -> tuple[float, float, float, float]:
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    alioth = Alioth(load_settings(), start_services=False)
    try:
        _until(lambda: _answers(port))
        page = time.monotonic() - began
        _until(lambda: is_ready(alioth))
        models = time.monotonic() - began
        warm(alioth)
        if question is None:
            _until(lambda: bool(alioth.collections.list()) and alioth.documents.pending() == 0)
            return page, models, 0.0, 0.0
        return page, models, _first_token(alioth, question), _first_token(alioth, question + " ")
    finally:
        alioth.close()
        process.terminate()
        process.wait(30)


def _first_token(alioth: Alioth, question: str) -> float:
    began = time.monotonic()
    collection = alioth.collections.get(HELP_COLLECTION)
    for event in alioth.answerer.answer(question, [collection], [], AnswerMode.ANSWER, user="bench"):
        if isinstance(event, Text):
            return time.monotonic() - began
    raise RuntimeError(f"{question!r} got no generated answer.")


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 401  # the sign-in page
    except OSError:
        return False


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not there after {TIMEOUT_S:.0f} s.")
        time.sleep(0.05)
