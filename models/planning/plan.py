"""Says before loading what a language model takes and what fits: slots, window, layers on the cards, speed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from models.engine.llama_load import SMALLEST_WINDOW, can_pack_cache
from models.engine.load_note import LoadNote
from models.engine.load_options import CacheType, LoadOptions
from models.files.gguf import GgufHeader
from models.planning.machine import Card, Machine
from models.planning.plan_memory import CACHE_BYTES, Memory, memory

__all__ = ["BITS", "CACHE_BYTES", "Memory", "Plan", "Quantisation", "Speed", "memory", "plan"]

BITS: Final = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.7, "Q4_K_M": 4.85, "Q3_K_M": 3.9}
"""Bits per weight of whole files, best first."""

SLOTS_ON_CARD: Final = 16
SLOTS_ON_PROCESSOR: Final = 4
"""Answers computed side by side when nothing else is asked for; each takes memory for a window."""

_RAM_SPARE: Final = 0.1
_CARD_SPARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Speed:
    """Expected tokens per second; basis: what it was worked out from."""

    prompt_per_s: float
    answer_per_s: float
    basis: str


@dataclass(frozen=True, slots=True)
class Quantisation:
    """One way to write the same weights; fits: `card`, `ram` or empty."""

    name: str
    weights_bytes: int
    fits: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to expect, and the options to load with. layers: on the cards, of all_layers.

    less: what is less than was asked for, in words; notes: that and what else should be known.
    """

    fits: bool
    window: int
    layers: int
    all_layers: int
    slots: int
    cache_type: CacheType
    memory: Memory
    options: LoadOptions
    speed: Speed | None
    quantisations: tuple[Quantisation, ...]
    less: tuple[str, ...]
    notes: tuple[str, ...]


def plan(
    header: GgufHeader,
    machine: Machine,
    *,
    users: int,
    window: int,
    cache: CacheType = "f16",
    options: LoadOptions | None = None,
    slots: int = 0,
) -> Plan:
    """The most of what was asked for that fits.

    With all layers on the cards: fewer slots first, then a smaller cache type. Else fewer layers there, in the end a
    smaller window.

    Args:
        users: people who may ask at the same time.
        window: tokens wanted; cache: how they are kept.
        options: the rest of what to load with; its window, slots and cache type do not count.
        slots: wanted; 0 is as many as users, up to SLOTS_ON_CARD or SLOTS_ON_PROCESSOR.
    """
    notes: list[str] = []
    asked = min(window, header.context)
    if asked < window:
        notes.append(f"The model reads at most {header.context} tokens.")
    given = options or LoadOptions(threads=1, window=window)
    usable = usable_cards(machine.cards, given)
    everything = header.layers + 1
    most = everything if given.gpu_layers < 0 else min(given.gpu_layers, everything)
    goal = slots or max(1, min(users, SLOTS_ON_CARD if usable and most else SLOTS_ON_PROCESSOR))
    wanted = dataclasses.replace(given, window=asked, slots=goal, cache_type=cache, gpu_layers=most if usable else 0)
    found = next((one for one in _choices(header, machine, wanted) if _fits(header, machine, one)), None)
    fits, least = found is not None, dataclasses.replace(wanted, window=min(SMALLEST_WINDOW, asked), slots=1)
    got = found or dataclasses.replace(least, gpu_layers=0)
    need = need_of(header, machine, got)
    less = tuple(_what_is_less(machine, header, wanted, got, need, fits=fits, counted=bool(slots)))
    notes += less
    speed = _speed(header, machine, got.gpu_layers)
    notes += _about_users(users, got.slots, speed)
    ways = tuple(_quantisations(header, machine, got))
    return Plan(
        fits, got.window, got.gpu_layers, everything, got.slots, got.cache_type, need, got, speed, ways, less,
        tuple(notes),
    )  # fmt: skip


def usable_cards(cards: Sequence[Card], options: LoadOptions) -> tuple[Card, ...]:
    """Cards that these options let llama.cpp use; none when no layers are wanted there."""
    if options.gpu_layers == 0:
        return ()
    if options.main_card >= 0:
        return tuple(cards[options.main_card : options.main_card + 1])
    return tuple(cards)


def need_of(header: GgufHeader, machine: Machine, options: LoadOptions, weights: int | None = None) -> Memory:
    """Memory of a model loaded with these options on this machine."""
    cards = usable_cards(machine.cards, options)
    return memory(
        header,
        options.window,
        options.gpu_layers if cards else 0,
        options.cache_type,
        weights,
        slots=options.slots,
        shares=_shares(cards, options),
        flash=options.flash != "off",
    )


def room(machine: Machine) -> int:
    """Bytes of memory that a model may take."""
    return int(machine.ram_free_bytes - machine.ram_total_bytes * _RAM_SPARE)


def card_room(card: Card) -> int:
    """Bytes of a card that a model may take."""
    return int(card.free_bytes - card.total_bytes * _CARD_SPARE)


