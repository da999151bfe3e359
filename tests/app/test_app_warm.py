"""Warming: the first question imports nothing any more, and a server that cannot warm itself still serves."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from app.warm import warm_when_ready
from app.wiring import Alioth
from core.settings import Settings
from tests.app.cli_driver import CommandLine

_ASK = """
import json, sys
from app.warm import warm
from app.wiring import Alioth
from core.settings import load_settings
from core.types import AnswerMode

alioth = Alioth(load_settings())
warm(alioth)
before = set(sys.modules)
collection = alioth.collections.get("garden")
for question in ("How long must the seeds be soaked?", "种子要浸泡多久？"):
    for _ in alioth.answerer.answer(question, [collection], [], AnswerMode.ANSWER, user="test"):
        pass
alioth.close()
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""
_HEAVY = {"jieba", "tantivy", "chromadb", "langchain", "langchain_openai", "httpx", "numpy", "tokenizers"}


def test_the_first_question_after_warming_imports_nothing_large(alioth: CommandLine, tmp_path: Path) -> None:
    page = tmp_path / "seeds.md"
    page.write_text("# Seeds\n\nThe seeds must be soaked for six hours.\n\n种子要浸泡六小时。\n", encoding="utf-8")
    assert alioth.run("collection", "create", "garden").code == 0
    assert alioth.run("ingest", "add", str(page), "--collection", "garden").code == 0
    done = subprocess.run(
        [sys.executable, "-c", _ASK], env=alioth.environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert _HEAVY.isdisjoint(json.loads(done.stdout)), done.stdout


def test_warming_waits_for_the_other_processes_and_ends_when_told(tmp_path: Path) -> None:
    alioth = Alioth(Settings(home=tmp_path), start_services=False)
    stop = threading.Event()
    thread = warm_when_ready(alioth, stop)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert "models" not in alioth.__dict__
    alioth.close()
