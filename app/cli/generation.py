"""Options that say how an answer is generated, and `alioth collection settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.state import JsonOption, print_json, print_table, say, state_of
from core.answer_settings import PRESETS, Adapters, AnswerSettings, Resolved
from core.errors import InputError
from core.types import Role

PresetOption = Annotated[
    str | None, typer.Option("--preset", metavar="|".join(PRESETS), help="How freely the answer is worded.")
]
TemperatureOption = Annotated[
    float | None, typer.Option("--temperature", help="Randomness, 0 to 2; 0 takes the likeliest word.")
]
TopKOption = Annotated[int | None, typer.Option("--top-k", help="Likeliest tokens kept; 0 keeps all.")]
TopPOption = Annotated[float | None, typer.Option("--top-p", help="Share of probability kept; 1 keeps all.")]
MinPOption = Annotated[
    float | None, typer.Option("--min-p", help="Least probability, as a share of the likeliest token's; 0 is off.")
]
RepeatPenaltyOption = Annotated[float | None, typer.Option("--repeat-penalty", help="0.5 to 2; 1 is off.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="The same seed and settings give the same answer.")]
MaxTokensOption = Annotated[int | None, typer.Option("--max-tokens", help="Longest answer, in tokens.")]
StopOption = Annotated[
    list[str] | None, typer.Option("--stop", metavar="TEXT", help="Text that ends the answer; may be repeated.")
]
GreedyOption = Annotated[bool, typer.Option("--greedy", help="The likeliest word each time, as temperature 0.")]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option("--adapter", metavar="ID[:SCALE]", help="LoRA adapter, scale 0 to 2; may be repeated."),
]
SchemaOption = Annotated[
    Path | None, typer.Option("--json-schema", metavar="FILE", help="Answer with JSON that follows this JSON schema.")
]
ExplainOption = Annotated[bool, typer.Option("--explain-settings", help="Show which level decided each setting.")]


_PLAIN = (
    "preset",
    "temperature",
    "greedy",
    "top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "seed",
    "max_tokens",
)
"""Options whose value is the setting of that name."""


def settings_of(given: Mapping[str, Any]) -> AnswerSettings:
    """The settings that the options of a command (`context.params`) say; options left out say nothing.

    Raises:
        InputError: a value breaks its rule, or a file cannot be read.
    """
    adapters, schema, stop = given.get("adapter"), given.get("json_schema"), given.get("stop")
    said = {name: given[name] for name in _PLAIN if given.get(name) is not None}
    if not said.get("greedy"):  # a flag that is not given says nothing
        said.pop("greedy", None)
    return AnswerSettings(
        **said,
        stop=tuple(stop) if stop else None,
        adapters=_adapters(adapters) if adapters else None,
        json_schema=read_text(schema) if schema else "",
    )


def read_text(path: Path) -> str:
    """Text of a UTF-8 file. Raises InputError."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read '{path}': {error}.", "Give a UTF-8 text file.") from error


def explain(chosen: Resolved) -> None:
    """A table of what counts and which level said it, on stderr."""
    shown = chosen.to_dict()
    for name, level in shown["origins"].items():
        value = shown["values"].get(name)
        say(f"{name:<16} {'-' if value is None else value!s:<12} {level}")
    say(f"{'system prompts':<16} {shown['system_prompts']:<12} added to ours")
    for name in shown.get("conflicts", ()):
        say(f"{name}: the collections differ, so that the instance decides")
    say()


def _adapters(texts: list[str]) -> Adapters:
    found = []
    for text in texts:
        name, _, scale = text.partition(":")
        try:
            found.append((name, float(scale or 1)))
        except ValueError:
            raise InputError(f"'{text}' is no adapter with a scale.", "Write ID or ID:0.8.") from None
    return tuple(found)


def settings(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The collection.")],
    preset: PresetOption = None,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    repeat_penalty: RepeatPenaltyOption = None,
    seed: SeedOption = None,
    max_tokens: MaxTokensOption = None,
    stop: StopOption = None,
    adapter: AdapterOption = None,
    system_prompt: Annotated[
        Path | None,
        typer.Option(
            "--system-prompt", metavar="FILE", help="What to tell the model about tone and terms; '' removes."
        ),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget all of them first.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Only show them.")] = False,
    json: JsonOption = False,
) -> None:
    """How answers from a collection are generated; what is not named stays. For those who manage it."""
    from app.answering import of_collection, resolved, set_collection

    state = state_of(context)
    collection = state.collection(name, Role.MANAGE)
    kept = of_collection(state.alioth, state.principal, collection.id)
    said = settings_of(context.params)
    changes = {field: getattr(said, field) for field in said.to_dict()}
    if system_prompt is not None:
        changes["system_prompt"] = read_text(system_prompt) if system_prompt.name else ""
    if show and (changes or reset):
        raise InputError("--show was given together with a change.", "Give one of them.")
    if changes or reset:
        kept = replace(AnswerSettings() if reset else kept, **changes)
        set_collection(state.alioth, state.principal, collection.id, kept)
    if json:
        chosen = resolved(state.alioth, [collection])
        print_json({"collection": collection.name, "settings": kept.to_dict(), "resolved": chosen.to_dict()})
    elif not kept:
        say(f"'{collection.name}' has no settings of its own; the instance's count.")
    else:
        print_table(("setting", "value"), kept.to_dict().items())
