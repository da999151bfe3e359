"""How surely a question points back at what was said before: pronouns, elliptic starts, too few words."""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import IntEnum

from core.text import detect_language, present, segment

_ENGLISH_PRONOUNS = re.compile(
    r"\b(it|its|they|them|their|theirs|he|him|his|she|her|hers|this|that|these|those|"
    r"the (?:same|other|others|former|latter|next|previous|above))\b",
    re.IGNORECASE,
)
_ENGLISH_WEAK = re.compile(
    r"\b(one|ones|there|such|else|another|instead|also|the (?:first|second|third|last))\b", re.IGNORECASE
)
_ENGLISH_STARTS = re.compile(
    r"^\s*(and|but|so|then|or|what about|how about|what else|why|why not|really|are you sure|tell me more|more|"
    r"go on|explain|elaborate|for example|such as|ok|okay|thanks?|yes|no)\b",
    re.IGNORECASE,
)
_ENGLISH_PLURAL = re.compile(r"\b[a-z]{3,}s\b", re.IGNORECASE)
_CHINESE_POINTERS = re.compile(
    r"它|他|她|这|那(?!么)|该|其(?!他|它|中|实|余)|此(?!外)|上述|上面|前者|后者|同样|另外|还有|刚才|以上|相比之下"
)
_CHINESE_STARTS = re.compile(
    r"^\s*(那么?|然后|所以|为什么|为何|怎么会|还有|再|接着|继续|详细|举例|具体|什么时候|多少|哪)"
)
_ELLIPTIC = re.compile(r"呢\s*[？?]?\s*$|^\s*(?:and|what about|how about|那么?|还有)\b", re.IGNORECASE)
_FEW_WORDS = 3
_LEAST_BOTH = {0: 0.35, 1: 0.15}
"""By `Pointing`: how much of the question and of the topic the best passage must have, multiplied."""


class Pointing(IntEnum):
    """How a question stands to the conversation before it."""

    NOWHERE = 0
    MAYBE = 1
    SURELY = 2


def pointing(question: str) -> Pointing:
    """Whether a question points back: a pronoun without a noun of its own before it, an elliptic start, few words."""
    words = len(set(segment(question)))
    if words <= 1:
        return Pointing.SURELY
    if detect_language(question) == "zh":
        starts = _CHINESE_STARTS.match(question) and words <= 2 * _FEW_WORDS
        if starts or _CHINESE_POINTERS.search(question):
            return Pointing.SURELY
        return Pointing.MAYBE if words <= _FEW_WORDS else Pointing.NOWHERE
    if _ENGLISH_STARTS.match(question) and words <= 2 * _FEW_WORDS:
        return Pointing.SURELY
    pronouns = list(_ENGLISH_PRONOUNS.finditer(question))
    if any(not _answered(match.group().lower(), question[: match.start()]) for match in pronouns):
        return Pointing.SURELY
    weak = pronouns or words <= _FEW_WORDS or _ENGLISH_WEAK.search(question)
    return Pointing.MAYBE if weak else Pointing.NOWHERE


def points_back(question: str) -> bool:
    """Whether a question has a word that points back, however short it is."""
    if detect_language(question) == "zh":
        return bool(_CHINESE_POINTERS.search(question) or _ELLIPTIC.search(question))
    found = _ENGLISH_PRONOUNS.search(question) or _ENGLISH_WEAK.search(question)
    return bool(found or _ELLIPTIC.search(question))


def topic_serves(how: Pointing, own: Collection[str], carried: Collection[str], best: str) -> bool:
    """Whether the topic before belongs to the question: one passage has both, or the question surely points back.

    Args:
        own: search words of the question. carried: those that the topic adds. best: text of the best passage that
            question and topic find together.
    """
    if how is Pointing.SURELY:
        return True
    return _share(own, best) * _share(carried, best) >= _LEAST_BOTH[how]


def _answered(pronoun: str, before: str) -> bool:
    """Whether something earlier in the question may be what the pronoun stands for."""
    if pronoun == "that":  # as in "the policy that …"
        return bool(segment(before))
    if pronoun in ("they", "them", "their", "theirs"):
        return bool(_ENGLISH_PLURAL.search(before)) and bool(segment(before))
    if pronoun in ("it", "its", "he", "him", "his", "she", "her", "hers"):
        return len(segment(before)) > 1
    return False


def _share(words: Collection[str], text: str) -> float:
    wanted = set(words)
    return len(present(text, wanted)) / len(wanted) if wanted else 1.0
