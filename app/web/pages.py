"""The few pages that are not Streamlit's: sign-in, set-up, sign-out, a text at its place. Plain HTML, no script."""

from __future__ import annotations

import functools
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from app.web.messages import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import HTMLResponse

ASSETS = Path(__file__).parent / "assets"

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


@functools.cache
def _logo() -> str:
    return (ASSETS / "logo.svg").read_text(encoding="utf-8")


def respond(body: str, title: str, language: str, status: int = 200, wide: bool = False) -> HTMLResponse:
    """A whole page around `body`, which is HTML already. Never cached."""
    from starlette.responses import HTMLResponse

    lang = "zh-CN" if language == "zh" else "en"
    html = (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>{escape(title)} · Alioth</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><link rel="stylesheet" href="/assets/pages.css">'
        f'</head><body class="{"wide" if wide else "narrow"}"><main>{body}</main></body></html>'
    )
    headers = {"cache-control": "no-store", "content-security-policy": CSP}
    return HTMLResponse(html, status_code=status, headers=headers)


def card(title: str, inner: str, language: str) -> str:
    """The centred card with the product's name on it."""
    tagline = escape(say("app.tagline", language))
    brand = f'<header class="brand">{_logo()}<div><b>Alioth</b><span>{tagline}</span></div></header>'
    return f'{brand}<section class="card"><h1>{escape(title)}</h1>{inner}</section>'


def notice(text: str, kind: str = "error") -> str:
    """A line above a form; empty for empty text. kind: error or info."""
    return f'<p class="notice {kind}" role="alert">{escape(text)}</p>' if text else ""


def field(
    label: str, name: str, kind: str = "text", value: str = "", autocomplete: str = "off", focus: bool = False
) -> str:
    """One labelled input."""
    return (
        f'<label>{escape(label)}<input name="{escape(name)}" type="{kind}" value="{escape(value)}" '
        f'autocomplete="{autocomplete}" required{" autofocus" if focus else ""} maxlength="256"></label>'
    )


def sign_in_page(
    language: str, problem: str = "", name: str = "", target: str = "/", status: int = 200
) -> HTMLResponse:
    """The sign-in form."""
    password = field(
        say("login.password", language), "password", "password", autocomplete="current-password", focus=bool(name)
    )
    form = (
        f'{notice(problem)}<form method="post" action="/login">'
        f'<input type="hidden" name="next" value="{escape(target)}">'
        f"{field(say('login.name', language), 'name', value=name, autocomplete='username', focus=not name)}"
        f"{password}"
        f"<button>{escape(say('login.submit', language))}</button></form>"
        f'<p class="aside">{escape(say("login.forgotten", language))}</p>'
    )
    return respond(card(say("login.title", language), form, language), say("login.title", language), language, status)


def setup_page(language: str, token: str, user_name: str | None, problem: str = "", name: str = "") -> HTMLResponse:
    """The form behind a one-time link. user_name: whose password it sets; None for the first administrator."""
    title = say("setup.title_first" if user_name is None else "setup.title_password", language)
    who = (
        field(say("login.name", language), "name", value=name, autocomplete="username", focus=True)
        if user_name is None
        else f'<p class="aside">{escape(say("setup.for_user", language, name=user_name))}</p>'
    )
    form = (
        f'{notice(problem)}<form method="post" action="/setup">'
        f'<input type="hidden" name="token" value="{escape(token)}">{who}'
        f"{field(say('login.password', language), 'password', 'password', autocomplete='new-password')}"
        f"{field(say('setup.again', language), 'again', 'password', autocomplete='new-password')}"
        f'<p class="aside">{escape(say("setup.rule", language))}</p>'
        f"<button>{escape(say('setup.submit', language))}</button></form>"
    )
    return respond(card(title, form, language), title, language, 400 if problem else 200)


def sign_out_page(language: str, name: str) -> HTMLResponse:
    """Asks before signing out, so that a mere link cannot do it."""
    title = say("logout.title", language)
    form = (
        f'<p>{escape(say("logout.question", language, name=name))}</p><form method="post" action="/logout">'
        f"<button>{escape(say('logout.submit', language))}</button></form>"
        f'<p class="aside"><a href="/">{escape(say("page.back", language))}</a></p>'
    )
    return respond(card(title, form, language), title, language)


def problem_page(language: str, text: str, status: int, back: str = "/") -> HTMLResponse:
    """A page that says what is wrong and leads back."""
    title = say("page.problem", language)
    inner = f'{notice(text)}<p class="aside"><a href="{escape(back)}">{escape(say("page.back", language))}</a></p>'
    return respond(card(title, inner, language), title, language, status)


def text_page(
    language: str, title: str, place: str, parts: Sequence[tuple[str, str, bool]], links: Sequence[tuple[str, str]]
) -> HTMLResponse:
    """A document's text with one part marked.

    Args:
        parts: (heading, text, marked) in order; all escaped here.
        links: (label, address) shown at the top; addresses are ours.
    """
    shown = []
    for heading, text, marked in parts:
        head = f"<h2>{escape(heading)}</h2>" if heading else ""
        tag = f'<mark id="here">{escape(text)}</mark>' if marked else escape(text)
        shown.append(f'{head}<div class="text{" here" if marked else ""}">{tag}</div>')
    nav = " · ".join(f'<a href="{escape(address)}">{escape(label)}</a>' for label, address in links)
    head = f'<header class="doc"><h1>{escape(title)}</h1><p>{escape(place)}</p><nav>{nav}</nav></header>'
    return respond(head + "".join(shown), title, language, wide=True)
