"""`alioth models plan|bench|use`: what fits, how fast it is, and changing the language model."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.models_store import ModelArgument
from app.cli.state import JsonOption, print_json, print_table, say, state_of
from core.errors import InputError

if TYPE_CHECKING:
    from core.settings import Settings
    from models.planning.machine import Card, Machine
    from models.planning.plan import Plan


def plan(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An id of `alioth models list`, or a .gguf file.")],
    users: Annotated[int, typer.Option(min=1, help="People who may ask at the same time.")] = 10,
    window: Annotated[int, typer.Option("--context", min=256, help="Window wanted, in tokens.")] = 8192,
    cache: Annotated[str, typer.Option(help="How read tokens are kept: f16, q8_0 or q4_0; default: the setting.")] = "",
    slots: Annotated[int, typer.Option(min=0, max=64, help="Answers side by side; default: as many as fit.")] = 0,
    split: Annotated[str, typer.Option(metavar="3,1", help="Shares of the cards; default: the setting.")] = "",
    card: Annotated[
        list[str] | None, typer.Option(metavar="NAME:GB[:FREE_GB]", help="Plan for this card instead of those here.")
    ] = None,
    ram: Annotated[float | None, typer.Option(help="Plan for so many free GB of memory.", min=0.1)] = None,
    json: JsonOption = False,
) -> None:
    """Say whether a model fits, before it is loaded: slots, window, layers on the cards, memory, speed."""
    from models.engine.load_options import CACHE_TYPES
    from models.files.gguf import read_header, require_language_model
    from models.planning.plan import plan as plan_model
    from models.planning.plan_load import options_of, require_cards

    settings = state_of(context).alioth.settings
    kept = next((one for one in CACHE_TYPES if one == (cache or settings.models.cache_type)), None)
    if kept is None:
        raise InputError(f"Unknown cache type {cache!r}.", f"Types are {', '.join(CACHE_TYPES)}.")
    changed = {"tensor_split": split, "main_card": -1} if split else {}
    options = options_of(settings.models.model_copy(update=changed), 1, window)
    header = read_header(_file_of(model, settings))
    require_language_model(header)
    machine = _machine(settings, card, ram)
    require_cards(options, machine)
    made = plan_model(
        header, machine, users=users, window=window, cache=kept, options=options, slots=slots or settings.models.slots
    )
    if json:
        facts = {
            "architecture": header.architecture,
            "quantisation": header.quantisation,
            "parameters": header.weights,
            "layers": header.layers,
            "trained_context": header.context,
            "vocabulary": header.vocabulary,
        }
        print_json({"model": model, **facts, **asdict(made), "machine": asdict(machine)})
        return
    _show(model, header.quantisation, made, [one.name for one in machine.cards])


def bench(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="The language model in use by default.")] = "",
    json: JsonOption = False,
) -> None:
    """Measure prompt and answer tokens per second of a model here, beside the bare stream of llama_cpp."""
    from models.bench_llm import bench_llm
    from models.embedding.cpu import physical_cores
    from models.files import weights
    from models.files.catalog import entry
    from models.planning.machine import keep_bench

    settings = state_of(context).alioth.settings
    chosen = settings.models
    found = entry(model or chosen.llm, settings.home)
    if found.role != "llm":
        raise InputError(f"{found.id!r} is a {found.role}; language models are measured here.", "See `models list`.")
    file = weights.resolve(found.id, settings.home)
    threads = chosen.threads or physical_cores()
    done = bench_llm(_loaded_file(file, found, settings), found, threads=threads, gpu_layers=chosen.gpu_layers)
    keep_bench(done.measured, settings.home)
    if json:
        print_json({**asdict(done), "ratio": done.ratio, "threads": threads})
        return
    rows = [
        ("prompt", done.prompt_tokens, f"{done.measured.prompt_per_s:.1f}", f"{done.bare_prompt_per_s:.1f}"),
        ("answer", done.answer_tokens, f"{done.measured.answer_per_s:.1f}", f"{done.bare_answer_per_s:.1f}"),
    ]
    print_table(("", "tokens", "tokens/s", "bare llama_cpp"), rows)


def use(context: typer.Context, model: ModelArgument, json: JsonOption = False) -> None:
    """Make a model the language model, at once: it loads beside the old one, which ends its answer and goes."""
    from app.model_choice import use_model

    running, notes = use_model(state_of(context).alioth, model)
    if json:
        print_json({"id": model, "swapped": running, "notes": notes})
        return
    say(f"{model} answers from now on." if running else f"{model} will be loaded at the next start.")
    for note in notes:
        say(note)


def _file_of(model: str, settings: Settings) -> Path:
    from models.files import weights
    from models.files.catalog import entry

    if model.endswith(".gguf"):
        return Path(model).expanduser()
    found = entry(model, settings.home)
    if found.kind != "gguf":
        raise InputError(f"{model!r} is no language model but a {found.role}.", "Plans are for language models.")
    return _loaded_file(weights.resolve(found.id, settings.home), found, settings)


def _loaded_file(file: Path, found: Any, settings: Settings) -> Path:
    """The faster copy where the models process loads that one."""
    from models.files.requantise import copy_of

    copy = copy_of(file, found.sha256, settings.home)
    return copy if settings.models.requantise and found.requantise and copy.exists() else file


def _machine(settings: Settings, cards: list[str] | None, ram: float | None) -> Machine:
    from dataclasses import replace

    from models.planning.machine import this_machine

    machine = this_machine(settings.home)
    if cards:
        machine = replace(machine, cards=tuple(_card(one) for one in cards))
    if ram is not None:
        machine = replace(machine, ram_total_bytes=0, ram_free_bytes=int(ram * 1e9))
    return machine


def _card(text: str) -> Card:
    from models.planning.machine import Card

    found = re.fullmatch(r"([^:]*):(\d+(?:\.\d+)?)(?::(\d+(?:\.\d+)?))?", text)
    if found is None:
        raise InputError(f"{text!r} is no card.", "Write NAME:GB or NAME:GB:FREE_GB, e.g. L4:24.")
    total = float(found[2]) * 1e9
    return Card(found[1] or "card", int(total), int(float(found[3]) * 1e9 if found[3] else total))


def _show(model: str, quantisation: str, made: Plan, cards: list[str]) -> None:
    memory, gb = made.memory, 1e9
    on_cards = list(zip(cards, made.memory.by_card, strict=False)) if made.layers else []
    speed = made.speed
    rows = [
        ("fits", "yes" if made.fits else "no"),
        ("quantisation", quantisation),
        ("slots", made.slots),
        ("window of each", f"{made.window} tokens"),
        ("cache", made.cache_type),
        ("layers on cards", f"{made.layers} of {made.all_layers}"),
        ("memory", f"{memory.host / gb:.2f} GB, cards {memory.card / gb:.2f} GB"),
        *((f"on card {number} {name}", f"{size / gb:.2f} GB") for number, (name, size) in enumerate(on_cards)),
        ("of it weights", f"{memory.weights / gb:.2f} GB"),
        ("of it cache", f"{memory.cache / gb:.2f} GB"),
        ("of it computing and rest", f"{(memory.compute + memory.other) / gb:.2f} GB"),
        (
            "speed",
            f"about {speed.prompt_per_s:.0f} tokens/s of prompt, {speed.answer_per_s:.0f} of answer, by {speed.basis}"
            if speed
            else "unknown; `alioth models bench` measures this machine",
        ),
    ]
    rows += [
        (f"as {one.name}", f"{one.weights_bytes / gb:.2f} GB, fits: {one.fits or 'no'}") for one in made.quantisations
    ]
    print_table((model, ""), rows)
    for note in made.notes:
        say(note)
