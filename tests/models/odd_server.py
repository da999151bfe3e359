"""A small HTTP server that answers as a test wants: the truth, lies, or nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Call"], None]


class Call:
    """One request, and ways to answer it. ended: set when the server is taken down, for answers that hang."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: Any, ended: threading.Event) -> None:
        self.handler, self.body, self.ended = handler, body, ended
        self.path = handler.path
        self.headers = handler.headers

    def send(self, text: str, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        data = text.encode()
        self.begin(status, kind, **{"Content-Length": str(len(data)), **headers})
        self.write(data)

    def json(self, data: Any, status: int = 200) -> None:
        self.send(json.dumps(data), status)

    def begin(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()

    def write(self, data: bytes) -> bool:
        """Whether the other side still listens."""
        try:
            self.handler.wfile.write(data)
            self.handler.wfile.flush()
        except OSError:
            return False
        return True

    def event(self, **delta: Any) -> bool:
        reason = delta.pop("finish_reason", None)
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return self.write(f"data: {json.dumps({'id': 'x', 'object': 'chunk', 'choices': [choice]})}\n\n".encode())

    def answer(self, *words: str) -> None:
        """A whole streamed answer."""
        self.begin()
        for word in words:
            self.event(content=word)
        self.event(finish_reason="stop")
        usage = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}
        self.write(f"data: {json.dumps({'id': 'x', 'choices': [], 'usage': usage})}\n\n".encode())
        self.write(b"data: [DONE]\n\n")


class OddServer:
    """`answers` by the end of the path; what was asked is in `calls`."""

    def __init__(self, answers: dict[str, Answer], model: str = "odd-7b") -> None:
        self.calls: list[Call] = []
        self.ended = threading.Event()
        self.answers = {"/models": lambda call: call.json({"data": [{"id": model}]}), **answers}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(None)

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                self._reply(json.loads(self.rfile.read(size) or b"null"))

            def _reply(self, body: Any) -> None:
                call = Call(self, body, owner.ended)
                owner.calls.append(call)
                found = [answer for end, answer in owner.answers.items() if self.path.endswith(end)]
                found[-1](call) if found else call.json({"error": {"message": "no such path"}}, 404)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the other side cut the connection, which is what is tested

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def asked(self, end: str) -> list[Call]:
        return [call for call in self.calls if call.path.endswith(end)]

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def odd_server(model: str = "odd-7b", **answers: Answer) -> Iterator[OddServer]:
    """Keyword `chat` answers /chat/completions; others their own name."""
    paths = {"/chat/completions" if name == "chat" else f"/{name}": answer for name, answer in answers.items()}
    server = OddServer(paths, model)
    try:
        yield server
    finally:
        server.close()


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Fails when it does not hold in time, which is far longer than it takes."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.02)
