"""Says before loading what a language model takes and what fits: window, layers on the card, quantisation, speed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from models.gguf import GgufHeader
from models.llama_load import SMALLEST_WINDOW
from models.llama_native import READ_CHUNK
from models.machine import Card, Machine

CacheType = Literal["f16", "q8_0", "q4_0"]
CACHE_BYTES: Final[dict[CacheType, float]] = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Per number kept of a token."""

BITS: Final = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.7, "Q4_K_M": 4.85, "Q3_K_M": 3.9}
"""Bits per weight of whole files, best first."""

SLOTS: Final = 1
"""Answers computed at the same time: people take turns (docs/models.md)."""

# measured on the bundled model, see docs/models.md; a vocabulary entry is a text, a score and two look-ups
_VOCABULARY_BYTES: Final = 280
_LIBRARY_BYTES: Final = 8_000_000
_CARD_LIBRARY_BYTES: Final = 450_000_000
_RAM_SPARE: Final = 0.1
_CARD_SPARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by use; host and card say where they lie."""

    weights: int
    cache: int
    compute: int
    other: int
    host: int
    card: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.compute + self.other


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
    """What to expect. layers: on the cards, of all_layers. notes: what is less than was asked for, in words."""

    fits: bool
    window: int
    layers: int
    all_layers: int
    slots: int
    memory: Memory
    speed: Speed | None
    quantisations: tuple[Quantisation, ...]
    notes: tuple[str, ...]


def plan(header: GgufHeader, machine: Machine, *, users: int, window: int, cache: CacheType = "f16") -> Plan:
    """The most of what was asked for that fits: all layers on the cards first, then fewer, then a smaller window.

    Args:
        users: people who may ask at the same time.
        window: tokens wanted.
    """
    notes: list[str] = []
    asked = min(window, header.context)
    if asked < window:
        notes.append(f"The model reads at most {header.context} tokens.")
    everything = header.layers + 1
    chosen: tuple[int, int, Memory] | None = None
    for tokens in _windows(asked):
        layers = _most_layers(header, machine, tokens, cache, everything)
        need = memory(header, tokens, layers, cache)
        if need.host <= room(machine):
            chosen = layers, tokens, need
            break
    fits = chosen is not None
    layers, tokens, need = chosen or (0, SMALLEST_WINDOW, memory(header, min(SMALLEST_WINDOW, asked), 0, cache))
    notes += _what_is_less(machine, fits, layers, everything, tokens, asked, need)
    speed = _speed(header, machine, layers)
    notes += _about_users(users, speed)
    ways = tuple(_quantisations(header, machine, tokens, cache))
    return Plan(fits, tokens, layers, everything, SLOTS, need, speed, ways, tuple(notes))


def memory(
    header: GgufHeader, window: int, layers: int, cache: CacheType = "f16", weights: int | None = None
) -> Memory:
    """What a loaded model takes, after it has read a prompt.

    Args:
        window: tokens. layers: on the card; the output counts as one more than the model has.
        weights: bytes of all weights, for another quantisation than the file's.
    """
    scale = 1.0 if weights is None else weights / max(1, header.tensor_bytes)
    on_card = min(layers, header.layers)
    # llama.cpp puts the last layers on the card, and the embedding table always stays in memory
    card_weights = sum(header.layer_bytes[header.layers - on_card :]) + (
        header.other_bytes if layers > header.layers else 0
    )
    all_weights = int(header.tensor_bytes * scale)
    per_layer = [_row(header, number, cache) * window for number in range(header.layers)]
    card_cache = sum(per_layer[header.layers - on_card :])
    activations = READ_CHUNK * (8 * header.width + 3 * header.feed_forward) * 4 + READ_CHUNK * window * 2
    # only the last token's logits are wanted: memory is touched as it is used, a card's is taken at once
    compute = activations + (READ_CHUNK * header.vocabulary * 4 if layers else 0)
    other = header.vocabulary * _VOCABULARY_BYTES + _LIBRARY_BYTES + (_CARD_LIBRARY_BYTES if layers else 0)
    card = int(card_weights * scale) + card_cache + (compute + _CARD_LIBRARY_BYTES if layers else 0)
    total = all_weights + sum(per_layer) + compute + other
    return Memory(all_weights, sum(per_layer), compute, other, host=total - card, card=card)


def room(machine: Machine) -> int:
    """Bytes of memory that a model may take."""
    return int(machine.ram_free_bytes - machine.ram_total_bytes * _RAM_SPARE)


def card_room(cards: tuple[Card, ...]) -> int:
    """Bytes on all cards that a model may take."""
    return sum(int(card.free_bytes - card.total_bytes * _CARD_SPARE) for card in cards)


def _row(header: GgufHeader, layer: int, cache: CacheType) -> int:
    """Bytes that one layer keeps of one token."""
    if header.attention_compressed:
        return int(header.attention_compressed * CACHE_BYTES[cache])
    return int(header.kv_heads[layer] * (header.key_length + header.value_length) * CACHE_BYTES[cache])


def _windows(asked: int) -> Iterator[int]:
    tokens = asked
    yield tokens
    while tokens > SMALLEST_WINDOW:
        tokens = max(SMALLEST_WINDOW, tokens // 2)
        yield tokens


def _most_layers(header: GgufHeader, machine: Machine, window: int, cache: CacheType, everything: int) -> int:
    if not machine.cards:
        return 0
    space = card_room(machine.cards)
    return next(
        (layers for layers in range(everything, 0, -1) if memory(header, window, layers, cache).card <= space), 0
    )


def _what_is_less(
    machine: Machine, fits: bool, layers: int, everything: int, window: int, asked: int, need: Memory
) -> Iterator[str]:
    if not fits:
        yield (
            f"It does not fit: {need.host / 1e9:.1f} GB of memory are needed even with a window of {window} tokens, "
            f"{max(0, room(machine)) / 1e9:.1f} GB can be taken. Take a smaller model or quantisation."
        )
        return
    if machine.cards and layers < everything:
        yield f"{layers} of {everything} layers fit on the card; the rest is computed on the processor, slowly."
    if window < asked:
        yield f"Only a window of {window} tokens fits, not {asked}."


def _about_users(users: int, speed: Speed | None) -> Iterator[str]:
    if users > SLOTS:
        wait = ""
        if speed is not None:
            one = 1000 / speed.prompt_per_s + 200 / speed.answer_per_s
            wait = (
                f" If all {users} ask at once, with prompts of 1,000 and answers of 200 tokens, "
                f"the last one's is done after about {users * one:.0f} s."
            )
        yield f"{users} people take turns at {SLOTS} slot.{wait}"


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


def _quantisations(header: GgufHeader, machine: Machine, window: int, cache: CacheType) -> Iterator[Quantisation]:
    for name, bits in BITS.items():
        weights = int(header.weights * bits / 8)
        on_card = machine.cards and memory(header, window, header.layers + 1, cache, weights).card
        if on_card and on_card <= card_room(machine.cards):
            yield Quantisation(name, weights, "card")
        else:
            in_ram = memory(header, window, 0, cache, weights).host <= room(machine)
            yield Quantisation(name, weights, "ram" if in_ram else "")
