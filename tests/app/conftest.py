"""A command line over real processes: one data directory per module, so that models and Chroma start once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.root import app
from app.cli.state import State
from core.errors import AliothError
from tests.app.cli_driver import CommandLine


@pytest.fixture(scope="module")
def alioth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A command line whose model and vector processes stay while the module's tests run."""
    cli = CommandLine(tmp_path_factory.mktemp("cli-home"), {"ALIOTH_MODELS__IDLE_S": "300"})
    yield cli
    _stop_guards(cli.home)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Run a command in this process; what it raises comes out, as `main` would show it."""
    monkeypatch.setenv("ALIOTH_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("core.log.configure_logging", lambda *_: None)  # it would keep files of this process open

    def call(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments))
        State.close_all()
        if isinstance(done.exception, AliothError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    yield call
    State.close_all()


def _stop_guards(home: Path) -> None:
    """End the guards of this home, rather than wait until they notice that nobody uses them."""
    import psutil

    for process in psutil.process_iter(["cmdline", "environ"]):
        command, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if "app.supervise" in command and environment.get("ALIOTH_HOME") == str(home):
            process.terminate()
            process.wait(240)
