"""Renders prompts in ChatML by our own code: the template inside a GGUF is code by strangers and is never run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.errors import InputError
from models.protocols import Message

ROLES = ("system", "user", "assistant")


def render(
    messages: Sequence[Message], tokenize: Callable[[str, bool], list[int]], answer_prefix: str = ""
) -> list[int]:
    """Token ids of a whole prompt that ends where the assistant's answer begins.

    Args:
        messages: at least one, in order.
        tokenize: text and "may contain markers" to ids. Contents go through it without markers, so that
            `<|im_end|>` in a document stays plain text.
        answer_prefix: markers and text put before the answer, e.g. an empty thinking part.

    Raises:
        InputError: no message, or an unknown role.
    """
    if not messages:
        raise InputError("A prompt needs at least one message, got none.")
    ids: list[int] = []
    for message in messages:
        if message.role not in ROLES:
            raise InputError(f"Unknown role {message.role!r}.", f"Roles are {', '.join(ROLES)}.")
        ids += tokenize("<|im_start|>", True)
        ids += tokenize(f"{message.role}\n{message.content}", False)
        ids += tokenize("<|im_end|>", True) + tokenize("\n", False)
    ids += tokenize("<|im_start|>", True) + tokenize("assistant\n", False)
    return ids + (tokenize(answer_prefix, True) if answer_prefix else [])
