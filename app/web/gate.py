"""The gate in front of everything: no valid sign-in, no page, no file, no WebSocket.

Pure ASGI, so that WebSockets pass through it too. It is the only reader of the sign-in cookie; pages read the two
identity headers it sets, and whatever a client sends under those names is thrown away.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from auth.accounts import SignIn

COOKIE = "alioth_sign_in"
USER_HEADER = b"x-alioth-user"
SIGN_IN_HEADER = b"x-alioth-sign-in"
TRUSTED_HEADERS = {USER_HEADER.decode(): "user_id", SIGN_IN_HEADER.decode(): "sign_in"}
"""For Streamlit's `server.trustedUserHeaders`: header name to key of `st.user`."""

PUBLIC_PATHS = frozenset({"/login", "/setup", "/healthz", "/readyz", "/assets/pages.css", "/favicon.ico"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
)


def page_policy(inline_scripts: Sequence[str] = ()) -> str:
    """Content-Security-Policy of Streamlit's pages: its own script files and these inline ones, nothing else.

    Its bundle needs inline styles. No eval, nothing from another host, no plug-ins, no framing.
    """
    allowed = "".join(f" '{script_hash(script)}'" for script in inline_scripts)
    return (
        f"default-src 'self'; script-src 'self'{allowed}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; media-src 'self' data: blob:; "
        "worker-src 'self' blob:; frame-src 'none'; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def script_hash(script: str) -> str:
    """How a policy names an inline script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


class Gate:
    """ASGI middleware. `find`: cookie value to the sign-in that holds now, or None; called in a worker thread."""

    def __init__(
        self, app: ASGIApp, find: Callable[[str], SignIn | None], public_url: str = "", policy: str = ""
    ) -> None:
        self._app = app
        self._policy = (policy or page_policy()).encode()
        self._find = find
        self._public_host = urlsplit(public_url).netloc.lower() if public_url else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope = _without_identity(scope)
        send = _with_security_headers(send, self._policy)
        if not self._origin_allowed(scope):
            await _refuse(scope, receive, send, 403, "cross_origin")
            return
        sign_in = await self._sign_in(scope)
        if sign_in is not None:
            scope["headers"] = [
                *scope["headers"],
                (USER_HEADER, sign_in.principal.user_id.encode()),
                (SIGN_IN_HEADER, sign_in.id.encode()),
            ]
            scope["state"] = {**scope.get("state", {}), "sign_in": sign_in}
        elif scope["type"] == "websocket" or scope["path"] not in PUBLIC_PATHS:
            await _send_away(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _sign_in(self, scope: Scope) -> SignIn | None:
        from starlette.concurrency import run_in_threadpool

        token = cookie_value(scope)
        return await run_in_threadpool(self._find, token) if token else None

    def _origin_allowed(self, scope: Scope) -> bool:
        """Same origin for whatever changes something, and for every WebSocket (a browser always names its origin)."""
        if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
            return True
        headers = _first_values(scope)
        if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            return False
        origin = headers.get(b"origin")
        if origin is None:
            # Programs send no origin and hold no cookie of a browser; a form of another site always sends one.
            return True
        host = urlsplit(origin.decode("latin-1")).netloc.lower()
        own = headers.get(b"host", b"").decode("latin-1").lower()
        return bool(host) and host in {own, self._public_host} - {""}


def cookie_value(scope: Scope) -> str:
    """The sign-in cookie of a request, or an empty string; the first one when a client sends several."""
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                jar = SimpleCookie(value.decode("latin-1"))
            except CookieError:
                continue
            if COOKIE in jar:
                return jar[COOKIE].value
    return ""


def _without_identity(scope: Scope) -> Scope:
    # Underscores reach some servers as dashes, so both spellings go.
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name.lower().replace(b"_", b"-") not in (USER_HEADER, SIGN_IN_HEADER)
    ]
    state = {key: value for key, value in scope.get("state", {}).items() if key != "sign_in"}
    return {**scope, "headers": kept, "state": state}


def _first_values(scope: Scope) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        values.setdefault(name.lower(), value)
    return values


def _with_security_headers(send: Send, policy: bytes) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            if b"content-security-policy" not in present:
                headers.append((b"content-security-policy", policy))
            headers.extend(pair for pair in SECURITY_HEADERS if pair[0] not in present)
            message = {**message, "headers": headers}
        await send(message)

    return wrapped


async def _send_away(scope: Scope, receive: Receive, send: Send) -> None:
    from starlette.responses import RedirectResponse

    headers = _first_values(scope)
    wants_page = b"text/html" in headers.get(b"accept", b"")
    if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and wants_page:
        target = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
        login = "/login" if target == "/" else f"/login?next={quote(target, safe='')}"
        await RedirectResponse(login, status_code=302, headers={"cache-control": "no-store"})(scope, receive, send)
        return
    await _refuse(scope, receive, send, 401, "sign_in_needed")


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, code: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": code})  # before accept: HTTP 403
        return
    from starlette.responses import JSONResponse

    await JSONResponse({"error": {"code": code}}, status_code=status)(scope, receive, send)
