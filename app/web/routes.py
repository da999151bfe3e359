"""Routes beside Streamlit: sign-in, set-up, sign-out, health, and honest 404s. Each declares who may use it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from app.web import pages
from app.web.file_routes import FileRoutes
from app.web.gate import COOKIE
from app.web.messages import error_text, preferred, say
from core.errors import AliothError, IndexUnavailableError, InputError, LimitError, ModelUnavailableError

if TYPE_CHECKING:
    from app.wiring import Alioth
    from auth.accounts import SignIn

log = logging.getLogger(__name__)

MAX_FORM_BYTES = 16_384

Handler = Callable[[Request], Awaitable[Response]]


class Access(StrEnum):
    """Who may use a route: anyone, whoever is signed in, or whoever may read the collection of the document."""

    PUBLIC = "public"
    SIGNED_IN = "signed in"
    READER = "reader of the collection"


def build_routes(alioth: Alioth) -> list[tuple[Route, Access]]:
    """Every route of ours with its declared access; the gate and the handlers enforce it, a test compares."""
    people, health, files = PeopleRoutes(alioth), HealthRoutes(alioth), FileRoutes(alioth)
    public, reader = Access.PUBLIC, Access.READER
    table: list[tuple[str, list[str], Handler, Access]] = [
        ("/login", ["GET"], people.sign_in_form, public),
        ("/login", ["POST"], people.sign_in, public),
        ("/setup", ["GET"], people.setup_form, public),
        ("/setup", ["POST"], people.setup, public),
        ("/logout", ["GET"], people.sign_out_form, Access.SIGNED_IN),
        ("/logout", ["POST"], people.sign_out, Access.SIGNED_IN),
        ("/healthz", ["GET"], health.alive, public),
        ("/readyz", ["GET"], health.ready, public),
        ("/assets/pages.css", ["GET"], _asset("pages.css", "text/css"), public),
        ("/favicon.ico", ["GET"], _asset("icon.png", "image/png"), public),
        ("/files/{document_id}/original", ["GET"], files.original, reader),
        ("/files/{document_id}/view", ["GET"], files.view, reader),
        ("/files/{version_id}/page/{page:int}.png", ["GET"], files.page_image, reader),
    ]
    routes = [(Route(path, handler, methods=methods), access) for path, methods, handler, access in table]
    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    for path in ("/v1", "/v1/{rest:path}", "/api", "/api/{rest:path}", "/files", "/files/{rest:path}"):
        # Streamlit answers unknown paths with its page and 200; a program must not take that for an answer.
        routes.append((Route(path, _not_there, methods=every), Access.SIGNED_IN))
    return routes


def language_of(request: Request) -> str:
    """The signed-in user's choice, else the browser's."""
    found: SignIn | None = getattr(request.state, "sign_in", None)
    if found is not None and found.language:
        return found.language
    return preferred(request.headers.get("accept-language", ""))


def safe_target(target: str) -> str:
    """A path on this server to go to after sign-in; anything else becomes `/`."""
    if not target.startswith("/") or target.startswith(("//", "/\\", "/login", "/logout", "/setup")):
        return "/"
    if any(ord(c) < 32 or c == "\\" for c in target):
        return "/"
    parts = urlsplit(target)
    return "/" if parts.scheme or parts.netloc else target


class PeopleRoutes:
    """Sign-in, set-up and sign-out."""

    def __init__(self, alioth: Alioth) -> None:
        self._alioth = alioth

    async def sign_in_form(self, request: Request) -> Response:
        target = safe_target(request.query_params.get("next", "/"))
        if getattr(request.state, "sign_in", None) is not None:
            return RedirectResponse(target, status_code=303)
        return pages.sign_in_page(language_of(request), target=target)

    async def sign_in(self, request: Request) -> Response:
        language = language_of(request)
        try:
            form = await read_form(request)
            name, target = form.get("name", ""), safe_target(form.get("next", "/"))
            address = request.client.host if request.client else ""
            token = await run_in_threadpool(self._alioth.accounts.sign_in, name, form.get("password", ""), address)
        except LimitError as error:
            return pages.sign_in_page(language, error_text(error, language), name, target, status=429)
        except InputError as error:
            return pages.sign_in_page(language, error_text(error, language), status=400)
        except AliothError:
            return pages.sign_in_page(language, say("login.wrong", language), name, target, status=401)
        return self._signed_in(token, target)

    async def setup_form(self, request: Request) -> Response:
        language, token = language_of(request), request.query_params.get("token", "")
        link = await run_in_threadpool(self._alioth.accounts.link, token)
        if link is None:
            return pages.problem_page(language, say("setup.bad_link", language), 404, "/login")
        return pages.setup_page(language, token, link.user.name if link.user else None)

    async def setup(self, request: Request) -> Response:
        language, accounts = language_of(request), self._alioth.accounts
        try:
            form = await read_form(request)
        except InputError as error:
            return pages.problem_page(language, error_text(error, language), 400, "/login")
        token, name, password = form.get("token", ""), form.get("name", ""), form.get("password", "")
        link = await run_in_threadpool(accounts.link, token)
        if link is None:
            return pages.problem_page(language, say("setup.bad_link", language), 404, "/login")
        user_name = link.user.name if link.user else None
        if password != form.get("again", ""):
            return pages.setup_page(language, token, user_name, say("setup.differ", language), name)
        try:
            principal = await run_in_threadpool(accounts.complete_setup, token, name, password)
            cookie = await run_in_threadpool(accounts.sign_in, principal.name, password)
        except AliothError as error:
            return pages.setup_page(language, token, user_name, error_text(error, language), name)
        return self._signed_in(cookie, "/")

    async def sign_out_form(self, request: Request) -> Response:
        return pages.sign_out_page(language_of(request), request.state.sign_in.principal.name)

    async def sign_out(self, request: Request) -> Response:
        await run_in_threadpool(self._alioth.accounts.sign_out, request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=self._secure())
        response.headers["clear-site-data"] = '"cache"'
        return response

    def _signed_in(self, token: str, target: str) -> Response:
        response = RedirectResponse(target, status_code=303)
        seconds = int(self._alioth.settings.web.sign_in_hours * 3600)
        response.set_cookie(
            COOKIE, token, max_age=seconds, path="/", httponly=True, samesite="lax", secure=self._secure()
        )
        response.headers["cache-control"] = "no-store"
        return response

    def _secure(self) -> bool:
        web = self._alioth.settings.web
        return web.cookie_secure or web.public_url.startswith("https://")


class HealthRoutes:
    """Is it alive, and can it answer?"""

    def __init__(self, alioth: Alioth) -> None:
        self._alioth = alioth

    async def alive(self, request: Request) -> Response:
        """200 while this process serves; looks at nothing else, so that a sick neighbour does not restart it."""
        return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})

    async def ready(self, request: Request) -> Response:
        """200 when database, vector server and models answer; 503 names those that do not, and nothing else."""
        parts = await run_in_threadpool(self._parts)
        ready = all(parts.values())
        body = {"status": "ready" if ready else "not ready", "parts": parts}
        return JSONResponse(body, status_code=200 if ready else 503, headers={"cache-control": "no-store"})

    def _parts(self) -> dict[str, bool]:
        checks: dict[str, Callable[[], object]] = {
            "database": lambda: self._alioth.accounts_store.users(),
            "chroma": self._chroma_answers,
            "models": self._models_loaded,
        }
        return {name: self._holds(name, check) for name, check in checks.items()}

    def _chroma_answers(self) -> None:
        if not self._alioth.is_there("chroma"):
            raise IndexUnavailableError("The Chroma process does not answer.")
        self._alioth.vectors.ping()

    def _models_loaded(self) -> None:
        if not self._alioth.is_there("models"):
            raise ModelUnavailableError("The models process does not answer.")
        health = self._alioth.models.health()
        if not health["ready"]:
            raise ModelUnavailableError(f"The models process is not ready: {health.get('problem', 'still loading')}")

    @staticmethod
    def _holds(name: str, check: Callable[[], object]) -> bool:
        try:
            check()
        except Exception as error:  # whatever it is, the part does not answer; the log has the reason
            log.warning("not ready: %s: %s", name, error)
            return False
        return True


async def read_form(request: Request) -> dict[str, str]:
    """Fields of a URL-encoded form of at most 16 KB; the last value of a repeated field.

    Raises:
        InputError: larger, or of another type.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InputError(f"The form has the type {kind!r}; only URL-encoded forms are read.", "Use the page's form.")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            raise InputError(f"The form is over the limit of {MAX_FORM_BYTES} bytes.", "Send less.")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20))


def _asset(name: str, media_type: str) -> Handler:
    async def serve(request: Request) -> Response:
        return FileResponse(pages.ASSETS / name, media_type=media_type, headers={"cache-control": "max-age=3600"})

    return serve


async def _not_there(request: Request) -> Response:
    return JSONResponse({"error": {"code": "not_found", "message": "No such address."}}, status_code=404)
