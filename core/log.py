"""Logging: one format, one rotating file per process, nothing on stdout."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from core.settings import LogSettings

FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"


def configure_logging(settings: LogSettings, folder: Path | None = None, name: str = "alioth") -> None:
    """Log to `folder/name.log` with rotation, or to stderr (warnings and up) without a folder."""
    handler: logging.Handler
    if folder is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.WARNING)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            folder / f"{name}.log",
            maxBytes=settings.max_mb * 1_000_000,
            backupCount=settings.backups,
            encoding="utf-8",
        )
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.level)
    for noisy in ("httpx", "httpcore", "chromadb", "watchfiles", "jieba", "RapidOCR"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
