"""An HTTP client whose connections another thread can cut, also while it waits for the first byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any


class Connection:
    """What one thread opened while inside `with`; `cut` ends it from any thread, before or after it was opened."""

    def __init__(self, local: threading.local) -> None:
        self._local = local
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    def __enter__(self) -> Connection:
        self._local.current = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._local.current = None

    def opened(self, sock: socket.socket | None) -> None:
        with self._lock:
            self._socket = sock
            if self._cut:
                self._shut()

    def cut(self) -> None:
        """Close both directions now. `close` alone would not wake a thread that reads from it."""
        with self._lock:
            self._cut = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class InterruptibleHttp:
    """An OpenAI HTTP client (one connection per request) that tells each `Connection` its socket."""

    def __init__(self) -> None:
        from openai import DefaultHttpxClient

        self._local = threading.local()
        self.client: Any = DefaultHttpxClient(
            # a kept connection would be opened by one answer and cut by another
            headers={"Connection": "close"},
            event_hooks={"request": [self._watch]},
        )

    def connection(self) -> Connection:
        return Connection(self._local)

    def is_connection_error(self, error: BaseException) -> bool:
        """Whether it comes from the transport: refused, reset, cut, timed out."""
        kinds = [kind for kind in type(error).__mro__ if kind.__name__ == "TransportError"]
        return bool(kinds) or isinstance(error, OSError)

    def _watch(self, request: Any) -> None:
        connection: Connection | None = getattr(self._local, "current", None)
        if connection is None:
            return

        def trace(event: str, details: dict[str, Any]) -> None:
            if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
                connection.opened(details["return_value"].get_extra_info("socket"))

        request.extensions["trace"] = trace
