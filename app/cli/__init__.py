"""The command line: `alioth`. Commands load what they need when they run, so that help is instant."""

from __future__ import annotations

from app.cli.root import main

__all__ = ["main"]
