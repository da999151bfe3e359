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
    handlers: list[logging.Handler] = []
    if folder is None or settings.stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[0].setLevel(logging.NOTSET if settings.stderr else logging.WARNING)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        size = settings.max_mb * 1_000_000
        path = folder / f"{name}.log"
        handlers.append(RotatingFileHandler(path, maxBytes=size, backupCount=settings.backups, encoding="utf-8"))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
        root.addHandler(handler)
    root.setLevel(settings.level)
    for noisy in ("httpx", "httpcore", "chromadb", "watchfiles", "jieba", "RapidOCR"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
