"""HTTP to servers that are not ours: no redirects, no proxies, bounded answers, and every failure told apart."""

from __future__ import annotations

import functools
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx

from core.addresses import reach
from core.errors import AliothError, ContextOverflowError, ModelError, ModelUnavailableError
from models.interruptible import InterruptibleHttp
from models.wire import OVERFLOW_HINT, says_overflow

Kind = Literal["away", "busy", "refused", "no api", "request", "overflow"]
"""away, busy, refused (key, model or path), no api (it talks something else): another server may do better. request,
overflow: the request itself is at fault."""

MOST_BYTES: Final = 64 * 1024 * 1024
CONNECT_S: Final = 5.0
_SHOWN: Final = 300
_READ: Final = 1000
"""Characters of an error that tell what it is; some servers repeat the whole request after them."""


class RemoteFailure(Exception):
    """One request to one server failed. retry_after_s: what the server asked for, else 0."""

    def __init__(self, kind: Kind, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def elsewhere(self) -> bool:
        """Whether another server may do better."""
        return self.kind not in ("request", "overflow")

    def error(self) -> AliothError:
        """For who asked."""
        if self.kind == "overflow":
            return ContextOverflowError(f"The text is too long for the model: {self.message}.", OVERFLOW_HINT)
        if self.kind == "request":
            return ModelError(self.message, "The administrator finds the request's settings in docs/engines.md.")
        return ModelUnavailableError(self.message, "`alioth doctor` tells which servers answer.")


class RemoteServer:
    """One server, reached by plain JSON. Thread-safe.

    Args:
        url: with the path before `/models`, as `http://10.0.0.5:8080/v1`.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(headers=headers, **client_options())

    @property
    def root(self) -> str:
        """The address without `/v1`, where servers have what OpenAI's API lacks."""
        return self.url.removesuffix("/v1")

    def get(self, url: str, timeout_s: float) -> Any:
        """The JSON there. Raises RemoteFailure."""
        return self._ask("GET", url, None, timeout_s)

    def post(self, url: str, body: Mapping[str, Any], timeout_s: float) -> Any:
        """The JSON answer to `body`. Raises RemoteFailure."""
        return self._ask("POST", url, body, timeout_s)

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None, timeout_s: float) -> Any:
        require_inside_or_tls(self.url)
        until = time.monotonic() + timeout_s
        try:
            wait = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
            with self._http.stream(method, url, json=body, timeout=wait) as answer:
                text = _read(answer.iter_bytes(), until, self.url)
                if not answer.is_success:
                    raise status_failure(self.url, self.key, answer.status_code, text, answer.headers)
        except httpx.HTTPError as error:
            raise failure_of(error, self.url, self.key) from error
        try:
            return json.loads(text)
        except ValueError:
            raise no_api(self.url, text) from None


class RemoteHttp(InterruptibleHttp):
    """An HTTP client for LangChain whose requests can be cut, under the same rules as `RemoteServer`."""

    def __init__(self, url: str) -> None:
        self._local = threading.local()
        self._url = url
        # a kept connection would be opened by one answer and cut by another
        self.client = httpx.Client(
            headers={"Connection": "close"},
            event_hooks={"request": [self._watch], "response": [self._bounded]},
            **client_options(),
        )

    def _bounded(self, response: httpx.Response) -> None:
        """Cuts an answer off that is a web page or never ends."""
        if response.is_success and "html" in response.headers.get("content-type", ""):
            response.close()
            raise no_api(self._url, "<html")
        response.stream = _Bounded(response.stream, self._url)


def client_options() -> dict[str, Any]:
    """What holds for every request: nothing goes anywhere but to the address that was set.

    A redirect would carry documents, and perhaps the key, to another host; a proxy of the environment too. An
    organisation's own certificate authority is named by SSL_CERT_FILE.
    """
    return {"follow_redirects": False, "trust_env": False, "verify": _authorities(os.environ.get("SSL_CERT_FILE", ""))}


