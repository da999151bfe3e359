"""A model hub on loopback: the few routes that a pull asks, with faults on demand."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_BLOCK = 1 << 20


@dataclass
class Hub:
    """Serves `files` of every repository. What is set on it holds for the requests that follow.

    cut_at: bytes after which the connection breaks, once. stall_at: bytes after which nothing more comes, until `go` is
    set. lies: file name to the bytes sent in place of its own. announces: bytes that every file is said to have, 0 the
    truth. ranges: whether it knows Range headers. asked: path and Range header of every file request.
    """

    files: dict[str, Path]
    cut_at: int = 0
    stall_at: int = 0
    status: int = 200
    garbage: bytes = b""
    announces: int = 0
    ranges: bool = True
    lies: dict[str, bytes] = field(default_factory=dict)
    record_changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def record(self) -> dict[str, Any]:
        rows = []
        for name, path in self.files.items():
            data = path.read_bytes()
            row: dict[str, Any] = {
                "rfilename": name,
                "size": len(data),
                "blobId": hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest(),
            }
            if path.suffix in (".gguf", ".safetensors"):
                row["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 134}
            rows.append(row | self.record_changes.get(name, {}))
        return {"id": "org/sample", "modelId": "org/sample", "sha": COMMIT, "siblings": rows}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path, hub = self.path.split("?")[0], self.hub
        if hub.status != 200:
            self._send(hub.status, b"no")
        elif hub.garbage:
            self._send(200, hub.garbage)
        elif re.fullmatch(r"/api/models/[^/]+/[^/]+", path):
            self._send(200, json.dumps(hub.record()).encode())
        elif found := re.fullmatch(rf"/[^/]+/[^/]+/resolve/{COMMIT}/(.+)", path):
            self._file(found[1])
        else:
            self._send(404, b"no such page")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, name: str) -> None:
        hub, wanted = self.hub, self.headers.get("Range", "")
        hub.asked.append((name, wanted))
        data = hub.lies.get(name) or hub.files[name].read_bytes()
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and hub.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(hub.announces or len(data) - start))
        self.end_headers()
        stop = hub.cut_at or hub.stall_at or len(data)
        self.wfile.write(data[start:stop])
        self.wfile.flush()
        if stop < len(data) and not hub.cut_at:
            hub.go.wait(60)
        if stop < len(data) or hub.announces:
            hub.cut_at = hub.stall_at = 0
            self.close_connection = True


@contextmanager
def running_hub(files: dict[str, Path]) -> Iterator[Hub]:
    """A hub that serves these files by their names in the repository."""
    hub = Hub(files)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go.set()
        server.shutdown()
        server.server_close()
        thread.join(60)
