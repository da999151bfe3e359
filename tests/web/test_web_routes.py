"""Sign-in, set-up, sign-out, health and honest 404s, through gate and routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

import pytest

from app.web.gate import COOKIE, PUBLIC_PATHS
from app.web.routes import Access, build_routes, safe_target

if TYPE_CHECKING:
    from conftest import World  # type: ignore[import-not-found]

PASSWORD = "correct horse battery"
T = TypeVar("T")


def run(work: Awaitable[T]) -> T:
    async def go() -> T:
        return await work

    return asyncio.run(go())


def test_every_route_declares_its_access_and_the_gate_agrees(world: World) -> None:
    table = build_routes(world.alioth)
    public = {route.path for route, access in table if access is Access.PUBLIC}
    assert public == PUBLIC_PATHS
    declared = {route.path: access for route, access in table}
    files = [path for path in declared if path.startswith("/files/{") and "rest" not in path]
    assert len(files) == 3 and all(declared[path] is Access.READER for path in files)


def test_signing_in_sets_a_cookie_that_scripts_cannot_read(world: World) -> None:
    world.person("ann")
    answer = run(world.client().post("/login", data={"name": "ann", "password": PASSWORD, "next": "/library"}))
    assert answer.status_code == 303 and answer.headers["location"] == "/library"
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(COOKIE) and "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie
    assert "secure" not in cookie and "domain" not in cookie


@pytest.mark.parametrize("change", [{"cookie_secure": True}, {"public_url": "https://ask.example.com"}])
def test_the_cookie_is_https_only_where_people_come_through_https(world: World, change: dict[str, object]) -> None:
    world.person("ann")
    settings = world.alioth.settings
    world.alioth.settings = settings.model_copy(update={"web": settings.web.model_copy(update=change)})
    answer = run(world.client().post("/login", data={"name": "ann", "password": PASSWORD}))
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_a_wrong_password_and_an_unknown_name_look_the_same(world: World, name: str) -> None:
    world.person("ann")
    answer = run(world.client().post("/login", data={"name": name, "password": "wrong wrong"}))
    assert answer.status_code == 401 and "set-cookie" not in answer.headers
    assert "Name or password is wrong." in answer.text


def test_too_many_failures_say_how_long_to_wait(world: World) -> None:
    client = world.client(**{"accept-language": "zh-CN,zh;q=0.9"})

    async def go() -> list[tuple[int, str]]:
        out = []
        for _ in range(6):
            answer = await client.post("/login", data={"name": "nobody", "password": "wrong wrong"})
            out.append((answer.status_code, answer.text))
        return out

    answers = run(go())
    assert [status for status, _ in answers] == [401] * 4 + [429] * 2
    assert "秒后重试" in answers[-1][1]


@pytest.mark.parametrize(
    "target", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:alert(1)", "/\tx", "evil", "/logout"]
)
def test_sign_in_never_leads_to_another_site(world: World, target: str) -> None:
    world.person("ann")
    assert safe_target(target) == "/"
    answer = run(world.client().post("/login", data={"name": "ann", "password": PASSWORD, "next": target}))
    assert answer.headers["location"] == "/"


def test_sign_in_leads_back_to_the_conversation() -> None:
    assert safe_target("/?c=abc123") == "/?c=abc123"


def test_what_people_type_is_escaped_on_the_sign_in_page(world: World) -> None:
    attack = '"><script>alert(1)</script>'
    answer = run(world.client().post("/login", data={"name": attack, "password": "x", "next": attack}))
    assert "<script" not in answer.text and "&lt;script&gt;" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]  # default-src 'none' covers scripts


def test_the_sign_in_page_speaks_the_browsers_language_and_loads_nothing_from_elsewhere(world: World) -> None:
    chinese = run(world.client(**{"accept-language": "zh-TW;q=0.8,en;q=0.7"}).get("/login")).text
    english = run(world.client(**{"accept-language": "de,en;q=0.5,zh;q=0.1"}).get("/login")).text
    assert "用户名" in chinese and "Password" in english
    for page in (chinese, english):
        addresses = [part.split('"')[0] for part in page.replace("src=", "href=").split('href="')[1:]]
        assert addresses and all(address.startswith("/") and not address.startswith("//") for address in addresses)


def test_someone_signed_in_does_not_see_the_sign_in_form(world: World) -> None:
    answer = run(world.client(world.person("ann")).get("/login?next=/library"))
    assert answer.status_code == 303 and answer.headers["location"] == "/library"


def test_the_set_up_link_makes_the_administrator_and_signs_in(world: World) -> None:
    token = world.alioth.accounts.create_setup_link()

    async def go() -> tuple[str, int, str, int]:
        client = world.client()
        form = (await client.get(f"/setup?token={token}")).text
        data = {"token": token, "name": "boss", "password": PASSWORD, "again": PASSWORD}
        wrong = await client.post("/setup", data=data | {"again": "x"})
        made = await client.post("/setup", data=data)
        again = await client.get(f"/setup?token={token}")
        return form, wrong.status_code, made.headers["set-cookie"].split("=")[1].split(";")[0], again.status_code

    form, wrong, cookie, again = run(go())
    assert "Create the administrator" in form and wrong == 400 and again == 404
    principal = world.alioth.accounts.user_of(cookie)
    assert principal is not None and principal.is_admin


def test_a_bad_password_says_the_rule_and_keeps_the_link(world: World) -> None:
    token = world.alioth.accounts.create_setup_link()
    data = {"token": token, "name": "boss", "password": "short", "again": "short"}
    answer = run(world.client().post("/setup", data=data))
    assert answer.status_code == 400 and "at least 10" in answer.text
    assert world.alioth.accounts.link(token) is not None


def test_a_reset_link_names_its_user_and_sets_the_password(world: World) -> None:
    world.person("王芳")
    token = world.alioth.accounts.reset_link("王芳")

    async def go() -> tuple[str, int]:
        client = world.client()
        form = (await client.get(f"/setup?token={token}")).text
        data = {"token": token, "password": "another long one", "again": "another long one"}
        return form, (await client.post("/setup", data=data)).status_code

    form, status = run(go())
    assert "王芳" in form and status == 303
    assert world.alioth.accounts.sign_in("王芳", "another long one")


def test_signing_out_needs_a_post_and_ends_the_sign_in(world: World) -> None:
    ann = world.person("ann")

    async def go() -> tuple[int, int, str]:
        client = world.client(ann)
        asked = await client.get("/logout")
        assert world.alioth.accounts.user_of(ann.token) is not None
        done = await client.post("/logout")
        return asked.status_code, done.status_code, done.headers["set-cookie"]

    asked, done, cookie = run(go())
    assert (asked, done) == (200, 303) and "max-age=0" in cookie.lower()
    assert world.alioth.accounts.user_of(ann.token) is None


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/chat/completions", "/api", "/api/v1/x", "/files", "/files/x/y/z"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_addresses_of_programs_are_404_in_json(world: World, path: str, method: str) -> None:
    answer = run(world.client(world.person("ann")).request(method, path))
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"


def test_alive_is_apart_from_ready(world: World) -> None:
    closed = world.alioth.settings
    chroma = closed.chroma.model_copy(update={"url": "http://127.0.0.1:9"})
    models = closed.models.model_copy(update={"url": "http://127.0.0.1:9"})
    world.alioth.settings = closed.model_copy(update={"chroma": chroma, "models": models})

    async def go() -> tuple[int, int, dict[str, object]]:
        client = world.client()
        alive, ready = await client.get("/healthz"), await client.get("/readyz")
        return alive.status_code, ready.status_code, ready.json()

    alive, ready, body = run(go())
    assert (alive, ready) == (200, 503)
    assert body["parts"] == {"database": True, "chroma": False, "models": False}


@pytest.mark.parametrize("content", [b"a" * 20_000, b"name=" + b"x" * 17_000])
def test_an_oversized_form_is_refused(world: World, content: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = run(world.client().post("/login", content=content, headers=headers))
    assert answer.status_code == 400 and "16384" in answer.text


def test_a_form_of_another_type_is_refused(world: World) -> None:
    answer = run(world.client().post("/login", json={"name": "ann", "password": PASSWORD}))
    assert answer.status_code == 400
