"""Author and dates that Office files carry (docProps/core.xml)."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def core_metadata(properties: Any) -> dict[str, str]:
    """Author, created and modified (ISO dates), those that are set, of core properties as python-docx gives them."""
    found = {"author": str(properties.author or "").strip()}
    for name in ("created", "modified"):
        try:
            value = getattr(properties, name)
        except ValueError:  # a date that is none
            continue
        if isinstance(value, datetime) and value.year > 1980:  # programs without a clock write 1601 or 1980
            found[name] = value.strftime("%Y-%m-%d %H:%M")
    return {name: value for name, value in found.items() if value and value != "python-docx"}
