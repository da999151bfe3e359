"""Turns the settings of a models process into what a language model is loaded with, by what this machine has."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InputError
from models.engine.load_options import LoadOptions, tensor_split_of
from models.files.gguf import read_header, require_language_model
from models.planning.machine import Machine, this_machine
from models.planning.plan import Plan, plan, room

if TYPE_CHECKING:
    from core.settings import ModelSettings, Settings

log = logging.getLogger(__name__)

_EVERYBODY = 64


def plan_load(file: Path, settings: Settings, threads: int, *, window: int) -> Plan:
    """The plan to load this file by. Where nothing fits by the plan, the least: llama.cpp has the last word.

    Raises:
        WeightsError: the file is no language model.
        InputError: a setting names a card that is not there.
    """
    header = read_header(file)
    require_language_model(header)
    machine, chosen = this_machine(settings.home), settings.models
    options = options_of(chosen, threads, window)
    require_cards(options, machine)
    made = plan(
        header,
        machine,
        users=_EVERYBODY,
        window=window,
        cache=chosen.cache_type,
        options=options,
        slots=chosen.slots,
    )
    log.info(
        "%s: %d slots of %d tokens, %d of %d layers on cards, cache in %s; %.2f GB of memory of %.2f GB, cards %s",
        file.name, made.slots, made.window, made.layers, made.all_layers, made.cache_type, made.memory.host / 1e9,
        room(machine) / 1e9, [round(one / 1e9, 2) for one in made.memory.by_card if made.layers],
    )  # fmt: skip
    return dataclasses.replace(made, notes=made.less)


def options_of(chosen: ModelSettings, threads: int, window: int) -> LoadOptions:
    """What the settings ask for, before it is known what fits; one slot.

    Raises:
        InputError: settings that exclude each other.
    """
    return LoadOptions(
        threads,
        window,
        gpu_layers=chosen.gpu_layers,
        tensor_split=tensor_split_of(chosen.tensor_split),
        main_card=chosen.main_card,
        flash_attention=chosen.flash_attention,
        cache_type=chosen.cache_type,
    )


def require_cards(options: LoadOptions, machine: Machine) -> None:
    """Nothing when the cards that are named are there, or no card is.

    Raises:
        InputError: one is not.
    """
    count = len(machine.cards)
    if not count:
        return
    names = ", ".join(f"{number} {card.name}" for number, card in enumerate(machine.cards))
    if options.main_card >= count:
        raise InputError(
            f"ALIOTH_MODELS__MAIN_CARD is '{options.main_card}'; the cards here are {names}.", "Choose one of them."
        )
    if len(options.tensor_split) > count:
        raise InputError(
            f"ALIOTH_MODELS__TENSOR_SPLIT has {len(options.tensor_split)} shares; the cards here are {names}.",
            "Give one share per card.",
        )
