"""Logging: to a file of its own, and to stderr only where that is wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.log import configure_logging
from core.settings import LogSettings


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize("stderr", [False, True])
def test_a_service_writes_its_file_and_stderr_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stderr: bool
) -> None:
    configure_logging(LogSettings(stderr=stderr), tmp_path, "worker")
    logging.getLogger("x").info("three documents")
    assert "three documents" in (tmp_path / "worker.log").read_text("utf-8")
    assert ("three documents" in capsys.readouterr().err) is stderr


def test_without_a_folder_only_warnings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings())
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("loud")
    shown = capsys.readouterr().err
    assert "loud" in shown and "quiet" not in shown


def test_log_files_are_rotated(tmp_path: Path) -> None:
    configure_logging(LogSettings(max_mb=1, backups=2), tmp_path, "web")
    for _ in range(300):
        logging.getLogger("x").info("y" * 10_000)
    assert {path.name for path in tmp_path.iterdir()} == {"web.log", "web.log.1", "web.log.2"}
