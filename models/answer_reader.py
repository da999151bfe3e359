"""Reads one streamed answer in a thread, so that the caller never waits on a socket."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from core.errors import AliothError
from models.interruptible import InterruptibleHttp
from models.protocols import Delta, Message
from models.wire import PLACE_FIELD, WAIT_FIELD

_POLL_S: Final = 0.02


class AnswerReader:
    """One request through LangChain's OpenAI chat class.

    last_piece: clock at the last piece of any kind, also of one that is not shown. pieces: how many came.

    Args:
        chat: a LangChain chat model over `http`.
        error_of: what to raise for what the request raised; EOFError is an answer that broke off.
    """

    def __init__(
        self,
        chat: Any,
        http: InterruptibleHttp,
        messages: Sequence[Message],
        options: dict[str, Any],
        error_of: Callable[[Exception], Exception],
    ) -> None:
        self._chat, self._http = chat, http
        self._messages = [(message.role, message.content) for message in messages]
        self._options = options
        self._error_of = error_of
        self._items: queue.SimpleQueue[Delta | Exception] = queue.SimpleQueue()
        self.last_piece = time.monotonic()
        self.pieces = 0

    def deltas(self, cancel: threading.Event, watch: Callable[[], None] = lambda: None) -> Iterator[Delta]:
        """Deltas in order; the connection is cut when `cancel` is set, the iterator is closed or `watch` raises.

        Args:
            watch: called many times a second while nothing comes.
        """
        connection = self._http.connection()
        threading.Thread(target=self._read, args=(connection,), name="llm-reader", daemon=True).start()
        try:
            while True:
                if cancel.is_set():
                    yield Delta(finish_reason="cancelled")
                    return
                try:
                    item = self._items.get(timeout=_POLL_S)
                except queue.Empty:
                    watch()
                    continue
                if isinstance(item, Exception):
                    raise item
                yield item
                if item.finish_reason:
                    return
        finally:
            connection.cut()

    def _read(self, connection: Any) -> None:
        reason = ""
        usage: dict[str, Any] = {}
        try:
            with connection:
                for chunk in self._chat.stream(self._messages, **self._options):
                    self.last_piece, self.pieces = time.monotonic(), self.pieces + 1
                    place = int(chunk.additional_kwargs.get(PLACE_FIELD, 0))
                    if chunk.content or place:
                        wait_s = float(chunk.additional_kwargs.get(WAIT_FIELD, 0))
                        self._items.put(Delta(text=str(chunk.content), place=place, wait_s=wait_s))
                    reason = chunk.response_metadata.get("finish_reason") or reason
                    usage = chunk.usage_metadata or usage
            if not reason:
                raise EOFError
            tokens = (int(usage.get("input_tokens", 0)), int(usage.get("output_tokens", 0)))
            self._items.put(Delta("", 0, reason, *tokens))
        except AliothError as error:
            self._items.put(error)
        except Exception as error:
            # also when the caller left and cut the connection in the middle of an answer
            self._items.put(self._error_of(error))
