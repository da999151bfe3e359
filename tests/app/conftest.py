"""A command line over real processes: one data directory per module, so that models and Chroma start once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.cli_driver import CommandLine


@pytest.fixture(scope="module")
def alioth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A command line whose model and vector processes stay while the module's tests run."""
    cli = CommandLine(tmp_path_factory.mktemp("cli-home"), {"ALIOTH_MODELS__IDLE_S": "300"})
    yield cli
    _stop_guards(cli.home)


def _stop_guards(home: Path) -> None:
    """End the guards of this home, rather than wait until they notice that nobody uses them."""
    import psutil

    for process in psutil.process_iter(["cmdline", "environ"]):
        command, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if "app.supervise" in command and environment.get("ALIOTH_HOME") == str(home):
            process.terminate()
            process.wait(240)
