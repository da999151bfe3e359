"""How errors and embeddings look between the models process and its clients: the OpenAI shapes."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import (
    AliothError,
    CancelledError,
    ConflictError,
    ContextOverflowError,
    InputError,
    LimitError,
    ModelError,
    ModelUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    WeightsError,
)

LANE_HEADER = "X-Alioth-Lane"
PLACE_FIELD = "alioth_place"
"""Field of a streamed chunk: how many requests are ahead in the queue."""
WAIT_FIELD = "alioth_wait_s"
"""Field beside it: whole seconds that this will take, by the rates measured."""
OVERFLOW_HINT: Final = "Shorten the prompt, or ask for a shorter answer."

_STATUS: dict[type[AliothError], int] = {
    InputError: 400,
    ContextOverflowError: 400,
    PermissionDeniedError: 401,
    NotFoundError: 404,
    ConflictError: 409,
    LimitError: 429,
    CancelledError: 499,
    ModelUnavailableError: 503,
    WeightsError: 500,
    ModelError: 500,
}
_BY_CODE = {kind.code: kind for kind in _STATUS}
# llama.cpp's server and OpenAI have a type or code for it, vLLM and llama.cpp's embeddings only words
_OVERFLOW: Final = re.compile(
    r"exceed_context_size_error|context_length_exceeded|context (?:length|size|window)|maximum model length"
    r"|too large to process",
    re.IGNORECASE,
)


def status_of(error: AliothError) -> int:
    """HTTP status for an error; 500 for those that a client cannot cause."""
    return _STATUS.get(type(error), 500)


def error_body(error: AliothError) -> dict[str, Any]:
    """An OpenAI error object that carries our code and hint."""
    kind = "invalid_request_error" if status_of(error) < 500 else "server_error"
    return {"error": {"message": error.message, "type": kind, "code": error.code, "hint": error.hint, "param": None}}


def error_from(body: object, status: int | None) -> AliothError:
    """The error that `error_body` was made of; for other servers the nearest of ours.

    Args:
        body: the object under `error`.
        status: HTTP status, None inside a stream.
    """
    data: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    if isinstance(data.get("error"), Mapping):
        data = data["error"]
    message = str(data.get("message") or f"The models process answered with HTTP status {status}.")
    code = str(data.get("code") or "")
    if code not in _BY_CODE and says_overflow(f"{code} {data.get('type')} {message}"):
        return ContextOverflowError(message, OVERFLOW_HINT)
    kind = _BY_CODE.get(code) or _by_status(status)
    return kind(message, str(data.get("hint") or ""))


def require_fit(prompt_tokens: int, answer_tokens: int, window: int) -> None:
    """Nothing when a prompt and its answer fit a window; all in tokens.

    Raises:
        ContextOverflowError: they do not.
    """
    if prompt_tokens + answer_tokens > window:
        raise ContextOverflowError(
            f"The prompt has {prompt_tokens} tokens and the answer may have {answer_tokens}; "
            f"together they must fit the window of {window} tokens.",
            OVERFLOW_HINT,
        )


def says_overflow(text: str) -> bool:
    """Whether another server's error says that a prompt or text is longer than its model reads."""
    return _OVERFLOW.search(text) is not None


def _by_status(status: int | None) -> type[AliothError]:
    if status in (401, 403):
        return PermissionDeniedError
    if status == 429:
        return LimitError
    return ModelUnavailableError if status in (502, 503, 504) else ModelError


def pack(vector: NDArray[np.float32]) -> str:
    """Base64 of little-endian float32."""
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")


def unpack(text: str) -> NDArray[np.float32]:
    """Inverse of `pack`."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32, copy=False)
