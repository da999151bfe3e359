"""How a model was loaded, in the page's language: the models process says it in English, with a code and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.web.messages import say_or


def load_note(code: str, values: Mapping[str, Any], text: str, language: str) -> str:
    """The note of that code; `text`, its English, where the code is not known here or another version wrote it."""
    try:
        return say_or(f"loaded.{code}", language, text, **values)
    except KeyError:  # a value that this text names is missing
        return text
