"""Renders prompts by our own code: the template inside a GGUF is code by strangers and is never run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from core.errors import InputError
from models.protocols import Message

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class _Form:
    """How one family of models writes a conversation. Markers are control tokens, the rest is plain text.

    begin: before everything. open: before a message, by role; role_text: plain text after it. close: marker after a
    message; after: plain text after that. system_in_user: no system role, so it stands before the first question.
    mark: a text that a template of this family contains, and only of this one.
    """

    open: dict[str, str]
    role_text: dict[str, str]
    close: str
    after: str
    mark: str
    begin: str = ""
    system_in_user: bool = False


def _same(text: str) -> dict[str, str]:
    return {role: text for role in ROLES}


_GEMMA_ROLE: Final = {"system": "user\n", "user": "user\n", "assistant": "model\n"}

_FORMS: Final = {
    "chatml": _Form(
        _same("<|im_start|>"), {role: f"{role}\n" for role in ROLES}, "<|im_end|>", "\n", mark="<|im_start|>"
    ),
    "llama3": _Form(
        {role: f"<|start_header_id|>{role}<|end_header_id|>" for role in ROLES},
        _same("\n\n"),
        "<|eot_id|>",
        "",
        mark="<|start_header_id|>",
        begin="<|begin_of_text|>",
    ),
    "gemma": _Form(
        _same("<start_of_turn>"),
        _GEMMA_ROLE,
        "<end_of_turn>",
        "\n",
        mark="<start_of_turn>",
        begin="<bos>",
        system_in_user=True,
    ),
    "glm4": _Form(
        {role: f"<|{role}|>" for role in ROLES}, _same("\n"), "", "", mark="[gMASK]<sop>", begin="[gMASK]<sop>"
    ),
}


def template_of(chat_template: str) -> str:
    """Which of our forms a model's own template asks for; empty when none does. The template is only looked at."""
    found = [name for name, form in _FORMS.items() if form.mark in chat_template]
    return found[0] if len(found) == 1 else ""


def render(
    messages: Sequence[Message],
    tokenize: Callable[[str, bool], list[int]],
    answer_prefix: str = "",
    template: str = "chatml",
) -> list[int]:
    """Token ids of a whole prompt that ends where the assistant's answer begins.

    Args:
        messages: at least one, in order.
        tokenize: text and "may contain markers" to ids. Contents go through it without markers, so that
            `<|im_end|>` in a document stays plain text.
        answer_prefix: markers and text put before the answer, e.g. an empty thinking part.
        template: one of the catalogue's.

    Raises:
        InputError: no message, or an unknown role.
    """
    if not messages:
        raise InputError("A prompt needs at least one message, got none.")
    for message in messages:
        if message.role not in ROLES:
            raise InputError(f"Unknown role {message.role!r}.", f"Roles are {', '.join(ROLES)}.")
    form = _FORMS[template]
    ids = tokenize(form.begin, True) if form.begin else []
    for message in _as_wanted(messages, form):
        ids += tokenize(form.open[message.role], True)
        ids += tokenize(form.role_text[message.role] + message.content, False)
        ids += tokenize(form.close, True) if form.close else []
        ids += tokenize(form.after, False) if form.after else []
    ids += tokenize(form.open["assistant"], True) + tokenize(form.role_text["assistant"], False)
    return ids + (tokenize(answer_prefix, True) if answer_prefix else [])


def _as_wanted(messages: Sequence[Message], form: _Form) -> list[Message]:
    """With the system text before the first question, for models that know no system role."""
    if not form.system_in_user:
        return list(messages)
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    rest = [message for message in messages if message.role != "system"]
    if not system:
        return rest
    if rest and rest[0].role == "user":
        return [Message("user", f"{system}\n\n{rest[0].content}"), *rest[1:]]
    return [Message("user", system), *rest]


TEMPLATES: Final = tuple(_FORMS)
"""Names of the forms that are known."""
