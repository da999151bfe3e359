"""How a GGUF model is opened: window, slots, layers on the cards and how they share, attention, cache type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from core.errors import InputError

CacheType = Literal["f16", "q8_0", "q4_0"]
"""How keys and values of read tokens are kept. Other types have no fast kernels on NVIDIA cards."""
CACHE_TYPES: Final[tuple[CacheType, ...]] = get_args(CacheType)
FlashAttention = Literal["auto", "on", "off"]

MOST_SLOTS: Final = 64
MOST_CARDS: Final = 16


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What is asked of llama.cpp at load.

    Args:
        threads: of the processor.
        window: most tokens of one answer's prompt and text. slots: answers computed side by side; see cache_tokens.
        gpu_layers: on the cards; -1 is all.
        tensor_split: shares of the cards in order, any unit; empty shares by their free memory.
        main_card: number of the only card to use; -1 uses all.
        flash_attention: auto lets llama.cpp try it. cache_type other than f16 needs it, and switches auto to on.

    Raises:
        InputError: a value out of range, or values that exclude each other.
    """

    threads: int
    window: int
    slots: int = 1
    gpu_layers: int = -1
    tensor_split: tuple[float, ...] = ()
    main_card: int = -1
    flash_attention: FlashAttention = "auto"
    cache_type: CacheType = "f16"

    def __post_init__(self) -> None:
        _require_range("slots", self.slots, 1, MOST_SLOTS, "answers side by side")
        _require_range("threads", self.threads, 1, 1024, "threads")
        _require_range("main_card", self.main_card, -1, MOST_CARDS - 1, "the number of a card, -1 for all")
        if self.cache_type not in CACHE_TYPES:
            raise InputError(f"The cache type is {self.cache_type!r}.", f"Possible: {', '.join(CACHE_TYPES)}.")
        if self.cache_type != "f16" and self.flash_attention == "off":
            raise InputError(
                f"The cache type is {self.cache_type!r} and flash attention is 'off'; llama.cpp keeps a quantised "
                "cache only with flash attention.",
                "Set ALIOTH_MODELS__FLASH_ATTENTION=auto, or ALIOTH_MODELS__CACHE_TYPE=f16.",
            )
        if self.tensor_split and self.main_card >= 0:
            raise InputError(
                f"The split over cards is {_split_text(self.tensor_split)!r} and card {self.main_card} is to be the "
                "only one; one of them is possible.",
                "Leave out ALIOTH_MODELS__TENSOR_SPLIT or ALIOTH_MODELS__MAIN_CARD.",
            )

    @property
    def flash(self) -> FlashAttention:
        """flash_attention with what the cache type asks for."""
        return "on" if self.cache_type != "f16" else self.flash_attention


def cache_tokens(window: int, slots: int) -> int:
    """Tokens that the slots keep between them: half a window each, as few answers fill theirs; at least one window.

    When all are full at once, some wait.
    """
    return window * max(1, -(-slots // 2))


def tensor_split_of(text: str) -> tuple[float, ...]:
    """Shares from "3,1": one number per card, 0 leaves a card out; empty text gives ().

    Raises:
        InputError: a share is no number or negative, all are 0, or there are over MOST_CARDS.
    """
    if not text.strip():
        return ()
    shares = []
    for part in text.split(","):
        try:
            share = float(part)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1e9:
            raise InputError(
                f"The split over cards {text!r} has the share {part.strip()!r}; each must be a number from 0 up.",
                "Write one share per card, e.g. ALIOTH_MODELS__TENSOR_SPLIT=3,1.",
            )
        shares.append(share)
    if not any(shares) or len(shares) > MOST_CARDS:
        raise InputError(
            f"The split over cards {text!r} has {len(shares)} shares with the sum {sum(shares):g}; the sum must be "
            f"over 0 and the cards at most {MOST_CARDS}.",
            "Write one share per card, e.g. ALIOTH_MODELS__TENSOR_SPLIT=3,1.",
        )
    return tuple(shares)


def _split_text(split: tuple[float, ...]) -> str:
    return ",".join(f"{share:g}" for share in split)


def _require_range(name: str, value: int, least: int, most: int, unit: str) -> None:
    if not least <= value <= most:
        raise InputError(f"{name} is '{value}'; it must be from {least} to {most} ({unit}).", "Choose another.")
