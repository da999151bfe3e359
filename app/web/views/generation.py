"""How answers are generated: the panel of a conversation and that of a collection, presets first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.answering import of_collection, offered_adapters, resolved, set_collection, set_conversation
from app.web import dialogs, state
from app.web.failures import shown
from app.web.render import label
from core.answer_settings import LIMITS, MAX_ADAPTERS, MAX_SCALE, MAX_SYSTEM_PROMPT, PRESETS, AnswerSettings, Resolved
from core.errors import ModelUnavailableError
from core.types import Collection, Role

if TYPE_CHECKING:
    from storage.conversations import Conversation

_NEW = "generation_of_new_conversation"
_STEPS = {"temperature": 0.1, "top_p": 0.05, "min_p": 0.01, "repeat_penalty": 0.05}
_FIRST = ("temperature", "max_tokens")
_REST = ("top_p", "top_k", "min_p", "repeat_penalty", "seed")


def conversation_button(conversation: Conversation | None, chosen: Sequence[Collection]) -> None:
    """Open the panel of a conversation; one that has not begun keeps its settings until the first question."""
    subject = conversation.id if conversation else "new"
    kept = _of_conversation(conversation)
    name, tip = _button_text(kept), state.t("generation.help")
    if st.button(name, icon=":material/tune:", width="stretch", key="open_generation", help=tip):
        dialogs.ask("generation", subject)
    if not dialogs.is_open("generation", subject):
        return

    def save(settings: AnswerSettings) -> None:
        if conversation is None:
            st.session_state[_NEW] = settings
        else:
            set_conversation(state.alioth(), state.principal(), conversation.id, settings)

    below = resolved(state.alioth(), state.alioth().permissions.readable_of(state.principal(), [c.id for c in chosen]))
    _dialog("conversation", subject, kept, below, save)


def keep_for(conversation: Conversation) -> None:
    """Give a conversation that begins now what was chosen before it began."""
    settings = st.session_state.pop(_NEW, None)
    if settings:
        set_conversation(state.alioth(), state.principal(), conversation.id, settings)


def collection_button(collection: Collection, role: Role) -> None:
    """Open the panel of a collection; for those who manage it."""
    if role.rank < Role.MANAGE.rank:
        return
    alioth = state.alioth()
    kept = of_collection(alioth, state.principal(), collection.id)
    name = state.t("generation.button") + (f" · {_button_text(kept)}" if kept else "")
    if st.button(name, icon=":material/tune:", key="open_generation", help=state.t("generation.help")):
        dialogs.ask("generation", collection.id)
    if not dialogs.is_open("generation", collection.id):
        return

    def save(settings: AnswerSettings) -> None:
        set_collection(alioth, state.principal(), collection.id, settings)

    _dialog("collection", collection.id, kept, resolved(alioth, []), save, label(collection.name))


def _of_conversation(conversation: Conversation | None) -> AnswerSettings:
    if conversation is None:
        pending: AnswerSettings = st.session_state.get(_NEW, AnswerSettings())
        return pending
    return state.alioth().answer_settings.of_conversation(conversation.id)


def _button_text(kept: AnswerSettings) -> str:
    if kept.preset:
        return state.t(f"generation.preset_{kept.preset}")
    return state.t("generation.own" if kept else "generation.button")


def _dialog(
    level: str,
    subject: str,
    kept: AnswerSettings,
    below: Resolved,
    save: Callable[[AnswerSettings], None],
    name: str = "",
) -> None:
    @st.dialog(state.t("generation.title"), width="medium", on_dismiss=dialogs.close)
    def edit() -> None:
        state.check_sign_in()
        if name:
            st.caption(name)
        st.write(state.t(f"generation.explained_{level}"))
        given = _fields(level, f"generation_{subject}", kept, below)
        with st.container(horizontal=True):
            if st.button(state.t("page.save"), type="primary", key=f"save_{subject}"):
                _finish(lambda: save(AnswerSettings(**given)))
            if kept and st.button(state.t("generation.reset"), key=f"reset_{subject}"):
                _finish(lambda: save(AnswerSettings()))

    edit()


def _finish(change: Callable[[], None]) -> None:
    with shown():
        change()
        dialogs.close()
        st.toast(state.t("generation.saved"), icon=":material/check:")
        st.rerun()


def _fields(level: str, key: str, kept: AnswerSettings, below: Resolved) -> dict[str, Any]:
    """What the panel says, by field of AnswerSettings."""
    preset = _preset(level, key, kept)
    given: dict[str, Any] = {"preset": preset or None}
    if level == "collection":
        given["system_prompt"] = st.text_area(
            state.t("generation.system_prompt"),
            kept.system_prompt,
            max_chars=MAX_SYSTEM_PROMPT,
            help=state.t("generation.system_prompt_help"),
            placeholder=state.t("generation.system_prompt_example"),
            key=f"{key}_prompt",
        )
    else:
        given["system_prompt"] = kept.system_prompt
    given["adapters"] = _adapters(key, kept)
    shown_values = dict(below.values) | dict(PRESETS.get(preset, {}))
    more = any(getattr(kept, name) is not None for name in (*_FIRST, *_REST, "stop"))
    with st.expander(state.t("generation.more"), icon=":material/settings:", expanded=more):
        st.caption(state.t("generation.more_help"))
        columns = st.columns(2)
        for at, one in enumerate((*_FIRST, *_REST)):
            with columns[at % 2]:
                given[one] = _number(one, key, getattr(kept, one), shown_values[one])
        given["stop"] = _stops(key, kept)
    return given


def _preset(level: str, key: str, kept: AnswerSettings) -> str:
    chosen = st.segmented_control(
        state.t("generation.preset"),
        ["", *PRESETS],
        default=kept.preset or "",
        format_func=lambda name: state.t(f"generation.preset_{name or 'none'}"),
        required=True,
        width="stretch",
        key=f"{key}_preset",
    )
    st.caption(state.t(f"generation.about_{chosen or f'none_{level}'}"))
    return str(chosen or "")


def _number(name: str, key: str, value: float | None, below: object) -> float | int | None:
    least, most, _ = LIMITS[name]
    whole = name not in _STEPS
    cast: Any = int if whole else float
    placeholder = state.t("generation.drawn") if below is None else f"{below:g}"
    found = st.number_input(
        state.t(f"generation.{name}"),
        min_value=cast(least),
        max_value=cast(most),
        value=None if value is None else cast(value),
        step=cast(_STEPS.get(name, 1)),
        placeholder=placeholder,
        help=state.t(f"generation.{name}_help"),
        key=f"{key}_{name}",
    )
    return None if found is None else cast(found) if whole else round(float(found), 4)


def _stops(key: str, kept: AnswerSettings) -> tuple[str, ...] | None:
    text = st.text_area(
        state.t("generation.stop"),
        "\n".join(kept.stop or ()),
        height=80,
        help=state.t("generation.stop_help"),
        key=f"{key}_stop",
    )
    return tuple(line for line in text.splitlines() if line) or None


def _adapters(key: str, kept: AnswerSettings) -> tuple[tuple[str, float], ...] | None:
    try:
        known = offered_adapters(state.alioth())
    except ModelUnavailableError:  # what was chosen before can still be taken out
        known = {}
    before = dict(kept.adapters or ())
    if not known and not before:
        return None
    chosen = st.multiselect(
        state.t("generation.adapters"),
        list(dict.fromkeys((*known, *before))),
        default=list(before),
        format_func=lambda name: f"{name} · {known[name]}" if name in known else name,
        max_selections=MAX_ADAPTERS,
        placeholder=state.t("generation.adapters_none"),
        help=state.t("generation.adapters_help"),
        key=f"{key}_adapters",
    )
    scales = {
        name: st.slider(
            state.t("generation.scale", adapter=label(name)),
            0.0,
            MAX_SCALE,
            min(MAX_SCALE, float(before.get(name, 1.0))),
            0.05,
            key=f"{key}_scale_{name}",
        )
        for name in chosen
    }
    return tuple(scales.items()) or None
