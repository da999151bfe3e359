"""Runs the `alioth` command in processes of its own, as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Result:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class CommandLine:
    """Runs `alioth` as a person would, in processes of its own."""

    home: Path
    extra: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ALIOTH_")}
        return clean | {"ALIOTH_HOME": str(self.home), "ALIOTH_MODELS__IDLE_S": "3"} | self.extra

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "app.cli", *arguments]

    def run(self, *arguments: str | Path, input: str | None = None, timeout: float = 900) -> Result:
        done = subprocess.run(
            self.command(*map(str, arguments)),
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str | Path, input: str | None = None) -> Result:
        result = self.run(*arguments, input=input)
        assert result.code == 0, result.err
        return result
