"""The message catalogue: every text of the pages, in Chinese and English."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files

from core.errors import AliothError, LimitError

LANGUAGES = {"zh": "中文", "en": "English"}


@functools.cache
def catalogue() -> dict[str, dict[str, str]]:
    """Key (`section.name`) to language to text."""
    raw = tomllib.loads(files("app.web").joinpath("messages.toml").read_text(encoding="utf-8"))
    return {f"{section}.{name}": texts for section, names in raw.items() for name, texts in names.items()}


def say(key: str, language: str, /, **values: object) -> str:
    """The text of a key with its `{places}` filled in. KeyError for an unknown key; a test keeps that away."""
    texts = catalogue()[key]
    return texts[language if language in texts else "en"].format(**values)


def say_or(key: str, language: str, fallback: str, /, **values: object) -> str:
    """As `say`, or the fallback where the catalogue has no such key (codes of other parts may be newer)."""
    return say(key, language, **values) if key in catalogue() else fallback


def preferred(accept_language: str) -> str:
    """`zh` or `en` from an Accept-Language header (RFC 9110), by quality, then order; `en` when neither is named."""
    best, language = 0.0, "en"
    for part in accept_language[:500].split(","):
        tag, _, parameters = part.strip().partition(";")
        base = tag.strip().lower().partition("-")[0]
        name, _, value = parameters.strip().partition("=")
        try:
            quality = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            quality = 0.0
        if base in LANGUAGES and quality > best:
            best, language = quality, base
    return language


def error_text(error: AliothError, language: str) -> str:
    """What a page shows for an error. English has the whole message; Chinese its kind first, then the details."""
    if isinstance(error, LimitError) and error.retry_after_s is not None:
        return say("error.locked", language, seconds=round(error.retry_after_s))
    return kept_error_text({"code": error.code, "message": error.message, "hint": error.hint}, language)


def kept_error_text(error: Mapping[str, str], language: str) -> str:
    """As `error_text`, of an error that was kept as code, message and hint."""
    message = error["message"]
    if language == "en":
        return f"{message} {error['hint']}".strip()
    kind = say_or(f"error.{error['code']}", language, "")
    return f"{kind}（{message}）" if kind else message
