"""What counts as a question."""

from __future__ import annotations

import re

from core.errors import InputError


def check_question(question: str, limit: int) -> str:
    """The question without blanks around it.

    Args:
        limit: most characters.

    Raises:
        InputError: it has no word, or is longer than the limit.
    """
    text = question.replace("\x00", "").strip()
    if not re.search(r"\w", text):
        raise InputError(f"The question {text[:40]!r} has no word in it.", "Type a question of at least one word.")
    if len(text) > limit:
        raise InputError(
            f"The question “{text[:40]}…” has {len(text):,} characters, over the limit of {limit:,}.",
            "Shorten it, or raise ALIOTH_CHAT__MAX_QUESTION_CHARS.",
        )
    return text