def _shares(cards: Sequence[Card], options: LoadOptions) -> tuple[float, ...]:
    given = (*options.tensor_split, *(0.0 for _ in cards))[: len(cards)]
    if any(given):
        return given
    return tuple(float(max(1, card.free_bytes)) for card in cards) or (1.0,)


def _fits(header: GgufHeader, machine: Machine, options: LoadOptions, weights: int | None = None) -> bool:
    need = need_of(header, machine, options, weights)
    cards = usable_cards(machine.cards, options)
    on_cards = all(size <= card_room(card) for size, card in zip(need.by_card, cards, strict=False) if size)
    return need.host <= room(machine) and on_cards


def _choices(header: GgufHeader, machine: Machine, wanted: LoadOptions) -> Iterator[LoadOptions]:
    """From what is wanted to the least, best first."""
    packable = can_pack_cache(header) and wanted.cache_type == "f16" and wanted.flash_attention != "off"
    caches: tuple[CacheType, ...] = (wanted.cache_type, "q8_0") if packable else (wanted.cache_type,)
    for tokens in _halves(wanted.window, SMALLEST_WINDOW):
        for cache in caches:
            for slots in _halves(wanted.slots, 1):
                yield dataclasses.replace(wanted, window=tokens, slots=slots, cache_type=cache)
        for layers in range(wanted.gpu_layers - 1, -1, -1):
            yield dataclasses.replace(wanted, window=tokens, slots=1, gpu_layers=layers)


def _halves(most: int, least: int) -> Iterator[int]:
    yield most
    while most > least:
        most = max(least, most // 2)
        yield most


def _what_is_less(
    machine: Machine, header: GgufHeader, wanted: LoadOptions, got: LoadOptions, need: Memory, *,
    fits: bool, counted: bool,
) -> Iterator[LoadNote]:  # fmt: skip
    if not fits:
        needed, free = f"{need.host / 1e9:.1f}", f"{max(0, room(machine)) / 1e9:.1f}"
        yield LoadNote(
            f"It does not fit: {needed} GB of memory are needed even with a window of {got.window} "
            f"tokens, {free} GB can be taken. Take a smaller model or quantisation.",
            "no_room",
            needed=needed,
            free=free,
            window=got.window,
        )
        return
    if got.gpu_layers < wanted.gpu_layers:
        yield LoadNote(
            f"{got.gpu_layers} of {header.layers + 1} layers fit on the card; the rest is computed on the processor, "
            "slowly.",
            "layers",
            got=got.gpu_layers,
            wanted=header.layers + 1,
        )
    if got.cache_type != wanted.cache_type:
        yield LoadNote(
            f"Read tokens are kept in {got.cache_type}, not {wanted.cache_type}, to save memory.",
            "cache",
            got=got.cache_type,
            wanted=wanted.cache_type,
        )
    if counted and got.slots < wanted.slots:
        yield LoadNote(f"Only {got.slots} slots fit, not {wanted.slots}.", "slots", got=got.slots, wanted=wanted.slots)
    if got.window < wanted.window:
        yield LoadNote(
            f"Only a window of {got.window} tokens fits, not {wanted.window}.",
            "window",
            got=got.window,
            wanted=wanted.window,
        )


def _about_users(users: int, slots: int, speed: Speed | None) -> Iterator[str]:
    if users <= slots:
        return
    wait = ""
    if speed is not None:
        one = 1000 / speed.prompt_per_s + 200 / speed.answer_per_s
        wait = (
            f" If all {users} ask at once, with prompts of 1,000 and answers of 200 tokens, "
            f"the last one's is done after at most {users * one:.0f} s."
        )
    yield f"{users} people share {slots} slot{'s' if slots > 1 else ''}; the others wait their turn.{wait}"


def _speed(header: GgufHeader, machine: Machine, layers: int) -> Speed | None:
    """Scaled from what was measured here: answers by bytes read per token, prompts by weights multiplied."""
    known = machine.measured
    if known is None or header.experts or bool(known.layers_on_card) != bool(layers):
        return None
    return Speed(
        prompt_per_s=known.prompt_per_s * known.weights / max(1, header.weights),
        answer_per_s=known.answer_per_s * known.weights_bytes / max(1, header.tensor_bytes),
        basis=f"`alioth models bench` of {known.model} on this machine",
    )


def _quantisations(header: GgufHeader, machine: Machine, got: LoadOptions) -> Iterator[Quantisation]:
    full = dataclasses.replace(got, gpu_layers=header.layers + 1)
    none = dataclasses.replace(got, gpu_layers=0)
    for name, bits in BITS.items():
        weights = int(header.weights * bits / 8)
        if machine.cards and _fits(header, machine, full, weights):
            yield Quantisation(name, weights, "card")
        else:
            yield Quantisation(name, weights, "ram" if _fits(header, machine, none, weights) else "")
