"""A models process of its own for measuring: with so many slots, and everything else as in production."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from models.client.connection import ModelsClient
from models.protocols import LanguageModel

TOKEN = "bench"


@dataclass(frozen=True)
class LlmServer:
    """A running process and the client that the chat uses."""

    client: ModelsClient
    process: psutil.Process

    @property
    def llm(self) -> LanguageModel:
        return self.client.llm()

    def figures(self) -> dict[str, Any]:
        """What `/v1/queue` says."""
        reply: dict[str, Any] = self.client.openai().get("/queue", cast_to=object)
        return reply

    def resident_mb(self) -> float:
        return float(self.process.memory_info().rss) / 1e6


@contextlib.contextmanager
def llm_server(home: Path, slots: int, **settings: object) -> Iterator[LlmServer]:
    """Ends with the block. settings: of the group `models`, by their names in lower case."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALIOTH_")}
    chosen = {f"ALIOTH_MODELS__{name.upper()}": str(value) for name, value in settings.items()}
    extra = {"ALIOTH_HOME": str(home), "ALIOTH_MODELS__TOKEN": TOKEN, "ALIOTH_MODELS__SLOTS": str(slots)}
    read, write = os.pipe()
    command = [sys.executable, "-m", "app.model_server", "--port", "0", "--ready-fd", str(write)]
    process = subprocess.Popen(command, pass_fds=(write,), env={**clean, **extra, **chosen})
    os.close(write)
    try:
        with os.fdopen(read) as stream:
            url = json.loads(stream.read())["url"]
        yield LlmServer(ModelsClient(url, TOKEN, home), psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
