"""The web process: Streamlit pages and our routes behind one gate, on one port."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import wiring
from core.errors import AliothError, InputError
from core.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send
    from streamlit.web.server.starlette.starlette_app import App

log = logging.getLogger(__name__)

SCRIPT = Path(__file__).parent / "web" / "main.py"


def build_app(alioth: wiring.Alioth) -> App:
    """The ASGI application: gate, routes, pages. Makes `alioth` the instance that pages use.

    Starlette and Streamlit are imported here; no weights are loaded.
    """
    configure_streamlit(alioth.settings)
    from starlette.middleware import Middleware
    from streamlit.web.server.starlette import App

    from app.warm import warm_when_ready
    from app.web.gate import Gate, page_policy
    from app.web.routes import build_routes
    from app.web.unpacking import unpacking

    wiring.use(alioth)
    accounts = alioth.accounts

    def find(token: str) -> Any:
        from auth.tokens import token_hash

        return accounts.find_sign_in(token_hash(token))

    @contextlib.asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        await asyncio.to_thread(_start, alioth)
        stop = threading.Event()
        warm_when_ready(alioth, stop)
        try:
            yield
        finally:
            stop.set()
            unpacking.stop()
            await asyncio.to_thread(alioth.close)

    return App(
        SCRIPT,
        routes=[route for route, _ in build_routes(alioth)],
        middleware=[
            Middleware(
                Gate,
                find=find,
                public_url=alioth.settings.web.public_url,
                policy=page_policy(_streamlit_inline_scripts()),
            )
        ],
        lifespan=lifespan,
        on_script_error=_show_error,
    )


def _streamlit_inline_scripts() -> list[str]:
    """Texts of the inline scripts of the page that the installed Streamlit serves."""
    import re

    import streamlit

    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    return [script for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL) if script.strip()]


def configure_streamlit(settings: Settings) -> None:
    """Set every Streamlit option we rely on, over any `config.toml` or environment variable found."""
    from streamlit.web import bootstrap

    from app.web.gate import TRUSTED_HEADERS

    options: dict[str, Any] = {
        "browser_gatherUsageStats": False,
        "client_showErrorDetails": "none",
        "client_showErrorLinks": False,
        "client_toolbarMode": "minimal",
        "client_showSidebarNavigation": False,
        "global_developmentMode": False,
        "runner_magicEnabled": False,
        "server_address": settings.web.host,
        "server_enableAgentApi": False,
        "server_enableCORS": True,
        "server_enableStaticServing": False,
        "server_enableXsrfProtection": True,
        "server_fileWatcherType": "none",
        "server_headless": True,
        "server_maxUploadSize": settings.web.max_upload_mb,
        "server_port": settings.web.port,
        "server_runOnSave": False,
        "server_showEmailPrompt": False,
        "server_trustedUserHeaders": json.dumps(TRUSTED_HEADERS),
        "theme_primaryColor": "#17507f",
        "theme_baseRadius": "0.5rem",
        "theme_font": '"Source Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", sans-serif',
    }
    bootstrap.load_config_options(options)


def main(arguments: list[str] | None = None) -> int:
    """`python -m app.server`: serve until SIGTERM or Ctrl-C. The exit code."""
    options = _parse(arguments)
    try:
        settings = _settings(options)
        listener = _listen(settings.web.host, settings.web.port)
        with listener:
            _serve(settings, listener, options)
    except AliothError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _serve(settings: Settings, listener: socket.socket, options: argparse.Namespace) -> None:
    from uvicorn import Config, Server

    from core.log import configure_logging

    configure_logging(settings.log, settings.home / "logs", "web")
    alioth = wiring.Alioth(settings, start_services=not options.supervised)
    host, port = listener.getsockname()[:2]
    application = build_app(alioth)
    _log_into_our_file()
    app = _Announced(application, lambda: _report(options.ready_fd, host, port))
    config = Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
        ws_max_size=64 * 1024 * 1024,
    )
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])


def _log_into_our_file() -> None:
    """Streamlit gives each of its and uvicorn's loggers a handler on stderr; the process's log is one file."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("streamlit", "uvicorn"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True


class _Announced:
    """Says that the server is ready once its start-up has completed."""

    def __init__(self, app: ASGIApp, announce: Callable[[], None]) -> None:
        self._app = app
        self._announce = announce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def watched(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._announce()

        await self._app(scope, receive, watched)


def _report(ready_fd: int | None, host: str, port: int) -> None:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    log.info("serving on %s", url)
    if ready_fd is not None:
        with os.fdopen(ready_fd, "w", encoding="utf-8") as stream:
            stream.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")


def _start(alioth: wiring.Alioth) -> None:
    """What must hold before the first page: the schema, and no answer that nobody writes any more."""
    stopped = alioth.conversations.fail_streaming()
    if stopped:
        log.info("marked %d answers as stopped that an earlier process had begun", stopped)
    alioth.running.watch()
    from app.web.unpacking import unpacking
    from app.web.uploads import forget_leftovers

    forget_leftovers(alioth.settings.home)
    if resumed := unpacking.resume(alioth):
        log.info("%d archives that an earlier process was unpacking are begun anew", resumed)


def _show_error(error: Exception) -> bool:
    """A clear message in place of a traceback; True: handled."""
    from app.web.failures import show

    return show(error)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise InputError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            "Stop the program that uses this port, or choose another with --port.",
        ) from error
    return listener


def _settings(options: argparse.Namespace) -> Settings:
    settings = load_settings()
    given = {name: getattr(options, name) for name in ("host", "port") if getattr(options, name) is not None}
    return settings.model_copy(update={"web": settings.web.model_copy(update=given)})


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.server", description="The web process of Alioth.")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="TCP port; 0 takes a free one")
    parser.add_argument("--ready-fd", type=int, help="descriptor that gets one line of JSON when ready")
    parser.add_argument(
        "--supervised", action="store_true", help="a supervisor starts and restarts the other processes"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
