"""The command line of the Rust Chroma server that ships inside the chromadb package."""

from __future__ import annotations

import sys
from pathlib import Path

_ENTRY = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(['chroma', *sys.argv[1:]])"


def chroma_command(folder: Path, host: str, port: int) -> list[str]:
    """Command of a server that owns `folder`. It has no sign-in: `host` must be loopback or a private network.

    The native entry point is called directly: it starts in 0.1 s, works without scripts on PATH, and unlike
    `chroma` imports no Python of chromadb. The server sends no telemetry unless a configuration file names a
    collector, and none is given. Only one process may own the folder; the caller holds the lock.
    """
    return [sys.executable, "-c", _ENTRY, "run", "--path", str(folder), "--host", host, "--port", str(port)]
