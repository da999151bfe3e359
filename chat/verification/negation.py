"""Is something denied that the source affirms, or affirmed that it denies?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.text import detect_language, present, segment

NEAR_SHARE = 0.7  # this and the shares below: docs/decisions/0010-quotes-and-checks.md
NEAR_STATEMENT = 0.3
SAME_STATEMENT = 0.6
SAME_SHARE = 0.9
FEWEST_TOKENS = 3
HEADS = 3
"""Words after a “not” that it may deny."""

_ENGLISH = re.compile(
    r"\b(?:not|never|no|none|neither|nor|without|cannot|nobody|nothing|hardly|rarely|seldom|barely|scarcely|"
    r"fail(?:s|ed|ing)? to|unable to|refus\w+ to)\b|n['’]t\b",
    re.IGNORECASE,
)
_CHINESE = re.compile(
    r"不(?!超过|低于|高于|大于|小于|仅|但|断|同|少|过|论|管|久|动产|错|良|当|锈|足|法|可抗力|正当)|没(?!收)|未(?!来|婚|成年|遂)|"
    r"无(?!锡|论|线|人机|期|形|故)|非(?!常|洲|法|遗|经常|公开|营利)|勿|否(?!则)|并非|禁止|不得"
)
_LOOSE = re.compile(
    _CHINESE.pattern + r"|[无缺免拒禁]|\b(?:not|never|no|none|neither|nor|without|cannot|nobody|nothing|lack\w*|"
    r"fail\w*|refus\w*|except|unable|exclud\w+|prohibit\w*|hardly|rarely|seldom|barely|scarcely|declin\w+)\b|n['’]t\b|\bnon-",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[，,；;。！？!?\n：:]")
_REACH = {"zh": 10, "en": 45}
"""Characters before a word in which a “not” denies it."""


@dataclass(frozen=True, slots=True)
class _Denial:
    """A “not” and the search tokens right after it in its clause."""

    shown: str
    heads: tuple[str, ...]


def negation_problem(sentence: str, parts: Sequence[str]) -> str:
    """Why the closest of the source's sentences do not agree with what this one denies or affirms; "" when they do.

    Each “not” is compared by what it denies: the first word after it that the closest source sentence has must be
    denied there, too, and what that one denies must not be affirmed here.
    """
    language = "zh" if detect_language(sentence) == "zh" else "en"
    tokens = list(dict.fromkeys(segment(sentence)))
    shares = {part: len(present(part, tokens)) / max(1, len(tokens)) for part in parts}
    best = max(shares.values(), default=0.0)
    if best < NEAR_STATEMENT:
        return ""
    near = sorted((part for part in shares if shares[part] >= NEAR_SHARE * best), key=lambda part: -shares[part])
    same = [part for part in near if shares[part] >= SAME_SHARE * best]
    said = _said_problem(sentence, near, language)
    if said or best < SAME_STATEMENT or len(tokens) < FEWEST_TOKENS:
        return said
    return _dropped_problem(sentence, same, language)


def _said_problem(sentence: str, near: Sequence[str], language: str) -> str:
    for denial in _denials(sentence, language):
        most, rank = max((len(present(part, denial.heads)), -rank) for rank, part in enumerate(near))
        if most:
            borne_out = _denies(near[-rank], denial.heads, language)
        else:
            borne_out = any(_LOOSE.search(part) for part in near[:2])
        if not borne_out:
            return f"“{denial.shown}” stands only in the answer."
    return ""


def _dropped_problem(sentence: str, same: Sequence[str], language: str) -> str:
    for denial in _denials(same[0], language):
        heads = [head for head in denial.heads if present(sentence, [head])]
        if not heads or _denies(sentence, heads, language):
            continue
        if all(_denies(part, heads, language) for part in same if present(part, heads[:1])):
            return f"“{denial.shown}” stands only in the source."
    return ""


def _denies(text: str, heads: Sequence[str], language: str) -> bool:
    """Whether the first of these words that the text has is denied there."""
    head = next((head for head in heads if present(text, [head])), None)
    return head is not None and _denied(text, head, language, _LOOSE)


def _denials(text: str, language: str) -> Iterator[_Denial]:
    pattern = _CHINESE if language == "zh" else _ENGLISH
    for match in pattern.finditer(text):
        end = _CLAUSE_END.search(text, match.end())
        clause = text[match.end() : end.start() if end else len(text)]
        heads = [token for token in segment(clause[: 2 * _REACH[language]]) if len(token) > 1][:HEADS]
        yield _Denial(match.group(), tuple(heads))


def _denied(text: str, head: str, language: str, pattern: re.Pattern[str]) -> bool:
    """Whether a “not” stands in the same clause, close before one of the places of this token."""
    for match in _places(text, head, language):
        start = max(0, match - _REACH[language])
        before = text[start:match]
        cut = max((m.end() for m in _CLAUSE_END.finditer(before)), default=0)
        if pattern.search(before[cut:]):
            return True
    return False


def _places(text: str, head: str, language: str) -> Iterator[int]:
    if language == "zh":
        yield from (match.start() for match in re.finditer(re.escape(head), text))
        return
    for match in re.finditer(r"[^\W_]+(?:[._\-/'][^\W_]+)*", text):
        if match.group().lower().startswith(head[: max(3, len(head) - 1)]):
            yield match.start()
