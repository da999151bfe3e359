"""How answers are generated: limits, presets, and which level decides: request, conversation, collection, instance."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from core.errors import InputError

MAX_SEED: Final = 0xFFFF_FFFE
"""llama.cpp takes 0xFFFFFFFF as "draw one"."""
MAX_STOPS: Final = 16
MAX_STOP_CHARS: Final = 200
MAX_ADAPTERS: Final = 4
MAX_SCALE: Final = 2.0
MAX_SYSTEM_PROMPT: Final = 2000

LIMITS: Final[Mapping[str, tuple[float, float, str]]] = {
    "temperature": (0.0, 2.0, "no unit; 0 takes the likeliest token"),
    "top_k": (0, 100_000, "tokens; 0 is off"),
    "top_p": (0.001, 1.0, "share of probability; 1 is off"),
    "min_p": (0.0, 1.0, "share of the likeliest token's probability; 0 is off"),
    "repeat_penalty": (0.5, 2.0, "factor; 1 is off"),
    "seed": (0, MAX_SEED, "no unit"),
    "max_tokens": (1, 1_048_576, "tokens"),
}
"""Least, most, unit."""
_WHOLE: Final = frozenset({"top_k", "seed", "max_tokens"})
LEVELS: Final = ("request", "conversation", "collection", "instance")
"""The first that says something about a value decides it."""

PRESETS: Final[Mapping[str, Mapping[str, float]]] = {
    "precise": {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.1},
    "balanced": {"temperature": 0.5, "top_k": 40, "top_p": 0.9, "min_p": 0.05, "repeat_penalty": 1.1},
    "creative": {"temperature": 0.9, "top_k": 100, "top_p": 0.95, "min_p": 0.03, "repeat_penalty": 1.1},
}
DEFAULTS: Final[Mapping[str, Any]] = {
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 0.95,
    "min_p": 0.0,
    "repeat_penalty": 1.1,
    "seed": None,
    "max_tokens": 256,
    "stop": (),
    "adapters": (),
    "json_schema": "",
}

Adapters = tuple[tuple[str, float], ...]


def require_number(name: str, value: object) -> None:
    """Nothing when the value is within `LIMITS[name]`.

    Raises:
        InputError: names the value, its limits with their unit, and what to do.
    """
    least, most, unit = LIMITS[name]
    kinds = int if name in _WHOLE else (int, float)
    fits = isinstance(value, kinds) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or not least <= value <= most:  # type: ignore[arg-type, operator]
        whole = "a whole number " if name in _WHOLE else ""
        raise InputError(
            f"{name} is '{str(value)[:40]}'; it must be {whole}from {least:g} to {most:.10g} ({unit}).",
            "Give a value in between.",
        )


def require_stops(stop: Sequence[object]) -> None:
    """Raises InputError: too many stop texts, or one is empty, too long or no text."""
    for text in stop:
        if not isinstance(text, str) or not 0 < len(text) <= MAX_STOP_CHARS:
            raise InputError(
                f"The stop text '{str(text)[:40]}' cannot be used; it must have 1 to {MAX_STOP_CHARS} characters.",
                "Shorten it or leave it out.",
            )
    if len(stop) > MAX_STOPS:
        raise InputError(f"{len(stop)} stop texts were given; at most {MAX_STOPS} are possible.", "Give fewer.")


def require_adapters(adapters: Iterable[tuple[str, float]]) -> None:
    """Raises InputError: too many adapters, one twice, or a scale out of its limits."""
    names = []
    for name, scale in adapters:
        names.append(name)
        if not isinstance(scale, int | float) or not math.isfinite(scale) or not 0 <= scale <= MAX_SCALE:
            raise InputError(
                f"The scale of the adapter '{name}' is '{scale}'; it must be from 0 to {MAX_SCALE:g}; 1 is as trained.",
                "Give a scale in between.",
            )
    if len(names) > MAX_ADAPTERS or len(set(names)) != len(names):
        raise InputError(
            f"The adapters {', '.join(map(repr, names))} were asked for; at most {MAX_ADAPTERS} different ones can be.",
            "Name each once.",
        )


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """What one level says; None, or an empty text, leaves it to the next level. Checked when it is made.

    preset: key of PRESETS; its values count where this level gives none of its own. greedy: the likeliest token each
    time, as temperature 0. system_prompt: added to ours, never instead of it. json_schema: of a request only.

    Raises:
        InputError: a value breaks its rule.
    """

    preset: str | None = None
    temperature: float | None = None
    greedy: bool | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    system_prompt: str = ""
    adapters: Adapters | None = None
    json_schema: str = ""

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in PRESETS:
            raise InputError(f"There is no preset '{self.preset}'.", f"Presets are {', '.join(PRESETS)}.")
        for name in LIMITS:
            if (value := getattr(self, name)) is not None:
                require_number(name, value)
        if self.greedy and self.temperature:
            raise InputError(
                f"greedy was asked for together with a temperature of {self.temperature:g}; greedy is temperature 0.",
                "Give one of them.",
            )
        if not isinstance(self.greedy, bool | None) or not isinstance(self.system_prompt, str):
            raise InputError("greedy must be true or false, and the system prompt a text.", "Check the settings.")
        require_stops(self.stop or ())
        require_adapters(self.adapters or ())
        if len(self.system_prompt) > MAX_SYSTEM_PROMPT:
            raise InputError(
                f"The system prompt has {len(self.system_prompt)} characters, over the limit of {MAX_SYSTEM_PROMPT}.",
                "Shorten it: every answer reads it before the documents.",
            )
        if self.json_schema:
            from core.json_schema import check_schema

            check_schema(self.json_schema)

    def __bool__(self) -> bool:
        return bool(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON form of what is said here."""
        out: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None or value == "":
                continue
            if one.name == "adapters":
                value = {name: scale for name, scale in value}
            out[one.name] = list(value) if isinstance(value, tuple) else value
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AnswerSettings:
        """Inverse of `to_dict`.

        Raises:
            InputError: an unknown name, or a value of the wrong kind.
        """
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise InputError(f"Unknown setting '{unknown[0]}'.", f"Settings are {', '.join(sorted(known))}.")
        values = dict(data)
        if values.get("stop") is not None:
            stop = values["stop"]
            values["stop"] = tuple(stop) if isinstance(stop, list | tuple) else (stop,)
        if values.get("adapters") is not None:
            values["adapters"] = adapters_of(values["adapters"])
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> AnswerSettings:
        """From the text of a JSON object; empty text says nothing. Raises InputError."""
        try:
            data = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise InputError(f"'{text[:60]}' is no JSON object of settings.", 'Write e.g. {"top_k": 40}.')
        return cls.from_dict(data)

    def values(self) -> dict[str, Any]:
        """What this level decides, its preset laid out; without the system prompt."""
        found: dict[str, Any] = dict(PRESETS[self.preset]) if self.preset else {}
        if self.greedy:
            found["temperature"] = 0.0
        for name in DEFAULTS:
            value = getattr(self, name)
            if value is not None and value != "":
                found[name] = value
        return found


