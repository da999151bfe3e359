"""The gate: nothing behind it without a sign-in, no forged identity, no request from another site."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from app.web.gate import COOKIE, PUBLIC_PATHS, SIGN_IN_HEADER, TRUSTED_HEADERS, USER_HEADER, Gate
from auth.accounts import SignIn
from core.types import Principal

ANN = SignIn("a" * 64, Principal("ann-id", "ann"))


def find(token: str) -> SignIn | None:
    return ANN if token == "good" else None


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the headers it sees, or accepts the WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    seen = {name.decode(): value.decode() for name, value in scope["headers"]}
    await JSONResponse(seen)(scope, receive, send)


async def ask(
    path: str = "/", method: str = "GET", kind: str = "http", public_url: str = "", **headers: str
) -> tuple[int, dict[str, str], bytes, list[Message]]:
    """Status, headers, body, and every message that was sent."""
    sent: list[Message] = []
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {
        "type": kind, "path": path, "method": method, "query_string": b"", "headers": [(b"host", b"alioth.test"), *raw],
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    await Gate(inner, find, public_url)(scope, receive, send)
    start = sent[0]
    status = start.get("status", 0)
    out = {name.decode(): value.decode() for name, value in start.get("headers", [])}
    return status, out, b"".join(m.get("body", b"") for m in sent), sent


def run(*arguments: Any, **keywords: Any) -> tuple[int, dict[str, str], bytes, list[Message]]:
    import asyncio

    return asyncio.run(ask(*arguments, **keywords))


def test_a_page_without_sign_in_leads_to_the_sign_in_page_and_back() -> None:
    status, headers, _, _ = run("/library", accept="text/html")
    assert status == 302 and headers["location"] == "/login?next=%2Flibrary"


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/_stcore/metrics", "/media/x.png", "/v1/models", "/LOGIN"])
def test_everything_else_without_sign_in_is_401(path: str) -> None:
    status, _, body, _ = run(path)
    assert status == 401 and json.loads(body)["error"]["code"] == "sign_in_needed"


@pytest.mark.parametrize("path", ["/login/", "/login/../library", "//login", "/login;x", "/setup/x", "/healthz/.."])
def test_no_spelling_near_a_public_path_is_public(path: str) -> None:
    assert run(path)[0] == 401


@pytest.mark.parametrize("path", sorted(PUBLIC_PATHS))
def test_public_paths_need_no_sign_in(path: str) -> None:
    assert run(path)[0] == 200


def test_a_good_cookie_sets_the_identity_headers() -> None:
    status, _, body, _ = run(cookie=f"other=1; {COOKIE}=good")
    seen = json.loads(body)
    assert status == 200
    assert (seen[USER_HEADER.decode()], seen[SIGN_IN_HEADER.decode()]) == ("ann-id", "a" * 64)


@pytest.mark.parametrize("cookie", ["", "x=1", f"{COOKIE}=bad", f"{COOKIE}=", f"{COOKIE}", "\xff\xfe;;==", "a" * 9000])
def test_bad_cookies_are_nobody(cookie: str) -> None:
    assert run(cookie=cookie)[0] == 401


@pytest.mark.parametrize("spelling", ["x-alioth-user", "X-Alioth-User", "x_alioth_user", "X_Alioth-SIGN_in"])
def test_identity_headers_of_a_client_are_thrown_away(spelling: str) -> None:
    forged = {spelling.replace("_", "\x00"): "boss-id"}
    raw = {name.replace("\x00", "_"): value for name, value in forged.items()}

    async def go() -> bytes:
        sent: list[Message] = []
        scope: dict[str, Any] = {
            "type": "http", "path": "/login", "method": "GET", "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
        }  # fmt: skip

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message) -> None:
            sent.append(message)

        await Gate(inner, find)(scope, receive, send)
        return b"".join(m.get("body", b"") for m in sent)

    import asyncio

    assert b"boss-id" not in asyncio.run(go())


def test_a_forged_identity_beside_a_real_cookie_loses() -> None:
    _, _, body, _ = run(cookie=f"{COOKIE}=good", x_alioth_user="boss-id", x_alioth_sign_in="b" * 64)
    assert b"boss-id" not in body and b"bbbb" not in body and b"ann-id" in body


def test_the_identity_headers_are_those_streamlit_is_told_to_trust() -> None:
    assert set(TRUSTED_HEADERS) == {USER_HEADER.decode(), SIGN_IN_HEADER.decode()}


def test_a_websocket_without_sign_in_is_closed_before_it_opens() -> None:
    sent = run(kind="websocket", path="/_stcore/stream")[3]
    assert [m["type"] for m in sent] == ["websocket.close"] and sent[0]["code"] == 1008


def test_a_websocket_from_another_site_is_closed_even_with_a_cookie() -> None:
    sent = run(kind="websocket", path="/_stcore/stream", cookie=f"{COOKIE}=good", origin="https://evil.test")[3]
    assert [m["type"] for m in sent] == ["websocket.close"]


def test_a_websocket_from_our_own_page_opens() -> None:
    sent = run(kind="websocket", path="/_stcore/stream", cookie=f"{COOKIE}=good", origin="http://alioth.test")[3]
    assert [m["type"] for m in sent] == ["websocket.accept"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://alioth.test.evil.test"},
        {"origin": "http://alioth.test:81"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "http://alioth.test"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_change_asked_for_by_another_site_is_refused(headers: dict[str, str], method: str) -> None:
    status, _, body, _ = run("/logout", method, cookie=f"{COOKIE}=good", **headers)
    assert status == 403 and json.loads(body)["error"]["code"] == "cross_origin"


def test_a_change_from_our_own_page_and_from_the_public_address_passes() -> None:
    assert run("/logout", "POST", cookie=f"{COOKIE}=good", origin="http://alioth.test")[0] == 200
    outside = {"origin": "https://ask.example.com", "cookie": f"{COOKIE}=good"}
    assert run("/logout", "POST", public_url="https://ask.example.com/", **outside)[0] == 200
    assert run("/logout", "POST", public_url="https://other.example.com/", **outside)[0] == 403


def test_every_answer_carries_the_security_headers() -> None:
    for status, headers, _, _ in (run(), run("/login"), run(cookie=f"{COOKIE}=good")):
        assert status in (200, 401)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and "object-src 'none'" in policy
        hosts = [word for word in policy.replace(";", " ").split() if "://" in word or word in ("*", "http:", "https:")]
        assert hosts == []