@functools.cache
def _authorities(file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if file:
        context.load_verify_locations(file)
    return context


def require_inside_or_tls(url: str) -> None:
    """Nothing when the address is https or lies inside.

    Raises:
        RemoteFailure: plain HTTP to a name that leads outside.
    """
    if url.startswith("http://") and reach(url) == "outside":
        raise RemoteFailure("refused", f"{url!r} leads outside this network, where only https:// is used")


def failure_of(error: BaseException, url: str, key: str) -> RemoteFailure:
    """What an exception of httpx, of the OpenAI client or of reading an answer says about the server."""
    import openai

    if isinstance(error, RemoteFailure):
        return error
    if isinstance(error, openai.APIStatusError):
        return status_failure(url, key, error.status_code, error.response.text, error.response.headers)
    if isinstance(error, openai.APIConnectionError) and error.__cause__ is not None:
        return failure_of(error.__cause__, url, key)
    if isinstance(error, httpx.TimeoutException | openai.APITimeoutError):
        return RemoteFailure("away", f"{url!r} gave no sign of life in time")
    if isinstance(error, openai.APIError):  # an error event inside a stream
        return _told(url, key, json.dumps(error.body) if error.body else error.message, 500)
    if isinstance(error, httpx.HTTPError | OSError | EOFError):
        return RemoteFailure("away", f"{url!r} does not answer ({type(error).__name__})")
    return RemoteFailure("no api", f"{url!r} does not answer as an OpenAI-compatible server ({type(error).__name__})")


def status_failure(url: str, key: str, status: int, text: str, headers: Mapping[str, str]) -> RemoteFailure:
    """What an HTTP status other than 2xx says."""
    if 300 <= status < 400:
        target = urlsplit(headers.get("location", "")).netloc or "another path"
        return RemoteFailure("refused", f"{url!r} redirects to {target!r}; set the address where the server really is")
    if status in (401, 403):
        return RemoteFailure("refused", f"{url!r} refuses the key (HTTP {status})")
    return _told(url, key, text, status, headers)


def no_api(url: str, text: str) -> RemoteFailure:
    """The server answered something that is no JSON."""
    what = "a web page" if "<html" in text[:1000].lower() else "no JSON"
    return RemoteFailure("no api", f"{url!r} is no OpenAI-compatible server: it answers with {what}")


def _told(url: str, key: str, text: str, status: int, headers: Mapping[str, str] | None = None) -> RemoteFailure:
    said = _message(text)
    if key:
        said = said.replace(key, "…")
    message = f"{url!r} answers with HTTP {status}" + (f": {said}" if said else "")
    if says_overflow(text[:_READ]):
        return RemoteFailure("overflow", message)
    if status in (408, 425, 429) or status >= 500:
        return RemoteFailure("busy", message, _seconds((headers or {}).get("retry-after", "")))
    return RemoteFailure("refused" if status == 404 else "request", message)


def _message(text: str) -> str:
    """The error's own words, shortened; nothing of a web page."""
    try:
        data = json.loads(text)
    except ValueError:
        return "" if "<" in text else text.strip()[:_SHOWN]
    found = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail") or ""
    return str(found)[:_SHOWN]


def _seconds(text: str) -> float:
    try:
        return min(30.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _read(parts: Iterator[bytes], until: float, url: str) -> str:
    data = bytearray()
    for part in parts:
        data += part
        if len(data) > MOST_BYTES:
            raise RemoteFailure("no api", f"{url!r} sends over {MOST_BYTES >> 20} MB for one answer")
        if time.monotonic() > until:
            raise RemoteFailure("away", f"{url!r} did not finish its answer in time")
    return data.decode("utf-8", "replace")


class _Bounded(httpx.SyncByteStream):
    """A byte stream of at most MOST_BYTES."""

    def __init__(self, stream: Any, url: str) -> None:
        self._stream, self._url = stream, url

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for part in self._stream:
            size += len(part)
            if size > MOST_BYTES:
                raise RemoteFailure("no api", f"{self._url!r} sends over {MOST_BYTES >> 20} MB for one answer")
            yield part

    def close(self) -> None:
        self._stream.close()