def adapters_of(value: object) -> Adapters:
    """Adapters from JSON: an object of id to scale.

    Raises:
        InputError: another form.
    """
    if not isinstance(value, Mapping) or not all(isinstance(one, int | float) for one in value.values()):
        raise InputError(f"Adapters are '{str(value)[:60]}'; they must be an object of id to scale.", "E.g. {'id': 1}.")
    return tuple((str(name), float(scale)) for name, scale in value.items())


@dataclass(frozen=True, slots=True)
class Resolved:
    """What counts for one answer. values: every name of DEFAULTS. origins: the level each came from, else `default`.

    prompts: system prompts to add, the instance's first. conflicts: names that the collections asked disagree on.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as it is kept with a message and shown by `alioth ask --explain-settings`."""
        shown = {**self.values, "stop": list(self.values["stop"]), "adapters": dict(self.values["adapters"])}
        if shown["json_schema"]:
            shown["json_schema"] = json.loads(shown["json_schema"])
        return {
            "values": {name: value for name, value in shown.items() if value not in ("", [], {})},
            "origins": dict(self.origins),
            "system_prompts": len(self.prompts),
            **({"conflicts": list(self.conflicts)} if self.conflicts else {}),
        }


def resolve(
    instance: AnswerSettings,
    collections: Sequence[AnswerSettings] = (),
    conversation: AnswerSettings | None = None,
    request: AnswerSettings | None = None,
) -> Resolved:
    """What counts: request before conversation before collection before instance before our defaults.

    Where several collections are asked, a value of theirs counts when all that give it agree; one that they
    disagree on is left to the instance and named in `conflicts`.
    """
    agreed, conflicts = _agreed([one.values() for one in collections])
    said = {
        "request": (request or AnswerSettings()).values(),
        "conversation": (conversation or AnswerSettings()).values(),
        "collection": agreed,
        "instance": instance.values(),
    }
    values, origins = dict(DEFAULTS), {name: "default" for name in DEFAULTS}
    for level in reversed(LEVELS):
        values |= said[level]
        origins |= {name: level for name in said[level]}
    if values["json_schema"] and origins["repeat_penalty"] == "default":
        values["repeat_penalty"] = 1.0  # quotes, commas and names of fields must come again and again
    texts, differ = _agreed([{"system_prompt": one.system_prompt} for one in collections if one.system_prompt])
    prompts = (instance.system_prompt, *texts.values(), conversation.system_prompt if conversation else "")
    kept = tuple(dict.fromkeys(text.strip() for text in prompts if text.strip()))
    return Resolved(values, origins, kept, (*conflicts, *differ))


def _agreed(levels: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], tuple[str, ...]]:
    given: dict[str, list[Any]] = {}
    for level in levels:
        for name, value in level.items():
            given.setdefault(name, []).append(value)
    same = {name: all_[0] for name, all_ in given.items() if all(one == all_[0] for one in all_)}
    return same, tuple(name for name in given if name not in same)
