"""A company's own words in a question: which of them it has, and what else to look for."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.text import HAN, fold, present, segment
from core.types import GlossaryTerm


@dataclass(frozen=True, slots=True)
class Expansion:
    """A glossary word met in a question. found: the folded words there, at start–end; others: looked for as well."""

    term: str
    found: str
    start: int
    end: int
    others: tuple[str, ...]


def expand(question: str, terms: Sequence[GlossaryTerm]) -> tuple[Expansion, ...]:
    """The glossary's words in a question, in their order; the longest wins where two overlap.

    Latin words count as whole words, in the singular or with an s; Chinese ones wherever their characters stand.
    """
    if not terms:
        return ()
    folded = fold(question)
    met = [
        found for term in terms for word, others in _forms(term) for found in _found(folded, term.term, word, others)
    ]
    chosen: list[Expansion] = []
    for one in sorted(met, key=lambda e: (e.start - e.end, e.start, e.term)):
        if all(one.end <= other.start or one.start >= other.end for other in chosen):
            chosen.append(one)
        else:  # two collections, or two terms, may say different things of the same word
            chosen = [_merged(other, one) for other in chosen]
    return tuple(sorted(chosen, key=lambda e: e.start))


def tokens_of(question: str, expansions: Sequence[Expansion]) -> list[str]:
    """As `segment`, but that no word reaches over the edge of a Chinese glossary word, which also is one by itself.

    The index is made without the glossary, so that this needs no new index. There the word stands in the parts that
    jieba makes of it; single characters among them would find anything, so they only count together
    (`chat.retrieval.exact`).
    """
    han = [one for one in expansions if HAN.search(one.found)]
    if not han:
        return segment(question)
    folded = fold(question)
    tokens: list[str] = []
    last = 0
    for one in han:
        tokens += segment(folded[last : one.start])
        tokens += [part for part in segment(one.found) if len(part) > 1 and part != one.found] + [one.found]
        last = one.end
    return tokens + segment(folded[last:])


def stand_ins(expansions: Sequence[Expansion]) -> dict[str, tuple[frozenset[str], ...]]:
    """Search token of a glossary word in the question to the sets of tokens, any of which says the same."""
    found: dict[str, tuple[frozenset[str], ...]] = {}
    for one in expansions:
        others = tuple(frozenset(segment(word)) for word in one.others)
        for token in (*segment(one.found), one.found):
            found[token] = found.get(token, ()) + tuple(other for other in others if other)
    return found


def instead(expansions: Sequence[Expansion]) -> list[tuple[list[str], list[str]]]:
    """For keyword search: tokens of each glossary word of the question, and tokens of one of its other words."""
    return [(segment(one.found), tokens) for one in expansions for word in one.others if (tokens := segment(word))]


def named_by(text: str, expansions: Sequence[Expansion]) -> bool:
    """Whether a text has one of the other words, whole."""
    for one in expansions:
        for word in one.others:
            tokens = set(segment(word))
            if tokens and present(text, tokens) == tokens:
                return True
    return False


def widened(question: str, expansions: Sequence[Expansion]) -> str:
    """The question with the other words behind it, for whoever compares its words with a text."""
    others = dict.fromkeys(word for one in expansions for word in one.others)
    return " ".join((question, *others)) if others else question


def glossary_words(text: str, terms: Sequence[GlossaryTerm]) -> list[str]:
    """The glossary's words in a text, as written there."""
    folded = fold(text)
    spelled = text if len(folded) == len(text) else folded
    return [spelled[one.start : one.end] for one in expand(text, terms)]


def _forms(term: GlossaryTerm) -> list[tuple[str, tuple[str, ...]]]:
    """Words that are looked for in a question, each with what stands for it."""
    forms = [(term.term, term.others)]
    if term.both_ways:
        everything = (term.term, *term.others)
        forms += [(word, tuple(other for other in everything if other != word)) for word in term.others]
    return forms


@functools.lru_cache(maxsize=50_000)
def _folded(word: str) -> str:
    return " ".join(fold(word).split())


def _found(folded: str, term: str, word: str, others: tuple[str, ...]) -> list[Expansion]:
    key = _folded(word)
    first = key.split(" ", 1)[0]
    if first not in folded:
        return []
    return [Expansion(term, m.group(), m.start(), m.end(), others) for m in _pattern(key).finditer(folded)]


@functools.lru_cache(maxsize=5_000)
def _pattern(key: str) -> re.Pattern[str]:
    body = r"\s+".join(re.escape(part) for part in key.split(" "))
    before = r"(?<![a-z0-9])" if re.match(r"[a-z0-9]", key) else ""
    after = r"(?:s|es)?(?![a-z0-9])" if re.search(r"[a-z]$", key) else r"(?![a-z0-9])" if key[-1].isdigit() else ""
    return re.compile(before + body + after)


def _merged(kept: Expansion, other: Expansion) -> Expansion:
    if (kept.start, kept.end) != (other.start, other.end):
        return kept
    return Expansion(kept.term, kept.found, kept.start, kept.end, tuple(dict.fromkeys((*kept.others, *other.others))))
